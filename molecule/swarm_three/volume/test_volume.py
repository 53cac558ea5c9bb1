"""What Splunk costs a task that prints as fast as it can, on a host with a single CPU: the dearest case of all."""

from __future__ import annotations

import typing as t
import urllib.parse

from airflow_api import ENDED, Airflow
from cluster import Cluster
from conftest_shared import SHARE
from lab_hosts import ROOT, SERVICES, Hosts, Waiting, wait_for
from report import Table
from splunk import Splunk
from task_cpu import TaskCpu
from twin import Twin

#: Lines of each task; two tasks of each kind are in a run, so that neither kind always comes behind the other.
LINES, TASKS = 100_000, 2
#: Of a task's processor time, what the thread that sends may take: on a single CPU, that is what the task takes longer.
#: The seconds of both kinds are told, but they hold what else the machine did meanwhile.
SENDING = 0.05
#: Far above what was measured, for the same reason: a task that waits for Splunk would reach it.
ALLOWED = 2.0
#: Hosts that share no CPU of the machine with the double of Splunk, whose own work would count as the task's.
AWAY_FROM_SPLUNK = ("swarm3", "swarm2")


def test_what_splunk_costs_a_task_of_100000_lines(
    hosts: Hosts, cluster: Cluster, airflow: Airflow, splunk: Splunk, figures: Table
):
    hosts.write(SERVICES, f"{SHARE}/loud.py", (ROOT / "molecule/support/dags/loud.py").read_text())
    hosts.lab("hold")
    try:
        seconds, memory, sending = compare(cluster, airflow, splunk)
    finally:
        hosts.lab("free")
        hosts.run(SERVICES, "rm", f"{SHARE}/loud.py")
    print(f"seconds of each task: {seconds}")
    mean = {kind: sum(found) / len(found) for kind, found in seconds.items()}
    more = 100 * (mean["splunk"] / mean["files"] - 1)
    figures.add("a task of 100,000 lines, local files alone", f"{mean['files']:.1f} s")
    figures.add("... with Splunk", f"{mean['splunk']:.1f} s, {more:+.1f} %")
    figures.add("... of its processor time, the thread that sends", f"{100 * sending:.1f} %")
    figures.add("memory of the worker at its peak, local files alone", f"{memory['files']:.0f} MB")
    figures.add("... with Splunk", f"{memory['splunk']:.0f} MB")
    assert 0 < sending < SENDING
    assert mean["splunk"] < ALLOWED * mean["files"]
    assert memory["splunk"] < memory["files"] + 64


def compare(
    cluster: Cluster, airflow: Airflow, splunk: Splunk
) -> tuple[dict[str, list[float]], dict[str, float], float]:
    """Seconds of tasks on two workers of one host, without Splunk and with it, and the most memory of each in MB.

    The last figure is the part of the processor time of tasks with Splunk that the thread that sends took.
    """
    wait_for("the DAG loud", lambda: airflow.keep_asking("GET", "/api/v2/dags?dag_id_pattern=loud")["dags"], 300)
    host = next(name for name in AWAY_FROM_SPLUNK if name != cluster.leader())
    with Twin(cluster, host, "loud-files", sink=False) as files, Twin(cluster, host, "loud-splunk", sink=True) as sink:
        with (
            TaskCpu(cluster.hosts, host, files.container()) as without,
            TaskCpu(cluster.hosts, host, sink.container()) as sending,
        ):
            run, seconds = loud_run(airflow)
        print(f"ticks of each task: files {without.seen()}, splunk {sending.seen()}")
        assert without.share() < sending.share() / 3, "without Splunk there is no thread that sends"
        for number in range(1, TASKS + 1):
            source = f"dag_id=loud/run_id={run}/task_id=splunk-{number}/attempt=1.log"
            assert splunk.printed(source, "a line of usual length") == LINES
        splunk.forget()
        return seconds, {"files": files.memory(), "splunk": sink.memory()}, sending.share()


def loud_run(airflow: Airflow) -> tuple[str, dict[str, list[float]]]:
    """The ID of a new run of the DAG `loud`, and how many seconds the tasks of each kind took."""
    made = airflow.keep_asking("POST", "/api/v2/dags/loud/dagRuns", {"logical_date": None, "conf": {"lines": LINES}})
    path = f"/api/v2/dags/loud/dagRuns/{urllib.parse.quote(made['dag_run_id'], safe='')}"

    def ended() -> t.Any:
        state = airflow.keep_asking("GET", path)["state"]
        return state if state in ENDED else Waiting(state)

    assert wait_for(f"the end of {made['dag_run_id']}", ended, 1800, pause=2) == "success"
    seconds: dict[str, list[float]] = {}
    for entry in airflow.keep_asking("GET", f"{path}/taskInstances")["task_instances"]:
        seconds.setdefault(entry["task_id"].partition("-")[0], []).append(entry["duration"])
    return made["dag_run_id"], seconds
