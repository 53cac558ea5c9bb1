# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release consists of: paths, content and executable bits, and the hash over them.

PRIVATE to the collection. Pure: no I/O.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import typing as t
import zlib
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property

FORMAT = 1
#: The file of a release that describes it. No file of a source may have this name at the top.
NAME = "MANIFEST.json"
RELEASE = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{12}")
BUNDLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: Nearly every path: ASCII, no part of which begins with a dot. Thousands are checked in each run.
_USUAL_PATH = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.+=@ -]*/)*[A-Za-z0-9_][A-Za-z0-9_.+=@ -]*")
#: Linux's limits; with room for the path of a release before it.
_LONGEST_NAME = 255
_LONGEST_PATH = 3500
_DELETE = 127


class BadManifest(Exception):
    """A manifest cannot be used; the text says why."""


class File(t.NamedTuple):
    """One file. Size in bytes."""

    sha256: str
    size: int
    executable: bool

    @property
    def mode(self) -> int:
        """Permissions, whatever those of the source and the umask are: containers read as another user."""
        return 0o755 if self.executable else 0o644


Files = t.Mapping[str, File]


@dataclass(frozen=True)
class Manifest:
    """A release, as its ``MANIFEST.json`` says. ``created`` is empty in artifacts, which have to be reproducible."""

    bundle: str
    files: Files
    created: str = ""
    source: t.Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def hash(self) -> str:
        """The identity of the content."""
        return hash_files(self.files)

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.size for file in self.files.values())

    def text(self) -> str:
        """The file's content."""
        document = {
            "format": FORMAT,
            "bundle": self.bundle,
            "hash": self.hash,
            "created": self.created,
            "source": dict(self.source),
            "files": _plain(self.files),
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n"


def hash_files(files: Files) -> str:
    """SHA-256 over the canonical JSON of ``files``: keys sorted, no blanks, ASCII only. Times play no part."""
    return hashlib.sha256(json.dumps(_plain(files), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def parse(text: str) -> Manifest:
    """Read a manifest.

    Raises:
        BadManifest: it is damaged, of another format, or its hash is not that of its files.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise BadManifest(f"is no JSON ({error})") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise BadManifest(f"is not of format {FORMAT}")
    try:
        files = {
            path: File(entry["sha256"], entry["size"], entry["executable"]) for path, entry in document["files"].items()
        }
        stated = document["hash"]
        manifest = Manifest(
            document["bundle"], files, document.get("created") or "", dict(document.get("source") or {})
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadManifest(f"is incomplete ({error})") from None
    _check(manifest.files)
    if manifest.hash != stated:
        raise BadManifest("has a hash that is not that of its files")
    return manifest


def pack(manifest: Manifest) -> str:
    """A manifest as one short word, for a module's arguments."""
    return base64.b64encode(zlib.compress(manifest.text().encode(), 6)).decode()


def unpack(word: str) -> Manifest:
    """The opposite of :func:`pack`.

    Raises:
        BadManifest: it is damaged.
    """
    try:
        return parse(zlib.decompress(base64.b64decode(word)).decode())
    except (ValueError, zlib.error) as error:
        raise BadManifest(f"is damaged ({error})") from None


def release_name(seconds: float, digest: str) -> str:
    """Name of a release that is made at a time (seconds since 1970) with content of a hash."""
    return f"{_utc(seconds).strftime('%Y%m%dT%H%M%SZ')}-{digest[:12]}"


def timestamp(seconds: float) -> str:
    """A time (seconds since 1970) as manifests state it: UTC, ISO 8601."""
    return _utc(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def path_problem(path: str) -> str:
    """What is wrong with the path of a file below a release; empty when nothing is."""
    problem = ""
    if len(path) <= _LONGEST_NAME and path != NAME and _USUAL_PATH.fullmatch(path):
        return problem
    if not path or path.startswith("/") or any(part in ("", ".", "..") for part in path.split("/")):
        problem = "leads out of the release. Give the file a path below it"
    elif any(ord(char) < ord(" ") or ord(char) == _DELETE for char in path):
        problem = "has a control character, such as a newline, in its name. Rename it"
    elif "\\" in path:
        problem = "has a backslash in its name. Rename it"
    elif path == NAME:
        problem = "has the name of the release's own description. Rename it"
    else:
        try:
            long = len(path.encode()) > _LONGEST_PATH or any(
                len(part.encode()) > _LONGEST_NAME for part in path.split("/")
            )
            problem = "has a name that is too long for the share. Shorten it" if long else ""
        except UnicodeEncodeError:
            problem = "has a name that is not UTF-8. Rename it"
    return problem


def clashes(files: t.Iterable[str]) -> list[str]:
    """Paths that are a file and a directory at once."""
    paths = set(files)
    return sorted(directories(paths) & paths)


def parents(path: str) -> list[str]:
    """The directories above a file, the topmost first."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: index + 1]) for index in range(len(parts))]


def directories(files: t.Iterable[str]) -> set[str]:
    """All directories above files. Most files share theirs, so each is taken apart once."""
    nearest = {path.rpartition("/")[0] for path in files} - {""}
    return nearest.union(*map(parents, nearest))


def compare(old: Files, new: Files) -> dict[str, list[str]]:
    """What changes between two releases."""
    return {
        "added": sorted(new.keys() - old.keys()),
        "changed": sorted(path for path in new.keys() & old.keys() if new[path] != old[path]),
        "removed": sorted(old.keys() - new.keys()),
    }


def _check(files: Files) -> None:
    for path, file in files.items():
        problem = path_problem(path)
        if problem:
            raise BadManifest(f"names {path!r}, which {problem}")
        sound = isinstance(file.sha256, str) and _SHA256.fullmatch(file.sha256) and isinstance(file.executable, bool)
        if not sound or not isinstance(file.size, int) or file.size < 0:
            raise BadManifest(f"describes {path!r} in a way that is not known")
    for path in clashes(files):
        raise BadManifest(f"names {path!r} as a file and as a directory")


def _plain(files: Files) -> dict[str, dict[str, t.Any]]:
    return {path: file._asdict() for path, file in files.items()}


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
