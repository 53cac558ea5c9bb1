# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Airflow asks of remote logging: processors and upload where tasks run, stream where logs are read.

Source: RemoteLogStreamIO in airflow/_shared/logging/remote.py and FileTaskHandler._read of Airflow 3.3.2.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import typing as t
from datetime import datetime, timedelta, timezone
from itertools import chain
from pathlib import Path

from flowstead_airflow.task_logs import paths
from flowstead_airflow.task_logs.archive import Archive, ArchiveError
from flowstead_airflow.task_logs.events import segment_of
from flowstead_airflow.task_logs.search import Search, SearchError, Wanted
from flowstead_airflow.task_logs.sender import Sender
from flowstead_airflow.task_logs.settings import TaskLogSettings, spool_of

log = logging.getLogger(__name__)

Streams = list[t.Iterator[str]]

#: A task's lines are looked for from so long before its start until so long after its end: clocks differ.
_SLACK = timedelta(hours=1)
#: Seconds that a triggerer, which does all triggers' work in one process, waits for Splunk when one of them ends.
_TRIGGER_SECONDS = 1.0
#: Seconds for a worker's log server to take a connection.
_SERVER_SECONDS = 1.0


class SplunkRemoteLogIO:
    """Splunk, with Airflow's own S3 or GCS class as the archive.

    Args:
        given: the settings.
        logs: the log folder.
        ports: of the log servers of workers and triggerers.
    """

    def __init__(self, given: TaskLogSettings, logs: Path, ports: tuple[int, int] = (8793, 8794)) -> None:
        self._given = given
        self._logs = logs
        self._ports = ports
        self.sender = Sender(given, logs)
        self._search = Search(given.search) if given.search else None
        self._archive = Archive(given, logs, spool_of(given, logs)) if given.archive else None

    @property
    def processors(self) -> tuple[t.Any, ...]:
        """For the chain that writes task logs."""
        return (self.sender.processor,)

    def upload(self, path: str | os.PathLike[str], ti: t.Any = None) -> None:
        """A file's writer is at its end: send the rest, add it to the archive. Never raises.

        What does not get through in time stays in the file; the sweeper goes on with it.
        """
        relative = self._relative(path)
        if relative is None:
            return
        trigger = paths.is_trigger(relative)
        try:
            sent = self.sender.finish(relative, _TRIGGER_SECONDS if trigger else None)
            self._settle(relative, ti, aside=trigger and not sent)
        except (ArchiveError, OSError) as error:
            log.warning("Task logs: %s; the file stays for the sweeper", error)

    def stream(self, relative_path: str, ti: t.Any) -> tuple[list[str], Streams]:
        """Lines of an attempt from Splunk, else from the archive; never raises.

        While a task runs, its worker serves its log. Then only what no log server has comes from here.
        """
        kinds = self._missing_elsewhere(relative_path, ti)
        messages: list[str] = []
        streams: Streams = []
        for triggers in kinds:
            found, texts = self._from_splunk(relative_path, ti, triggers)
            messages += [text for text in texts if text not in messages]
            streams += found
        if not streams and self._archive and False in kinds:
            try:
                sources, logs = self._archive.read(relative_path, ti)
                return messages + sources, [_lines_of(one) for one in logs]
            except Exception as error:  # whatever the cloud's library raises
                messages.append(f"The archive {self._given.archive} cannot be read: {error}")
        return messages, streams

    def read(self, relative_path: str, ti: t.Any) -> tuple[list[str], list[str] | None]:
        """As :meth:`stream`, with each file's lines in one text."""
        messages, streams = self.stream(relative_path, ti)
        return messages, ["\n".join(lines) for lines in streams] or None

    def _relative(self, path: str | os.PathLike[str]) -> str | None:
        whole = os.path.normpath(os.path.join(self._logs, path))
        base = os.path.join(os.path.normpath(self._logs), "")
        return whole[len(base) :] if whole.startswith(base) and os.path.isfile(whole) else None

    def _settle(self, relative: str, ti: t.Any, aside: bool) -> None:
        if not aside and not self._archive:
            return
        file = self.sender.delivery.open(relative)
        if file is None:
            return  # the sweeper is at it
        try:
            if aside and file.size > file.mark.sent:
                # A triggerer begins the file anew when it gets the same task again.
                moved = paths.set_aside(relative, segment_of(file.descriptor))
                os.replace(self._logs / relative, self._logs / moved)
                file.relative = moved
                file.mark.store()
                file.mark.move(self.sender.delivery.mark_of(moved))
            if self._archive:
                self._archive.add(file, ti)
        finally:
            file.close()

    def _missing_elsewhere(self, relative: str, ti: t.Any) -> tuple[bool, ...]:
        """Which files to look for: the task's (False), its triggerers' (True)."""
        state = getattr(ti, "state", None)
        state = getattr(state, "value", state)
        if state not in ("running", "deferred"):
            return (False, True)
        if (self._logs / relative).exists():
            return ()
        if state == "running":
            return (True,) if _answers(getattr(ti, "hostname", ""), self._ports[0]) else (False, True)
        job = getattr(ti, "triggerer_job", None)
        return (False,) if _answers(getattr(job, "hostname", ""), self._ports[1]) else (False, True)

    def _from_splunk(self, relative: str, ti: t.Any, triggers: bool) -> tuple[Streams, list[str]]:
        if self._search is None:
            return [], []
        indexes = self._indexes(ti)
        earliest, latest = _bounds(relative, ti)
        for index in indexes:
            wanted = Wanted(index, self._given.environment, relative, triggers, earliest, latest)
            lines = self._search.lines(wanted)
            try:
                first = next(lines, None)
            except SearchError as error:
                return [], [f"Splunk did not give the lines: {error}. They are not lost: {_WHERE}"]
            if first is not None:
                name = f"{relative}.trigger*" if triggers else relative
                return [chain((first,), _to_the_end(lines))], [f"Splunk, index {index}: {name}"]
        if triggers:
            return [], []
        return [], [
            f"Splunk has no lines of this attempt in {', '.join(indexes)} (they are there seconds after Airflow)"
        ]

    def _indexes(self, ti: t.Any) -> list[str]:
        """Where a task's lines can be: its bundle's index first; the default one when the writer did not know it."""
        bundle = _bundle(ti)
        others = [self._given.index_of(bundle)] if bundle else sorted(self._given.index_by_bundle.values())
        every = [*others, self._given.index] if bundle else [self._given.index, *others]
        return list(dict.fromkeys(every))


