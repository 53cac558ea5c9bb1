# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a host and decide what to do about the share; refuse what cannot be done. Changes nothing.

PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .mounts import Mount, fstab_line
from .options import compare, remountable
from .settings import Share
from .system import System
from .units import drop_in, is_ours, options_of, render, unit_name, unit_path, wanted_link, what_of

Record = t.Mapping[str, t.Any]


class ShareError(Exception):
    """The share cannot be brought to what was asked for; the text says why and what to do.

    Attributes:
        package: the only thing that is missing, a package.
    """

    def __init__(self, text: str, package: str = "") -> None:
        super().__init__(text)
        self.package = package


@dataclass(frozen=True)
class Plan:
    """What has to be done.

    Attributes:
        mount: ``none``, ``mount``, ``remount`` (while in use) or ``replace`` (unmount and mount).
        reasons: why, where the share is mounted already.
        write: files, path to text.
        delete: files of an earlier run.
        enable: let systemd mount it at boot.
        reload: systemd has not read its units since an earlier run wrote them.
    """

    mount: str
    reasons: tuple[str, ...]
    write: dict[str, str]
    delete: tuple[str, ...]
    enable: bool
    reload: bool


def make_plan(share: Share, system: System, record: Record, live: Mount | None) -> Plan:
    """Compare a host with what is asked for.

    Raises:
        ShareError: something else is mounted there.
    """
    wanted = render(share) if system.has_systemd() else {}
    texts = {path: system.read(path) for path in wanted}
    mount, reasons = _mount_action(share, live, texts[unit_path(share.path)] or "") if share.remote else ("none", ())
    write = {path: text for path, text in wanted.items() if texts[path] != text}
    stale = [drop_in(one) for one in record.get("units", []) if drop_in(one) not in wanted]
    return Plan(
        mount=mount,
        reasons=reasons,
        write=write,
        delete=tuple(path for path in stale if is_ours(system.read(path))),
        enable=share.remote and not system.is_link(wanted_link(share.path)),
        reload=bool(wanted) and not write and _is_stale(share, system, wanted),
    )


def _mount_action(share: Share, live: Mount | None, unit: str) -> tuple[str, tuple[str, ...]]:
    if live is None:
        return "mount", ()
    mounted = live.source if share.kind == "nfs" else what_of(unit) or share.what
    if not live.fstype.startswith("nfs") or (mounted != share.what and not is_ours(unit)):
        raise ShareError(
            f"something else is mounted on {share.path}: {live.source} ({live.fstype}). Unmount it, and take it out "
            "of where it is configured; or set dag_share_path to another directory."
        )
    if mounted != share.what:
        return "replace", (f"{mounted} is mounted, {share.what} is asked for",)
    # mount.efs chooses most options itself: of those only flags can be told apart.
    found = [one for one in compare(share.options, live.options) if share.kind == "nfs" or one.remount]
    reasons = tuple(f"{one.live} is in force, {one.wanted} is asked for" for one in found)
    if any(not one.remount for one in found):
        return "replace", reasons
    if is_ours(unit) and not remountable(options_of(unit), share.options):
        differ = sorted(set(options_of(unit)) ^ set(share.options))
        return "replace", (*reasons, f"the options differ in {', '.join(differ)}")
    return ("remount", reasons) if found else ("none", ())


def _is_stale(share: Share, system: System, wanted: t.Collection[str]) -> bool:
    """Whether an earlier run wrote units and did not get to its end."""
    units = [*([unit_name(share.path)] if share.remote else []), *share.units]
    command = ["systemctl", "show", "--property=Id,LoadState,NeedDaemonReload,DropInPaths", *units]
    shown = system.run(command, 30).output.split("\n\n")
    if len(shown) != len(units):
        return False
    if share.remote and "NeedDaemonReload=yes" in shown.pop(0):
        return True
    return any(
        "LoadState=loaded" in text and drop_in(unit) in wanted and drop_in(unit) not in text
        for unit, text in zip(share.units, shown)
    )


def refuse_conflicts(share: Share, system: System, record: Record) -> None:
    """Stop where the host itself speaks against the share.

    Raises:
        ShareError: with the reason.
    """
    if not system.has_systemd():
        raise ShareError(
            f"systemd does not run this host, and it is what keeps {share.path} mounted. Mount the share by other "
            "means and set dag_share_type to local with dag_share_local.mounted true."
        )
    line = fstab_line(share.path, system.read("/etc/fstab") or "")
    if line:
        raise ShareError(
            f"/etc/fstab of this host mounts {share.path} too: {line!r}. Two places that say how would contradict "
            "each other. Delete the line; the mount itself may stay."
        )
    before = record.get("path")
    if before and before != share.path:
        raise ShareError(
            f"this host has the share at {before}, and now it is to be at {share.path}. Take it away there first: "
            f"run the role's entry point remove with dag_share_path={before}."
        )
    parent = system.real_parent(share.path)
    if f"{parent.rstrip('/')}/{share.path.rsplit('/', 1)[1]}" != share.path:
        raise ShareError(
            f"{share.path} leads through a symbolic link to {parent}, and systemd mounts on real paths only. "
            "Set dag_share_path (and airflow_dags_path) to the real path."
        )


def refuse_content(share: Share, system: System) -> None:
    """Stop where a mount would hide files.

    Raises:
        ShareError: with some of them.
    """
    names = system.entries(share.path)
    if names:
        raise ShareError(
            f"{share.path} holds files of this host ({', '.join(names)}), which the mount would hide. "
            "Move them to the share or elsewhere, so that the directory is empty."
        )


def refuse_users(share: Share, system: System, live: Mount, reasons: t.Sequence[str]) -> None:
    """Stop where a mount that has to be made again is in use.

    Raises:
        ShareError: with the users, and how to get rid of them.
    """
    used = system.users(live)
    if used:
        raise ShareError(
            f"{'; '.join(reasons)}: {share.path} has to be unmounted and mounted, and it is in use by {some(used)}. "
            "Nothing was changed. Drain this node (docker node update --availability drain NODE), wait until its "
            "containers are gone, run this again, and make the node active again."
        )


def some(users: t.Sequence[str]) -> str:
    """The first few users, and how many more there are."""
    more = f" and {len(users) - 3} more" if len(users) > 3 else ""
    return ", ".join(users[:3]) + more
