# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A manager's state as a file: the directory ``swarm`` of an engine that is stopped, packed and unpacked.

PRIVATE to the collection.

Source: Docker, "Administer and maintain a swarm of Docker Engines", sections "Back up" and "Restore".
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tarfile
import typing as t
from pathlib import Path

from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem

#: Name of the directory below the engine's data root, and of the only entry at the archive's top.
NAME = "swarm"
#: What a manager has in it. A worker has no ``raft``.
PARTS = ("certificates", "docker-state.json", "raft")
#: Packing fails before the engine is stopped when less than the directory's size and this many bytes is free.
SPARE = 64 * 2**20


@dataclasses.dataclass(frozen=True)
class Packed:
    """An archive, as it was written."""

    path: str
    sha256: str
    size: int


def size_of(directory: Path) -> int:
    """Bytes that the files of a directory take; preallocated ones count with what is allocated."""
    found = 0
    for folder, _folders, files in os.walk(directory):
        for name in files:
            try:
                found += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                continue  # a running engine removes old logs
    return found


def refuse_unpackable(directory: Path, path: Path) -> None:
    """Find out what would keep :func:`pack` from its work, while the engine still runs.

    Raises:
        SwarmProblem: naming the directory and the way out.
    """
    missing = [part for part in PARTS if not (directory / part).exists()]
    if missing:
        raise SwarmProblem(f"{directory} is not the state of a manager: it has no {', '.join(missing)}.")
    if path.exists():
        raise SwarmProblem(f"{path} exists already. Name another file, or remove this one.")
    if not path.parent.is_dir():
        raise SwarmProblem(f"{path.parent} is no directory. Make it, or name another place.")
    needed, free = size_of(directory) + SPARE, shutil.disk_usage(path.parent).free
    if free < needed:
        raise SwarmProblem(
            f"{path.parent} has {free // 2**20} MiB free, and the archive may take {needed // 2**20} MiB. Make room, "
            "or name another place."
        )


def pack(directory: Path, path: Path) -> Packed:
    """Write a directory into a new file that only its owner can read; nothing is left of it when that fails."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            with tarfile.open(fileobj=stream, mode="w:gz") as archive:
                archive.add(directory, NAME)
            stream.flush()
            os.fsync(stream.fileno())
        return Packed(str(path), digest(path), path.stat().st_size)
    except BaseException:
        path.unlink()
        raise


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    found = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(2**20), b""):
            found.update(block)
    return found.hexdigest()


def read_archive(path: Path, sha256: str = "") -> dict[str, t.Any]:
    """Look through a whole archive; returns the content of its ``docker-state.json``.

    Args:
        sha256: what its manifest says; empty to take it on trust.

    Raises:
        SwarmProblem: it is damaged, or not what :func:`pack` writes.
    """
    if not path.is_file():
        raise SwarmProblem(f"{path} is no file.")
    if sha256 and digest(path) != sha256.lower():
        raise SwarmProblem(
            f"{path} is not what was written: its SHA-256 is another one than {sha256}. Take another copy."
        )
    try:
        with tarfile.open(path, "r:*") as archive:
            members = archive.getmembers()
            _refuse_members(path, members)
            stream = archive.extractfile(f"{NAME}/docker-state.json")
            return dict(json.load(stream)) if stream else {}
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise SwarmProblem(f"{path} cannot be read as an archive of a swarm: {error}.") from error


def unpack(path: Path, parent: Path) -> None:
    """Write what :func:`read_archive` has looked through below ``parent``, with its owners and modes."""
    with tarfile.open(path, "r:*") as archive:
        if hasattr(tarfile, "tar_filter"):
            archive.extractall(parent, filter="tar")
        else:  # Python before the security releases of June 2023
            archive.extractall(parent)  # noqa: S202 read_archive has refused what the filter would


def _refuse_members(path: Path, members: t.Sequence[tarfile.TarInfo]) -> None:
    names = {member.name for member in members}
    for member in members:
        parts = member.name.split("/")
        if parts[0] != NAME or ".." in parts or not (member.isfile() or member.isdir()):
            raise SwarmProblem(f"{path} is not a backup of a swarm: {member.name} has no place in one.")
    missing = [part for part in PARTS if f"{NAME}/{part}" not in names]
    if missing:
        raise SwarmProblem(f"{path} is not a backup of a manager: it has no {', '.join(missing)}.")
