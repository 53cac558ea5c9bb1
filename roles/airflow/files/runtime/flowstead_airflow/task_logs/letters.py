# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events that Splunk refuses for what they are, kept in files for a person."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from flowstead_airflow.task_logs.hec import Answer


class DeadLetters:
    """Appends to one file a day, each entry a JSON line ``{"when", "source", "offset", "answer", "event"}``.

    Several processes may write: an entry is one write() to a file opened for appending.

    Args:
        directory: made when needed.
        limit: bytes of all its files. Over it, the oldest files go.
    """

    def __init__(self, directory: Path, limit: int) -> None:
        self._directory = directory
        self._limit = limit

    def add(self, source: str, offset: int, event: bytes, answer: Answer) -> None:
        """Keep an event.

        Raises:
            OSError: when it cannot be written; then the event must not count as dealt with.
        """
        now = time.time()
        entry = {"when": now, "source": source, "offset": offset, "answer": answer.text, "event": json.loads(event)}
        line = json.dumps(entry).encode() + b"\n"
        path = self._directory / f"{time.strftime('%Y-%m-%d', time.gmtime(now))}.jsonl"
        self._directory.mkdir(parents=True, exist_ok=True)
        self._make_room(len(line))
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o660)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

    def _make_room(self, more: int) -> None:
        files = sorted(self._directory.glob("*.jsonl"))
        size = sum(path.stat().st_size for path in files)
        for path in files:
            if size + more <= self._limit:
                return
            size -= path.stat().st_size
            path.unlink(missing_ok=True)
