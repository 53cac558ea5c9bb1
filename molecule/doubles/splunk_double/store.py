"""Indexed events, in a file of JSON lines and nowhere else, so that memory does not grow and a dead process can be
counted."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
import typing as t
from dataclasses import asdict

from .batch import Event


class Store:
    """Appends events and reads them back.

    Args:
        path: the file; it is continued. Empty means a temporary one that close() removes.
    """

    def __init__(self, path: str = "") -> None:
        self._temporary = not path
        if not path:
            handle, path = tempfile.mkstemp(prefix="splunk-double-", suffix=".jsonl")
            os.close(handle)
        self.path = path
        self._lock = threading.Lock()
        self.count = _repair(path)
        self._file = open(path, "ab")  # noqa: SIM115 - it lives as long as the store

    def add(self, events: t.Sequence[Event], **more: str) -> None:
        """Index events. They are in the file when this returns, and outlive a killed process."""
        with self._lock:
            lines = []
            for event in events:
                if not event.index:
                    continue
                self.count += 1
                entry = {"serial": self.count, "indextime": round(time.time(), 6), **asdict(event), **more}
                lines.append(json.dumps(entry, separators=(",", ":")) + "\n")
            self._file.write("".join(lines).encode())
            self._file.flush()

    def read(self) -> t.Iterator[tuple[int, bytes]]:
        """Position and text of every line; those that are being written are left out."""
        with open(self.path, "rb") as file:
            position = 0
            for line in file:
                if not line.endswith(b"\n"):
                    return
                yield position, line
                position += len(line)

    def at(self, positions: t.Iterable[int]) -> t.Iterator[dict[str, t.Any]]:
        """The events at these positions, in this order."""
        with open(self.path, "rb") as file:
            for position in positions:
                file.seek(position)
                yield json.loads(file.readline())

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._file.truncate(0)
            self.count = 0

    def close(self) -> None:
        """Close, and remove a temporary file."""
        self._file.close()
        if self._temporary and os.path.exists(self.path):
            os.unlink(self.path)


def read_events(path: str) -> list[dict[str, t.Any]]:
    """The events in a file, also while somebody writes it."""
    with open(path, "rb") as file:
        return [json.loads(line) for line in file if line.endswith(b"\n")]


def _repair(path: str) -> int:
    """Cut off the half line that a killed process left; how many lines there are."""
    if not os.path.exists(path):
        return 0
    lines = whole = 0
    with open(path, "rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                lines += 1
                whole += len(line)
    if whole != os.path.getsize(path):
        os.truncate(path, whole)
    return lines
