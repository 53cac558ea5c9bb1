"""Behaviour of the module airflow_canary and of its action plugin."""

from __future__ import annotations

import json
import socket
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.flowstead.airflow.plugins.action import airflow_canary as action
from ansible_collections.flowstead.airflow.plugins.modules import airflow_canary

Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the module and return its result."""

    def run_module(**given: t.Any) -> dict[str, t.Any]:
        arguments = {
            "url": "http://127.0.0.1:1",
            "username": "admin",
            "password": "hidden-secret",
            "canaries": [{"queue": "default", "dag_id": "canary"}],
            "timeout": 0,
            **given,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            airflow_canary.main()
        return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))

    return run_module


def test_check_mode_triggers_nothing_and_says_so(run: Run) -> None:
    result = run(_ansible_check_mode=True)

    assert (result["changed"], result["skipped"]) == (False, True)
    assert "check mode" in result["msg"]


def test_a_url_without_a_scheme_is_refused(run: Run) -> None:
    assert "http://" in run(url="airflow.example")["msg"]


def test_an_airflow_that_does_not_answer_is_one_message_with_a_fix(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    result = run(url=f"http://127.0.0.1:{port}")

    assert result["failed"]
    assert "refuses the connection" in result["msg"]
    assert "Fix: Look at the api-server" in result["msg"]


def test_a_slice_ends_with_what_is_needed_to_go_on(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    result = run(url=f"http://127.0.0.1:{port}", timeout=600, _slice=0)

    assert result["changed"] is False
    assert isinstance(result["_resume"], str)
    assert "hidden-secret" not in json.dumps(result)


def test_the_action_repeats_the_module_until_it_has_a_result_and_prints_what_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = [
        {"changed": False, "progress": ["canary: default queued -> running"], "_resume": "packed"},
        {"changed": False, "progress": ["canary: default passed"], "version": "3.3.2"},
    ]
    asked: list[t.Any] = []
    printed: list[str] = []

    class Action(action.ActionModule):
        """Without a connection."""

        def __init__(self) -> None:
            self._task = type("Task", (), {"args": {"url": "http://a", "_resume": "forged"}, "async_val": 0})()

        def _execute_module(self, **given: t.Any) -> dict[str, t.Any]:
            asked.append(given["module_args"])
            return answers[len(asked) - 1]

    monkeypatch.setattr(action.ActionBase, "run", lambda *_arguments: {})
    monkeypatch.setattr(action.display, "display", printed.append)

    result = Action().run()

    assert result == {"changed": False, "version": "3.3.2"}
    assert [arguments["_resume"] for arguments in asked] == [None, "packed"]
    assert printed == ["canary: default queued -> running", "canary: default passed"]
