# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies where below a bundle's root, and what can be read there. Changes nothing.

PRIVATE to the collection.

::

    .sentinel          whose root this is
    .lock              held by whoever changes something
    .history           which release was current when
    .incoming/         what is being made or taken away; nothing in it counts
    releases/<release>/
    current -> releases/<release>
"""

from __future__ import annotations

import errno
import json
import os
import stat
import typing as t
from dataclasses import dataclass, field

from . import manifest as manifests
from .errors import ReleaseError
from .files import read_bytes
from .manifest import RELEASE, BadManifest, Manifest

SENTINEL = ".sentinel"
LOCK = ".lock"
HISTORY = ".history"
INCOMING = ".incoming"
RELEASES = "releases"
CURRENT = "current"
#: What a root may hold before it is prepared: what a killed preparation leaves, and what servers put there.
OURS = frozenset({SENTINEL, LOCK, HISTORY, INCOMING, RELEASES, CURRENT})
NOT_CONTENT = frozenset({"lost+found", ".snapshot", ".snapshots", ".zfs"})
_LONGEST_TRAIL = 100


@dataclass
class History:
    """Which releases were current.

    Attributes:
        trail: the way to the current release; going back shortens it with the next step forward.
        events: what happened, the oldest first.
        known: false when the file cannot be read; then every release may have been current.
    """

    trail: list[str] = field(default_factory=list)
    events: list[dict[str, str]] = field(default_factory=list)
    known: bool = True

    def was_current(self, release: str) -> bool:
        """Whether a release was current at any time, as far as is known."""
        return not self.known or release in self.trail or any(event["to"] == release for event in self.events)

    def until(self, release: str) -> list[str]:
        """The trail up to a release. A flip that was announced and did not happen is left out by that."""
        if release not in self.trail:
            return [*self.trail, release]
        last = len(self.trail) - 1 - self.trail[::-1].index(release)
        return self.trail[: last + 1]

    def text(self, existing: t.Container[str]) -> str:
        """The file's content; events of releases that are gone are kept for a while only."""
        old, new = self.events[:-_LONGEST_TRAIL], self.events[-_LONGEST_TRAIL:]
        events = [event for event in old if event["to"] in existing] + new
        return json.dumps({"format": 1, "trail": self.trail[-_LONGEST_TRAIL:], "events": events}) + "\n"


