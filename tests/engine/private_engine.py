"""A real Docker Engine of our own: a private dockerd in a network namespace, with a swarm of one node.

It needs root, ``dockerd``, ``unshare`` and ``ip``. The tiny image is made of Debian's ``busybox-static``.
Nothing of an engine that already runs on the machine is touched.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

ROOT = Path(__file__).resolve().parents[2]
if "ansible_collections" not in sys.modules:
    _AnsibleCollectionFinder(paths=[str(ROOT / "collections")])._install()

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)

APPLETS = ("sh", "sleep", "cat", "echo", "env", "true", "false", "ls", "test", "kill", "touch", "hostname")
START_SECONDS = 60.0


class CannotStart(Exception):
    """Something that the private engine needs is missing; the text names it."""


@contextlib.contextmanager
def swarm_of_one() -> Iterator[PrivateEngine]:
    """A swarm of one node with the images ``tiny:1`` and ``tiny:2``; nothing of it is left afterwards.

    Raises:
        CannotStart: naming what is missing.
    """
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        raise CannotStart("A Docker Engine of our own is started for this: it needs root and dockerd.")
    # A unix socket's path may have 107 characters, so the place is a short one.
    home = Path(tempfile.mkdtemp(prefix="stack-", dir="/tmp"))
    engine = None
    try:
        busybox = find_busybox(home)
        engine = PrivateEngine(home)
        engine.wait()
        Engine(engine.socket).post("/swarm/init", {"ListenAddr": "127.0.0.1:2377", "AdvertiseAddr": "127.0.0.1"})
        for version in ("1", "2"):
            engine.load("tiny", version, _image(busybox, version))
        yield engine
    finally:
        if engine is not None:
            engine.stop()
        shutil.rmtree(home, ignore_errors=True)


def find_busybox(folder: Path) -> Path:
    """A busybox that needs no libraries: the installed one, or the one of Debian's package, unpacked in ``folder``.

    Raises:
        CannotStart: naming the package.
    """
    installed = Path("/bin/busybox")
    if installed.exists() and _is_static(installed):
        return installed
    work = folder / "busybox"
    work.mkdir()
    subprocess.run(["apt-get", "download", "busybox-static"], cwd=work, check=False, capture_output=True)
    packages = list(work.glob("busybox-static*.deb"))
    if not packages:
        raise CannotStart(
            "The Debian package 'busybox-static' is needed, and it could neither be found nor be downloaded. "
            "Install it: apt-get install busybox-static"
        )
    subprocess.run(["dpkg-deb", "-x", str(packages[0]), str(work / "root")], check=True)
    return next(path for path in (work / "root").rglob("busybox") if path.is_file() and os.access(path, os.X_OK))


def _is_static(binary: Path) -> bool:
    listed = subprocess.run(["ldd", str(binary)], check=False, capture_output=True, text=True)
    return listed.returncode != 0 or "not a dynamic executable" in listed.stdout


def _image(busybox: Path, version: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("bin", "etc", "tmp", "run"):
            directory = tarfile.TarInfo(name)
            directory.type = tarfile.DIRTYPE
            directory.mode = 0o755
            archive.addfile(directory)
        archive.add(busybox, "bin/busybox")
        for name in APPLETS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type = tarfile.SYMTYPE
            link.linkname = "busybox"
            archive.addfile(link)
        text = version.encode()
        entry = tarfile.TarInfo("etc/version")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    return stream.getvalue()


class PrivateEngine:
    """One dockerd with everything it owns under one directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.socket = str(home / "docker.sock")
        self.log = home / "dockerd.log"
        for name in ("data", "exec"):
            (home / name).mkdir()
        self.start()

    def start(self) -> None:
        """Start it, with the data that it had before."""
        home = self.home
        command = (
            "ip link set lo up && exec dockerd "
            f"--host unix://{self.socket} --data-root {home}/data --exec-root {home}/exec "
            f"--pidfile {home}/dockerd.pid --log-level warn --shutdown-timeout 5"
        )
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "--net", "sh", "-c", command], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def wait(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                Engine(self.socket).get("/info")
            except (EngineUnreachable, EngineError):
                time.sleep(0.2)
            else:
                return
        raise CannotStart(f"dockerd did not start:\n{self.log.read_text()[-2000:]}")

    def load(self, repository: str, tag: str, archive: bytes) -> None:
        """Import an image from a root file system."""
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.socket)
        connection.request("POST", f"/images/create?fromSrc=-&repo={repository}&tag={tag}", body=archive)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert answer.status == 200, text
        assert "errorDetail" not in text, text

    def halt(self) -> None:
        """End it as a shutdown of its host does: its data stays, and it is a member of its swarm still."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)

    def stop(self) -> None:
        """End it and all it has started, and release what it has mounted."""
        if self.process.poll():
            lines = self.log.read_text(errors="replace").splitlines()
            cause = next((number for number, line in enumerate(lines) if line.startswith(("panic:", "fatal"))), -40)
            print("\n".join([f"dockerd ended by itself with {self.process.returncode}:", *lines[cause:][:40]]))
        if self.process.poll() is None:
            with contextlib.suppress(EngineUnreachable, EngineError):
                Engine(self.socket).post("/swarm/leave", query={"force": "true"})
        self.halt()
        for _ in range(3):
            for line in reversed(Path("/proc/mounts").read_text().splitlines()):
                mount = line.split()[1]
                if mount.startswith(f"{self.home}/"):
                    subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
