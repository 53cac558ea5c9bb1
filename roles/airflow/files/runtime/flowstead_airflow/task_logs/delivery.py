# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One log file to Splunk, batch by batch, from its mark on. Serves the supervisor's thread and the sweeper alike."""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass
from pathlib import Path

from flowstead_airflow.task_logs import paths
from flowstead_airflow.task_logs.events import Batch, Encoder, segment_of
from flowstead_airflow.task_logs.hec import WRONG_INDEX, Answer, Fate, Hec
from flowstead_airflow.task_logs.letters import DeadLetters
from flowstead_airflow.task_logs.marks import Mark
from flowstead_airflow.task_logs.settings import TaskLogSettings, spool_of


class Undelivered(Exception):
    """Splunk did not take a batch; the mark stands before it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


@dataclass
class Counters:
    """What one process has done.

    Attributes:
        lines: that Splunk acknowledged.
        requests: to Splunk, whatever it answered.
        failures: requests that were not accepted.
        refused: lines among the refused events.
        cut: lines of which only the begin was sent.
    """

    lines: int = 0
    requests: int = 0
    failures: int = 0
    refused: int = 0
    cut: int = 0


class OpenLog:
    """A log file that this process has claimed and reads.

    Attributes:
        relative: its path below the log folder.
        mark: how much of it was delivered.
        descriptor: of the file, for reading.
        looked_at: how large it was when somebody last looked for what to send.
    """

    def __init__(self, relative: str, descriptor: int, mark: Mark) -> None:
        self.relative = relative
        self.descriptor = descriptor
        self.mark = mark
        self.encoder: Encoder | None = None
        self.looked_at = 0
        self._forced = 0
        mark.follow(descriptor)

    @property
    def size(self) -> int:
        """Bytes of the file now."""
        return os.fstat(self.descriptor).st_size

    @property
    def is_sent(self) -> bool:
        """Whether Splunk has all of it."""
        return self.mark.sent >= self.size

    @property
    def has_news(self) -> bool:
        """Whether it is another one than at the last look."""
        return self.size != self.looked_at

    def needs_disk(self) -> bool:
        """Whether something in it is neither sent nor, when it was last asked, on its way to the disk."""
        size = self.size
        if size <= self.mark.sent or size == self._forced:
            return False
        self._forced = size
        return True

    def abandon(self) -> None:
        """In a child that was forked: the parent goes on with it."""
        self.mark.abandon()
        os.close(self.descriptor)

    def close(self, remove_mark: bool = False) -> None:
        """Let others work on it."""
        self.mark.release(remove_mark)
        os.close(self.descriptor)


class Delivery:
    """Sends log files.

    Args:
        given: the settings.
        logs: the log folder.
    """

    def __init__(self, given: TaskLogSettings, logs: Path) -> None:
        self._given = given
        self._logs = logs
        self.spool = spool_of(given, logs)
        self.hec = Hec(given.hec)
        self.counters = Counters()
        self._letters = DeadLetters(self.spool / "refused", given.spool_bytes)

    def renew(self) -> None:
        """In a child that was forked: nothing of the parent's connection is touched, least of all its end."""
        self.hec = Hec(self._given.hec)
        self.counters = Counters()

    def mark_of(self, relative: str) -> Path:
        """Where the mark of a log file is."""
        return self.spool / "marks" / f"{relative}.mark"

    def open(self, relative: str, bundle: str = "", path: Path | None = None) -> OpenLog | None:
        """Claim a log file; None while somebody else is at work on it.

        Args:
            relative: its path below the log folder.
            bundle: its DAG bundle, when it is known.
            path: another way to the same file.

        Raises:
            OSError: when it cannot be read, or its mark not be made.
        """
        descriptor = os.open(path or self._logs / relative, os.O_RDONLY | os.O_CLOEXEC)
        try:
            mark = Mark.claim(self.mark_of(relative))
            if mark is None:
                os.close(descriptor)
                return None
            mark.bundle = bundle or mark.bundle
            return OpenLog(relative, descriptor, mark)
        except OSError:
            os.close(descriptor)
            raise

    def step(self, file: OpenLog, final: bool = False) -> Batch | None:
        """Send one batch; None when there was none.

        Args:
            file: what to send.
            final: also a last line without its end.

        Raises:
            Undelivered: Splunk did not take it.
        """
        size = file.looked_at = file.size
        if size < file.mark.sent:
            file.mark.follow(file.descriptor)
            file.encoder = None
        if size <= file.mark.sent:
            return None
        if file.encoder is None:
            file.mark.store()
            file.encoder = self._encoder(file)
        batch = file.encoder.read(file.descriptor, file.mark.sent, self._given.batch_bytes, final)
        if batch.count:
            self._send(file, batch)
        elif batch.end == file.mark.sent:
            return None
        if batch.end != file.mark.sent:
            self._advance(file, batch.end)
        return batch

    def _encoder(self, file: OpenLog) -> Encoder:
        fields = paths.describe(paths.source_of(file.relative))
        bundle = str(fields.get("bundle", "")) or file.mark.bundle
        if bundle:
            fields["bundle"] = bundle
        fields["environment"], fields["stack"] = self._given.environment, self._given.stack
        return Encoder(
            source=paths.source_of(file.relative),
            host=self._given.node,
            index=self._given.index_of(bundle),
            sourcetype=self._given.sourcetype,
            fields=fields,
            segment=segment_of(file.descriptor),
        )

    def _send(self, file: OpenLog, batch: Batch) -> None:
        self.counters.cut += batch.cut
        pending = [batch]
        accepted = False
        while pending:
            part = pending.pop()
            self.counters.requests += 1
            answer = self.hec.post(part.packed)
            if answer.fate is Fate.ACCEPTED:
                accepted = True
                self.counters.lines += part.count
                self._advance(file, part.end)
                continue
            self.counters.failures += 1
            if answer.fate not in (Fate.POISON, Fate.LARGE) and not (answer.code == WRONG_INDEX and accepted):
                raise Undelivered(answer)
            if part.count == 1:
                self._keep(file, part, answer)
                self._advance(file, part.end)
            else:
                pending += reversed(_pieces(part, answer))

    def _keep(self, file: OpenLog, part: Batch, answer: Answer) -> None:
        try:
            self._letters.add(paths.source_of(file.relative), part.begin, part.text(), answer)
        except OSError as error:
            text = f"{answer.text}; the event cannot be kept: {error.strerror}"
            raise Undelivered(Answer(Fate.AWAY, text)) from error
        self.counters.refused += 1

    @staticmethod
    def _advance(file: OpenLog, to: int) -> None:
        file.mark.sent = to
        file.mark.store()


def _pieces(batch: Batch, answer: Answer) -> list[Batch]:
    """The batch in two or three pieces, so that the bad event comes to stand alone.

    Splunk 10 has taken the events before the bad one already. They are sent again all the same: whether each version
    does that is not known, and the reader drops what came twice.
    """
    count = batch.count
    bad = answer.event
    cuts = {0, count // 2, count} if bad is None or bad >= count else {0, bad, bad + 1, count}
    places = sorted(cuts)
    return [batch.part(first, last) for first, last in zip(places, places[1:])]


def all_of(delivery: Delivery, file: OpenLog, final: bool = True) -> t.Iterator[None]:
    """Send everything, one batch with each step of the iterator.

    Raises:
        Undelivered: as :meth:`Delivery.step`.
    """
    while delivery.step(file, final) is not None:
        yield
