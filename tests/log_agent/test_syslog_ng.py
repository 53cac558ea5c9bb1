"""What containers and the host say reaches Splunk, whatever happens to the agent and to Splunk."""

from __future__ import annotations

import dataclasses
import json
import signal
import time
import typing as t
from pathlib import Path

from ansible_collections.flowstead.airflow.plugins.module_utils._logs.agent import Agent
from conftest import Journal, Runner, wait_for
from splunk_double import SplunkDouble

CONTAINER = {
    "PRIORITY": "6",
    "_HOSTNAME": "node1",
    "_TRANSPORT": "journal",
    "_SYSTEMD_UNIT": "docker.service",
    "SYSLOG_IDENTIFIER": "0123456789ab",
    "CONTAINER_ID": "0123456789ab",
    "CONTAINER_NAME": "airflow-lab_dag-processor.1.abc",
    "IMAGE_NAME": "registry.test/airflow@sha256:1",
    "COM_DOCKER_STACK_NAMESPACE": "airflow-lab",
    "COM_DOCKER_SWARM_SERVICE_NAME": "airflow-lab_dag-processor",
    "COM_DOCKER_SWARM_TASK_NAME": "airflow-lab_dag-processor.1.abc",
}


def lines(*texts: str) -> list[dict[str, str]]:
    """Entries of a container."""
    return [{**CONTAINER, "MESSAGE": text} for text in texts]


def numbers(first: int, last: int) -> list[str]:
    """Texts that can be counted."""
    return [f"line {number}" for number in range(first, last)]


def messages(splunk: SplunkDouble, index: str = "airflow") -> list[str]:
    """What Splunk has in an index."""
    return [json.loads(event["raw"])["message"] for event in splunk.events if event["index"] == index]


def await_messages(splunk: SplunkDouble, runner: Runner, wanted: t.Collection[str], index: str = "airflow") -> None:
    """Wait until Splunk has them all."""
    wait_for(
        f"{len(wanted)} lines in {index}",
        lambda: set(wanted) <= set(messages(splunk, index)),
        lambda: f"{len(set(messages(splunk, index)))} are there. {runner.log.read_text()[-3000:]}",
    )


