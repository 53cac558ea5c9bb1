"""Indexed events, in a file of JSON lines, so that a dead process can be counted.

Memory has only where in it each source has its events.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
import typing as t
from array import array
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
        self.count = 0
        self._end = 0
        self._places: dict[str, array[int]] = {}
        self._repair()
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
                lines.append((event.source, f"{json.dumps(entry, separators=(',', ':'))}\n".encode()))
            self._file.write(b"".join(line for _source, line in lines))
            self._file.flush()
            for source, line in lines:
                self._note(source, line)

    def _note(self, source: str, line: bytes) -> None:
        """Another line of this source is at the file's end."""
        self._places.setdefault(source, array("Q")).append(self._end)
        self._end += len(line)

    def of(self, matches: t.Callable[[str], bool]) -> list[int]:
        """Positions of the events of all sources that match, in the order in which they came."""
        with self._lock:
            return sorted(place for source, places in self._places.items() if matches(source) for place in places)

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
                line = file.readline()
                if not line.endswith(b"\n"):
                    return  # all was forgotten meanwhile
                yield json.loads(line)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._file.truncate(0)
            self.count = self._end = 0
            self._places.clear()

    def _repair(self) -> None:
        """Cut off the half line that a killed process left, and find what is there."""
        if not os.path.exists(self.path):
            return
        for _position, line in self.read():
            self.count += 1
            self._note(json.loads(line)["source"], line)
        if self._end != os.path.getsize(self.path):
            os.truncate(self.path, self._end)

    def close(self) -> None:
        """Close, and remove a temporary file."""
        self._file.close()
        if self._temporary and os.path.exists(self.path):
            os.unlink(self.path)


def read_events(path: str) -> list[dict[str, t.Any]]:
    """The events in a file, also while somebody writes it."""
    with open(path, "rb") as file:
        return [json.loads(line) for line in file if line.endswith(b"\n")]
