# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One canary: a DAG run that proves that a worker of a queue runs tasks and that the log can be read.

PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t
from dataclasses import asdict, dataclass, field

#: Every run this collection triggers starts with it.
RUN_PREFIX = "flowstead-canary__"
LOG_MARK = "flowstead canary"

WAITING, FOLLOWING, READING, DONE = "waiting", "following", "reading", "done"


@dataclass
class Canary:
    """What is wanted, how far it is, and what came of it. Plain data, so that it can travel.

    Attributes:
        queue: the queue the task has to run on.
        dag_id: the DAG.
        workers: groups of workers that may run it; empty means any.
        phase: ``waiting`` for the DAG, ``following`` the run, ``reading`` the log, or ``done``.
        state: Airflow's word for where the task is, for people.
        problem: why it failed; empty while it has not.
        seconds: from trigger to success.
    """

    queue: str
    dag_id: str
    workers: list[str]
    run_id: str = ""
    nonce: str = ""
    phase: str = WAITING
    state: str = "DAG not known yet"
    task_id: str = ""
    try_number: int = 0
    worker: str = ""
    host: str = ""
    problem: str = ""
    advice: str = ""
    log: list[str] = field(default_factory=list)
    since: float = 0.0
    seconds: float = 0.0
    asked: bool = False

    @property
    def done(self) -> bool:
        """Nothing more will come."""
        return self.phase == DONE

    def as_dict(self) -> dict[str, t.Any]:
        """Everything, to go on later."""
        return asdict(self)

    def result(self) -> dict[str, t.Any]:
        """What a caller gets to see."""
        shown = ("queue", "dag_id", "run_id", "state", "worker", "host", "problem", "advice", "log", "seconds")
        everything = self.as_dict()
        return {"passed": self.done and not self.problem, **{name: everything[name] for name in shown}}

    def fail(self, problem: str, advice: str) -> None:
        """End it with a reason."""
        self.phase, self.problem, self.advice = DONE, problem, advice


def judge_answer(canary: Canary, queue: t.Any, answer: t.Any) -> tuple[str, str]:
    """Compare where the task ran with where it had to; ("", "") when all is well, else problem and advice.

    Args:
        queue: the queue that Airflow recorded.
        answer: what the task returned.
    """
    if queue != canary.queue:
        return (
            f"the task ran on queue {queue}, not on {canary.queue}",
            "An older version of the canary DAG is still known: wait until the dag-processor has read it again",
        )
    if not isinstance(answer, dict):
        return ("the task succeeded but its return value cannot be read", "Look at the XCom backend in airflow_config")
    if answer.get("nonce") != canary.nonce:
        return (
            "the task answered for another run",
            "The runtime in the image is not that of this collection: build and deploy the image again",
        )
    worker, consumed = str(answer.get("worker", "")), _names(answer.get("queues"))
    if canary.workers and worker not in canary.workers:
        return (
            f"the task ran on worker {worker or '(unknown)'}, not on {' or '.join(canary.workers)}",
            "Another platform or a forgotten worker consumes this broker: give each environment its own broker "
            "database or virtual host, and remove old workers",
        )
    if canary.queue not in consumed:
        return (
            f"worker {worker} says that it consumes {', '.join(consumed) or 'nothing'}, which lacks {canary.queue}",
            "The worker runs with an old list of queues: deploy again",
        )
    return ("", "")


def explain_unfinished(canary: Canary, waited: float) -> tuple[str, str]:
    """Problem and advice for a canary whose time is up."""
    if canary.phase == WAITING:
        return (
            f"Airflow does not know a usable DAG {canary.dag_id} after {waited:.0f} s ({canary.state})",
            "Look at the dag-processor: its log, its bundles, and the import errors below",
        )
    if canary.phase == READING:
        return (
            f"the task succeeded, but its log cannot be read through the API: {_last(canary.log)}",
            "The api-server has to reach the worker's log port (8793) under the host name that the worker reports, "
            "with the same api secret key; or the remote log store has to be readable",
        )
    if canary.state == "running":
        return (
            f"the task is still running after {waited:.0f} s",
            "Look at the worker: it may lack memory or CPU, or not reach the execution API",
        )
    if canary.state == "queued":
        return (
            f"the task waits in queue {canary.queue}, and no worker took it within {waited:.0f} s",
            f"Look at the worker of queue {canary.queue}: it has to run, and to use the scheduler's broker",
        )
    return (
        f"the scheduler did not queue the task within {waited:.0f} s (it is {canary.state})",
        "Look at the scheduler: its health below, its log, and whether the pool has free slots",
    )


def explain_failure(canary: Canary, state: str) -> tuple[str, str]:
    """Problem and advice for a run that Airflow calls failed."""
    if state == "failed" and not canary.try_number:
        return (
            "the run failed before its task started",
            "Look at the scheduler's log; the worker may have lost the connection to the execution API or the broker",
        )
    return (
        f"the task ended as {state}",
        "Its log is below; without one, look at the worker's own log: the task may have died before it could write",
    )


def _last(lines: t.Sequence[str]) -> str:
    return lines[-1] if lines else "it is empty"


def _names(value: t.Any) -> list[str]:
    parts = value if isinstance(value, list) else str(value or "").split(",")
    return [str(part).strip() for part in parts if str(part).strip()]
