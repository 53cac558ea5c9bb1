"""What has to be true after everything that happened to the platform: it serves, and there is nothing to repair."""

from __future__ import annotations

import pytest
from airflow_api import Airflow, Run
from cluster import Cluster
from conftest_shared import changed, play
from lab_hosts import MANAGERS


@pytest.mark.parametrize("host", MANAGERS)
def test_airflow_answers_on_every_host(airflow: Airflow, host: str):
    assert airflow.answers(host)


def test_tasks_run_and_their_logs_are_there(cluster: Cluster, airflow: Airflow):
    cluster.await_strength()
    run = Run(airflow, tasks=3, seconds=2)
    run.await_success()
    assert run.lost_lines() == (0, 0)


def test_another_run_of_everything_changes_nothing():
    done = play()
    assert done.returncode == 0, done.stdout[-4000:]
    assert changed(done.stdout) == 0
