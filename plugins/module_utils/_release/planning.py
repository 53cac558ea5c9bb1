# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the share and find out what a new release would need. Changes nothing.

PRIVATE to the collection.
"""

from __future__ import annotations

import errno
import os
import typing as t
from dataclasses import dataclass, field

from . import manifest as manifests
from .errors import ReleaseError
from .layout import INCOMING, RELEASES, Root
from .manifest import Manifest
from .verifying import verify

#: What a file takes beside its content: an inode, a directory entry, half a block.
_OVERHEAD = 4096
_READ_ONLY = getattr(os, "ST_RDONLY", 1)


class Origin(t.NamedTuple):
    """A file that has some content: its path, and when its release was complete (``st_mtime_ns`` on the share)."""

    place: str
    sealed: int


#: Where content lies, by hash and executable bit.
Origins = dict[tuple[str, bool], Origin]


@dataclass
class Plan:
    """What staging would do.

    Attributes:
        release: one that has this content already; empty when there is none.
        missing: hashes of the content that no release has.
        origins: where content lies that a release has, by hash and executable bit.
        warnings: about releases that are damaged.
        kept: the others.
    """

    release: str = ""
    missing: list[str] = field(default_factory=list)
    origins: Origins = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    kept: dict[str, Manifest] = field(default_factory=dict)


def make_plan(root: Root, wanted: Manifest, current: str) -> Plan:
    """Look at what is there.

    Args:
        current: the current release, which is preferred when several have the content.
    """
    kept, damaged = root.manifests()
    plan = Plan(warnings=damaged, kept=kept)
    names = sorted(kept, key=lambda name: (name == current, name), reverse=True)
    for name in names:
        if kept[name].hash == wanted.hash:
            problems = verify(root.release(name), kept[name])
            if not problems:
                plan.release = name
                return plan
            plan.warnings.append(
                f"release {name} has this content and is damaged ({'; '.join(problems[:3])}); it is made anew"
            )
    contents = {file.sha256 for file in wanted.files.values()}
    for name in names:
        directory, sealed = root.release(name), root.sealed(name)
        for path, file in kept[name].files.items():
            key = (file.sha256, file.executable)
            if file.sha256 in contents and key not in plan.origins:
                plan.origins[key] = Origin(f"{directory}/{path}", sealed)  # whether it is sound shows when it is used
    present = {sha256 for sha256, _executable in plan.origins}
    plan.missing = sorted(contents - present)
    return plan


def refuse_full(root: Root, wanted: Manifest, missing: t.Collection[str]) -> None:
    """There is room on the share, and it can be written.

    Raises:
        OSError, ReleaseError: there is not.
    """
    space = os.statvfs(root.path)
    if space.f_flag & _READ_ONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), root.path)
    for name in (RELEASES, INCOMING):
        if not os.access(root.at(name), os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), root.at(name))
    sizes = {file.sha256: file.size for file in wanted.files.values()}
    directories = manifests.directories(wanted.files)
    needed = sum(sizes[sha256] + _OVERHEAD for sha256 in missing)
    needed += _OVERHEAD * (len(directories) + 2) + len(wanted.text())
    free = space.f_bavail * space.f_frsize
    if space.f_blocks and needed > free:  # some servers do not say how large they are
        raise ReleaseError(
            f"{root.path}: the share is too full. The release needs {_mb(needed)}, and {_mb(free)} are free. Make "
            "room, for example with action: prune, or make the share larger. Nothing was changed."
        )
    inodes = len(missing) + len(directories) + 2
    if space.f_files and inodes > space.f_favail:
        raise ReleaseError(
            f"{root.path}: the share has {space.f_favail} inodes left, and the release needs {inodes}. Make room, for "
            "example with action: prune. Nothing was changed."
        )


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
