"""The playbook run: one command through a manager that answers, on an engine that is only a memory."""

from __future__ import annotations

import os
import subprocess
import sys
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
sys.path.insert(0, str(ROOT / "tests/unit/plugins/module_utils/_docker"))
from fake_engine import NAMESPACE, FakeEngine

STACK = "airflow-local"
PASSWORD = "a-password-of-the-database"


def service(name: str) -> dict[str, t.Any]:
    return {
        "Name": f"{STACK}_{name}",
        "Labels": {NAMESPACE: STACK},
        "TaskTemplate": {
            "ContainerSpec": {"Image": "tiny:1", "Args": ["airflow", name]},
            "RestartPolicy": {"Condition": "any"},
            "Networks": [],
        },
        "Mode": {"Replicated": {"Replicas": 1}},
        "EndpointSpec": {"Mode": "vip"},
    }


def printed(channel: int, text: str) -> bytes:
    return bytes([channel, 0, 0, 0]) + len(text.encode()).to_bytes(4, "big") + text.encode()


class Swarm:
    """An inventory whose first manager is away, and what the playbook makes of it."""

    def __init__(self, engine: FakeEngine, place: Path) -> None:
        self.engine = engine
        variables: dict[str, t.Any] = {}
        for path in (ROOT / "inventories/local/group_vars/all").glob("*.yml"):
            variables.update(yaml.safe_load(path.read_text()))
        variables.update(
            ansible_connection="local",
            ansible_become=False,
            ansible_python_interpreter=sys.executable,
            airflow_swarm_docker_socket=engine.socket,
        )
        variables["airflow_database"]["password"] = PASSWORD
        away = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
        groups = {"swarm_managers": {"hosts": {"away": away, "here": {}}}, "swarm_workers": {}, "local_services": {}}
        self.inventory = place / "hosts.yml"
        self.inventory.write_text(yaml.safe_dump({"all": {"vars": variables, "children": groups}}))
        self.jobs: list[dict[str, t.Any]] = []
        self.behaviour = "completes"
        create = engine._create_service

        def watch(spec: dict[str, t.Any]) -> dict[str, t.Any]:
            self.jobs.append(spec)
            engine.behaviour[spec["Name"].partition("_")[2]] = self.behaviour
            return create(spec)

        engine._create_service = watch  # type: ignore[method-assign]

    def play(self, *given: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PLAYBOOK), "playbooks/run.yml", "-i", str(self.inventory), *given],
            cwd=ROOT,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": "ansible.cfg",
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_ASYNC_DIR": str(self.inventory.parent / "async"),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture
def swarm(tmp_path: Path) -> Iterator[Swarm]:
    with FakeEngine(tmp_path) as engine:
        engine.swarm.update(NodeID="node1", NodeAddr="127.0.0.1", Cluster={"ID": "c1"})
        for name in ("scheduler", "api-server", "dag-processor"):
            engine.post("/services/create", {}, service(name))
        before = engine.names("services")
        yield Swarm(engine, tmp_path)
        assert engine.names("services") == before, "a job was left behind"


def said(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


def test_a_command_runs_as_the_component_that_has_what_it_needs_and_secrets_are_stars(swarm: Swarm) -> None:
    swarm.engine.log = printed(1, f"ada | Viewer | {PASSWORD}\n") + printed(2, "deprecated\n")

    done = swarm.play("-e", 'run_command="airflow users list"')

    assert done.returncode == 0, said(done)
    (job,) = swarm.jobs
    assert job["Name"].startswith(f"{STACK}_run-api-server-")
    assert job["TaskTemplate"]["ContainerSpec"]["Args"] == ["airflow", "users", "list"]
    assert "ada | Viewer | ********" in done.stdout, said(done)
    assert "--- standard error:" in done.stdout
    assert "exit code 0 on alpha" in done.stdout
    assert PASSWORD not in said(done)


def test_a_command_that_fails_fails_the_play_with_its_output_and_as_the_component_that_was_named(swarm: Swarm) -> None:
    swarm.engine.log = printed(2, "no such table: dag_run\n")
    swarm.behaviour = "fails"

    done = swarm.play("-e", '{"run_command": ["manage", "it | all"], "run_service": "dag-processor"}')

    assert done.returncode == 2, said(done)
    assert swarm.jobs[0]["Name"].startswith(f"{STACK}_run-dag-processor-")
    assert "manage 'it | all' ended with exit code 1 on alpha." in said(done)
    assert "--- standard error:" in done.stdout
    assert "no such table: dag_run" in done.stdout


def test_check_mode_runs_nothing_and_says_what_would_run_where(swarm: Swarm) -> None:
    done = swarm.play("--check", "-e", 'run_command="airflow db check"')

    assert "Would run airflow db check with tiny:1 on one of: alpha" in done.stdout, said(done)
    assert swarm.jobs == []


def test_a_command_whose_quotes_were_lost_on_the_way_is_refused_with_the_right_form(swarm: Swarm) -> None:
    done = swarm.play("-e", "run_command=airflow users list")

    assert done.returncode == 2
    assert "Only the word airflow of the command arrived" in said(done)
    assert swarm.jobs == []


def test_with_mistakes_in_the_inventory_nothing_is_run_because_nobody_knows_what_to_hide(swarm: Swarm) -> None:
    done = swarm.play("-e", 'run_command="airflow db check"', "-e", '{"airflow_workers": "none"}')

    assert done.returncode != 0
    assert "The inventory has mistakes" in said(done)
    assert swarm.jobs == []
