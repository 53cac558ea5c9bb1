"""Task logs to Splunk from three hosts: there while a task runs, readable without the host, whole after power loss."""

from __future__ import annotations

import json
import time
import typing as t

import pytest
from airflow_api import Airflow, Run
from cluster import Cluster
from conftest_shared import changed, play, refused, went_well
from lab_hosts import MANAGERS, SERVICES, Hosts, wait_for
from report import Table
from splunk import Splunk, log_path

VOLUME = "/var/lib/docker/volumes/airflow-lab_logs/_data"


@pytest.fixture(scope="module")
def splunk(hosts: Hosts) -> t.Iterator[Splunk]:
    """Splunk on the services host."""
    double = Splunk(hosts)
    double.start()
    yield double
    double.stop()


@pytest.fixture(scope="module")
def to_splunk(splunk: Splunk) -> tuple[str, str]:
    """Words that make it the sink of task logs."""
    return "--extra-vars", json.dumps({"airflow_logs": {"tasks": {"splunk": splunk.variables}, "sweep_seconds": 10}})


def marks(splunk: Splunk, run: Run, index: int, attempt: int = 1) -> int:
    """Lines of the task itself that Splunk has of an attempt."""
    found = splunk.events(log_path(run.id, index, attempt))
    return sum(f"of {run.seconds}" in event["raw"] for event in found)


def attempts(run: Run) -> t.Iterator[tuple[int, dict[str, t.Any]]]:
    """Every attempt of every task, with the task's number."""
    for entry in run.instances():
        for attempt in run.tries(entry["map_index"]):
            yield entry["map_index"], attempt


def test_what_splunk_would_refuse_is_named_before_anything_changes(splunk: Splunk, to_splunk: tuple[str, str]):
    wrong = {**splunk.variables, "token": "another-token", "search_token": "another-search"}
    words = ("--extra-vars", json.dumps({"airflow_logs": {"tasks": {"splunk": wrong}}}))
    done = play(*words, playbook="playbooks/preflight.yml")
    refused(done, "airflow_logs.tasks.splunk.token", *MANAGERS)
    assert "another-" not in done.stdout + done.stderr


def test_the_platform_takes_it_over_and_a_second_run_changes_nothing(
    cluster: Cluster, airflow: Airflow, to_splunk: tuple[str, str]
):
    assert changed(went_well(play(*to_splunk)).stdout) > 0
    cluster.await_strength()
    assert changed(went_well(play(*to_splunk)).stdout) == 0


def test_lines_are_there_while_the_task_runs_and_all_of_them_afterwards(
    splunk: Splunk, airflow: Airflow, figures: Table
):
    run = Run(airflow, tasks=3, seconds=40)
    run.await_running(3)
    wait_for("lines of a running task", lambda: marks(splunk, run, 0) >= 5, 120)
    assert run.state() == "running"
    run.await_success()
    assert [marks(splunk, run, index) for index in range(3)] == [40, 40, 40]
    figures.add("lines of three tasks in Splunk, of 120", sum(marks(splunk, run, index) for index in range(3)))


def test_the_interface_shows_a_log_that_only_splunk_has(hosts: Hosts, splunk: Splunk, airflow: Airflow):
    run = Run(airflow, tasks=2, seconds=5)
    run.await_success()
    for host in MANAGERS:
        hosts.run(host, f"rm -rf {VOLUME}/dag_id=probe/run_id={run.id}")
    assert run.lost_lines() == (0, 0)


def test_a_splunk_that_hangs_holds_up_no_task_and_gets_every_line_when_it_is_back(
    splunk: Splunk, airflow: Airflow, figures: Table
):
    splunk.mode("hang")
    began = time.monotonic()
    run = Run(airflow, tasks=3, seconds=10)
    run.await_success()
    figures.add("three tasks of 10 s while Splunk hangs", time.monotonic() - began)
    splunk.mode("up")
    wait_for("every line", lambda: [marks(splunk, run, index) for index in range(3)] == [10, 10, 10], 300)


def test_a_host_that_loses_power_delivers_the_rest_when_it_is_back(
    hosts: Hosts, cluster: Cluster, splunk: Splunk, airflow: Airflow, figures: Table
):
    cluster.await_strength()
    run = Run(airflow, tasks=4, seconds=45)
    workers = cluster.workers()
    leader = cluster.leader()
    busy = {workers[entry["hostname"]]: entry["map_index"] for entry in run.await_running(4)}
    victim = next(host for host in busy if host != leader)
    wait_for("lines of the task to be", lambda: marks(splunk, run, busy[victim]) >= 5, 120)
    hosts.lab("kill", victim)
    at_death = marks(splunk, run, busy[victim])
    run.await_success()
    hosts.lab("start", victim)
    cluster.await_strength()
    path = log_path(run.id, busy[victim], 1)

    def missing() -> int:
        written = hosts.run(victim, f"wc -l < '{VOLUME}/{path}' || echo 0").strip()
        return int(written) - len(splunk.events(path))

    wait_for("the rest of the log", lambda: missing() <= 0, 300)
    figures.add("lines in Splunk of a task whose host lost power: at once", at_death)
    figures.add("... and after the host was back", marks(splunk, run, busy[victim]))
    for index, attempt in attempts(run):
        if attempt["state"] == "success":
            assert marks(splunk, run, index, attempt["try_number"]) == 45


@pytest.mark.parametrize("host", [*MANAGERS, SERVICES])
def test_no_token_shows_in_process_lists_inspect_or_logs(hosts: Hosts, splunk: Splunk, host: str):
    seen = hosts.run(host, "sh", "-c", '\'cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" " "\'')
    seen += hosts.run(host, "journalctl", "--no-pager", "--output=cat", timeout=300)
    if host in MANAGERS:
        seen += hosts.run(
            host, "docker ps -aq | xargs -r docker inspect; docker service ls -q | xargs -r docker service inspect"
        )
    assert not [key for key in ("token", "search_token") if splunk.variables[key] in seen]
