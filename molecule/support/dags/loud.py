"""Tasks that print as fast as they can, one after the other, on workers of two kinds."""

from __future__ import annotations

from airflow.sdk import DAG, task

with DAG(dag_id="loud", schedule=None, catchup=False, is_paused_upon_creation=False):

    def say(dag_run=None) -> None:
        """Print the wanted number of lines."""
        for row in range(int(dag_run.conf["lines"])):
            print(f"a line of usual length, as tasks write them: row {row} of the table")

    def on(kind: str, number: int):
        """The task, on the worker of that kind."""
        return task(task_id=f"{kind}-{number}", queue=f"loud-{kind}")(say)()

    # Each kind comes first once and second once: what runs behind another task pays for the end of that one.
    on("files", 1) >> on("splunk", 1) >> on("splunk", 2) >> on("files", 2)
