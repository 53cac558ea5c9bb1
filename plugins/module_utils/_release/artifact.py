# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release in one file, and content on its way to the share. The same content gives the same bytes.

PRIVATE to the collection. Runs on the controller.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import tarfile
import typing as t

from . import manifest as manifests
from .errors import ReleaseError
from .manifest import BadManifest, Manifest
from .source import Limits, Source, check_limits

#: Members of an artifact that hold files; its manifest lies beside the directory.
_FILES = "files/"
_LONGEST_MANIFEST = 64 << 20


def write_artifact(stream: t.BinaryIO, source: Source) -> None:
    """Write a release as a gzip-compressed tar, byte for byte the same each time.

    Raises:
        ReleaseError: a file was changed since the source was read.
    """
    with _archive(stream, 9) as archive:
        text = source.manifest.text().encode()
        archive.addfile(_member(manifests.NAME, len(text), 0o644), io.BytesIO(text))
        for path, file in sorted(source.manifest.files.items()):
            data = _read(path, source.paths[path], file.sha256)
            archive.addfile(_member(_FILES + path, len(data), file.mode), io.BytesIO(data))


def write_upload(stream: t.BinaryIO, source: Source, wanted: t.Collection[str]) -> None:
    """Write content, each member named by its hash.

    Raises:
        ReleaseError: a file was changed since the source was read.
    """
    with _archive(stream, 1) as archive:
        for sha256 in sorted(wanted):
            data = _read(source.places[sha256], source.places[sha256], sha256)
            archive.addfile(_member(sha256, len(data), 0o600), io.BytesIO(data))


def read_artifact(path: str, bundle: str, limits: Limits, into: str) -> Source:
    """Read an artifact and check that it is whole.

    Args:
        into: an empty directory for its files.

    Raises:
        ReleaseError: it is damaged, of another bundle, or no artifact.
    """
    try:
        with tarfile.open(path, mode="r:gz") as archive:
            return _read_members(archive, path, bundle, limits, into)
    except FileNotFoundError:
        raise ReleaseError(f"source.artifact: {path} does not exist on the controller.") from None
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, ValueError, OSError) as error:
        raise ReleaseError(f"source.artifact: {path} cannot be read ({error}). Fetch or build it again.") from None


def _read_members(archive: tarfile.TarFile, path: str, bundle: str, limits: Limits, into: str) -> Source:
    manifest = _read_manifest(archive, path)
    if manifest.bundle != bundle:
        raise ReleaseError(f"source.artifact: {path} is of the bundle {manifest.bundle!r}, not of {bundle!r}.")
    source = Source(manifest)
    source.problems = check_limits({name: file.size for name, file in manifest.files.items()}, limits)
    if source.problems:
        return source
    for member in archive:
        name = member.name[len(_FILES) :]
        if member.name == manifests.NAME:
            continue
        file = manifest.files.get(name)
        stream = archive.extractfile(member) if member.isreg() and member.name.startswith(_FILES) else None
        if file is None or stream is None or member.size != file.size or name in source.paths:
            source.problems.append(f"{member.name}: does not belong to the artifact. Build it again.")
            continue
        data = stream.read()
        if hashlib.sha256(data).hexdigest() != file.sha256:
            source.problems.append(f"{name}: has other content than the artifact's manifest says. Build it again.")
            continue
        place = os.path.join(into, file.sha256)
        with open(place, "wb") as target:
            target.write(data)
        source.paths[name] = source.places[file.sha256] = place
    known = source.paths.keys()
    if not source.problems:
        source.problems = [
            f"{name}: is missing in the artifact. Build it again." for name in manifest.files.keys() - known
        ]
    return source


def _read_manifest(archive: tarfile.TarFile, path: str) -> Manifest:
    first = archive.next()
    stream = archive.extractfile(first) if first and first.name == manifests.NAME and first.isreg() else None
    if first is None or stream is None or first.size > _LONGEST_MANIFEST:
        raise ReleaseError(f"source.artifact: {path} is no artifact of action: build (no {manifests.NAME} in front).")
    try:
        return manifests.parse(stream.read().decode())
    except (BadManifest, UnicodeDecodeError) as error:
        raise ReleaseError(f"source.artifact: {path}: its manifest {error}. Build it again.") from None


@contextlib.contextmanager
def _archive(stream: t.BinaryIO, level: int) -> t.Iterator[tarfile.TarFile]:
    """A reproducible gzip-compressed tar on a stream: no name and no time in the header."""
    packed = gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=level, mtime=0)
    with packed, tarfile.open(fileobj=t.cast("t.IO[bytes]", packed), mode="w", format=tarfile.PAX_FORMAT) as archive:
        yield archive


def _member(name: str, size: int, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, mode
    return member


def _read(shown: str, place: str, sha256: str) -> bytes:
    with open(place, "rb") as stream:
        data = stream.read()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ReleaseError(f"{shown}: was changed while it was released. Run this again when nobody writes there.")
    return data
