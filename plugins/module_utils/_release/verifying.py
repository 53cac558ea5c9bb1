# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a directory is what a manifest says, by content.

PRIVATE to the collection. Changes nothing.
"""

from __future__ import annotations

import os
import stat
import typing as t
from concurrent.futures import ThreadPoolExecutor

from . import manifest as manifests
from .files import digest_file
from .manifest import File, Manifest

#: On a share, most of the time of each file is spent waiting for the server.
WORKERS = 16


def verify(directory: str, found: Manifest, workers: int = WORKERS) -> list[str]:
    """Everything in which a directory and a manifest differ, one line each, by path."""
    problems, present = _walk(directory)
    expected_directories = manifests.directories(found.files)
    for path in sorted(present - found.files.keys() - {manifests.NAME}):
        problems.append(f"{path}: does not belong to the release. Somebody wrote into it")
    for path in sorted(expected_directories):
        mode = _mode(os.path.join(directory, path))
        if mode is not None and mode & 0o555 != 0o555:
            problems.append(f"{path}: is a directory that containers cannot read (mode {mode & 0o7777:04o})")
    items = sorted(found.files.items())
    with ThreadPoolExecutor(workers) as pool:
        answers = pool.map(lambda item: check_file(os.path.join(directory, item[0]), item[1]), items)
        problems += [f"{path}: {answer}" for (path, _file), answer in zip(items, answers) if answer]
    return problems


def check_file(path: str, file: File, *, sealed: int = 0, digest: t.Callable[[str], str] = digest_file) -> str:
    """In what a file differs from what it has to be; empty when in nothing.

    Args:
        sealed: ``st_mtime_ns`` of something that was written after the file's content was compared. A file that was
            not written to since then is not read again.
        digest: how to get the SHA-256 of what is there.
    """
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            return "is no regular file"
        if status.st_size != file.size:
            return f"has {status.st_size} bytes instead of {file.size}"
        if stat.S_IMODE(status.st_mode) & 0o777 != file.mode:
            return f"has mode {stat.S_IMODE(status.st_mode):04o} instead of {file.mode:04o}"
        found = file.sha256 if status.st_mtime_ns < sealed else digest(path)
    except (FileNotFoundError, NotADirectoryError):
        return "is missing"
    except PermissionError as error:
        return f"cannot be read ({error.strerror})"
    return "" if found == file.sha256 else f"has other content ({found[:12]} instead of {file.sha256[:12]})"


def _walk(top: str) -> tuple[list[str], set[str]]:
    problems: list[str] = []
    files: set[str] = set()

    def refuse(error: OSError) -> None:
        problems.append(f"{os.path.relpath(error.filename, top)}: cannot be read ({error.strerror})")

    for directory, names, found in os.walk(top, onerror=refuse):
        below = os.path.relpath(directory, top)
        links: t.Iterable[str] = (name for name in names if os.path.islink(os.path.join(directory, name)))
        files.update(os.path.normpath(os.path.join(below, name)) for name in (*found, *links))
    return problems, files


def _mode(path: str) -> int | None:
    try:
        return os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
