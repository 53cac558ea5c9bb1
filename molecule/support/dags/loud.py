"""Tasks that print as fast as they can, one after the other, on workers of two kinds in turns."""

from __future__ import annotations

from airflow.sdk import DAG, task

with DAG(dag_id="loud", schedule=None, catchup=False, is_paused_upon_creation=False):

    def say(dag_run=None) -> None:
        """Print the wanted number of lines."""
        for row in range(int(dag_run.conf["lines"])):
            print(f"a line of usual length, as tasks write them: row {row} of the table")

    files, splunk = (task(task_id=kind, queue=f"loud-{kind}")(say)() for kind in ("files", "splunk"))
    files >> splunk