class Root:
    """A bundle's root on the share."""

    def __init__(self, path: str, bundle: str, environment: str = "") -> None:
        self.path = path
        self.bundle = bundle
        self.environment = environment

    def at(self, *parts: str) -> str:
        """A path below the root."""
        return os.path.join(self.path, *parts)

    def release(self, name: str) -> str:
        """Where a release lies."""
        return self.at(RELEASES, name)

    def refresh(self) -> None:
        """Ask the server what is there now: opening a directory does; looking up a name alone may not, on NFS."""
        for name in ("", RELEASES, INCOMING):
            os.listdir(self.at(name))

    def sentinel(self) -> dict[str, t.Any] | None:
        """What the sentinel says; None where there is none."""
        try:
            text = read_bytes(self.at(SENTINEL)).decode()
            document = json.loads(text)
            return {"bundle": document["bundle"], "environment": document.get("environment", "")}
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ReleaseError(
                f"{self.at(SENTINEL)} is damaged. Delete it and run action: prepare, when this is the root of the "
                f"bundle {self.bundle}."
            ) from None

    def require(self) -> None:
        """The root is there, and it is that of this bundle.

        Raises:
            ReleaseError: it is not.
        """
        if not os.path.isdir(self.path):
            raise ReleaseError(
                f"{self.path} does not exist on this host, so there is no bundle {self.bundle} yet, or the share is "
                "not mounted. Mount the share, or make the bundle with action: prepare, or correct path."
            )
        found = self.sentinel()
        if found is None:
            raise ReleaseError(
                f"{self.at(SENTINEL)} does not exist: this is no bundle's root, or the share is not mounted here. "
                "Mount the share, or make the root with action: prepare, or correct path."
            )
        self.refuse_foreign(found)
        for name in (RELEASES, INCOMING):
            if not os.path.isdir(self.at(name)):
                raise ReleaseError(f"{self.at(name)} does not exist any more. Make it with action: prepare.")

    def refuse_foreign(self, found: t.Mapping[str, t.Any]) -> None:
        """The sentinel is that of this bundle and environment.

        Raises:
            ReleaseError: it is that of another.
        """
        wrong = found["bundle"] != self.bundle
        if wrong or (self.environment and found["environment"] and found["environment"] != self.environment):
            mine = f"{self.bundle!r}" + (f" of {self.environment!r}" if self.environment else "")
            raise ReleaseError(
                f"{self.path} belongs to the bundle {found['bundle']!r} of {found['environment']!r}, not to {mine}. "
                "Correct path, bundle or environment. Nothing was changed."
            )

    def current(self) -> str:
        """The current release.

        Raises:
            ReleaseError: there is none, or it is no release.
        """
        link = self.at(CURRENT)
        try:
            target = os.readlink(link)
        except FileNotFoundError:
            raise ReleaseError(
                f"{link} does not exist: somebody deleted it. Run action: activate with a release; there are: "
                f"{', '.join(self.releases()) or 'none'}."
            ) from None
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise ReleaseError(f"{link} is no symbolic link. Move it away, then run action: activate.") from None
        name = target[len(RELEASES) + 1 :]
        if not target.startswith(f"{RELEASES}/") or not RELEASE.fullmatch(name):
            raise ReleaseError(f"{link} leads to {target!r}, which is no release. Run action: activate with a release.")
        return name

    def releases(self) -> list[str]:
        """All releases, the oldest first."""
        return sorted(name for name in os.listdir(self.at(RELEASES)) if RELEASE.fullmatch(name))

    def incoming(self) -> list[str]:
        """What was begun and is not done."""
        return sorted(os.listdir(self.at(INCOMING)))

    def manifest(self, release: str) -> Manifest:
        """What a release consists of.

        Raises:
            ReleaseError: it does not exist, or its manifest is damaged.
        """
        path = os.path.join(self.release(release), manifests.NAME)
        try:
            if not RELEASE.fullmatch(release):
                raise FileNotFoundError(path)
            found = manifests.parse(read_bytes(path).decode())
        except FileNotFoundError:
            raise ReleaseError(
                f"there is no release {release} of {self.bundle} in {self.at(RELEASES)}. There are: "
                f"{', '.join(self.releases()) or 'none'}."
            ) from None
        except (BadManifest, UnicodeDecodeError) as error:
            raise ReleaseError(f"{path} {error}. Activate another release, and publish this one anew.") from None
        if found.bundle != self.bundle or release[-12:] != found.hash[:12]:
            raise ReleaseError(f"{path} is that of another release. Activate another one, and publish this one anew.")
        return found

    def sealed(self, release: str) -> int:
        """When a release was complete, by the share's own clock (``st_mtime_ns``): its manifest is written last."""
        try:
            return os.lstat(os.path.join(self.release(release), manifests.NAME)).st_mtime_ns
        except FileNotFoundError:
            return 0  # it went away meanwhile, with all that it had

    def manifests(self) -> tuple[dict[str, Manifest], list[str]]:
        """All readable manifests by release, and what is wrong with the others."""
        found: dict[str, Manifest] = {}
        problems: list[str] = []
        for name in self.releases():
            try:
                found[name] = self.manifest(name)
            except ReleaseError as error:
                problems.append(str(error))
        return found, problems

    def history(self) -> History:
        """Which releases were current."""
        try:
            document = json.loads(read_bytes(self.at(HISTORY)))
            events = [{key: str(event[key]) for key in ("at", "from", "to", "by")} for event in document["events"]]
            return History([str(name) for name in document["trail"]], events)
        except FileNotFoundError:
            return History()
        except (ValueError, KeyError, TypeError):
            return History(known=False)

    def previous(self, current: str) -> str:
        """The release that was current before; empty when none is known, or it is gone."""
        existing = set(self.releases())
        before = self.history().until(current)[:-1]
        return next((name for name in reversed(before) if name in existing and name != current), "")

    def incomplete(self, release: str, found: Manifest) -> list[str]:
        """Files of a release that are missing or of another size; a quick look, not a proof."""
        top = self.release(release)
        present: dict[str, os.stat_result] = {}
        # Read by directory: on NFS a server tells of all entries at once, and each path alone costs a question.
        for below in ("", *sorted(manifests.directories(found.files))):
            try:
                with os.scandir(os.path.join(top, below)) as entries:
                    present.update(
                        {os.path.join(below, entry.name): entry.stat(follow_symlinks=False) for entry in entries}
                    )
            except (FileNotFoundError, NotADirectoryError):
                continue  # what should be there is told below
        problems = []
        for path, file in found.files.items():
            status = present.get(path)
            if status is None:
                problems.append(f"{path}: is missing")
            elif not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
                problems.append(f"{path}: has {status.st_size} bytes instead of {file.size}, or is no file")
        return problems
