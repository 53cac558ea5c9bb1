# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a release the current one, go back, and take away what nobody needs.

PRIVATE to the collection. The caller holds the lock; the only step that readers can see is one rename(2).
"""

from __future__ import annotations

import os
import platform
import time
import typing as t
import uuid
from calendar import timegm

from .errors import ReleaseError
from .files import Files
from .layout import CURRENT, HISTORY, INCOMING, RELEASES, History, Root
from .manifest import RELEASE, Manifest, timestamp

#: What is being deleted; it never gets back into use.
_REMOVED = ".removed."
#: A release that was never current may still be on its way to that, by another publisher.
YOUNG_SECONDS = 3600


def require_complete(root: Root, release: str) -> Manifest:
    """A release can be made the current one.

    Raises:
        ReleaseError: there is no such release, or it lacks something.
    """
    if not RELEASE.fullmatch(release):
        raise ReleaseError(f"{release!r} is no name of a release, such as 20261126T142301Z-1a2b3c4d5e6f.")
    found = root.manifest(release)
    problems = root.incomplete(release, found)
    if problems:
        raise ReleaseError(
            f"release {release} of {root.bundle} is damaged: {'; '.join(problems[:3])}. Publish it anew; what is "
            "damaged is not taken over."
        )
    return found


def refuse_other(root: Root, current: str, expected: str) -> None:
    """The release that has to be current, is.

    Raises:
        ReleaseError: somebody else made another one current.
    """
    if expected and current != expected:
        raise ReleaseError(
            f"{current or 'no release'} is the current release of {root.bundle}, not {expected}: somebody else "
            "activated it meanwhile. Look at it with action: status, then decide anew. Nothing was changed."
        )


def flip(files: Files, root: Root, release: str, current: str) -> None:
    """Make a release the current one, forward. ``current`` is empty when there is none."""
    history = root.history()
    trail = history.until(current) if current else history.trail
    _announce(files, root, history, [*trail, release], current=current, release=release)
    _point(files, root, release)


def flip_back(files: Files, root: Root, release: str, current: str) -> None:
    """Make an earlier release the current one; what came after it is no more on the way back."""
    history = root.history()
    trail = history.until(current)
    # The trail is not shortened yet: until the link is flipped, both releases have to be found in it.
    _announce(files, root, history, trail if release in trail else [*trail, release], current=current, release=release)
    _point(files, root, release)


def clear(files: Files, root: Root) -> list[str]:
    """Remove what killed publishers left: whoever holds the lock is the only one who works in there."""
    names = root.incoming()
    for name in names:
        _remove(files, root, root.at(INCOMING, name))
    return names


def remove_release(files: Files, root: Root, release: str) -> None:
    """Take a release away; to readers it is gone at once, never half there."""
    _remove(files, root, root.release(release))


def keepers(
    root: Root, current: str, *, previous: str, keep: int, in_use: t.Collection[str], now: float
) -> dict[str, str]:
    """The releases that stay, each with the reason."""
    history = root.history()
    releases = root.releases()
    reasons: dict[str, list[str]] = {name: [] for name in releases}
    newest = set(releases[-keep:])
    for name in releases:
        if name == current:
            reasons[name].append("current")
        if name == previous:
            reasons[name].append("previous")
        if name in in_use:
            reasons[name].append("in use")
        if name in newest:
            reasons[name].append(f"among the newest {keep}")
        if not history.was_current(name) and now - _made(name) < YOUNG_SECONDS:
            reasons[name].append("staged less than an hour ago")
    return {name: ", ".join(reason) for name, reason in reasons.items() if reason}


def _announce(files: Files, root: Root, history: History, trail: list[str], *, current: str, release: str) -> None:
    """Write down a flip before it happens: one that then does not happen leaves a history that is still right."""
    event = {"at": timestamp(time.time()), "from": current, "to": release, "by": platform.node()}
    text = History(trail, [*history.events, event]).text(set(root.releases()))
    files.replace(root.at(HISTORY), text, root.at(INCOMING), _mode(root))


def _point(files: Files, root: Root, release: str) -> None:
    draft = root.at(INCOMING, f"{CURRENT}.{uuid.uuid4().hex[:8]}")
    files.symlink(f"{RELEASES}/{release}", draft)
    files.rename(draft, root.at(CURRENT))
    files.sync_directory(root.path)


def _remove(files: Files, root: Root, path: str) -> None:
    name = os.path.basename(path)
    if not name.startswith(_REMOVED):
        gone = root.at(INCOMING, f"{_REMOVED}{name}.{uuid.uuid4().hex[:8]}")
        files.rename(path, gone)
        files.sync_directory(os.path.dirname(path))
        path = gone
    files.remove_tree(path)


def _mode(root: Root) -> int:
    return 0o644 | (os.stat(root.path).st_mode & 0o020)


def _made(release: str) -> float:
    return timegm(time.strptime(release[:16], "%Y%m%dT%H%M%SZ"))
