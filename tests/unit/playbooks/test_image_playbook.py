"""The playbook image tests an image before it is pushed, and says all that is wrong with it."""

from __future__ import annotations

import http.server
import json
import os
import re
import socketserver
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
DIGEST = "sha256:" + "ab" * 32
IMAGE = f"registry.example.com/airflow@{DIGEST}"
FOUND: dict[str, t.Any] = {
    "problems": [],
    "skipped": [{"module": "a.b", "provider": "p", "reason": "needs c"}],
    "advice": ["Changed default value of `executor`"],
    "airflow": "3.3.2",
    "python": "3.13.5",
    "machine": "x86_64",
    "system": {"id": "debian", "version": "13"},
    "providers": {"p": "1"},
    "modules": 7,
    "packages": {
        "python": [{"name": "idna", "version": "3.20", "license": "", "bytes": 3 << 20, "requires": []}],
        "system": [],
    },
    "seconds": {},
}


class _Engine(socketserver.ThreadingUnixStreamServer):
    """An engine that has one image, whose container says what the test says."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        self.says = json.dumps(FOUND)
        self.created: list[dict[str, t.Any]] = []
        self.written: list[str] = []
        super().__init__(path, _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Engine

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: t.Any) -> None:
        pass

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0].removeprefix("/v1.41")
        request = f"{self.command} {path}"
        if request == "POST /containers/create":
            self.server.created.append(json.loads(body))
        if self.command != "GET":
            self.server.written.append(request)
        image = {"Id": "sha256:feed", "Size": 700 << 20, "Created": "2026-11-26T14:23:01Z", "RepoDigests": [IMAGE]}
        answers: dict[str, tuple[int, t.Any]] = {
            "GET /version": (200, {"ApiVersion": "1.41"}),
            "GET /info": (200, {"DockerRootDir": "/"}),
            f"GET /images/{IMAGE}/json": (200, image),
            f"GET /images/{IMAGE}/history": (200, [{"Size": 700 << 20, "CreatedBy": "import"}]),
            "POST /containers/create": (201, {"Id": "c0ffee"}),
            "POST /containers/c0ffee/start": (204, None),
            "POST /containers/c0ffee/wait": (200, {"StatusCode": 0}),
            "GET /containers/c0ffee/logs": (200, f"noise\r\nFLOWSTEAD-IMAGE-TEST {self.server.says}\r\n"),
            "DELETE /containers/c0ffee": (204, None),
        }
        if re.fullmatch(r"GET /images/registry\.example\.com/airflow:3\.3\.2-[0-9a-f]{12}/json", request):
            request = f"GET /images/{IMAGE}/json"
        status, answer = answers.get(request, (404, {"message": "no such thing"}))
        text = b"" if answer is None else answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_DELETE = _handle


@pytest.fixture(name="engine")
def _engine(tmp_path: Path) -> t.Iterator[_Engine]:
    with _Engine(str(tmp_path / "engine.sock")) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def play(tmp_path: Path, **extra: object) -> subprocess.CompletedProcess[str]:
    variables: dict[str, object] = {"ansible_connection": "local"}
    for path in (ROOT / "inventories/local/group_vars/all").glob("*.yml"):
        variables.update(yaml.safe_load(path.read_text()))
    variables.update(
        airflow_image={"source": "existing", "reference": IMAGE},
        airflow_image_docker_socket=str(tmp_path / "engine.sock"),
        airflow_image_test=True,
        airflow_config={"core": {"parallelism": "5"}},
        ansible_python_interpreter=sys.executable,
    )
    inventory = tmp_path / "hosts.yml"
    groups = {"swarm_managers": {"hosts": {"one": {}}}, "swarm_workers": {}, "local_services": {}}
    inventory.write_text(yaml.safe_dump({"all": {"vars": variables, "children": groups}}))
    return subprocess.run(
        # Nobody has to be root for this.
        [
            str(PLAYBOOK),
            "playbooks/image.yml",
            "-i",
            str(inventory),
            "-e",
            json.dumps({"ansible_become": False, **extra}),
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": "ansible.cfg", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_a_sound_image_is_told_with_its_report_and_its_packages(tmp_path: Path, engine: _Engine):
    done = play(
        tmp_path,
        airflow_image_test_report=str(tmp_path / "report.json"),
        airflow_image_test_sbom=str(tmp_path / "sbom"),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "700 MB in 1 layers" in done.stdout
    assert "7 modules of 1 providers" in done.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["image"]["largest"][0]["name"] == "idna"
    assert "packages" not in report
    assert json.loads((tmp_path / "sbom").read_text())["bomFormat"] == "CycloneDX"
    assert engine.written[-1] == "DELETE /containers/c0ffee"


def test_the_program_gets_the_platforms_configuration_and_no_way_to_a_secret(tmp_path: Path, engine: _Engine):
    assert play(tmp_path).returncode == 0

    (container,) = engine.created
    assert container["HostConfig"]["NetworkMode"] == "none"
    python, flag, program, settings = container["Cmd"]
    assert (python, flag) == ("python", "-c")
    compile(program, "image_test.py", "exec")
    configuration = json.loads(settings)["configuration"]
    assert configuration["AIRFLOW__CORE__PARALLELISM"] == "5"
    assert configuration["AIRFLOW__CORE__EXECUTOR"] == "flowstead_airflow.executor.CeleryExecutor"
    assert not [
        name for name in configuration if name.endswith(("_CMD", "_SECRET")) or not name.startswith("AIRFLOW__")
    ]


def test_all_problems_of_an_image_come_in_one_message_and_the_report_is_kept(tmp_path: Path, engine: _Engine):
    problem = {"kind": "import", "what": "a.b of p", "message": "ModuleNotFoundError", "fix": "add it"}
    engine.says = json.dumps({**FOUND, "problems": [problem, {**problem, "what": "c.d of p"}]})

    done = play(tmp_path, airflow_image_test_max_mb=600, airflow_image_test_report=str(tmp_path / "report.json"))

    assert done.returncode != 0
    for text in ("3 problem(s)", "a.b of p", "c.d of p", "airflow_image_test_max_mb (600)", "Fix: add it."):
        assert text in done.stdout
    assert len(json.loads((tmp_path / "report.json").read_text())["problems"]) == 3


def test_a_digest_for_other_environments_needs_a_push(tmp_path: Path, engine: _Engine):
    done = play(tmp_path, airflow_image_pin=str(tmp_path / "image.yml"))

    assert done.returncode != 0
    assert "set airflow_image.push, or leave airflow_image_pin empty" in " ".join(done.stdout.split())


def test_an_image_that_was_pushed_is_named_by_its_digest_for_other_environments(tmp_path: Path, engine: _Engine):
    image = {"source": "official", "registry": "registry.example.com", "name": "airflow", "push": True}
    pin = tmp_path / "image.yml"

    done = play(tmp_path, airflow_image=image, airflow_image_test=False, airflow_image_pin=str(pin))

    assert done.returncode == 0, done.stdout + done.stderr
    named = yaml.safe_load(pin.read_text())["airflow_image"]
    assert named["source"] == "existing"
    # As the stack names it when it runs a tag: so an environment with this image has nothing to change.
    assert re.fullmatch(rf"registry\.example\.com/airflow:3\.3\.2-[0-9a-f]+@{DIGEST}", named["reference"])
    assert engine.written == []
    assert (
        "changed=0" in play(tmp_path, airflow_image=image, airflow_image_test=False, airflow_image_pin=str(pin)).stdout
    )
