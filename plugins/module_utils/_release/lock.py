# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One publisher at a time on a bundle, also between hosts.

PRIVATE to the collection.

Source: fcntl(2), locks of POSIX: they end with the process, also when it is killed, and over NFSv4 they hold between
clients. They end as well when the process closes any other handle of the file, so it is opened here and nowhere else.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import time
import typing as t

from .errors import ReleaseError
from .files import Files
from .manifest import timestamp

_HELD = (errno.EACCES, errno.EAGAIN)
_UNKNOWN = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS)
_POLL_SECONDS = 0.1
_LONGEST_NOTE = 1000


@contextlib.contextmanager
def locked(files: Files, path: str, action: str, seconds: float, mode: int = 0o644) -> t.Iterator[None]:
    """Hold the lock file at ``path``.

    Args:
        action: what it is held for; others who wait are told.
        seconds: how long to wait for it.

    Raises:
        ReleaseError: another holds it, or the file system cannot lock.
        OSError: the file cannot be opened for writing.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        _acquire(handle, path, seconds)
        holder = {"host": platform.node(), "pid": os.getpid(), "since": timestamp(time.time()), "action": action}
        files.note(handle, json.dumps(holder).encode())
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # only a note for people; the lock itself ends with the handle
                files.note(handle, b"")
    finally:
        os.close(handle)


def _acquire(handle: int, path: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno in _UNKNOWN:
                raise ReleaseError(
                    f"{path} cannot be locked ({error.strerror}), so two publishers could meet. On NFS, mount the "
                    "share with version 4.1 or newer and without nolock, and see that the server grants locks."
                ) from None
            if error.errno not in _HELD:
                raise
        if time.monotonic() >= deadline:
            raise ReleaseError(
                f"{path} is held by {_holder(handle)}, also after {seconds:g} s. Wait until that is done and run this "
                "again, or raise lock_timeout. When that process hangs, end it: the lock ends with it."
            )
        time.sleep(_POLL_SECONDS)


def _holder(handle: int) -> str:
    try:
        holder = json.loads(os.pread(handle, _LONGEST_NOTE, 0))
        return f"{holder['action']} on {holder['host']}, process {holder['pid']}, since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another publisher that has not said its name"
