# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is and has to offer: memory, disk, architecture, distribution, Python, commands.

PRIVATE to the collection.

Source: proc(5) for /proc/meminfo, statvfs(3), os-release(5).
"""

from __future__ import annotations

import os
import shlex
import shutil
import typing as t
from dataclasses import dataclass
from pathlib import Path

from .problems import Problem

MIB = 1024 * 1024
#: What the modules of this collection need on a host.
OLDEST_PYTHON = (3, 9)


@dataclass(frozen=True)
class Space:
    """Free space that a path needs.

    Attributes:
        path: absolute path; it need not exist yet.
        free_mb: MiB.
        variable: the inventory variable that named the path.
    """

    path: str
    free_mb: int
    variable: str = "disk"


def check_memory(
    wanted_mb: int, available_mb: int, ours_mb: int, variable: str = "memory_mb", stack: str = ""
) -> list[Problem]:
    """Compare what a deploy needs with what is there; a running stack gives its memory back.

    Args:
        wanted_mb: MiB the whole stack needs.
        available_mb: MiB that are available now.
        ours_mb: MiB that the running stack uses now.
    """
    total = available_mb + ours_mb
    if total >= wanted_mb:
        return []
    sum_text = f"{available_mb} MiB are available"
    if ours_mb:
        sum_text += f" and the running stack {stack} uses {ours_mb} MiB, together {total} MiB"
    return [
        Problem(
            check="memory",
            variable=variable,
            value=f"{wanted_mb} MiB",
            problem=f"the platform needs {wanted_mb} MiB of memory on this host; {sum_text}: "
            f"{wanted_mb - total} MiB are missing",
            fix="lower the memory_mb and replicas of airflow_components and airflow_workers, stop other programs, "
            "or take a larger host",
        )
    ]


def available_memory_mb(meminfo: str = "/proc/meminfo") -> int:
    """MiB that new programs can use without swapping (MemAvailable)."""
    for line in Path(meminfo).read_text(encoding="ascii").splitlines():
        name, _colon, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) // 1024
    raise ValueError(f"{meminfo} has no MemAvailable")


def check_disk(spaces: t.Sequence[Space], free: t.Callable[[str], tuple[int, int]] | None = None) -> list[Problem]:
    """Compare free space with what is needed; paths on one file system share its space.

    Args:
        free: path to (file system's number, free bytes); for tests.
    """
    measure = free or _free
    groups: dict[int, list[tuple[Space, str]]] = {}
    available: dict[int, int] = {}
    for space in spaces:
        parent = _existing(space.path)
        device, free_bytes = measure(parent)
        groups.setdefault(device, []).append((space, parent))
        available[device] = free_bytes // MIB
    problems = []
    for device, group in groups.items():
        wanted = sum(space.free_mb for space, _parent in group)
        if available[device] >= wanted:
            continue
        paths = ", ".join(f"{space.path} needs {space.free_mb} MiB" for space, _parent in group)
        where = group[0][1]
        together = f", together {wanted} MiB on one file system" if len(group) > 1 else ""
        problems.append(
            Problem(
                check="disk",
                variable=group[0][0].variable,
                value=", ".join(space.path for space, _parent in group),
                problem=f"{paths}{together}; {available[device]} MiB are free at {where}",
                fix=f"free {wanted - available[device]} MiB on the file system of {where}, enlarge it, "
                "or take another path",
            )
        )
    return problems


def check_architecture(allowed: t.Sequence[str], machine: str) -> list[Problem]:
    """The machine's architecture is one that the image exists for. ``machine`` as ``uname -m`` says it."""
    if not allowed or machine in allowed:
        return []
    return [
        Problem(
            check="architecture",
            variable="airflow_architectures",
            value=", ".join(allowed),
            problem=f"this host is {machine}; the image exists for {', '.join(allowed)}",
            fix="take another host, or an image for this architecture",
        )
    ]


def check_distribution(allowed: t.Sequence[str], release: t.Mapping[str, str]) -> list[Problem]:
    """The host's distribution is one that the collection installs on.

    Args:
        allowed: as ``ID`` of os-release(5) says them; empty means any.
        release: what :func:`read_release` found.
    """
    name = release.get("ID", "linux")
    if not allowed or name in allowed:
        return []
    called = release.get("PRETTY_NAME") or name
    return [
        Problem(
            check="distribution",
            variable="inventory",
            value=called,
            problem=f"this host runs {called}; this collection installs on {', '.join(allowed)}",
            fix="take the host out of the groups swarm_managers and swarm_workers, or install one of these on it",
        )
    ]


def check_python(version: tuple[int, int], executable: str) -> list[Problem]:
    """The Python that Ansible uses on this host is new enough."""
    if version >= OLDEST_PYTHON:
        return []
    found, wanted = (".".join(str(part) for part in one) for one in (version, OLDEST_PYTHON))
    return [
        Problem(
            check="python",
            variable="ansible_python_interpreter",
            value=executable,
            problem=f"Ansible uses Python {found} on this host; the collection needs {wanted} or newer",
            fix="install a newer Python there and name it in ansible_python_interpreter",
        )
    ]


def read_release(path: str = "/etc/os-release") -> dict[str, str]:
    """The host's os-release file; empty where there is none."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            found[name] = " ".join(shlex.split(value))
    return found


def check_commands(commands: t.Sequence[str]) -> list[Problem]:
    """Every command is found, also where only root looks."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    return [
        Problem(
            check="command",
            variable="commands",
            value=command,
            problem=f"the command {command} is not there",
            fix=f"install the package that brings {command}",
        )
        for command in commands
        if shutil.which(command, path=path) is None
    ]


def _existing(path: str) -> str:
    found = Path(path)
    while not found.exists() and found != found.parent:
        found = found.parent
    return str(found)


def _free(path: str) -> tuple[int, int]:
    usage = os.statvfs(path)
    return os.stat(path).st_dev, usage.f_bavail * usage.f_frsize
