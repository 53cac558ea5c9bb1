# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Content of a commit, by ``git archive`` on the controller: what is committed, never what lies in a working tree.

PRIVATE to the collection.

Source: git-archive(1): attributes export-ignore and export-subst are honoured, submodules come as empty directories.
"""

from __future__ import annotations

import os
import subprocess
import tarfile
import typing as t

from .errors import ReleaseError
from .manifest import path_problem

_SUBMODULE = "160000"


def export(repository: str, ref: str, subdirectory: str, into: str) -> tuple[dict[str, str], list[str]]:
    """Lay a commit out as files.

    Args:
        ref: a branch, a tag or a commit.
        subdirectory: the part of the repository to take; empty for all of it.
        into: an empty directory.

    Returns:
        Where the files come from, as a manifest states it; and problems, one line each.

    Raises:
        ReleaseError: there is no such repository, ref or directory.
    """
    below = subdirectory.strip("/")
    if below and (path_problem(below) or subdirectory.startswith("/")):
        raise ReleaseError(f"source.subdirectory: {subdirectory!r} leads out of the repository. Give a path below it.")
    if not ref or ref.startswith("-"):
        raise ReleaseError(f"source.ref: {ref!r} is no branch, tag or commit.")
    if not os.path.isdir(repository):
        raise ReleaseError(f"source.repository: {repository} is no directory on the controller. Clone it first.")
    commit = _git(repository, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").decode().strip()
    tree = f"{commit}:{below}" if below else commit
    listing = _git(repository, "ls-tree", "-r", "-z", "--full-tree", tree).decode(errors="surrogateescape")
    problems = [
        f"{ascii(path)[1:-1]}: is a submodule, and archives hold none of its files. Release it from its own repository."
        for mode, path in (_entry(line) for line in listing.split("\0") if line)
        if mode == _SUBMODULE
    ]
    _unpack(repository, tree, into)
    origin = {"ref": ref, "commit": commit}
    return ({**origin, "path": below} if below else origin), problems


def _unpack(repository: str, tree: str, into: str) -> None:
    with subprocess.Popen(
        _command(repository, "archive", "--format=tar", tree),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=_environment(),
    ) as process:  # fmt: skip
        with tarfile.open(fileobj=t.cast("t.IO[bytes]", process.stdout), mode="r|") as archive:
            for member in archive:
                _lay(archive, member, into)
        t.cast("t.IO[bytes]", process.stdout).read()
    if process.returncode:
        raise ReleaseError(f"git archive of {tree} in {repository} ended with {process.returncode}. Try: git fsck.")


def _lay(archive: tarfile.TarFile, member: tarfile.TarInfo, into: str) -> None:
    """Write one member. git itself has no names that lead out, and a link is made only where nothing is below it."""
    place = os.path.join(into, member.name)
    if ".." in member.name.split("/") or member.name.startswith("/"):
        raise ReleaseError(f"git archive names {member.name!r}, which leads out of the release. Rename it.")
    if member.isdir():
        os.makedirs(place, exist_ok=True)
        return
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if member.issym():
        os.symlink(member.linkname, place)
        return
    stream = archive.extractfile(member)
    if stream is None:
        return
    with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o700), "wb") as target:
        while chunk := stream.read(1 << 20):
            target.write(chunk)
        os.fchmod(target.fileno(), 0o700 if member.mode & 0o100 else 0o600)


def _git(repository: str, *arguments: str) -> bytes:
    try:
        done = subprocess.run(
            _command(repository, *arguments),
            stdin=subprocess.DEVNULL, capture_output=True, check=False, env=_environment(),
        )  # fmt: skip
    except FileNotFoundError:
        raise ReleaseError("git is not installed on the controller. Install it, or give a directory.") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip() or "no such branch, tag, commit or directory"
        raise ReleaseError(
            f"source: git {arguments[0]} {arguments[-1]} in {repository}: {said}. Correct ref and subdirectory; in a "
            "shallow clone, fetch the commit first."
        )
    return done.stdout


def _command(repository: str, *arguments: str) -> list[str]:
    return ["git", "-C", repository, *arguments]


def _environment() -> dict[str, str]:
    """The controller's environment without what a hook or pipeline says about some repository."""
    kept = {name: value for name, value in os.environ.items() if name not in _ABOUT_ONE}
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


def _entry(line: str) -> tuple[str, str]:
    described, _tab, path = line.partition("\t")
    return described.split(" ", 1)[0], path


_ABOUT_ONE = frozenset(
    {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX"}
)
