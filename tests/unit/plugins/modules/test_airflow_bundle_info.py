"""Behaviour of the module airflow_bundle_info."""

from __future__ import annotations

import json
import socket
import sys
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.bundles import parse_time
from ansible_collections.flowstead.airflow.plugins.modules import airflow_bundle_info

sys.path.insert(0, str(Path(__file__).parents[1] / "module_utils" / "_airflow"))
from airflow_double import Refusal
from bundle_double import BundleAirflow

Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def airflow() -> Iterator[BundleAirflow]:
    server = BundleAirflow()
    server.add("mine", "a", "r2")
    server.add("theirs", "b", "r9")
    server.add("gone", "b", "r9", is_stale=True)
    yield server
    server.close()
    assert server.objections == []


@pytest.fixture
def run(airflow: BundleAirflow, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the module and return its result."""

    def run_module(**given: t.Any) -> dict[str, t.Any]:
        arguments = {"url": airflow.url, "username": "admin", "password": "right", **given}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            airflow_bundle_info.main()
        return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))

    return run_module


@pytest.mark.parametrize("check_mode", [False, True])
def test_everything_of_one_bundle_is_told(run: Run, airflow: BundleAirflow, check_mode: bool) -> None:
    airflow.error("a", "x.py", 1.0)
    airflow.error("b", "y.py", 1.0)
    airflow.add_run("mine", "m", "running", "r1")
    airflow.add_run("theirs", "t", "running", "r8")

    result = run(bundle="a", _ansible_check_mode=check_mode)

    assert result["changed"] is False
    assert [error["file"] for error in result["import_errors"]] == ["x.py"]
    assert [(dag["dag_id"], dag["bundle_version"]) for dag in result["dags"]] == [("mine", "r2")]
    assert result["known"] == {"mine": "a", "theirs": "b"}
    assert [(one["run_id"], one["bundle"], one["bundle_version"]) for one in result["runs"]] == [("m", "a", "r1")]
    assert result["in_use"] == ["r1"]
    assert parse_time(result["server_time"]) > 0


def test_without_a_bundle_all_are_told(run: Run, airflow: BundleAirflow) -> None:
    airflow.add_run("theirs", "t", "queued", "r8")

    result = run()

    assert [dag["dag_id"] for dag in result["dags"]] == ["gone", "mine", "theirs"]
    assert result["in_use"] == ["r8"]


def test_a_run_of_a_bundle_that_nobody_knows_keeps_its_release(run: Run, airflow: BundleAirflow) -> None:
    airflow.add_run("mine", "m", "running", "r1", dag_versions=[])
    del airflow.rows["mine"]

    assert run(bundle="a", gather=["runs"])["in_use"] == ["r1"]


def test_only_what_is_asked_for_is_read(run: Run, airflow: BundleAirflow) -> None:
    result = run(bundle="a", gather=["import_errors"])

    assert "import_errors" in result
    assert not {"dags", "known", "runs", "in_use"} & result.keys()
    assert airflow.pages == 1


def test_a_release_that_is_not_read_in_time_does_not_fail_the_module(run: Run, airflow: BundleAirflow) -> None:
    result = run(bundle="a", gather=[], wait={"release": "r3", "dags": ["mine"], "timeout": 0})

    assert not result.get("failed")
    assert (result["read"], result["timed_out"]) == (False, True)
    assert result["missing"] == {"mine": "Airflow has it from release r2"}
    assert result["release_errors"] == []
    assert airflow.parse_requests == ["token-mine.py"]


def test_check_mode_does_not_wait(run: Run, airflow: BundleAirflow) -> None:
    result = run(bundle="a", gather=[], wait={"release": "r3", "dags": ["mine"]}, _ansible_check_mode=True)

    assert "read" not in result
    assert airflow.parse_requests == []


def test_every_bad_parameter_is_told_in_one_message(run: Run) -> None:
    result = run(url="airflow.example", wait={"release": "r", "dags": [], "since": "yesterday"})

    for word in ("url is", "bundle is missing", "wait.since is"):
        assert word in result["msg"]


def test_a_wrong_password_is_told_without_it(run: Run) -> None:
    result = run(password="wrong-secret")

    assert "refuses the password of user admin" in result["msg"]
    assert "wrong-secret" not in json.dumps(result)


def test_a_role_that_may_not_read_is_named(run: Run, airflow: BundleAirflow) -> None:
    run(gather=[])
    airflow.list_dags = refuse  # type: ignore[method-assign]

    assert "Give user admin a role that may read every DAG" in run(gather=["dags"])["msg"]


def refuse(_query: dict[str, str]) -> dict[str, t.Any]:
    raise Refusal(403, "Forbidden")


def test_an_airflow_that_does_not_answer_is_one_message_with_a_fix(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    result = run(url=f"http://127.0.0.1:{port}")

    assert "refuses the connection" in result["msg"]
    assert "Fix: Look at the api-server" in result["msg"]


def test_the_documentation_names_the_same_options_as_the_code() -> None:
    documented = yaml.safe_load(airflow_bundle_info.DOCUMENTATION)["options"]
    assert set(documented) == set(airflow_bundle_info.ARGUMENT_SPEC)
    assert set(documented["wait"]["suboptions"]) == set(airflow_bundle_info.ARGUMENT_SPEC["wait"]["options"])
