# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One mark for each log file: how much of it Splunk and the archive have, and whether somebody is at work on it.

The lock is a record lock of POSIX (fcntl): the kernel takes it away when its process dies, however it dies; a child
does not inherit it, so a task that outlives its supervisor does not hold it; and containers that share a volume see
each other's, whatever process IDs they have. Its trap is that closing any descriptor of a file drops the process's
lock on it; so a mark is opened in one place only, here, and once per process.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import typing as t
from pathlib import Path

#: A mark is written in place in one piece; a rename would leave the lock on the old file.
_SIZE = 1024
#: Of a file's begin, at most its first line; tells another file of the same name.
_HEAD = 512
_CLAIMED: set[str] = set()
os.register_at_fork(after_in_child=_CLAIMED.clear)


class Mark:
    """A log file's mark, claimed by this process.

    Attributes:
        sent: bytes of the file that Splunk acknowledged, or that are among the refused events.
        archived: bytes that the archive has.
        bundle: the DAG bundle, when whoever wrote the file knew it.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self._head = ""
        self.sent = 0
        self.archived = 0
        self.bundle = ""

    @classmethod
    def claim(cls, path: Path) -> Mark | None:
        """The mark at ``path``, made when there is none; None while somebody else is at work.

        Raises:
            OSError: when it cannot be made or opened.
        """
        key = str(path)
        if key in _CLAIMED:
            return None
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                continue
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            except OSError:
                os.close(descriptor)
                raise
            if _same(descriptor, path):
                break
            # The sweeper removed it between the two calls.
            os.close(descriptor)
        _CLAIMED.add(key)
        mark = cls(path, descriptor)
        mark._load()
        return mark

    def follow(self, log: int) -> None:
        """Make the mark one of this open log file: a file that begins otherwise, or is shorter, is another state.

        A shorter file with the same begin has lost its end with its host's power. What it has was sent.
        """
        size = os.fstat(log).st_size
        head = _head(log)
        if self._head and head and head != self._head:
            self.sent = self.archived = 0
        self._head = head or self._head
        if max(self.sent, self.archived) > size:
            self.sent, self.archived = min(self.sent, size), min(self.archived, size)
            self.store()

    def store(self) -> None:
        """Write the mark. Nobody waits for the disk: after a power loss an older mark sends some lines twice."""
        content = {"sent": self.sent, "archived": self.archived, "head": self._head, "bundle": self.bundle}
        os.pwrite(self._descriptor, json.dumps(content).encode().ljust(_SIZE) + b"\n", 0)

    def release(self, remove: bool = False) -> None:
        """Let others work on the file; with ``remove``, forget it."""
        if remove:
            self._path.unlink(missing_ok=True)
        _CLAIMED.discard(str(self._path))
        os.close(self._descriptor)

    def move(self, to: Path) -> None:
        """Give the mark another path, with the log file; the lock stays.

        Raises:
            OSError: when it cannot be moved.
        """
        os.replace(self._path, to)
        _CLAIMED.discard(str(self._path))
        _CLAIMED.add(str(to))
        self._path = to

    def abandon(self) -> None:
        """In a child that was forked: close what it has inherited. The parent keeps its lock."""
        os.close(self._descriptor)

    def _load(self) -> None:
        found = _content(os.pread(self._descriptor, _SIZE + 1, 0))
        self.sent, self.archived = found.get("sent", 0), found.get("archived", 0)
        self._head, self.bundle = found.get("head", ""), found.get("bundle", "")


def peek(path: Path) -> dict[str, t.Any]:
    """What a mark says, without claiming it; only for files that this process has not claimed.

    Returns:
        an empty dictionary when there is none.
    """
    try:
        return {} if str(path) in _CLAIMED else _content(path.read_bytes())
    except OSError:
        return {}


def _head(log: int) -> str:
    """A short name of how the file begins; "" as long as that may still change."""
    begin, newline, _rest = os.pread(log, _HEAD, 0).partition(b"\n")
    return hashlib.sha256(begin).hexdigest()[:16] if newline or len(begin) == _HEAD else ""


def _content(raw: bytes) -> dict[str, t.Any]:
    try:
        found = json.loads(raw)
        return found if isinstance(found, dict) and isinstance(found["sent"], int) else {}
    except (ValueError, KeyError):
        return {}


def _same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
