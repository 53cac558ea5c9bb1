# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Delivers what dead processes left in log files, and keeps the local disk in bounds.

A file whose mark is locked has a living process at work. Every other one that is not delivered to its end was left by
a process that died, or that could not wait for Splunk. The sweeper claims it and goes on from the mark: what the dead
process had sent and not yet noted, at most one batch, is sent twice, and nothing is left out.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import time
import typing as t
from dataclasses import asdict, dataclass, field
from pathlib import Path

from flowstead_airflow.task_logs import marks, paths
from flowstead_airflow.task_logs.archive import Archive, ArchiveError
from flowstead_airflow.task_logs.delivery import Delivery, OpenLog, Undelivered, all_of
from flowstead_airflow.task_logs.hec import Fate
from flowstead_airflow.task_logs.settings import TaskLogSettings

log = logging.getLogger(__name__)

#: Seconds after its last line during which a file may be one whose writer is about to claim it.
SETTLED = 60.0
#: Seconds for which an empty directory stays: a task may be about to make its file there.
_EMPTY = 3600.0
DAY = 86400.0


@dataclass
class Report:
    """What a sweep found and did.

    Attributes:
        files: log files seen.
        busy: of them, those with a living process at work.
        lines: delivered to Splunk by this sweep.
        requests: for that.
        refused: lines among the refused events.
        archived: bytes added to the archive.
        waiting: files that are still not delivered.
        removed: delivered files that were old, or for which there was no room.
        lost: files removed for want of room though they were not delivered.
        lost_bytes: of those, what was not delivered.
        bytes: of all log files after the sweep.
        problems: each once.
        skipped: another sweeper was at work.
    """

    files: int = 0
    busy: int = 0
    lines: int = 0
    requests: int = 0
    refused: int = 0
    archived: int = 0
    waiting: int = 0
    removed: int = 0
    lost: int = 0
    lost_bytes: int = 0
    bytes: int = 0
    problems: list[str] = field(default_factory=list)
    skipped: bool = False

    def problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    def as_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass
class _Found:
    """A log file at rest: nobody is at work on it."""

    relative: str
    size: int
    changed: float
    delivered: bool


