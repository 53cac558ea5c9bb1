# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delivers to a bucket what died before Airflow's own S3 or GCS class could: where a bucket is the only sink.

Airflow uploads a task's log when the task has ended, from the process that watched over it. When that process dies, or
its host, or when the bucket is away at that moment, the file stays. Here the kernel says whether anybody has a file
open: a write lease is only given when nobody has, in whatever container. Airflow's processes hold a log open until it
is uploaded; so a file that has lines, that nobody holds, and that is a minute old will never be uploaded by them.

Afterwards the file is emptied, as Airflow's class for S3 does it: the bucket is then the only place to read it from,
and an attempt that goes on with the file (a task that was deferred) is appended there.

Sources: fcntl(2), "Leases"; airflow/sdk/execution_time/supervisor.py, supervise(); S3RemoteLogIO.upload of
apache-airflow-providers-amazon 9.39.0.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
import typing as t
from pathlib import Path

from flowstead_airflow.task_logs import paths
from flowstead_airflow.task_logs.archive import Archive, ArchiveError
from flowstead_airflow.task_logs.settings import BucketSettings, spool_below
from flowstead_airflow.task_logs.sweeper import (
    DAY,
    SETTLED,
    Report,
    alone,
    log_files,
    note_loss,
    remove_empty,
)

log = logging.getLogger(__name__)


class Orphans:
    """Sweeps one log folder.

    Args:
        given: the settings.
        logs: the log folder.
        clock: seconds since 1970.
    """

    def __init__(self, given: BucketSettings, logs: Path, clock: t.Callable[[], float] = time.time) -> None:
        self._given = given
        self._logs = logs
        self._clock = clock
        self._spool = spool_below(logs)
        self._archive = Archive(given, logs, self._spool)

    def sweep(self) -> Report:
        """Deliver, then remove. One at a time for each log folder."""
        report = Report()
        with alone(self._spool, report) as mine:
            if mine:
                at_rest = self._deliver(report)
                self._remove(at_rest, report)
                for folder in (self._logs, self._spool / "archive"):
                    remove_empty(folder, self._spool, self._clock)
        return report

    def _deliver(self, report: Report) -> list[tuple[float, str]]:
        """Files at rest, with the time of their last change."""
        at_rest: list[tuple[float, str]] = []
        for relative, status in log_files(self._logs, self._spool):
            if paths.describe(relative)["component"] not in ("task", "triggerer"):
                continue  # Airflow keeps it here
            report.files += 1
            report.bytes += status.st_size
            if status.st_mtime > self._clock() - SETTLED:
                report.busy += 1
                continue
            if status.st_size and not self._deliver_one(relative, report):
                continue
            at_rest.append((status.st_mtime, relative))
        return at_rest

    def _deliver_one(self, relative: str, report: Report) -> bool:
        """Whether the file is at rest, delivered or not."""
        try:
            descriptor = os.open(self._logs / relative, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            report.problem(f"{relative}: {error.strerror}")
            report.waiting += 1
            return False
        try:
            if not _nobody_else(descriptor):
                report.busy += 1
                return False
            size = os.fstat(descriptor).st_size
            if not self._archive.has(descriptor, relative):
                self._archive.upload(descriptor, 0, size, paths.source_of(relative))
                report.archived += size
            # Whoever has opened it meanwhile uploads it as a whole: twice in the bucket, and not lost.
            if _nobody_else(descriptor, to_empty=size):
                report.bytes -= size
            return True
        except (ArchiveError, OSError) as error:
            report.problem(str(error) if isinstance(error, ArchiveError) else f"{relative}: {error.strerror}")
            report.waiting += 1
            return True
        finally:
            os.close(descriptor)

    def _remove(self, at_rest: list[tuple[float, str]], report: Report) -> None:
        """Delivered files that are old, and the oldest others when there is no room."""
        before = self._clock() - self._given.days * DAY
        for changed, relative in sorted(at_rest):
            try:
                size = (self._logs / relative).stat().st_size
            except FileNotFoundError:
                continue
            if size == 0 and changed < before:
                report.removed += self._take_away(relative, report)
            elif size and report.bytes > self._given.local_bytes and self._take_away(relative, report):
                report.bytes -= size
        if report.bytes > self._given.local_bytes:
            report.problem(f"{report.bytes} bytes of log files, more than local.mb allows, are in use or a minute old")

    def _take_away(self, relative: str, report: Report) -> bool:
        """Remove a file that nobody has open; whether it went."""
        try:
            descriptor = os.open(self._logs / relative, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            if not _nobody_else(descriptor):
                return False
            size = os.fstat(descriptor).st_size
            if size:
                note_loss(report, relative, size, where="the bucket", spool=self._spool, now=self._clock())
            (self._logs / relative).unlink(missing_ok=True)
            return True
        finally:
            os.close(descriptor)


def _nobody_else(descriptor: int, to_empty: int | None = None) -> bool:
    """Whether nobody else, in whatever container, has a file open.

    Args:
        descriptor: of the file, and the only one of this process.
        to_empty: empty the file if it has this size, while whoever wants to open it has to wait.

    Raises:
        OSError: the file system knows no leases, or the file is another user's.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except BlockingIOError:
        return False
    try:
        if to_empty is not None:
            if os.fstat(descriptor).st_size != to_empty:
                return False
            os.ftruncate(descriptor, 0)
        return True
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
