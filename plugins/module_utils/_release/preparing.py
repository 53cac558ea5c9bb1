# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a bundle's root, so that the bundle is valid from the first moment: with an empty release that is current.

PRIVATE to the collection.

The sentinel comes last: a root without one was never complete, and the next run goes on where a killed one stopped.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import stat
import typing as t
from dataclasses import dataclass

from .errors import ReleaseError
from .files import Files
from .layout import CURRENT, HISTORY, INCOMING, LOCK, NOT_CONTENT, OURS, RELEASES, SENTINEL, Root
from .lock import locked
from .manifest import Manifest
from .planning import Plan
from .staging import Stager
from .switching import clear, flip

#: What containers run as.
_READER_UID = 50000
_READER_GID = 0


@dataclass(frozen=True)
class Access:
    """Whose directory it is; None leaves what is there."""

    uid: int | None = None
    gid: int | None = None
    mode: int | None = None


def read_access(owner: str | None, group: str | None, mode: str | None) -> Access:
    """Resolve names on this host.

    Raises:
        ReleaseError: one is not known, or containers could not read the directory.
    """
    try:
        uid = None if owner is None else int(owner) if owner.isdigit() else pwd.getpwnam(owner).pw_uid
        gid = None if group is None else int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise ReleaseError(f"{error.args[0]}. Make it on this host, or give its number.") from None
    try:
        bits = None if mode is None else int(mode, 8)
    except ValueError:
        raise ReleaseError(f"mode: {mode!r} is no mode. Give it in octal and in quotes, such as '2775'.") from None
    if bits is not None:
        _refuse_unreadable(bits, uid, gid)
    return Access(uid, gid, bits)


class Preparer:
    """Prepares one root.

    Args:
        check_mode: say what would be done.
    """

    def __init__(self, files: Files, root: Root, access: Access, check_mode: bool) -> None:
        self._files = files
        self._root = root
        self._access = access
        self._check_mode = check_mode
        self._mode = 0o755 if access.mode is None else access.mode
        self.actions: list[str] = []

    def prepare(self, lock_seconds: float) -> None:
        """Make what is missing.

        Raises:
            ReleaseError, OSError: it cannot be made.
        """
        root = self._root
        found = self._look()
        self._make_root()
        if self._check_mode:
            self._complete(found)
            return
        with locked(self._files, root.at(LOCK), "prepare", lock_seconds, 0o644 | self._mode & 0o020):
            for name in (INCOMING, RELEASES):
                self._directory(root.at(name), self._mode)
            root.refresh()
            clear(self._files, root)
            self._complete(self._look())

    def _look(self) -> bool:
        """Whether the root is prepared already; refuses what belongs to somebody else."""
        root = self._root
        if not os.path.lexists(root.path):
            return False
        found = root.sentinel()
        if found is not None:
            root.refuse_foreign(found)
            return True
        names = sorted(set(os.listdir(root.path)) - OURS - NOT_CONTENT)
        if names:
            raise ReleaseError(
                f"{root.path} has no {SENTINEL} and holds {', '.join(names[:5])}: it is not a directory of releases. "
                "Move these files away, and publish them as a release; or correct path. Nothing was changed."
            )
        return False

    def _make_root(self) -> None:
        above = os.path.dirname(self._root.path)
        # In check mode, what comes before in the same run would have mounted the share.
        if not self._check_mode and not os.path.isdir(os.path.dirname(above)):
            raise ReleaseError(
                f"{os.path.dirname(above)} does not exist on this host: the share is not mounted, or path is wrong. "
                "Mount the share, or correct path."
            )
        self._directory(above, 0o755)
        self._directory(self._root.path, self._mode)

    def _complete(self, prepared: bool) -> None:
        root = self._root
        if not prepared or not self._check_mode:
            for name in (INCOMING, RELEASES):
                self._directory(root.at(name), self._mode)
        if prepared:
            root.current()
        elif not os.path.lexists(root.at(CURRENT)):
            self._do("make an empty release and make it current", self._first_release)
        self._set_access()
        if not prepared:
            text = json.dumps({"format": 1, "bundle": root.bundle, "environment": root.environment}) + "\n"
            self._do(f"write {root.at(SENTINEL)}", self._files.replace, root.at(SENTINEL), text, root.at(INCOMING))

    def _first_release(self) -> None:
        root = self._root
        empty = Manifest(root.bundle, {})
        found, damaged = root.manifests()
        if damaged:
            raise ReleaseError(f"{root.path} has no {SENTINEL}, and {damaged[0]}")
        names = [name for name, one in found.items() if one.hash == empty.hash]
        flip(self._files, root, names[0] if names else Stager(self._files, root, empty, None).stage(Plan()).release, "")

    def _set_access(self) -> None:
        root, access = self._root, self._access
        directories = [root.path, root.at(RELEASES), root.at(INCOMING)]
        releases = [root.release(name) for name in root.releases()] if os.path.isdir(root.at(RELEASES)) else []
        owned = [*directories, root.at(LOCK), root.at(HISTORY), *releases]
        for path in owned:
            if not os.path.lexists(path):
                continue
            status = os.lstat(path)
            uid = -1 if access.uid in (None, status.st_uid) else access.uid
            gid = -1 if access.gid in (None, status.st_gid) else access.gid
            if (uid, gid) != (-1, -1):
                self._do(f"give {path} to {access.uid}:{access.gid}", self._files.change_owner, path, uid, gid)
        for path in directories:
            if access.mode is not None and os.path.lexists(path) and _bits(path) != access.mode:
                self._do(f"set mode {access.mode:04o} on {path}", self._files.change_mode, path, access.mode)
        lock = root.at(LOCK)
        if os.path.lexists(lock):
            # Whoever may write to the root may publish, whatever the umask was of the one who made the file.
            wanted = 0o644 | (self._mode if access.mode is not None else _bits(root.path)) & 0o020
            if _bits(lock) != wanted:
                self._do(f"set mode {wanted:04o} on {lock}", self._files.change_mode, lock, wanted)

    def _directory(self, path: str, mode: int) -> None:
        if not os.path.isdir(path) and f"make {path}" not in self.actions:
            self._do(f"make {path}", self._files.make_directory, path, mode)

    def _do(self, text: str, function: t.Callable[..., None], *arguments: t.Any) -> None:
        self.actions.append(text)
        if not self._check_mode:
            function(*arguments)


def _bits(path: str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def _refuse_unreadable(mode: int, uid: int | None, gid: int | None) -> None:
    if uid == _READER_UID:
        needed = 0o500
    elif gid == _READER_GID:
        needed = 0o050
    else:
        needed = 0o005
    if mode & needed != needed:
        raise ReleaseError(
            f"mode: with {mode:04o}, containers could not read the directory; they run as user {_READER_UID}, group "
            f"{_READER_GID}. Give others read and execute, such as '2775', or make {_READER_GID} the group."
        )
