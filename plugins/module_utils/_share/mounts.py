# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel says about mounts, and who uses one.

PRIVATE to the collection.

Source: proc(5), /proc/PID/mountinfo.
"""

from __future__ import annotations

import contextlib
import os
import re
import typing as t
from pathlib import Path


class Mount(t.NamedTuple):
    """One line of mountinfo; ``options`` are those of the mount and of the file system together."""

    device: str
    path: str
    fstype: str
    source: str
    options: frozenset[str]


def parse_mountinfo(text: str) -> list[Mount]:
    """The mounts, in the order in which they lie over each other."""
    mounts = []
    for line in text.splitlines():
        before, _dash, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(rest) < 3:
            continue
        # Read-only can be said of the mount or of the file system: one of them is enough.
        options = {*fields[5].split(","), *rest[2].split(",")}
        if "ro" in options:
            options.discard("rw")
        mounts.append(Mount(fields[2], _plain(fields[4]), rest[0], _plain(rest[1]), frozenset(options)))
    return mounts


def mount_at(path: str, mounts: t.Sequence[Mount]) -> Mount | None:
    """The mount that a path shows, if it is a mount point."""
    return next((mount for mount in reversed(mounts) if mount.path == path), None)


def fstab_line(path: str, text: str) -> str:
    """The line of fstab that mounts a path, or nothing."""
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > 1 and not fields[0].startswith("#") and (_plain(fields[1]).rstrip("/") or "/") == path:
            return line.strip()
    return ""


def users(mount: Mount, proc: Path = Path("/proc")) -> list[str]:
    """Processes that use a mount, each as ``name (pid)``: open files, directories, and mounts of containers."""
    found = []
    ours = _link(proc / "self/ns/mnt")
    host = parse_mountinfo(_text(proc / "self/mountinfo"))
    foreign: dict[str, bool] = {}
    for entry in sorted((one for one in proc.iterdir() if one.name.isdigit()), key=lambda one: int(one.name)):
        if entry.name == str(os.getpid()):
            continue
        namespace = _link(entry / "ns/mnt")
        if namespace and namespace != ours and namespace not in foreign:
            foreign[namespace] = _is_used(mount, parse_mountinfo(_text(entry / "mountinfo")), host)
        if foreign.get(namespace) or (namespace == ours and _holds(entry, mount.path)):
            found.append(f"{_text(entry / 'comm').strip() or 'process'} ({entry.name})")
    return found


def _is_used(mount: Mount, inside: t.Sequence[Mount], host: t.Sequence[Mount]) -> bool:
    # Services with a sandbox of their own see every mount of the host in its place, and lose it with the host.
    # A container has another root, or sees the share elsewhere, and keeps it.
    copies = [one for one in inside if one.device == mount.device]
    here, there = mount_at("/", host), mount_at("/", inside)
    sandbox = here is not None and there is not None and here.device == there.device
    return any(not sandbox or one.path != mount.path for one in copies)


def _holds(process: Path, path: str) -> bool:
    links = [process / "cwd", process / "root", process / "exe"]
    with contextlib.suppress(OSError):  # it has ended
        links += list((process / "fd").iterdir())
    return any(target == path or target.startswith(f"{path}/") for target in map(_link, links))


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), text)
