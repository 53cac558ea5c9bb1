# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Airflow's CeleryExecutor, which also gets over a broker that is away and over messages that never arrived.

Airflow writes a task's state ``queued`` before it sends the message, and under the message's id. Whoever dies between
the two leaves a task that looks sent: a scheduler that is replaced by a deploy, that loses its host, or its database.
The next one adopts it and waits ``scheduler.task_queued_timeout`` for a message that nobody has. And while the broker
restarts, each task that would be sent fails instead, which ends those that have no retries.
Source: try_adopt_task_instances and _send_workloads in apache-airflow-providers-celery 3.26.
"""

from __future__ import annotations

import datetime
import time
import typing as t
from dataclasses import dataclass
from urllib.parse import urlsplit

# Each `airflow` command imports this; what only the scheduler needs, it imports itself.
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.providers.celery.executors import celery_executor
from celery import states

#: Seconds for which nobody has begun a task before its queue is looked at.
PATIENCE = 30.0
#: Seconds between two looks. A queue has to be empty at two of them: what is on its way to a worker is in no queue.
PAUSE = 15.0
#: Seconds to connect to the broker.
TIMEOUT = 4.0
#: Task instances that are asked for at once.
PAGE = 500
#: How often a try of a task is sent anew; after that, it waits as Airflow has it.
TRIES = 3
#: A broker that only guesses how many messages a queue has.
GUESSING = "sqs"


@dataclass
class _Waiting:
    """A message that was sent, or is said to have been, and that no worker has begun with."""

    message: str
    since: float
    queue: str | None = None
    empty_since: float | None = None


class CeleryExecutor(celery_executor.CeleryExecutor):
    """Keeps tasks while the broker does not answer, and sends those anew of which no message is left.

    A task is sent anew when nobody has begun with it for :data:`PATIENCE` seconds and its queue was empty at two looks:
    then no worker will. A second message does no harm if the first one turns up all the same, because both are for the
    same try, which only one worker can begin.
    """

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: dict[TaskInstanceKey, _Waiting] = {}
        self._sent_anew: dict[TaskInstanceKey, int] = {}
        self._asked_at = 0.0
        self._away_since: float | None = None
        scheme = urlsplit(str(self.celery_app.conf.broker_url)).scheme
        # A worker that takes more messages than it can begin with holds some that are in no queue either.
        self._can_tell = scheme != GUESSING and self.conf.getint("celery", "worker_prefetch_multiplier") == 1

    def trigger_tasks(self, open_slots: int) -> None:
        """Send what is queued; while the broker does not answer, keep it instead of failing it."""
        if not (self.queued_tasks or self.queued_callbacks) or self._answers():
            super().trigger_tasks(open_slots)

    def update_task_state(self, key: t.Any, state: str, info: t.Any) -> None:
        """As Airflow's; and remember since when a message has waited."""
        if state == states.PENDING and isinstance(key, TaskInstanceKey) and key in self.workloads:
            message = self.workloads[key].task_id
            known = self._waiting.get(key)
            if known is None or known.message != message:
                self._waiting[key] = _Waiting(message, time.monotonic())
        else:
            self._waiting.pop(key, None)
        super().update_task_state(key, state, info)

    def sync(self) -> None:
        """As Airflow's; and look for messages that are lost."""
        super().sync()
        for key in self._waiting.keys() - self.workloads.keys():
            del self._waiting[key]
        now = time.monotonic()
        late = {key: entry for key, entry in self._waiting.items() if now - entry.since >= PATIENCE}
        if self._can_tell and late and now - self._asked_at >= PAUSE:
            self._asked_at = now
            try:
                lost = self._lost(late)
            except Exception as error:  # whatever kombu raises; the scheduler has to go on
                self.log.warning("The broker cannot be asked how many messages wait: %r. It is asked again.", error)
            else:
                self._send_anew(lost)

    def _answers(self) -> bool:
        """Whether the broker takes a connection; the log says so when that changes."""
        with self.celery_app.connection_for_write() as link:
            try:
                link.ensure_connection(max_retries=0, timeout=TIMEOUT)
            except Exception as error:  # a refused login, too: it costs no task its life
                if self._away_since is None:
                    self._away_since = time.monotonic()
                    self.log.warning(
                        "The broker %s cannot be used: %r. Tasks stay queued here and are sent when it can.",
                        link.as_uri(),
                        error,
                    )
                return False
        if self._away_since is not None:
            self.log.warning("The broker can be used again, after %.0f s.", time.monotonic() - self._away_since)
            self._away_since = None
        return True

    def _lost(self, late: dict[TaskInstanceKey, _Waiting]) -> list[TaskInstanceKey]:
        """Which of these no queue holds any more, and did not at the look before."""
        self._find_queues(late)
        counts = self._count({entry.queue for entry in late.values() if entry.queue})
        now, found = time.monotonic(), []
        for key, entry in late.items():
            if entry.queue is None or counts[entry.queue]:
                entry.empty_since = None
            elif entry.empty_since is None:
                entry.empty_since = now
            else:
                found.append(key)
        return found

    def _find_queues(self, late: dict[TaskInstanceKey, _Waiting]) -> None:
        from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415
        from airflow.utils.session import create_session  # noqa: PLC0415
        from sqlalchemy import select, tuple_  # noqa: PLC0415

        unknown = [key for key, entry in late.items() if entry.queue is None][:PAGE]
        if not unknown:
            return
        columns = (TaskInstance.dag_id, TaskInstance.task_id, TaskInstance.run_id, TaskInstance.map_index)
        with create_session() as session:
            rows = session.execute(
                select(*columns, TaskInstance.queue).where(tuple_(*columns).in_([key.primary for key in unknown]))
            )
            queues = {tuple(row[:4]): row[4] for row in rows}
        for key in unknown:
            late[key].queue = queues.get(key.primary)

    def _count(self, queues: t.Iterable[str]) -> dict[str, int]:
        """Messages in each of the queues that no worker has; a queue that there is not has none.

        Raises:
            Exception: whatever kombu raises when the broker cannot be used.
        """
        found = {}
        with self.celery_app.connection_for_read() as link:
            link.ensure_connection(max_retries=0, timeout=TIMEOUT)
            for queue in queues:
                try:
                    with link.channel() as channel:
                        found[queue] = channel.queue_declare(queue=queue, passive=True).message_count
                except link.channel_errors:
                    found[queue] = 0
        return found

    def _send_anew(self, lost: list[TaskInstanceKey]) -> None:
        """Give tasks back to the scheduler, which queues them like any other; the try stays the same."""
        for key in lost:
            entry = self._waiting.pop(key)
            times = self._sent_anew.get(key, 0)
            told = f"The broker has no message of this task, and no worker has begun with it; {entry.queue} is empty."
            if times < TRIES and _take_back(key, entry.message, told):
                self._sent_anew[key] = times + 1
                self.workloads.pop(key, None)
                self.running.discard(key)
                self.log.warning("%s %s is sent anew (%d of %d).", told, key, times + 1, TRIES)


def _take_back(key: TaskInstanceKey, message: str, told: str) -> bool:
    """Whether a try was still queued under this message's id, and now is scheduled and has it in its audit log."""
    from airflow.models.log import Log  # noqa: PLC0415
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from airflow.utils.state import TaskInstanceState  # noqa: PLC0415
    from sqlalchemy import update  # noqa: PLC0415

    # Whether it has begun meanwhile is decided by the row itself, as the worker's own call is.
    mine = (
        *(getattr(TaskInstance, name) == value for name, value in key._asdict().items()),
        TaskInstance.state == TaskInstanceState.QUEUED,
        TaskInstance.external_executor_id == message,
    )
    values = {
        "state": TaskInstanceState.SCHEDULED,
        "scheduled_dttm": datetime.datetime.now(datetime.timezone.utc),
        "queued_dttm": None,
        "queued_by_job_id": None,
        "external_executor_id": None,
    }
    with create_session() as session:
        changed = session.execute(
            update(TaskInstance).where(*mine).values(values).execution_options(synchronize_session=False)
        )
        if changed.rowcount:
            session.add(Log(event="message lost", task_instance=key, extra=told))
        return bool(changed.rowcount)
