# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mark on the share: a file whose content says which share this is.

PRIVATE to the collection.

A hard NFS mount answers never when its server is away, so every look at a share happens in a process of its own that
can be killed.
"""

from __future__ import annotations

import errno
import json
import os
import re
import select
import signal
import time
import typing as t
import uuid
from dataclasses import dataclass

NAME = ".flowstead-share"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,63}")
#: What servers and file systems put into an empty directory.
_NOT_CONTENT = frozenset({NAME, "lost+found", ".snapshot", ".snapshots", ".zfs"})


class ShareSilent(Exception):
    """The share did not answer in time."""


@dataclass(frozen=True)
class Sight:
    """What a look at the share found.

    Attributes:
        mark: content of the mark, empty where there is none.
        names: some of the other files, at most five.
        error: why the look failed, as strerror says it.
    """

    mark: str = ""
    names: tuple[str, ...] = ()
    error: str = ""


def look(directory: str, seconds: float) -> Sight:
    """Read the mark, and what else there is.

    Raises:
        ShareSilent: no answer within ``seconds``.
    """

    def read() -> dict[str, t.Any]:
        names = sorted(name for name in os.listdir(directory) if name not in _NOT_CONTENT)[:5]
        try:
            with open(os.path.join(directory, NAME), encoding="utf-8", errors="replace") as stream:
                return {"mark": stream.read(200).strip(), "names": names}
        except FileNotFoundError:
            return {"names": names}

    return _sight(read, seconds)


def create(directory: str, share_id: str, seconds: float) -> Sight:
    """Write the mark; one that another host wrote at the same time stays and is returned.

    Args:
        share_id: what it says; empty means a new, random ID.

    Raises:
        ShareSilent: no answer within ``seconds``.
    """
    wanted = share_id or f"share-{uuid.uuid4().hex}"

    def write() -> dict[str, t.Any]:
        final = os.path.join(directory, NAME)
        draft = f"{final}.{uuid.uuid4().hex}"
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w", encoding="utf-8") as stream:
            stream.write(f"{wanted}\n")
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(draft, final)  # unlike a rename, this never replaces one
        except FileExistsError:
            pass
        finally:
            os.unlink(draft)
        with open(final, encoding="utf-8") as stream:
            return {"mark": stream.read(200).strip()}

    return _sight(write, seconds)


def is_mark(text: str) -> bool:
    """Whether the content of the file is an ID."""
    return _ID.fullmatch(text) is not None


def _sight(action: t.Callable[[], dict[str, t.Any]], seconds: float) -> Sight:
    found = _in_child(action, seconds)
    return Sight(found.get("mark", ""), tuple(found.get("names", ())), found.get("error", ""))


def _in_child(action: t.Callable[[], dict[str, t.Any]], seconds: float) -> dict[str, t.Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _answer(action, writing)
    os.close(writing)
    answer = b""
    deadline = time.monotonic() + seconds
    try:
        while True:
            ready, _w, _x = select.select([reading], [], [], max(deadline - time.monotonic(), 0))
            if not ready:
                raise ShareSilent(f"no answer within {seconds:g} s")
            chunk = os.read(reading, 65536)
            if not chunk:
                break
            answer += chunk
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)  # also where it waits for a server: that wait can be killed
        os.waitpid(child, 0)
    return t.cast("dict[str, t.Any]", json.loads(answer)) if answer else {"error": os.strerror(errno.EIO)}


def _answer(action: t.Callable[[], dict[str, t.Any]], writing: int) -> t.NoReturn:
    try:
        answer = action()
    except OSError as error:
        answer = {"error": error.strerror or str(error)}
    except BaseException as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    try:
        os.write(writing, json.dumps(answer).encode())
    finally:
        os._exit(0)
