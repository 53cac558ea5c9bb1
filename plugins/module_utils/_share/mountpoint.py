# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory below the mount: nobody may take it for an empty share.

PRIVATE to the collection.

Mode 0000 keeps everybody but root from looking inside, which Airflow in its container is not. The immutable flag, where
the file system has one, keeps root (and with it Docker, which makes missing sources of ``-v``) from creating anything.

Source: ioctl_iflags(2).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import typing as t

_IMMUTABLE = 0x10
_SIZE = struct.calcsize("l")
_GET_FLAGS = (2 << 30) | (_SIZE << 16) | (ord("f") << 8) | 1
_SET_FLAGS = (1 << 30) | (_SIZE << 16) | (ord("f") << 8) | 2
_UNSUPPORTED = (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.ENOSYS)


def protect(path: str) -> bool:
    """Close a directory; make it first where it is missing. Returns whether it was made."""
    made = not os.path.isdir(path)
    if made:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        os.mkdir(path, 0o000)
    _set_immutable(path, False)
    os.chown(path, 0, 0)
    os.chmod(path, 0o000)
    _set_immutable(path, True)
    return made


def unprotect(path: str, remove: bool) -> None:
    """Open a directory again; with ``remove``, take it away when it is empty."""
    if not os.path.isdir(path):
        return
    _set_immutable(path, False)
    os.chmod(path, 0o755)  # noqa: S103 - as any directory of a host
    if remove and not os.listdir(path):
        os.rmdir(path)


def _set_immutable(path: str, wanted: bool) -> None:
    before = _flags(path)
    if before is None:
        return
    flags = before | _IMMUTABLE if wanted else before & ~_IMMUTABLE
    if flags == before:
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", flags))
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


def _flags(path: str) -> int | None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        answer = fcntl.ioctl(descriptor, _GET_FLAGS, bytes(_SIZE))
        return t.cast(int, struct.unpack("l", answer)[0])
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return None
    finally:
        os.close(descriptor)
