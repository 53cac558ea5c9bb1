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

import signal
import time
import typing as t
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

# Each `airflow` command imports this; what only the scheduler needs, it imports itself.
from airflow.models.taskinstancekey import TaskInstanceKey
from airflow.providers.celery.executors import celery_executor
from airflow.providers.common.compat.sdk import AirflowTaskTimeout, timeout
from celery import states

#: Seconds for which nobody has begun a task before its queue is looked at.
PATIENCE = 30.0
#: Seconds between two looks. A queue has to be empty at two of them: what is on its way to a worker is in no queue.
PAUSE = 15.0
#: Seconds for a question to the broker. The scheduler does nothing else meanwhile.
TIMEOUT = 5.0
#: Seconds until the log says again that the broker does not take tasks.
TELL_AGAIN = 60.0
#: Task instances that are asked for at once.
PAGE = 500
#: How often a scheduler sends a task anew before it waits as Airflow's own executor does.
TRIES = 3


@dataclass
class _Waiting:
    """A message that was sent, or is said to have been, and that no worker has begun with."""

    message: str
    since: float
    queue: str | None = None
    was_empty: bool = False


class CeleryExecutor(celery_executor.CeleryExecutor):
    """Keeps tasks while the broker does not take them, and sends those anew of which no message is left.

    A task is sent anew when nobody has begun with it for :data:`PATIENCE` seconds and its queue was empty at two looks:
    then no worker will. The second message has the first one's id, as when a broker delivers one twice. Should both
    arrive, the API server lets only one worker begin.
    """

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: dict[TaskInstanceKey, _Waiting] = {}
        self._sent_anew: dict[TaskInstanceKey, int] = {}
        self._asked_at = self._told_at = 0.0
        self._away_since: float | None = None
        self._broken: set[str] = set()
        given = self.celery_app.conf
        scheme = urlsplit(str(given.broker_url)).scheme
        self._tells_consumers = scheme.startswith("amqp")
        # Otherwise a message may be with a worker that has not begun with it, and in no queue; and kombu asks for a
        # queue of Redis without its prefix.
        self._can_tell = bool(
            given.worker_prefetch_multiplier == 1
            and given.task_acks_late
            and given.task_track_started
            and not (given.broker_transport_options or {}).get("global_keyprefix")
        )

    def start(self) -> None:
        """As Airflow's, which calls it in the scheduler alone."""
        from kombu.connection import ConnectionPool  # noqa: PLC0415

        # A pool that gives up a connection in the middle of something waits for the broker's goodbye, without end.
        ConnectionPool.close_resource = ConnectionPool.collect_resource
        super().start()

    def trigger_tasks(self, open_slots: int) -> None:
        """Send what is queued; while the broker does not take it, keep it instead of failing it."""
        if not (self.queued_tasks or self.queued_callbacks) or self._answers():
            super().trigger_tasks(open_slots)

    def order_queued_tasks_by_priority(self) -> list[t.Any]:
        """As Airflow's, and what is for a queue that takes nothing comes last."""
        return sorted(super().order_queued_tasks_by_priority(), key=lambda item: item[1].ti.queue in self._broken)

    def _send_workloads_to_celery(self, workload_tuples_to_send: t.Sequence[t.Any]) -> list[t.Any]:
        """As Airflow's, without those that the broker did not take: what is not in the answer stays queued.

        Of each queue one tries for all, those of queues that took nothing after everything else, and the first failure
        ends it: each may take ``celery.operation_timeout``, and the scheduler does nothing else meanwhile.
        """
        first: dict[str, t.Any] = {}
        for one in workload_tuples_to_send:
            first.setdefault(one[2], one)
            workload = one[1]
            if hasattr(workload, "ti"):  # it may have been kept, and its token lives only as long as it may be queued
                workload.token = workload.generate_token(str(workload.ti.id), self.jwt_generator)
        alone = [[one] for one in first.values()]
        others = [one for one in workload_tuples_to_send if first[one[2]] is not one and one[2] not in self._broken]
        sent: list[t.Any] = []
        for part in (
            *(one for one in alone if one[0][2] not in self._broken),
            others,
            *(one for one in alone if one[0][2] in self._broken),
        ):
            found = super()._send_workloads_to_celery(part) if part else []
            failed = {one[0]: one[2].exception for one in found if _is_broken(one[2])}
            sent += [one for one in found if one[0] not in failed]
            queues = {one[2] for one in part if one[0] in failed}
            self._broken -= {one[2] for one in part}
            self._broken |= queues
            if failed:
                self._tell_broken(", ".join(sorted(queues)), next(iter(failed.values())))
                break
        return sent

    def _tell_broken(self, queues: str, error: BaseException) -> None:
        """Once in a while."""
        if time.monotonic() - self._told_at >= TELL_AGAIN or not self._told_at:
            self._told_at = time.monotonic()
            self.log.warning("The broker did not take a task for %s: %r. It is sent when it does.", queues, error)

    def update_task_state(self, key: t.Any, state: str, info: t.Any) -> None:
        """As Airflow's; and remember since when a message has waited."""
        if state == states.PENDING and isinstance(key, TaskInstanceKey) and key in self.workloads:
            message = self.workloads[key].task_id
            known = self._waiting.get(key)
            if known is None or known.message != message:
                self._waiting[key] = _Waiting(message, time.monotonic())
        else:
            self._waiting.pop(key, None)
            self._sent_anew.pop(key, None)
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
                for key in self._lost(late):
                    self._send_anew(key, self._waiting[key])
                    del self._waiting[key]
            except (
                Exception,
                AirflowTaskTimeout,
            ) as error:  # whatever kombu or the database raises; the scheduler has to go on
                self.log.warning("Lost messages cannot be looked for: %r. That is tried again.", error)

    def _answers(self) -> bool:
        """Whether the broker takes a connection; the log says so when that changes."""
        try:
            with _in_time(), self.celery_app.connection_for_write() as link:
                link.ensure_connection(max_retries=0, timeout=TIMEOUT)
        except (Exception, AirflowTaskTimeout) as error:  # a refused login, too: it costs no task its life
            if self._away_since is None:
                self._away_since = time.monotonic()
                self.log.warning(
                    "The broker %s cannot be used: %r. Tasks stay queued here and are sent when it can.",
                    self.celery_app.connection_for_write().as_uri(),
                    error,
                )
            return False
        if self._away_since is not None:
            self.log.warning("The broker can be used again, after %.0f s.", time.monotonic() - self._away_since)
            self._away_since = None
        return True

    def _lost(self, late: dict[TaskInstanceKey, _Waiting]) -> list[TaskInstanceKey]:
        """Which of these no queue holds any more, and did not at the look before.

        Raises:
            Exception: whatever kombu or the database raises.
        """
        self._find_queues(late)
        empty = self._empty({entry.queue for entry in late.values() if entry.queue})
        found = [key for key, entry in late.items() if entry.queue in empty and entry.was_empty]
        for entry in late.values():
            entry.was_empty = entry.queue in empty
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

    def _empty(self, queues: t.Iterable[str]) -> set[str]:
        """Those of the queues in which no message waits for a worker; also those that do not exist.

        Raises:
            Exception: whatever kombu raises when the broker cannot be used.
        """
        found = set()
        with _in_time(), self.celery_app.connection_for_read() as link:
            link.ensure_connection(max_retries=0, timeout=TIMEOUT)
            for queue in queues:
                try:
                    with link.channel() as channel:
                        told = channel.queue_declare(queue=queue, passive=True)
                except link.channel_errors as error:
                    # RabbitMQ says "not found" also of a queue whose node is down, which has its messages on its disk.
                    if "no queue" not in str(error):
                        raise
                    found.add(queue)
                else:
                    # A queue of RabbitMQ that has lost its leader says 0 and 0.
                    if not told.message_count and (told.consumer_count or not self._tells_consumers):
                        found.add(queue)
        return found

    def _send_anew(self, key: TaskInstanceKey, entry: _Waiting) -> None:
        """Queue a task again under its message's id, with a new token; forget it when that is no longer its message.

        Raises:
            Exception: whatever the database raises; then everything is as before.
        """
        from airflow.executors.workloads import ExecuteTask  # noqa: PLC0415
        from airflow.models.log import Log  # noqa: PLC0415
        from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415
        from airflow.utils.session import create_session  # noqa: PLC0415
        from airflow.utils.state import TaskInstanceState  # noqa: PLC0415
        from sqlalchemy import select  # noqa: PLC0415

        times = self._sent_anew.get(key, 0)
        if times >= TRIES:
            return
        mine = [getattr(TaskInstance, name) == value for name, value in key._asdict().items()]
        with create_session() as session:
            task = session.scalar(select(TaskInstance).where(*mine, TaskInstance.external_executor_id == entry.message))
            state = None if task is None else task.state
            if state in (TaskInstanceState.RUNNING, TaskInstanceState.RESTARTING):
                return
            workload = None
            if state == TaskInstanceState.QUEUED:
                told = (
                    f"the broker has no message of this task, and no worker has begun with it; {entry.queue} is empty"
                )
                workload = ExecuteTask.make(
                    task, generator=self.jwt_generator, sentry_integration=getattr(self, "sentry_integration", "")
                )
                session.add(Log(event="message lost", task_instance=task.key, extra=told))
        # Nothing has failed up to here, so that nothing is forgotten.
        self.workloads.pop(key, None)
        self.running.discard(key)
        if workload is not None:
            self.queued_tasks[key] = workload
            self._sent_anew[key] = times + 1
            self.log.warning("Message lost: %s. %s is sent anew (%d of %d).", told, key, times + 1, TRIES)


