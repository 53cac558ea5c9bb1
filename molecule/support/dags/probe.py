"""What the faults are tried on: tasks that take a while, say a line each second or more, and may run again."""

from __future__ import annotations

import datetime
import pathlib
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
        """Take the wanted number of seconds, or fewer if the run is ended, and say so; how many it took."""
        seconds, lines = (int((dag_run.conf or {}).get(name, 1)) for name in ("seconds", "lines"))
        enough = pathlib.Path(f"/tmp/end-{dag_run.run_id}")  # Run.end writes it
        began = time.monotonic()
        for second in range(seconds):
            if enough.exists():
                return second
            for _line in range(lines):
                print(f"probe line {second} of {seconds}")
            time.sleep(max(0.0, began + second + 1 - time.monotonic()))
        return seconds

    @task
    def add(numbers: list[int]) -> int:
        """What arrived."""
        return len(list(numbers))

    add(work.expand(number=plan()))
