# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be released, read on the controller: a directory, a commit or an artifact.

PRIVATE to the collection.
"""

from __future__ import annotations

import errno
import os
import stat
import typing as t
from dataclasses import dataclass, field

from . import manifest as manifests
from .files import digest_file
from .manifest import File, Manifest

_IGNORED = frozenset({".git", "__pycache__", ".DS_Store"})
_IGNORED_ENDS = (".pyc", ".pyo", ".swp", ".swo", "~")


@dataclass(frozen=True)
class Limits:
    """What a release may have at most."""

    max_file_mb: int = 10
    max_files: int = 20000
    max_total_mb: int = 500


@dataclass
class Source:
    """Content on the controller.

    Attributes:
        places: where content lies, by hash.
        paths: where each file lies.
        problems: why it cannot be released, one line each.
    """

    manifest: Manifest
    places: dict[str, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_directory(top: str, bundle: str, limits: Limits, origin: t.Mapping[str, str]) -> Source:
    """Read a directory with all that is below it.

    Args:
        origin: where it comes from, as the manifest is to state it.
    """
    walk = _Walk(os.path.realpath(top), limits)
    walk.read("")
    source = Source(Manifest(bundle, {}, source=origin), problems=walk.problems)
    files: dict[str, File] = {}
    for path, (place, size, executable) in sorted(walk.found.items()):
        try:
            sha256 = digest_file(os.path.realpath(place))
        except OSError as error:
            source.problems.append(f"{path}: cannot be read ({error.strerror}). Correct its permissions.")
            continue
        files[path] = File(sha256, size, executable)
        source.places[sha256] = source.paths[path] = place
    source.manifest = Manifest(bundle, files, source=origin)
    source.problems += check_limits({path: size for path, (_place, size, _x) in walk.found.items()}, limits)
    source.problems.sort()
    return source


def check_limits(sizes: t.Mapping[str, int], limits: Limits) -> list[str]:
    """What a release has too much of; sizes in bytes by path."""
    problems = [
        f"{path}: has {size / 1e6:.1f} MB, and limits.max_file_mb is {limits.max_file_mb}. DAGs should be small: put "
        "data elsewhere, or raise the limit."
        for path, size in sizes.items()
        if size > limits.max_file_mb * 1_000_000
    ]
    if not sizes:
        problems.append(".: holds no file. An empty release would take all DAGs away; correct the source.")
    if len(sizes) > limits.max_files:
        problems.append(
            f".: holds {len(sizes)} files, and limits.max_files is {limits.max_files}. Release a subdirectory, or "
            "raise the limit."
        )
    total = sum(sizes.values())
    if total > limits.max_total_mb * 1_000_000:
        problems.append(
            f".: holds {total / 1e6:.1f} MB, and limits.max_total_mb is {limits.max_total_mb}. Put data elsewhere, or "
            "raise the limit."
        )
    return problems


class _Walk:
    """Names, sizes and kinds; content is not read yet."""

    def __init__(self, top: str, limits: Limits) -> None:
        self._top = top
        #: A tree that never ends is not walked to its end.
        self._most = 5 * limits.max_files
        self.found: dict[str, tuple[str, int, bool]] = {}
        self.problems: list[str] = []

    def read(self, below: str) -> None:
        """Read one directory; ``below`` is empty or ends with a slash."""
        try:
            with os.scandir(os.path.join(self._top, below)) as entries:
                ordered = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.problems.append(f"{below or '.'}: cannot be read ({error.strerror}). Correct its permissions.")
            return
        for entry in ordered:
            if not _is_ignored(entry.name) and len(self.found) <= self._most:
                self._take(entry, below + entry.name)

    def _take(self, entry: os.DirEntry[str], path: str) -> None:
        problem = manifests.path_problem(path)
        if problem:
            self.problems.append(f"{_shown(path)}: {problem}.")
        elif entry.is_symlink():
            self._take_link(entry.path, path)
        elif entry.is_dir(follow_symlinks=False):
            self.read(f"{path}/")
        elif entry.is_file(follow_symlinks=False):
            self._add(path, entry.path, entry.stat(follow_symlinks=False))
        else:
            self.problems.append(f"{path}: is a socket, pipe or device. Remove it from the source.")

    def _take_link(self, place: str, path: str) -> None:
        try:
            status = os.stat(place)
        except OSError as error:
            what = "goes in a circle" if error.errno == errno.ELOOP else "leads to nothing"
            self.problems.append(f"{path}: is a symbolic link that {what} ({os.readlink(place)}). Remove it.")
            return
        real = os.path.realpath(place)
        if os.path.commonpath([real, self._top]) != self._top:
            self.problems.append(
                f"{path}: is a symbolic link that leads out of the source ({os.readlink(place)}). Copy the file there."
            )
        elif any(_is_ignored(part) for part in os.path.relpath(real, self._top).split("/")):
            self.problems.append(f"{path}: is a symbolic link to what is not released. Copy the file there.")
        elif not stat.S_ISREG(status.st_mode):
            self.problems.append(
                f"{path}: is a symbolic link to a directory ({os.readlink(place)}). Only links to files are released, "
                "as files; copy the directory, or import from where it is."
            )
        else:
            self._add(path, real, status)

    def _add(self, path: str, place: str, status: os.stat_result) -> None:
        self.found[path] = (place, status.st_size, bool(status.st_mode & stat.S_IXUSR))


def _is_ignored(name: str) -> bool:
    return name in _IGNORED or name.endswith(_IGNORED_ENDS) or name.startswith(".#") or name[:1] == name[-1:] == "#"


def _shown(path: str) -> str:
    """A path as it can be printed, whatever its bytes are."""
    return ascii(os.fsencode(path).decode("latin-1"))
