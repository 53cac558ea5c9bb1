# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Canary DAGs: one per queue, each proving that a worker of that queue runs a task.

The queues come from FLOWSTEAD_CANARY_QUEUES (comma list), which DAG processor and workers share.
Without it there are no DAGs and no error.
"""

from __future__ import annotations

import os
import re
import socket
import typing as t

from airflow.sdk import DAG, get_current_context, task

PREFIX = "flowstead_canary__"


def dag_id(queue: str) -> str:
    """The DAG's ID for a queue; what an ID may not hold becomes an underscore."""
    return PREFIX + re.sub(r"[^A-Za-z0-9_.-]", "_", queue)


def canary(queue: str) -> DAG:
    """A DAG with one task on ``queue``, without a schedule."""
    with DAG(
        dag_id=dag_id(queue),
        description=f"Proves that a worker consumes the queue {queue} and that its log can be read",
        schedule=None,
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=4,
        tags=["flowstead"],
    ) as dag:

        @task(task_id="sing", queue=queue, retries=0)
        def sing() -> dict[str, t.Any]:
            run = get_current_context()["dag_run"]
            nonce = str((run.conf or {}).get("nonce", ""))
            print(f"flowstead canary {nonce}")
            return {
                "nonce": nonce,
                "queue": queue,
                "worker": os.environ.get("FLOWSTEAD_WORKER", ""),
                "queues": os.environ.get("FLOWSTEAD_QUEUES", ""),
                "host": socket.gethostname(),
            }

        sing()
    return dag


for _queue in dict.fromkeys(os.environ.get("FLOWSTEAD_CANARY_QUEUES", "").split(",")):
    if _queue.strip():
        globals()[dag_id(_queue.strip())] = canary(_queue.strip())
