# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container sees of a bundle: read through the container's own mount, without a process in the container.

PRIVATE to the collection. ``/proc/<pid>/root`` is the file system as the process sees it (proc(5)).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import typing as t

from .fresh import ask_server

#: Problems that a release's text names at once.
_SHOWN = 5
_BLOCK = 1 << 20


class View(t.NamedTuple):
    """One look.

    Attributes:
        release: where ``current`` leads; empty when it leads nowhere.
        hash: of that release's manifest; empty without one.
        files: of that manifest.
        problem: what is wrong; empty when a whole release is seen.
    """

    release: str = ""
    hash: str = ""
    files: t.Mapping[str, t.Any] = {}
    problem: str = ""


class Gone(Exception):
    """The process is not there any more."""


def look(root: str, path: str) -> View:
    """Where ``current`` leads and what the release there calls itself.

    Args:
        root: ``/proc/<pid>/root`` of the container's process.
        path: the bundle's root as the container sees it.

    Raises:
        Gone: the process ended.
        PermissionError: this user may not look into the process.
    """
    base = root + path
    for directory in (base, f"{base}/releases"):
        ask_server(directory)
    try:
        target = os.readlink(f"{base}/current")
    except OSError as error:
        return View(problem=_no_current(error, root, base))
    folder, _slash, release = target.rpartition("/")
    # Only a plain name below releases: any other link could lead out of the container's file system.
    if folder != "releases" or release in ("", ".", ".."):
        return View(problem=f"current leads to {target!r}, not to releases/<release>")
    try:
        document = json.loads(_read(f"{base}/releases/{release}/MANIFEST.json"))
        found = View(release, str(document["hash"]), document["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        _check_there(root)
        reason = error.strerror if isinstance(error, OSError) else "it is damaged"
        return View(release, problem=f"MANIFEST.json of {release} cannot be read: {reason}")
    return found


def differences(root: str, path: str, view: View) -> list[str]:
    """What the files of a release are not, compared with its manifest; empty when all is as it says.

    Raises:
        Gone: the process ended.
    """
    base = f"{root}{path}/releases/{view.release}"
    found = []
    for name, entry in sorted(view.files.items()):
        parts = name.split("/")
        if name.startswith("/") or ".." in parts:
            found.append(f"{name} leads out of the release")
            continue
        try:
            problem = _difference(f"{base}/{name}", entry)
        except OSError as error:
            _check_there(root)
            problem = f"cannot be read: {error.strerror}"
        if problem:
            found.append(f"{name} {problem}")
    if len(found) > _SHOWN:
        return [*found[:_SHOWN], f"and {len(found) - _SHOWN} more"]
    return found


def _difference(path: str, entry: t.Mapping[str, t.Any]) -> str:
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        block = stream.read(_BLOCK)
        while block:
            digest.update(block)
            block = stream.read(_BLOCK)
    if status.st_size != entry["size"] or digest.hexdigest() != entry["sha256"]:
        return "has other content"
    if bool(status.st_mode & stat.S_IXUSR) != bool(entry["executable"]):
        return "has another executable bit"
    return ""


def _read(path: str) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, encoding="utf-8") as stream:
        return stream.read()


def _no_current(error: OSError, root: str, base: str) -> str:
    if error.errno in (errno.ENOENT, errno.ESRCH):
        _check_there(root)
        if os.path.lexists(f"{base}/.sentinel"):
            return "there is no current"
        return (
            "there is neither .sentinel nor current, so this is not the share: the container may have started before "
            "the share was mounted"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        raise PermissionError(error.errno, error.strerror, base) from None
    return f"current cannot be read: {error.strerror}"


def _check_there(root: str) -> None:
    if not os.path.isdir(root):
        raise Gone(root)
