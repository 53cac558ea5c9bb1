"""The role as a whole, in check mode, against doubles of two hosts' engines on sockets of their own."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import socketserver
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import EngineError

ROOT = Path(__file__).resolve().parents[4]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
sys.path.insert(0, str(ROOT / "tests/unit/plugins/module_utils/_swarm"))
from fake_swarm_engine import FakeEngine, make_node


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def handler(engine: FakeEngine) -> type[http.server.BaseHTTPRequestHandler]:
    """HTTP in front of a double; only reading is allowed, as in check mode."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            url = urlsplit(self.path)
            query = {key: json.loads(values[0]) for key, values in parse_qs(url.query).items()}
            try:
                path = url.path
                answer = (
                    {"ApiVersion": "1.41"} if path == "/version" else engine.get("/" + path.split("/", 2)[2], query)
                )
                status = 200
            except EngineError as error:
                answer, status = {"message": error.message}, error.status
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self):
            return "unix"

        def log_message(self, *_arguments):
            """Say nothing."""

    return Handler


@pytest.fixture
def play():
    """Run the role in check mode with -vvv; returns exit code and everything that was printed."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="swarm")))

        def run(engines: dict[str, FakeEngine], **extra: object) -> tuple[int, str]:
            hosts = {}
            for number, (name, engine) in enumerate(engines.items(), 1):
                path = directory / f"{name}.sock"
                server = stack.enter_context(_Server(str(path), handler(engine)))
                threading.Thread(target=server.serve_forever, daemon=True).start()
                stack.callback(server.shutdown)
                hosts[name] = {
                    "ansible_connection": "local",
                    "ansible_python_interpreter": sys.executable,
                    "swarm_docker_socket": str(path),
                    "swarm_advertise_address": f"192.0.2.{number}",
                }
            (directory / "hosts.yml").write_text(
                yaml.safe_dump({"all": {"children": {"swarm_managers": {"hosts": hosts}, "swarm_workers": {}}}})
            )
            tasks = [{"ansible.builtin.import_role": {"name": "flowstead.airflow.swarm"}}]
            (directory / "play.yml").write_text(
                yaml.safe_dump([{"hosts": "all", "gather_facts": False, "any_errors_fatal": True, "tasks": tasks}])
            )
            given = ["-i", str(directory / "hosts.yml"), "-e", json.dumps(extra), "--check", "--diff", "-vvv"]
            done = subprocess.run(
                [str(PLAYBOOK), str(directory / "play.yml"), *given],
                cwd=ROOT,
                env={**os.environ, "ANSIBLE_CONFIG": "ansible.cfg", "ANSIBLE_NOCOLOR": "1"},
                capture_output=True,
                text=True,
                check=False,
                timeout=120,
            )
            return done.returncode, done.stdout + done.stderr

        yield run


def manager(**given):
    node = make_node("id1", "m1", "manager", leader=True)
    return FakeEngine(state="active", manager=True, node_id="id1", nodes=[node], **given)


def test_a_join_token_is_never_printed_however_verbose_the_run(play):
    code, output = play({"m1": manager(), "m2": FakeEngine()})

    assert code == 0, output
    assert "Members | Join as a manager" in output
    # The token was there, and hidden.
    assert "join_token: VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in output
    assert "SWMTKN" not in output
    assert "The inventory has 2 managers, an even number" in output


def test_a_settled_swarm_costs_one_call_of_a_module_and_no_facts(play):
    code, output = play({"m1": manager()}, swarm_networks=[])

    assert code == 0, output
    assert output.count("Using module file") == 1
    assert "changed=0" in output


def test_two_swarms_stop_the_run_with_both_ids_and_hosts(play):
    other = FakeEngine(
        state="active", manager=True, node_id="id9", nodes=[make_node("id9", "m2", "manager")], cluster_id="theirs"
    )

    code, output = play({"m1": manager(cluster_id="ours"), "m2": other})

    assert code != 0
    assert "2 different swarms (ours: m1; theirs: m2)" in " ".join(output.split())


def test_a_locked_manager_is_foretold_to_be_unlocked_and_its_key_is_never_printed(play):
    code, output = play({"m1": manager(), "m2": FakeEngine(state="locked")}, swarm_unlock_key="SWMKEY-1-secret")

    assert code == 0, output
    assert "m2: locked. A real run unlocks them first." in " ".join(output.split())
    assert "unlock_key: VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in output
    assert "SWMKEY-1-secret" not in output
    assert "Members | Join" not in output


def test_a_locked_manager_without_a_key_stops_the_run_and_names_the_variable(play):
    code, output = play({"m1": manager(), "m2": FakeEngine(state="locked")})

    assert code != 0
    assert "Set swarm_unlock_key" in " ".join(output.split())
