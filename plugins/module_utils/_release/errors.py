# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong with a release, in words for somebody who has to repair it.

PRIVATE to the collection. Pure.
"""

from __future__ import annotations

import errno
import typing as t


class ReleaseError(Exception):
    """Nothing could be done, or not all; the text says what, where and how to repair it."""


class ReleaseProblems(ReleaseError):
    """Several things at once.

    Attributes:
        problems: one line each, with the path and, where there is one, the line.
    """

    def __init__(self, head: str, problems: t.Sequence[str]) -> None:
        count = "There is 1 problem" if len(problems) == 1 else f"There are {len(problems)} problems"
        super().__init__(f"{head} {count}:\n" + "\n".join(f"  - {problem}" for problem in problems))
        self.problems = list(problems)


_FIXES = {
    errno.EROFS: (
        "it is mounted read-only on this host. Run this on the host that has dag_share_publisher: true, or set that "
        "for this host and run the role dag_share"
    ),
    errno.ENOSPC: "the share is full. Make room, for example with action: prune, or make the share larger",
    errno.EDQUOT: "the quota on the share is used up. Make room, for example with action: prune, or raise the quota",
    errno.ESTALE: (
        "the server exports something else there now (stale handle). Unmount and mount the share on this host: run "
        "the role dag_share"
    ),
    errno.EIO: "the share does not work (input/output error). See dmesg of this host, and the server's log",
}
_FORBIDDEN = (
    "this user may not. Publish as the user who owns the directory, or prepare it with owner, group and mode. On NFS, "
    "root of this host counts as nobody (root_squash): export the share with no_root_squash to this host, or publish "
    "as a user who owns the directory on the server too"
)
_FIXES[errno.EACCES] = _FIXES[errno.EPERM] = _FORBIDDEN


def explain(error: OSError, path: str) -> str:
    """Why an operation on the share failed, with a fix.

    Args:
        path: what it was about, where the error does not say so itself.
    """
    where = error.filename if isinstance(error.filename, str) else path
    fix = _FIXES.get(error.errno or 0)
    if fix:
        return f"{where}: {fix}."
    return f"{where}: {error.strerror or error}. See dmesg of this host, and the server's log."
