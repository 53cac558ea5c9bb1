"""A change that reaches every worker while tasks run: here they get more memory."""

from __future__ import annotations

import json
import threading
import time
import typing as t
import urllib.parse

import pytest
import yaml
from airflow_api import ENDED, Airflow, Run
from cluster import Cluster
from conftest_shared import INVENTORY, SHARE, changed, play, said, went_well
from lab_hosts import MANAGERS, SERVICES, Hosts, Waiting, wait_for
from report import Table
from twin import Twin

#: Another memory limit of workers than the inventory's.
MEMORY_MB = 1792
#: Seconds at most of tasks that begin before the change, and are let go when all workers have been changed.
LONG = 1800
#: How many of them: at least one on each of three workers with two places, and one place is left for short tasks.
LONG_TASKS = 5
#: Tasks on a worker that is changed with Docker's defaults, how long each takes, and where they come from.
PLAIN_TASKS, PLAIN_SECONDS = 2, 60
PLAIN_DAG = f"""
import time
from airflow.sdk import DAG, task

with DAG("plain", schedule=None, catchup=False, is_paused_upon_creation=False):

    @task(queue="plain", retries=12, retry_delay=2)
    def work(number: int):
        time.sleep({PLAIN_SECONDS})

    work.expand(number=list(range({PLAIN_TASKS})))
"""


class Stream:
    """Short runs, one after the other, until :meth:`stop`."""

    def __init__(self, airflow: Airflow) -> None:
        self._airflow, self._enough = airflow, threading.Event()
        self.runs: list[Run] = []
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Begin no other run; what went wrong in a run is raised."""
        self._enough.set()
        self._thread.join()
        if self._errors:
            raise self._errors[0]

    def _work(self) -> None:
        try:
            while not self._enough.is_set():
                self.runs.append(Run(self._airflow, tasks=2, seconds=2))
                self.runs[-1].await_success()
        except BaseException as error:  # stop() raises it
            self._errors.append(error)


class Plain:
    """A worker whose service says nothing about updates and grace, as most Compose files do."""

    def __init__(self, cluster: Cluster, airflow: Airflow, twin: Twin) -> None:
        self._cluster, self._airflow, self._twin = cluster, airflow, twin
        self._path = ""
        wait_for("the DAG plain", lambda: airflow.keep_asking("GET", "/api/v2/dags?dag_id_pattern=plain")["dags"], 300)

    def change(self) -> None:
        """Change a setting while its tasks run: the request that `docker stack deploy` makes, too."""
        body = {"logical_date": None, "conf": {}}
        made = self._airflow.keep_asking("POST", "/api/v2/dags/plain/dagRuns", body)
        self._path = f"/api/v2/dags/plain/dagRuns/{urllib.parse.quote(made['dag_run_id'], safe='')}"

        def busy() -> t.Any:
            running = sum(entry["state"] == "running" for entry in self._instances())
            return running == PLAIN_TASKS or Waiting(f"{running} running")

        wait_for("tasks on the plain worker", busy, 300)
        self._cluster.docker("service", "update", "--detach", "--env-add", "CHANGED=yes", self._twin.name)

    def cut_off(self) -> int:
        """How many tasks had to run again, once all have ended."""

        def ended() -> t.Any:
            state = self._airflow.keep_asking("GET", self._path)["state"]
            return state if state in ENDED else Waiting(state)

        assert wait_for("the end of the plain run", ended, 900, pause=2) == "success"
        return sum(entry["try_number"] > 1 for entry in self._instances())

    def _instances(self) -> list[dict[str, t.Any]]:
        return self._airflow.keep_asking("GET", f"{self._path}/taskInstances")["task_instances"]


@pytest.fixture(scope="module")
def plain(hosts: Hosts, cluster: Cluster, airflow: Airflow) -> t.Iterator[Plain]:
    """The plain worker."""
    hosts.write(SERVICES, f"{SHARE}/plain.py", PLAIN_DAG)
    try:
        with Twin(cluster, "swarm3", "plain", sink=True, plain=True) as twin:
            yield Plain(cluster, airflow, twin)
    finally:
        hosts.run(SERVICES, "rm", f"{SHARE}/plain.py")


def containers(hosts: Hosts) -> dict[str, str]:
    """Host of each container of a worker that runs, also of one that takes no more tasks."""
    return {
        identifier: host
        for host in MANAGERS
        for identifier in hosts.run(host, "docker", "ps", "-q", "--filter", "name=worker-default").split()
    }


def workers(memory_mb: int) -> str:
    """``airflow_workers`` of the inventory, with another memory limit of the first group."""
    groups = yaml.safe_load((INVENTORY / "group_vars/all/airflow.yml").read_text(encoding="utf-8"))["airflow_workers"]
    assert groups[0]["name"] == "default"
    assert groups[0]["memory_mb"] != memory_mb, "this has to be a change"
    return json.dumps({"airflow_workers": [{**groups[0], "memory_mb": memory_mb}, *groups[1:]]})


def test_a_change_reaches_every_worker_and_no_task_fails_or_runs_twice(
    hosts: Hosts, cluster: Cluster, airflow: Airflow, plain: Plain, figures: Table
):
    cluster.await_strength()
    before = containers(hosts)
    long = Run(airflow, tasks=LONG_TASKS, seconds=LONG)
    long.await_running(LONG_TASKS)
    plain.change()
    began = time.monotonic()
    with Stream(airflow) as stream:
        done = went_well(play("--tags", "airflow", "--extra-vars", workers(MEMORY_MB)))
        rollout = time.monotonic() - began
        assert changed(done.stdout) > 0
        new = {identifier for identifier in containers(hosts) if identifier not in before}
        assert len(new) == 3, "every worker is a new one"
        assert set(before) <= set(containers(hosts)), "old ones go on with what they have"
        assert "old tasks finish their work" in said(done), "and the play says so"
        assert {entry["state"] for entry in long.instances()} == {"running"}, "they have to outlast the change"
        long.end(cluster)
        went_well(play("--tags", "airflow"))  # and back, with short tasks alone
    assert len(stream.runs) > 3
    for run in stream.runs:
        assert {entry["try_number"] for entry in run.instances()} == {1}, run.id
        assert run.interrupted() == 0
    long.await_success()
    assert {entry["try_number"] for entry in long.instances()} == {1}
    assert long.lost_lines() == (0, 0)
    wait_for("the old workers to go", lambda: not (set(before) | new) & set(containers(hosts)), 300)
    figures.add("a changed setting on all workers, with tasks in flight", rollout)
    tasks = LONG_TASKS + 2 * len(stream.runs)
    figures.add("... tasks meanwhile and while it was taken back, and those that failed or ran twice", f"{tasks}, 0")
    again = plain.cut_off()
    figures.add("... the same with Docker's defaults", f"{PLAIN_TASKS}, {again}")
    assert again == PLAIN_TASKS, "Docker's defaults are better than this collection says"
