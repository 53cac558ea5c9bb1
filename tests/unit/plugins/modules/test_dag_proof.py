"""Behaviour of the module dag_proof."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.flowstead.airflow.plugins.modules import dag_proof

sys.path.insert(0, str(Path(__file__).parents[1] / "module_utils" / "_docker"))
from fake_engine import NAMESPACE, FakeEngine

RELEASE = "20261126T142301Z-1a2b3c4d5e6f"
Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    with FakeEngine(tmp_path) as engine:
        yield engine


@pytest.fixture
def run(fake: FakeEngine, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the module and return its result."""

    def run_module(**given: t.Any) -> dict[str, t.Any]:
        arguments = {
            "stack": "airflow",
            "bundle": "dags",
            "release": RELEASE,
            "hash": "1a2b3c4d5e6f",
            "timeout": 0,
            "docker_socket": fake.socket,
            **given,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            dag_proof.main()
        return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))

    return run_module


@pytest.fixture
def container(fake: FakeEngine) -> Iterator[None]:
    """A container whose process is an ordinary one of this machine, which sees no bundle."""
    with subprocess.Popen(["sleep", "600"]) as process:
        fake.containers.append(
            {
                "Id": "c1",
                "Names": ["/airflow_worker.1"],
                "State": "running",
                "Labels": {NAMESPACE: "airflow"},
                "Mounts": [{"Destination": "/opt/airflow/bundles/dags"}],
            }
        )
        fake.pids["c1"] = process.pid
        yield
        process.kill()


def test_no_container_is_an_empty_list(run: Run) -> None:
    result = run()

    assert (result["changed"], result["containers"], result.get("failed")) == (False, [], None)


@pytest.mark.usefixtures("container")
@pytest.mark.skipif(os.geteuid() != 0, reason="looking into other processes needs root")
def test_a_container_that_does_not_see_it_fails_the_task_and_is_named(run: Run) -> None:
    result = run()

    assert result["failed"]
    assert "airflow_worker.1 (no service) sees: there is neither .sentinel nor current" in result["msg"]
    assert result["containers"][0]["seconds"] is None


@pytest.mark.usefixtures("container")
def test_check_mode_looks_once_and_passes(run: Run) -> None:
    result = run(_ansible_check_mode=True, timeout=600)

    assert not result.get("failed")
    assert "not" in result["msg"].lower()


def test_an_engine_that_does_not_answer_is_told(run: Run, tmp_path: Path) -> None:
    result = run(docker_socket=str(tmp_path / "none.sock"))

    assert result["failed"]
    assert "Docker does not answer" in result["msg"]


def test_every_bad_parameter_is_told_in_one_message(run: Run) -> None:
    result = run(bundle="a/b", release="x", hash="1a2b")

    for word in ("bundle is 'a/b'", "release is 'x'", "hash is '1a2b'"):
        assert word in result["msg"]


def test_the_documentation_names_the_same_options_as_the_code() -> None:
    assert set(yaml.safe_load(dag_proof.DOCUMENTATION)["options"]) == set(dag_proof.ARGUMENT_SPEC)
