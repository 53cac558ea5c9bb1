"""A real registry with a login, on loopback of the private engine's network namespace: Debian's ``docker-registry``."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import Engine
from private_engine import CannotStart, PrivateEngine

USER, PASSWORD = "puller", "let-the-puller-in"
#: bcrypt of PASSWORD, as htpasswd -nbB writes it.
_LOGIN = f"{USER}:$2y$05$abcdefghijklmnopqrstuuNYYxnyWnyvSBjgqkrfa4rXsHzLwqwpK\n"
_SETTINGS = """version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}
"""
PORT = 5000
START_SECONDS = 30.0


class LocalRegistry:
    """Where it is, as the engine sees it."""

    address = f"localhost:{PORT}"

    def __init__(self, engine: PrivateEngine) -> None:
        self.engine = Engine(engine.socket)

    @property
    def login(self) -> dict[str, dict[str, str]]:
        """For ``registry_auth``."""
        return {self.address: {"username": USER, "password": PASSWORD}}

    def push(self, image: str, name: str) -> str:
        """Push an image of the engine under a name, and forget it there; returns the whole name."""
        target = f"{self.address}/{name}"
        repository, _colon, tag = target.rpartition(":")
        self.engine.post(f"/images/{image}/tag", query={"repo": repository, "tag": tag})
        given = {"username": USER, "password": PASSWORD, "serveraddress": self.address}
        header = {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(given).encode()).decode()}
        # The answer is a stream of documents, so it is not read as one.
        _status, answer = self.engine._request(
            "POST", self.engine._url(f"/images/{repository}/push", {"tag": tag}), None, header
        )
        assert b"errorDetail" not in answer, answer
        self.engine.delete(f"/images/{target}")
        return target


def _program(folder: Path) -> str:
    """The installed one, or the one of Debian's package, unpacked in ``folder``."""
    installed = shutil.which("docker-registry")
    if installed:
        return installed
    subprocess.run(["apt-get", "download", "docker-registry"], cwd=folder, check=False, capture_output=True)
    packages = list(folder.glob("docker-registry*.deb"))
    if not packages:
        raise CannotStart("Debian's package 'docker-registry' is needed. Install it: apt-get install docker-registry")
    subprocess.run(["dpkg-deb", "-x", str(packages[0]), str(folder / "root")], check=True)
    return str(folder / "root/usr/bin/docker-registry")


@contextlib.contextmanager
def registry_on(engine: PrivateEngine, folder: Path) -> Iterator[LocalRegistry]:
    """Run it beside an engine.

    Raises:
        CannotStart: naming what is missing.
    """
    (folder / "htpasswd").write_text(_LOGIN)
    (folder / "registry.yml").write_text(_SETTINGS.format(folder=folder, port=PORT))
    inside = ["nsenter", f"--net=/proc/{engine.process.pid}/ns/net"]
    log = folder / "registry.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*inside, _program(folder), "serve", str(folder / "registry.yml")],
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env={"OTEL_TRACES_EXPORTER": "none", "PATH": "/usr/bin:/bin"},
        )
    try:
        _wait(process, inside, log)
        yield LocalRegistry(engine)
    finally:
        process.terminate()
        process.wait(10)


def _wait(process: subprocess.Popen[bytes], inside: list[str], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    listening = f"0100007F:{PORT:04X}"
    while time.monotonic() < deadline and process.poll() is None:
        table = subprocess.run([*inside, "cat", "/proc/net/tcp"], capture_output=True, text=True, check=True).stdout
        if listening in table:
            return
        time.sleep(0.1)
    raise CannotStart(f"docker-registry did not start:\n{log.read_text()[-2000:]}")
