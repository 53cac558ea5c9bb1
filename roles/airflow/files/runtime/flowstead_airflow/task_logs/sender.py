# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The thread that sends a process's log lines, and the processor that wakes it.

The processor does nothing with a line but ring: the line goes to the file as ever, and the thread reads it there. So a
task is never held up, whatever Splunk does, memory is bounded by one batch, and there is no queue that could overflow.

Threads and fork do not go together, and Airflow forks for each task. The thread is therefore started by the first line
of a file, which comes after the fork, and ends when the last file is done. A child that is forked meanwhile begins
with nothing: no thread, no files, new locks.
"""

from __future__ import annotations

import logging
import os
import random
import sys
import threading
import time
import typing as t
import weakref
from pathlib import Path

from flowstead_airflow.task_logs.delivery import Delivery, OpenLog, Undelivered
from flowstead_airflow.task_logs.hec import Answer, Fate
from flowstead_airflow.task_logs.settings import TaskLogSettings

log = logging.getLogger(__name__)

#: Seconds between looks at files when nobody rings.
_IDLE = 30.0
#: Longest pause, in seconds, after failures; also the pause after a refusal that needs a person.
_LONGEST_PAUSE = 30.0
#: Seconds after which a request without an answer counts as a failure for a task that ends.
_HANGING = 2.0
#: Seconds until the second look for a line whose ring was heard; each further one comes after twice the time.
_MOMENT = 0.002
#: Functions of Airflow with a local ``bundle_info``. Nothing else tells a processor the bundle.
_SUPERVISES = frozenset(("supervise_task", "supervise"))


_SENDERS: weakref.WeakSet[Sender] = weakref.WeakSet()


def _after_fork() -> None:
    for sender in list(_SENDERS):
        sender._begin_anew()


os.register_at_fork(after_in_child=_after_fork)


class _Tracked:
    """A log file that this process writes, and what is sent of it.

    Attributes:
        writer: Airflow's file object; while it lives, its id() is no other one's.
        log: None as long as somebody else has claimed the file.
        leave: the writer is at its end; what is not sent stays for the sweeper.
    """

    def __init__(self, relative: str, writer: t.Any, bundle: str) -> None:
        self.relative = relative
        self.writer = writer
        self.bundle = bundle
        self.log: OpenLog | None = None
        self.leave = False


class Sender:
    """One per process. Everything public may be called from any thread.

    Args:
        given: the settings.
        logs: the log folder.
    """

    #: The logger that has rung since the thread last began to look.
    _rang: t.Any

    def __init__(self, given: TaskLogSettings, logs: Path) -> None:
        self._given = given
        self._logs = os.path.join(logs, "")
        self.delivery = Delivery(given, logs)
        self._begin_anew()
        _SENDERS.add(self)

    def processor(self, logger: t.Any, _name: str, event_dict: t.Any) -> t.Any:
        """For structlog: note that a line is about to be written; gives the event back as it is.

        Airflow may have it twice in one chain; that does no harm.
        """
        if logger is self._rang:
            return event_dict
        writer = getattr(logger, "_file", None)
        if writer is not None:
            known = self._tracked.get(id(writer))
            if known is None:
                self._meet(writer)
            else:
                # In this order, and the thread the other way round: whoever is noted here has rung since the thread
                # began to look.
                self._rang = logger
                self._ring.set()
        return event_dict

    def finish(self, relative: str, seconds: float | None = None) -> bool:
        """Wait until all of a file is sent, but not longer than it makes sense, and let go of it.

        Args:
            relative: path below the log folder.
            seconds: to wait at most; the setting by default. Much less when Splunk is known to be away.

        Returns:
            whether everything was sent. What was not stays in the file, for the sweeper.
        """
        found = [one for one in list(self._tracked.values()) if one.relative == relative]
        if not found:
            return False
        tracked = found[-1]
        deadline = time.monotonic() + (self._given.flush_seconds if seconds is None else seconds)
        with self._changed:
            failures = self._failures
            self._hurry.set()
            self._ring.set()
            while not self._is_sent(tracked) and not self._gives_up(failures) and time.monotonic() < deadline:
                # The time also ends a wait for an answer that does not come.
                self._changed.wait(0.1)
            sent = self._is_sent(tracked)
        self._let_go(tracked)
        return sent

    def stop(self) -> None:
        """End the thread and close the files, wherever they are."""
        for tracked in list(self._tracked.values()):
            self._let_go(tracked)

    # What follows up to the next comment runs in the threads that log.

    def _begin_anew(self) -> None:
        """The state of a process that has not logged yet; in a child, whatever its parent was doing."""
        for tracked in getattr(self, "_tracked", {}).values():
            if tracked.log:
                tracked.log.abandon()
        self._tracked: dict[int, _Tracked] = {}
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._ring = threading.Event()
        self._rang = None
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures = 0
        self._away = False
        self._pause_until = 0.0
        self._asked_at = 0.0
        self._told = ""
        self.delivery.renew()

    def _meet(self, writer: t.Any) -> None:
        """A file that is not known yet, or something else that lines are written to."""
        try:
            name = getattr(writer, "name", None)
            # A socket or a pipe has a number for a name: the task's own process, whose lines the supervisor writes.
            if not isinstance(name, str) or not name.startswith(self._logs) or writer.closed:
                return
            relative = name[len(self._logs) :]
            if threading.current_thread() is self._thread or self.delivery.spool in Path(name).parents:
                return
            tracked = _Tracked(relative, writer, _bundle())
            with self._lock:
                self._tracked[id(writer)] = tracked
                self._claim(tracked)
                if self._thread is None:
                    self._away = time.monotonic() < self._pause_until
                    self._thread = threading.Thread(target=self._run, name="task-logs", daemon=True)
                    self._thread.start()
            self._ring.set()
        except Exception as error:  # a task must not fail because its log cannot be followed
            self._tell(f"Task logs: {error}; the file stays for the sweeper")

    def _claim(self, tracked: _Tracked) -> None:
        path = self._logs + tracked.relative
        try:
            same = os.path.samestat(os.stat(path), os.fstat(tracked.writer.fileno()))
        except FileNotFoundError:
            same = False
        # A file that was removed meanwhile is still there for whoever has it open.
        other = None if same else Path(f"/proc/self/fd/{tracked.writer.fileno()}")
        tracked.log = self.delivery.open(tracked.relative, tracked.bundle, other)

    def _is_sent(self, tracked: _Tracked) -> bool:
        return tracked.log is not None and tracked.log.is_sent

    def _gives_up(self, failures: int) -> bool:
        """Whether a task that ends need not wait: Splunk is away, or hangs."""
        return self._away or self._failures > failures or self._hangs() or self._thread is None

    def _hangs(self) -> bool:
        asked_at = self._asked_at
        return bool(asked_at) and time.monotonic() - asked_at > _HANGING

    def _let_go(self, tracked: _Tracked) -> None:
        with self._changed:
            tracked.leave = True
            self._ring.set()
            self._hurry.set()
            self._changed.notify_all()
            thread = self._thread
            alone = len(self._tracked) <= 1
            if thread and not alone and not self._asked_at:
                # Others go on. This file is to be free when its writer has ended.
                self._changed.wait_for(lambda: tracked not in self._tracked.values(), 1.0)
        if thread is None or not alone:
            return
        if self._asked_at:
            # Nobody else needs the answer. The thread has to end before this process forks for its next task.
            self.delivery.hec.abort()
        thread.join(1.0)

    # From here on, the thread itself.

    def _run(self) -> None:
        try:
            while self._round():
                pass
        except Exception as error:  # pragma: no cover - a last resort
            self._tell(f"Task logs: the sender ends: {type(error).__name__}: {error}; files stay for the sweeper")
            with self._changed:
                for key in list(self._tracked):
                    self._drop(key)
                self._thread = None
                self._changed.notify_all()

    def _round(self) -> bool:
        """Send what there is, then wait; False when no file is left."""
        rang = self._ring.is_set()
        if rang:
            self._ring.clear()
        self._rang = None
        sent = backlog = False
        for key, tracked in list(self._tracked.items()):
            found, more = self._serve(tracked)
            sent, backlog = sent or found, backlog or more
            rest: int | None = None
            with self._changed:
                if tracked.leave or (tracked.writer.closed and (self._away or self._is_sent(tracked))):
                    rest = self._drop(key)
                self._changed.notify_all()
            if rest is not None:
                # Nobody waits for the disk: others may claim the file already.
                self._force(rest)
                os.close(rest)
        with self._changed:
            if not self._tracked:
                self._thread = None
                self.delivery.hec.close()
                self._changed.notify_all()
                return False
        if not backlog:
            self._wait(sent, rang)
        return True

    def _serve(self, tracked: _Tracked) -> tuple[bool, bool]:
        """Send of one file what there is; whether something was sent, and whether it was not all."""
        sent = False
        asked_at = 0.0
        try:
            if tracked.log is None:
                with self._lock:
                    self._claim(tracked)
            while tracked.log and not tracked.leave and time.monotonic() >= self._pause_until:
                if self._away:
                    self._keep(tracked)
                self._asked_at = asked_at = time.monotonic()
                try:
                    batch = self.delivery.step(tracked.log)
                finally:
                    self._asked_at = 0.0
                if batch is None:
                    break
                sent = True
                self._worked()
                if not batch.full:
                    # What was written meanwhile waits for more: a task that prints all the time would be sent in
                    # many small requests, each of which costs it time.
                    break
                if len(self._tracked) > 1:
                    # Files take turns.
                    return True, True
        except Undelivered as error:
            # Whoever left has taken the connection down; that is no failure of Splunk unless it had its time.
            if not tracked.leave or time.monotonic() - asked_at > _HANGING:
                self._failed(error.answer)
        except (OSError, ValueError) as error:
            self._failed(Answer(Fate.REFUSED, f"{tracked.relative}: {error}"))
        return sent, False

    def _wait(self, sent: bool, rang: bool) -> None:
        """Until there is something to send again, or something else to do.

        What comes after a pause is sent at once, so that a host that dies takes next to nothing with it. What follows
        it waits for ``batch_seconds`` and grows together: each request costs the task time.

        Args:
            sent: whether something was sent.
            rang: whether somebody had rung before that.
        """
        if time.monotonic() < self._pause_until:
            self._endure()
        elif sent:
            self._hurry.wait(self._given.batch_seconds)
        elif rang or self._has_news() or self._ring.wait(self._given.batch_seconds if self._has_rest() else _IDLE):
            # A line is written after its ring.
            moment = _MOMENT
            while moment < self._given.batch_seconds and not self._has_news() and not self._hurry.wait(moment):
                moment *= 2
        self._hurry.clear()

    def _has_news(self) -> bool:
        """Whether some file is another one than at the last look."""
        return any(one.log is not None and one.log.has_news for one in list(self._tracked.values()))

    def _has_rest(self) -> bool:
        """Whether some file has what cannot be sent yet: a line without its end, which comes without a ring."""
        return any(one.log is not None and not one.log.is_sent for one in list(self._tracked.values()))

    def _endure(self) -> None:
        """A pause after a failure. What is in the files alone is forced to the disk meanwhile."""
        while (left := self._pause_until - time.monotonic()) > 0:
            for tracked in list(self._tracked.values()):
                self._keep(tracked)
                if self._hurry.is_set():
                    return
            if self._hurry.wait(min(left, self._given.batch_seconds)):
                return

    def _keep(self, tracked: _Tracked) -> None:
        """Have on the disk what Splunk does not have."""
        if tracked.log and tracked.log.needs_disk():
            self._force(tracked.log.descriptor)

    def _force(self, descriptor: int) -> None:
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            self._tell(f"Task logs cannot be forced to the disk: {error.strerror or error}")

    def _drop(self, key: int) -> int | None:
        """Let go of a file; a descriptor of it when something in it is neither sent nor on the disk."""
        tracked = self._tracked.pop(key)
        self._rang = None
        if not tracked.log:
            return None
        rest = os.dup(tracked.log.descriptor) if tracked.log.needs_disk() else None
        tracked.log.close()
        return rest

    def _worked(self) -> None:
        if self._away:
            self._away = False
            self._tell("Task logs: Splunk takes lines again", logging.INFO)
        self._failures, self._pause_until = 0, 0.0
        with self._changed:
            self._changed.notify_all()

    def _failed(self, answer: Answer) -> None:
        self._failures += 1
        self._away = True
        pause = _LONGEST_PAUSE if answer.fate is Fate.REFUSED else min(_LONGEST_PAUSE, 0.5 * 2.0**self._failures)
        # With jitter: all nodes see Splunk come back at the same time.
        self._pause_until = time.monotonic() + pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        self._tell(f"Task logs wait in their files: {answer.text}")
        with self._changed:
            self._changed.notify_all()

    def _tell(self, text: str, level: int = logging.WARNING) -> None:
        """Into the component's log, each thing once until another is said."""
        if text != self._told:
            self._told = text
            log.log(level, "%s", text)


def _bundle() -> str:
    """The bundle of the task whose supervisor is on the stack; "" elsewhere."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name in _SUPERVISES and "bundle_info" in frame.f_code.co_varnames:
            return str(getattr(frame.f_locals.get("bundle_info"), "name", "") or "")
        frame = frame.f_back  # type: ignore[assignment]
    return ""
