from __future__ import annotations

import runpy
import sys
import types
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[5]
FILE = ROOT / "roles/airflow/files/runtime/flowstead_airflow/canary/flowstead_canary.py"
ALLOWED = {"dag_id", "description", "schedule", "catchup", "is_paused_upon_creation", "max_active_runs", "tags"}


class Dag:
    """Takes the arguments that the canaries may use, and collects the tasks made inside."""

    current: t.ClassVar[t.Any] = None

    def __init__(self, **arguments: t.Any) -> None:
        assert set(arguments) <= ALLOWED
        self.arguments = arguments
        self.tasks: list[t.Any] = []

    def __enter__(self) -> Dag:
        Dag.current = self
        return self

    def __exit__(self, *_error: t.Any) -> None:
        Dag.current = None


@pytest.fixture(name="sdk")
def _sdk(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    sdk = types.ModuleType("airflow.sdk")

    def task(task_id: str, queue: str, retries: int) -> t.Any:
        def decorate(function: t.Any) -> t.Any:
            return lambda: Dag.current.tasks.append((task_id, queue, retries, function))

        return decorate

    run = types.SimpleNamespace(conf={"nonce": "n-42"})
    sdk.DAG, sdk.task = Dag, task  # type: ignore[attr-defined]
    sdk.get_current_context = lambda: {"dag_run": run}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "airflow", types.ModuleType("airflow"))
    monkeypatch.setitem(sys.modules, "airflow.sdk", sdk)
    return sdk


def dags() -> dict[str, Dag]:
    found = runpy.run_path(str(FILE))
    return {name: value for name, value in found.items() if isinstance(value, Dag)}


@pytest.mark.usefixtures("sdk")
def test_without_queues_the_file_parses_and_has_no_dag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWSTEAD_CANARY_QUEUES", raising=False)
    assert dags() == {}


@pytest.mark.usefixtures("sdk")
def test_there_is_one_dag_per_queue_on_that_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSTEAD_CANARY_QUEUES", "default, big files/x,default,")
    found = dags()
    assert sorted(found) == ["flowstead_canary__big_files_x", "flowstead_canary__default"]
    for name, dag in found.items():
        assert dag.arguments["dag_id"] == name
        assert dag.arguments["schedule"] is None
    assert [entry[:3] for entry in found["flowstead_canary__big_files_x"].tasks] == [("sing", "big files/x", 0)]


@pytest.mark.usefixtures("sdk")
def test_the_task_logs_the_nonce_and_says_which_worker_ran_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLOWSTEAD_CANARY_QUEUES", "default")
    monkeypatch.setenv("FLOWSTEAD_WORKER", "worker-a")
    monkeypatch.setenv("FLOWSTEAD_QUEUES", "default,big")
    ((_id, _queue, _retries, sing),) = dags()["flowstead_canary__default"].tasks
    result = sing()
    assert capsys.readouterr().out == "flowstead canary n-42\n"
    assert set(result) == {"nonce", "queue", "worker", "queues", "host"}
    assert (result["nonce"], result["queue"]) == ("n-42", "default")
    assert (result["worker"], result["queues"]) == ("worker-a", "default,big")


def test_the_directory_that_airflow_scans_holds_nothing_but_the_dag_file() -> None:
    assert [path.name for path in FILE.parent.iterdir() if path.name != "__pycache__"] == ["flowstead_canary.py"]