_WHERE = "the worker has them until they are delivered, and the archive where there is one"


def _to_the_end(lines: t.Iterator[str]) -> t.Iterator[str]:
    try:
        yield from lines
    except SearchError as error:
        text = f"Here Splunk's answer broke off: {error}. The lines that follow are not lost; read the log again"
        now = datetime.now(timezone.utc).isoformat()
        yield json.dumps({"timestamp": now, "level": "error", "event": text})


def _lines_of(log_: t.Any) -> t.Iterator[str]:
    """Lines of a text of the archive, or of its stream."""
    return (line for line in (log_.split("\n") if isinstance(log_, str) else log_))


def _bounds(relative: str, ti: t.Any) -> tuple[datetime | None, datetime | None]:
    """Between which times an attempt's lines are; open when the task instance is of another attempt."""
    if paths.describe(relative).get("try_number") != getattr(ti, "try_number", None):
        return None, None
    begins = [one for one in (getattr(ti, "queued_dttm", None), getattr(ti, "start_date", None)) if one]
    end = getattr(ti, "end_date", None)
    return (min(begins) - _SLACK if begins else None), (end + _SLACK if end else None)


def _bundle(ti: t.Any) -> str:
    try:
        return str(ti.dag_version.bundle_name or "")
    except Exception:  # an older run has none, or the object is not bound to a session any more
        return ""


def _answers(host: t.Any, port: int) -> bool:
    if not isinstance(host, str) or not host:
        return False
    try:
        socket.create_connection((host, port), _SERVER_SECONDS).close()
    except OSError:
        return False
    return True
