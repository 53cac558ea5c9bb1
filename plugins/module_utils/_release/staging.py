# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a release to the share: what is missing there, and then all of it, complete or not at all.

PRIVATE to the collection.

Content that some release has already is linked from there, so a release costs what changed in it. Nothing counts
until the directory is complete, on the disk, read back, and renamed.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import threading
import time
import typing as t
import uuid
from calendar import timegm
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from . import manifest as manifests
from .errors import ReleaseError
from .files import NO_LINK, Files, read_bytes
from .layout import INCOMING, RELEASES, Root
from .manifest import File, Manifest, release_name, timestamp
from .planning import Origins, Plan
from .verifying import WORKERS, check_file

#: Bytes of content that may wait for being written.
_QUEUE_BYTES = 32 << 20
#: A server that has to take back another client's delegation has this one try again, a tenth of a second later.
LINKERS = 48


@dataclass
class Staged:
    """What staging did. ``missing`` is not empty when more content is needed; then nothing was staged."""

    release: str = ""
    missing: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    written: int = 0
    bytes: int = 0
    linked: int = 0
    copied: int = 0


class Stager:
    """Makes one release. The caller holds the lock.

    Args:
        upload: a gzip-compressed tar whose members are named by the hash of their content; None for nothing.
    """

    def __init__(
        self, files: Files, root: Root, wanted: Manifest, upload: t.BinaryIO | None, workers: int = WORKERS
    ) -> None:
        self._files = files
        self._root = root
        self._wanted = wanted
        self._upload = upload
        self._workers = workers
        self._done = Staged()
        self._counting = threading.Lock()
        self._fresh: list[tuple[str, File]] = []

    def stage(self, plan: Plan) -> Staged:
        """Make the release.

        Raises:
            ReleaseError, OSError: it could not be made; what was begun is gone, or clearly does not count.
        """
        name = self._free_name()
        directory = self._root.at(INCOMING, f"{name}.{uuid.uuid4().hex[:8]}")
        try:
            self._files.make_directory(directory)
            self._fill(directory, plan)
            if self._done.missing:
                self._files.remove_tree(directory)
                return self._done
            described = replace(self._wanted, created=timestamp(_seconds(name)))
            description = os.path.join(directory, manifests.NAME)
            self._files.write(description, described.text().encode())
            self._files.sync_file(description)
            self._sync(directory)
            self._files.rename(directory, self._root.release(name))
            self._files.sync_directory(self._root.at(RELEASES))
        except BaseException:
            self._clean(directory)
            raise
        self._done.release = name
        return self._done

    def _fill(self, directory: str, plan: Plan) -> None:
        wanted = self._wanted.files
        for below in sorted(manifests.directories(wanted)):
            self._files.make_directory(os.path.join(directory, below))
        places: dict[str, list[str]] = {}
        for path, file in sorted(wanted.items()):
            places.setdefault(file.sha256, []).append(path)
        uploaded: set[str] = set()
        pool = ThreadPoolExecutor(self._workers)
        linkers = ThreadPoolExecutor(max(self._workers, LINKERS) if self._workers > 1 else 1)
        try:
            waiting: deque[tuple[int, Future[None]]] = deque()
            queued = 0
            for sha256, data in self._contents():
                if sha256 not in places or sha256 in uploaded:
                    raise ReleaseError(f"the upload holds content {sha256[:12]} that nobody asked for. Run this again.")
                uploaded.add(sha256)
                waiting.append((len(data), pool.submit(self._write, directory, places[sha256], data)))
                queued += len(data)
                while queued > _QUEUE_BYTES:
                    size, one = waiting.popleft()
                    one.result()
                    queued -= size
            rest = [path for path, file in sorted(wanted.items()) if file.sha256 not in uploaded]
            answers = list(linkers.map(lambda path: self._adopt(directory, path, plan.origins), rest))
            for _size, one in waiting:
                one.result()
            list(pool.map(lambda item: self._settle(*item), self._fresh))
        finally:
            for executor in (pool, linkers):
                executor.shutdown(wait=True, cancel_futures=True)
        self._done.missing = sorted({wanted[path].sha256 for path, sound in zip(rest, answers) if not sound})

    def _contents(self) -> t.Iterator[tuple[str, bytes]]:
        if self._upload is None:
            return
        try:
            with tarfile.open(fileobj=self._upload, mode="r|gz") as archive:
                for member in archive:
                    stream = archive.extractfile(member) if member.isreg() else None
                    if stream is None:
                        raise ReleaseError("the upload holds something that is no file. Run this again.")
                    yield member.name, stream.read()
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise ReleaseError(f"the upload is damaged ({error}). Run this again.") from None

    def _write(self, directory: str, paths: t.Sequence[str], data: bytes) -> None:
        """Write content once for each executable bit, and link the other places of it."""
        first: dict[bool, str] = {}
        digest = hashlib.sha256(data).hexdigest()
        for path in paths:
            file = self._wanted.files[path]
            place = os.path.join(directory, path)
            if digest != file.sha256:
                raise ReleaseError(f"{path}: was changed while it was read, or damaged on its way. Run this again.")
            if file.executable in first and self._link(first[file.executable], place):
                continue
            self._store(place, data, file)
            first[file.executable] = place
            self._count(written=1, bytes=len(data))

    def _store(self, place: str, data: bytes, file: File) -> None:
        self._files.write(place, data, file.mode)
        self._fresh.append((place, file))

    def _settle(self, place: str, file: File) -> None:
        """Bring a file to the disk and read it back."""
        problem = check_file(place, file, digest=self._files.settle)
        if problem:
            raise ReleaseError(f"{place}: was written and {problem}. See dmesg of this host, and the server's log.")

    def _adopt(self, directory: str, path: str, origins: Origins) -> bool:
        """Link or copy a file from a release; False when its content has to be sent after all."""
        file = self._wanted.files[path]
        place = os.path.join(directory, path)
        origin = origins.get((file.sha256, file.executable))
        if origin is not None:
            # One that was written to since its release was complete is read; reading all of them would take longer
            # than to link them, and a server has to take each reader's delegation back before it links a file.
            problem = check_file(origin.place, file, sealed=origin.sealed)
            if not problem and self._link(origin.place, place):
                self._count(linked=1)
                return True
            if problem:
                self._done.warnings.append(
                    f"{origin.place} {problem}. Somebody changed it; the new release gets its own"
                )
        source = origin or origins.get((file.sha256, not file.executable))
        data = _read(source.place) if source else None
        if data is None or hashlib.sha256(data).hexdigest() != file.sha256:
            return False
        self._store(place, data, file)
        self._count(copied=1)
        return True

    def _count(self, **more: int) -> None:
        with self._counting:
            for name, number in more.items():
                setattr(self._done, name, getattr(self._done, name) + number)

    def _link(self, origin: str, place: str) -> bool:
        try:
            self._files.link(origin, place)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in NO_LINK:
                raise
            return False
        return True

    def _sync(self, directory: str) -> None:
        for below in sorted(manifests.directories(self._wanted.files), reverse=True):
            self._files.sync_directory(os.path.join(directory, below))
        self._files.sync_directory(directory)

    def _free_name(self) -> str:
        seconds = int(time.time())
        while os.path.lexists(self._root.release(release_name(seconds, self._wanted.hash))):
            seconds += 1
        return release_name(seconds, self._wanted.hash)

    def _clean(self, directory: str) -> None:
        try:
            if os.path.lexists(directory):
                self._files.remove_tree(directory)
        except OSError:
            pass  # the error that led here says more; what is left does not count, and the next run removes it


def _read(path: str) -> bytes | None:
    try:
        return read_bytes(path)
    except OSError:
        return None


def _seconds(release: str) -> float:
    return timegm(time.strptime(release[:16], "%Y%m%dT%H%M%SZ"))
