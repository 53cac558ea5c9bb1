"""Where containers write, and which options of a log driver are refused."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.compose import Target, compose
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.services import services
from platform_samples import platform_of, problems_of

SPLUNK = {"splunk-url": "https://splunk.example.com:8088", "splunk-token": "hidden"}


def logging(**components: t.Any) -> dict[str, t.Any]:
    """What every service has."""
    platform = platform_of({"airflow_logs": {"components": components}})
    document = compose(services(platform, "image"), platform, Target("airflow"))
    found = [service["logging"] for service in document["services"].values()]
    assert all(one == found[0] for one in found)
    return t.cast("dict[str, t.Any]", found[0])


def problems(config: dict[str, t.Any] | None = None, tasks: dict[str, t.Any] | None = None, **components: t.Any):
    changes = {"airflow_logs": {"components": components, "tasks": tasks or {}}, "airflow_config": config or {}}
    return {problem.variable: problem.line() for problem in problems_of(changes)}


def test_files_are_rotated_unless_something_else_is_asked_for() -> None:
    assert logging() == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}
    assert logging(driver="local", options={"max-file": 5})["options"] == {"max-size": "10m", "max-file": "5"}


def test_the_journal_learns_which_service_a_line_is_of() -> None:
    found = logging(driver="journald")
    assert found["driver"] == "journald"
    assert "com.docker.swarm.service.name" in found["options"]["labels"].split(",")


def test_dockers_own_sender_never_holds_up_a_container() -> None:
    found = logging(driver="splunk", options={**SPLUNK, "splunk-index": "airflow"}, token_in_inspect=True)["options"]
    assert (found["mode"], found["splunk-verify-connection"]) == ("non-blocking", "false")
    assert (found["splunk-url"], found["splunk-index"]) == (SPLUNK["splunk-url"], "airflow")


def test_dockers_own_sender_is_refused_without_a_word_about_its_token() -> None:
    found = problems(driver="splunk", options=SPLUNK)
    assert set(found) == {"airflow_logs.components.token_in_inspect"}
    assert "journald" in found["airflow_logs.components.token_in_inspect"]


def test_options_that_hold_up_containers_and_missing_ones_are_refused_together() -> None:
    options = {"mode": "blocking", "splunk-verify-connection": True}
    found = problems(driver="splunk", options=options, token_in_inspect=True)
    assert set(found) == {
        f"airflow_logs.components.options.{name}"
        for name in ("splunk-url", "splunk-token", "mode", "splunk-verify-connection")
    }
    assert "hidden" not in str(problems(driver="splunk", options={**SPLUNK, "mode": "blocking"}))


@pytest.mark.parametrize(("name", "value"), [("max-size", "-1"), ("max-file", 0), ("max-size", "")])
def test_files_without_a_bound_are_refused(name: str, value: object) -> None:
    assert set(problems(options={name: value})) == {f"airflow_logs.components.options.{name}"}


def test_lines_of_tasks_do_not_reach_splunk_twice() -> None:
    tasks = {"splunk": {"url": "https://splunk.example.com:8088", "token": "hidden"}}
    stdout = {"celery": {"task_logs_to_stdout": True}}
    assert set(problems(stdout, tasks, driver="journald")) == {"airflow_config.celery.task_logs_to_stdout"}
    assert problems(stdout, tasks, driver="json-file") == {}
    assert problems(stdout, {}, driver="journald") == {}