def _is_broken(result: t.Any) -> bool:
    """Whether sending has failed for a reason that is the broker's, and passes."""
    from airflow.providers.celery.executors.celery_executor_utils import ExceptionWithTraceback  # noqa: PLC0415
    from amqp.exceptions import MessageNacked, NotFound  # noqa: PLC0415
    from kombu.exceptions import OperationalError  # noqa: PLC0415

    # RabbitMQ says "not found" of a queue whose node is down.
    passing = (AirflowTaskTimeout, OperationalError, MessageNacked, NotFound, OSError)
    return isinstance(result, ExceptionWithTraceback) and isinstance(result.exception, passing)


@contextmanager
def _in_time() -> t.Iterator[None]:
    """End what takes longer than :data:`TIMEOUT`, as Airflow ends its own calls of the broker.

    kombu waits without end for some answers of a broker that has taken a connection, its goodbye among them. So the
    alarm goes on, once a second.

    Raises:
        TimeoutError: it took longer. What Airflow's alarm raises is no ``Exception``.
    """
    try:
        with timeout(seconds=TIMEOUT):
            signal.setitimer(signal.ITIMER_REAL, TIMEOUT, 1.0)
            yield
    except AirflowTaskTimeout as error:
        raise TimeoutError(f"no answer within {TIMEOUT:g} s") from error
