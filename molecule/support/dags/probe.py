"""What the faults are tried on: tasks that take a while, say a line each second, and may run again."""

from __future__ import annotations

import datetime
import time

from airflow.sdk import DAG, task

with DAG(
    dag_id="probe",
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=20,
    default_args={"retries": 12, "retry_delay": datetime.timedelta(seconds=2)},
):

    @task
    def plan(params=None, dag_run=None) -> list[int]:
        """One number per task."""
        return list(range(int((dag_run.conf or {}).get("tasks", 1))))

    @task
    def work(number: int, dag_run=None) -> int:
        """Take the wanted number of seconds, and say so."""
        seconds = int((dag_run.conf or {}).get("seconds", 1))
        for second in range(seconds):
            print(f"probe line {second} of {seconds}")
            time.sleep(1)
        return number

    @task
    def add(numbers: list[int]) -> int:
        """What arrived."""
        return len(list(numbers))

    add(work.expand(number=plan()))