class Sweeper:
    """Sweeps one log folder.

    Args:
        given: the settings.
        logs: the log folder.
        clock: seconds since 1970.
    """

    def __init__(self, given: TaskLogSettings, logs: Path, clock: t.Callable[[], float] = time.time) -> None:
        self._given = given
        self._logs = logs
        self._clock = clock
        self._delivery = Delivery(given, logs)
        self._archive = Archive(given, logs, self._delivery.spool) if given.archive else None

    def sweep(self) -> Report:
        """Deliver, then remove. One at a time for each log folder."""
        report = Report()
        with alone(self._delivery.spool, report) as mine:
            if not mine:
                return report
            before = asdict(self._delivery.counters)
            at_rest = self._deliver(report)
            after = self._delivery.counters
            report.lines = after.lines - before["lines"]
            report.requests = after.requests - before["requests"]
            report.refused = after.refused - before["refused"]
            self._delivery.hec.close()
            self._remove(at_rest, report)
            self._tidy()
        return report

    def _deliver(self, report: Report) -> list[_Found]:
        at_rest: list[_Found] = []
        away = False
        for relative, status in log_files(self._logs, self._delivery.spool):
            report.files += 1
            report.bytes += status.st_size
            mark = marks.peek(self._delivery.mark_of(relative))
            delivered = self._is_delivered(status.st_size, mark.get("sent", 0), mark.get("archived", 0))
            if not delivered:
                try:
                    file = self._delivery.open(relative)
                except OSError as error:
                    report.problem(f"{relative}: {error.strerror}")
                    report.waiting += 1
                    continue
                if file is None:
                    report.busy += 1
                    continue
                try:
                    away = self._send(file, status, report, away) or away
                    delivered = self._is_delivered(file.size, file.mark.sent, file.mark.archived)
                finally:
                    file.close()
                report.waiting += not delivered
            at_rest.append(_Found(relative, status.st_size, status.st_mtime, delivered))
        return at_rest

    def _send(self, file: OpenLog, status: os.stat_result, report: Report, away: bool) -> bool:
        """Deliver one file; whether Splunk turned out to be away."""
        if not away:
            final = status.st_mtime < self._clock() - SETTLED
            try:
                for _batch in all_of(self._delivery, file, final):
                    pass
            except Undelivered as error:
                report.problem(str(error))
                away = error.answer.fate is Fate.AWAY
        if self._archive:
            try:
                report.archived += self._archive.add(file)
            except (ArchiveError, OSError) as error:
                report.problem(str(error))
        return away

    def _is_delivered(self, size: int, sent: int, archived: int) -> bool:
        return sent >= size and (self._archive is None or archived >= size)

    def _remove(self, at_rest: list[_Found], report: Report) -> None:
        now = self._clock()
        oldest = sorted((one for one in at_rest if one.changed < now - SETTLED), key=lambda one: one.changed)
        kept = []
        for one in oldest:
            old = one.delivered and one.changed < now - self._given.days * DAY
            if not (old and self._take_away(one, report)):
                kept.append(one)
        # What is delivered goes first, however young.
        for one in sorted(kept, key=lambda one: not one.delivered):
            if report.bytes <= self._given.local_bytes:
                return
            self._take_away(one, report)
        if report.bytes > self._given.local_bytes:
            report.problem(f"{report.bytes} bytes of log files, more than local.mb allows, are in use or a minute old")

    def _take_away(self, one: _Found, report: Report) -> bool:
        try:
            file = self._delivery.open(one.relative)
        except OSError:
            return False
        if file is None:
            return False
        size, missing = file.size, file.size - file.mark.sent
        delivered = self._is_delivered(size, file.mark.sent, file.mark.archived)
        if size != one.size or delivered != one.delivered:
            file.close()
            return False
        if not delivered:
            note_loss(report, one.relative, missing, where="Splunk", spool=self._delivery.spool, now=self._clock())
        (self._logs / one.relative).unlink(missing_ok=True)
        file.close(remove_mark=True)
        report.bytes -= size
        report.removed += delivered
        return True

    def _tidy(self) -> None:
        """Marks without a file, copies for the archive of processes that died, directories without anything."""
        root = self._delivery.spool / "marks"
        for directory, _names, files in os.walk(root):
            for name in files:
                path = Path(directory, name)
                if (self._logs / path.relative_to(root).as_posix()[: -len(".mark")]).exists():
                    continue
                mark = marks.Mark.claim(path)
                if mark:
                    mark.release(remove=True)
        for folder in (root, self._logs, self._delivery.spool / "archive"):
            remove_empty(folder, self._delivery.spool, self._clock)


@contextlib.contextmanager
def alone(spool: Path, report: Report) -> t.Iterator[bool]:
    """Whether this is the only sweep of a log folder, as long as it lasts; the report says when it is not."""
    spool.mkdir(parents=True, exist_ok=True)
    with (spool / "sweeper.lock").open("a") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report.skipped = True
        yield not report.skipped


def log_files(logs: Path, spool: Path) -> t.Iterator[tuple[str, os.stat_result]]:
    """Log files below a folder, by their path below it, without the spool and what a link leads to."""
    for directory, names, files in os.walk(logs):
        names[:] = sorted(name for name in names if Path(directory, name) != spool)
        for name in sorted(files):
            path = Path(directory, name)
            if not paths.is_log(name) or path.is_symlink():
                continue
            try:
                yield path.relative_to(logs).as_posix(), path.stat()
            except FileNotFoundError:
                continue


def note_loss(report: Report, relative: str, missing: int, *, where: str, spool: Path, now: float) -> None:
    """Say everywhere that a file goes before all of it was delivered."""
    text = f"{relative} is removed with {missing} bytes that {where} does not have: local.mb is used up"
    log.error("Task logs LOST: %s", text)
    report.problem(text)
    report.lost += 1
    report.lost_bytes += missing
    with (spool / "lost.jsonl").open("a", encoding="utf-8") as lost:
        lost.write(json.dumps({"when": now, "file": relative, "bytes": missing}) + "\n")


def remove_empty(root: Path, spool: Path, clock: t.Callable[[], float]) -> None:
    """Remove directories that have been empty for a while, and what dead processes copied for the archive."""
    before = clock() - _EMPTY
    for directory, _names, files in os.walk(root, topdown=False):
        path = Path(directory)
        copies = root == spool / "archive"
        if path in (root, spool) or (files and not copies):
            continue
        try:
            if path.stat().st_mtime < before:
                for name in files:
                    (path / name).unlink(missing_ok=True)
                path.rmdir()
        except OSError:
            continue  # not empty, or in use again
