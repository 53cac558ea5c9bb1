# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has of Docker besides a running engine: packages, files, units.

PRIVATE to the collection.

Sources: dpkg-query(1) for packages, systemctl(1) and org.freedesktop.systemd1(5) for units.
"""

from __future__ import annotations

import grp
import os
import pwd
import typing as t
from pathlib import Path

#: What dpkg-query is asked for, one package a line.
PACKAGE_FORMAT = "${Package} ${db:Status-Status} ${db:Status-Want} ${Version}\\n"
#: What systemctl is asked for.
UNIT_PROPERTIES = ("Id", "LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload")
_LARGEST = 4 << 20


class Packages(t.NamedTuple):
    """Installed packages by name: their versions, and what dpkg is to do with them (install, hold, ...)."""

    versions: dict[str, str]
    selections: dict[str, str]


def parse_packages(output: str) -> Packages:
    """What dpkg-query said in PACKAGE_FORMAT; a package that only left its settings counts as not installed."""
    packages = Packages({}, {})
    for line in output.splitlines():
        name, status, selection, *version = line.split()
        if status == "installed" and version:
            packages.versions[name] = version[0]
            packages.selections[name] = selection
    return packages


def parse_units(output: str) -> dict[str, dict[str, t.Any]]:
    """Loaded units by name, each with ``active``, ``enabled`` and ``stale`` (systemd has not read its files again)."""
    units = {}
    for block in output.strip().split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        if values.get("LoadState") == "loaded":
            units[values["Id"]] = {
                "active": values.get("ActiveState") in ("active", "reloading"),
                "enabled": values.get("UnitFileState") == "enabled",
                "stale": values.get("NeedDaemonReload") == "yes",
            }
    return units


def read_ages(paths: t.Iterable[str]) -> dict[str, float]:
    """When those of ``paths`` that exist were modified, in seconds since 1970."""
    ages = {}
    for path in paths:
        try:
            ages[path] = os.stat(path).st_mtime
        except OSError:
            continue
    return ages


def differing(texts: t.Mapping[str, str], access: t.Mapping[str, str] | None = None) -> list[str]:
    """Those paths of ``texts`` (path to text) at which no file with exactly that text is.

    Args:
        access: path to ``owner:group:mode``, with names and four octal digits, for paths where these count too.
    """
    wanted = access or {}
    return sorted(
        path
        for path, text in texts.items()
        if _read(path) != text.encode() or (path in wanted and _access(path) != wanted[path])
    )


def apt_can_be_asked(bindings: str = "/usr/lib/python3/dist-packages", lists: str = "/var/lib/apt/lists") -> bool:
    """Whether Python's bindings and package lists are there. A fresh host may lack both."""
    return any(Path(bindings).glob("apt_pkg*.so")) and any(Path(lists).glob("*_Packages*"))


def _access(path: str) -> str:
    """Owner, group and mode; a number where the host knows no name."""
    found = os.stat(path)
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = str(found.st_uid)
    try:
        group = grp.getgrgid(found.st_gid).gr_name
    except KeyError:
        group = str(found.st_gid)
    return f"{owner}:{group}:{found.st_mode & 0o7777:04o}"


def _read(path: str) -> bytes | None:
    try:
        return Path(path).read_bytes() if os.path.getsize(path) <= _LARGEST else None
    except OSError:
        return None