def test_lines_of_containers_and_of_the_host_are_events_that_say_where_they_come_from(
    splunk: SplunkDouble, journal: Journal, runner: Runner, agent: Agent
) -> None:
    runner.start(agent)
    host = {"_HOSTNAME": "node1", "PRIORITY": "4", "_TRANSPORT": "syslog", "SYSLOG_IDENTIFIER": "sshd"}
    journal.write(
        *lines('{"event": "parsed", "dag": "süß"}'),
        {**host, "MESSAGE": "somebody", "_SYSTEMD_UNIT": "ssh.service"},
        {**host, "MESSAGE": "eth0 up", "_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "kernel"},
    )
    await_messages(splunk, runner, ["somebody", "eth0 up"], "hosts")
    await_messages(splunk, runner, ['{"event": "parsed", "dag": "süß"}'])
    (event,) = [event for event in splunk.events if event["index"] == "airflow"]
    assert json.loads(event["raw"])["priority"] == "info"
    assert (event["host"], event["source"]) == ("node1", "container:airflow-lab_dag-processor.1.abc")
    assert event["sourcetype"] == "airflow:component"
    assert event["fields"] == {
        "environment": "test",
        "node": "node1",
        "stack": "airflow-lab",
        "service": "airflow-lab_dag-processor",
        "component": "dag-processor",
        "container": "0123456789ab",
        "image": "registry.test/airflow@sha256:1",
    }
    others = [event for event in splunk.events if event["index"] == "hosts"]
    assert [(event["source"], event["sourcetype"]) for event in others] == [
        ("journal:ssh.service", "journald"),
        ("journal:kernel", "journald"),
    ]
    assert "a-token" not in runner.command_line()


def test_only_lines_from_now_on_are_sent_unless_the_history_is_asked_for(
    splunk: SplunkDouble, journal: Journal, runner: Runner, agent: Agent
) -> None:
    journal.write(*lines("before"))
    came = int(time.time()) + 1
    Path(agent.since_file).write_text(f'@define since "{came}"\n')
    wait_for("the next second", lambda: time.time() >= came)
    runner.start(agent)
    journal.write(*lines("after"))
    await_messages(splunk, runner, ["after"])
    assert messages(splunk) == ["after"]


def test_with_the_history_the_journal_is_sent_from_its_begin(
    splunk: SplunkDouble, journal: Journal, runner: Runner, agent: Agent
) -> None:
    journal.write(*lines("before"))
    runner.start(dataclasses.replace(agent, history=True))
    journal.write(*lines("after"))
    await_messages(splunk, runner, ["before", "after"])
    await_messages(splunk, runner, ["boot"], "hosts")


def test_lines_of_the_host_stay_there_when_only_containers_are_asked_for(
    splunk: SplunkDouble, journal: Journal, runner: Runner, agent: Agent
) -> None:
    runner.start(dataclasses.replace(agent, host_lines=False))
    journal.write({"MESSAGE": "private", "_TRANSPORT": "kernel"}, *lines("public"))
    await_messages(splunk, runner, ["public"])
    assert messages(splunk, "hosts") == []


def test_an_agent_that_is_killed_while_splunk_is_away_loses_no_line(
    splunk: SplunkDouble, journal: Journal, runner: Runner, agent: Agent
) -> None:
    runner.start(agent)
    journal.write(*lines("first"))
    await_messages(splunk, runner, ["first"])
    splunk.set_mode("down")
    journal.write(*lines(*numbers(0, 3000)))
    runner.end(signal.SIGKILL)
    journal.write(*lines(*numbers(3000, 5000)))
    runner.start(agent)
    journal.write(*lines(*numbers(5000, 6000)))
    splunk.set_mode("up")
    await_messages(splunk, runner, numbers(0, 6000))


def test_a_collector_that_has_no_room_is_asked_again(
    splunk: SplunkDouble, journal: Journal, runner: Runner, agent: Agent
) -> None:
    splunk.set_mode("busy")
    runner.start(agent)
    journal.write(*lines(*numbers(0, 100)))
    wait_for("a refusal", lambda: any(one["status"] == 503 for one in splunk.requests), runner.log.read_text)
    splunk.set_mode("up")
    await_messages(splunk, runner, numbers(0, 100))


def test_lines_wait_while_the_token_is_refused(
    splunk: SplunkDouble, journal: Journal, runner: Runner, agent: Agent
) -> None:
    runner.start(dataclasses.replace(agent, token="an-old-token"))
    journal.write(*lines(*numbers(0, 100)))
    wait_for("a refusal", lambda: any(one["status"] == 403 for one in splunk.requests), runner.log.read_text)
    runner.end()
    runner.start(agent)
    await_messages(splunk, runner, numbers(0, 100))


def test_an_index_that_is_refused_does_not_hold_the_other(
    splunk: SplunkDouble, journal: Journal, runner: Runner, agent: Agent
) -> None:
    runner.start(dataclasses.replace(agent, host_index="nowhere"))
    journal.write({"MESSAGE": "lost", "_TRANSPORT": "kernel"}, *lines("first"))
    wait_for("a refusal", lambda: any(one["status"] == 400 for one in splunk.requests), runner.log.read_text)
    journal.write(*lines(*numbers(0, 100)))
    await_messages(splunk, runner, ["first", *numbers(0, 100)])


def test_long_and_odd_lines_arrive_as_they_are(
    splunk: SplunkDouble, journal: Journal, runner: Runner, agent: Agent
) -> None:
    odd = ["x" * 100_000, 'quotes " and \\ and $HOME and ${MESSAGE}', "two\nlines\tand a tab", "\x1b[31mred\x1b[0m"]
    runner.start(agent)
    journal.write(*lines(*odd))
    await_messages(splunk, runner, odd)


def test_a_container_outside_of_a_stack_has_no_component(
    splunk: SplunkDouble, journal: Journal, runner: Runner, agent: Agent
) -> None:
    runner.start(agent)
    own = {name: value for name, value in CONTAINER.items() if not name.startswith("COM_DOCKER")}
    journal.write({**own, "CONTAINER_NAME": "tool", "MESSAGE": "by hand"})
    await_messages(splunk, runner, ["by hand"])
    (event,) = splunk.events
    assert event["source"] == "container:tool"
    assert not {"stack", "service", "component"} & set(event["fields"])
