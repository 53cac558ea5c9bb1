# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make this host ask a file server now, and not when what it remembers of a directory has become old.

PRIVATE to the collection.

A client of NFS trusts what it knows of a directory for up to a minute (acdirmax), and with it where a link leads.
statx(2) with AT_STATX_FORCE_SYNC asks the server whatever is remembered. When the directory has changed, the client
forgets the names in it; and since a host has one memory for all mounts of an export, so do all its containers.

Sources: statx(2); nfs(5), "Directory entry caching"; Linux, fs/nfs/inode.c, nfs_getattr().
"""

from __future__ import annotations

import ctypes
import os

_AT_FDCWD = -100
_AT_STATX_FORCE_SYNC = 0x2000
_STATX_BASIC_STATS = 0x7FF
#: struct statx has 256 bytes on every architecture.
_STATX_BYTES = 256


def ask_server(path: str) -> bool:
    """Refresh what this host knows of a directory; whether that was possible.

    Where it is not, because the path is missing or the C library is too old, nothing is worse than before: whoever
    reads the path next is told, or waits for the client's own time.
    """
    statx = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
    if statx is None:
        return False
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    found: int = statx(_AT_FDCWD, os.fsencode(path), _AT_STATX_FORCE_SYNC, _STATX_BASIC_STATS, buffer)
    return found == 0
