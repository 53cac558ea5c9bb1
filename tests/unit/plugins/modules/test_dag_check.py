"""Behaviour of the module dag_check against an engine that is only a memory."""

from __future__ import annotations

import json
import sys
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.release_check import MARK
from ansible_collections.flowstead.airflow.plugins.module_utils._docker import job, job_output
from ansible_collections.flowstead.airflow.plugins.modules import dag_check

sys.path.insert(0, str(Path(__file__).parents[1] / "module_utils" / "_docker"))
from fake_engine import NAMESPACE, FakeEngine

RELEASE = "20261126T142301Z-1a2b3c4d5e6f"
SPEC: dict[str, t.Any] = {
    "Name": "airflow_dag-processor",
    "Labels": {NAMESPACE: "airflow"},
    "TaskTemplate": {
        "ContainerSpec": {"Image": "airflow:1", "Env": ["API_TOKEN=0123456789"]},
        "RestartPolicy": {"Condition": "any"},
        "Networks": [],
    },
    "Mode": {"Replicated": {"Replicas": 1}},
    "EndpointSpec": {"Mode": "vip"},
}


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    monkeypatch.setattr(dag_check.secrets, "token_hex", lambda _count: "01")
    monkeypatch.setattr(job, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(job_output, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(job_output, "LOG_SECONDS", 0.0)
    with FakeEngine(tmp_path) as engine:
        engine.post("/services/create", {}, json.loads(json.dumps(SPEC)))
        yield engine
        assert engine.names("services") == ["airflow_dag-processor"], "a job was left behind"


Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def run(fake: FakeEngine, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the module and return its result."""

    def run_module(**given: t.Any) -> dict[str, t.Any]:
        arguments = {
            "stack": "airflow",
            "bundle": "dags",
            "release": RELEASE,
            "queues": ["default"],
            "docker_socket": fake.socket,
            **given,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            dag_check.main()
        return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))

    return run_module


def printed(channel: int, text: str) -> bytes:
    return bytes([channel, 0, 0, 0]) + len(text.encode()).to_bytes(4, "big") + text.encode()


def answer(**changes: t.Any) -> bytes:
    document = {
        "problems": [],
        "dags": {"a": {"file": "a.py", "queues": ["default"], "tasks": 1}},
        "files": {"a.py": 0.1},
        "seconds": 0.2,
        **changes,
    }
    return printed(1, MARK + json.dumps(document) + "\n")


def test_a_sound_release_passes_and_tells_what_is_in_it(run: Run, fake: FakeEngine) -> None:
    fake.log = printed(1, "a DAG prints\n") + answer()

    result = run()

    assert result["changed"] is False
    assert not result.get("failed")
    assert result["dags"]["a"]["tasks"] == 1
    assert (result["files"], result["seconds"], result["node"]) == ({"a.py": 0.1}, 0.2, "alpha")
    created = [write for write in fake.writes if write == "POST /services/create"]
    assert len(created) == 2  # the service itself, and the job


def test_all_problems_fail_the_task_with_place_and_fix_and_without_secrets(run: Run, fake: FakeEngine) -> None:
    problem = {"kind": "import_error", "file": "a.py", "line": 3, "message": "0123456789 is wrong", "fix": "mend it"}
    fake.log = answer(problems=[problem])

    result = run(known={"a": "sales", **{f"dag_{number:05}": "sales" for number in range(10_000)}})

    assert result["failed"]
    assert [item["kind"] for item in result["problems"]] == ["import_error", "duplicate_dag_id"]
    assert "a.py:3: ******** is wrong. Fix: mend it." in result["msg"]
    assert "a.py: DAG a is in bundle sales already." in result["msg"]
    assert "0123456789" not in json.dumps(result)


@pytest.mark.parametrize(
    ("behaviour", "log", "words"),
    [
        ("finds no node", "", "unschedulable"),
        ("rejects", "", "image_pull"),
        ("fails", "No module named flowstead_airflow.release_check", "build and deploy the image again"),
    ],
)
def test_a_check_that_could_not_run_says_why_and_what_to_do(
    run: Run, fake: FakeEngine, behaviour: str, log: str, words: str
) -> None:
    fake.behaviour["check-dags-01"] = behaviour
    fake.log = printed(2, f"{log}\n")

    result = run(pending_timeout=1, timeout=5)

    assert result["failed"]
    assert result["msg"].startswith(f"Release {RELEASE} of bundle dags was not checked. ")
    assert words in result["msg"]
    assert "What to do: " in result["msg"]
    assert result["failure"]["advice"]


def test_an_end_without_an_answer_is_no_pass(run: Run, fake: FakeEngine) -> None:
    fake.log = printed(1, "nothing of importance, 0123456789\n")

    result = run()

    assert result["failed"]
    assert "without an answer" in result["msg"]
    assert "0123456789" not in json.dumps(result)


def test_check_mode_makes_no_job(run: Run, fake: FakeEngine) -> None:
    fake.writes.clear()

    result = run(_ansible_check_mode=True)

    assert (result["changed"], result["skipped"], fake.writes) == (False, True, [])


def test_every_bad_parameter_is_told_in_one_message(run: Run) -> None:
    result = run(
        bundle="../x", release="latest", timeout=0, queues=["a,b"], registry_auth={"reg.test": {"username": "me"}}
    )

    for word in ("bundle is", "release is", "timeout is", "queues has", "registry_auth.reg.test"):
        assert word in result["msg"]


def test_a_worker_and_a_missing_service_are_told_so(run: Run, fake: FakeEngine) -> None:
    assert "has no service parser; it has dag-processor" in run(service="parser")["msg"]
    fake.swarm = {"LocalNodeState": "active", "ControlAvailable": False}
    assert "Run this on a manager" in run()["msg"]


def test_the_password_of_a_registry_is_shown_nowhere(run: Run, fake: FakeEngine) -> None:
    fake.log = printed(1, "hidden-password\n") + answer()

    result = run(registry_auth={"docker.io": {"username": "me", "password": "hidden-password"}})

    assert "hidden-password" not in json.dumps(result)
    assert result["invocation"]["module_args"]["registry_auth"]["docker.io"]["username"] == "me"
    assert fake.auth == ["POST /services/create"]


def test_the_documentation_names_the_same_options_as_the_code() -> None:
    assert set(yaml.safe_load(dag_check.DOCUMENTATION)["options"]) == set(dag_check.ARGUMENT_SPEC)
