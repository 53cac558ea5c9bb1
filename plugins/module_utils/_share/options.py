# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mount options: the recommended ones, the user's over them, and what a live mount has of them.

PRIVATE to the collection. Pure.
"""

from __future__ import annotations

import typing as t

#: Options that follow from other settings or would break what the share promises, with the reason.
OWNED: t.Mapping[str, str] = {
    "nfsvers": "the version has a setting of its own",
    "vers": "the version has a setting of its own",
    "minorversion": "the version has a setting of its own",
    "port": "the port has a setting of its own",
    "ro": "a publisher writes and everybody else reads",
    "rw": "a publisher writes and everybody else reads",
    "soft": "a short outage would become an I/O error in the middle of a DAG file",
    "softerr": "a short outage would become an I/O error in the middle of a DAG file",
    "bg": "mount would report success before the share is there",
    "nofail": "the share is never optional",
    "noauto": "the share is never optional",
    "tls": "it has a setting of its own",
    "iam": "it has a setting of its own",
    "accesspoint": "it has a setting of its own",
    "region": "it has a setting of its own",
    "remount": "it is no property of a mount",
    "bind": "it is no property of a mount",
}
#: Options of which a mount has exactly one.
_FAMILIES = (("atime", "noatime", "relatime", "strictatime"), ("actimeo", "ac", "noac"))
#: What a running mount takes over: flags of the mount itself. NFS refuses everything else in a remount.
_FLAGS = {
    "ro": ("ro", "rw"),
    "rw": ("rw", "ro"),
    "noatime": ("noatime", "relatime"),
    "relatime": ("relatime", "noatime"),
    "nodev": ("nodev", "dev"),
    "dev": ("dev", "nodev"),
    "nosuid": ("nosuid", "suid"),
    "suid": ("suid", "nosuid"),
    "noexec": ("noexec", "exec"),
    "exec": ("exec", "noexec"),
}
#: What /proc does not show, or not as it was given.
_NOT_LIVE = frozenset({"_netdev", "defaults", "resvport", "port", "retry", "atime", "strictatime", "nodiratime"})
_AT_MOST = frozenset({"rsize", "wsize"})


class Difference(t.NamedTuple):
    """One option of a live mount that is not as asked for; ``remount`` says whether it can change while in use."""

    wanted: str
    live: str
    remount: bool


def nfs_options(version: str, port: int, extra: t.Sequence[str], writable: bool) -> tuple[str, ...]:
    """Options for NFS in the order in which the unit has them."""
    base = [f"nfsvers={version}"]
    if port != 2049:
        base.append(f"port={port}")
    base += ["rsize=1048576", "wsize=1048576", "hard", "timeo=600", "retrans=2", "noresvport"]
    return merge([*base, *_common(writable)], extra)


def efs_options(efs: t.Mapping[str, t.Any], writable: bool) -> tuple[str, ...]:
    """Options for mount.efs, which adds version, sizes and timeouts by itself."""
    base = ["tls"] if efs.get("tls", True) else []
    if efs.get("iam"):
        base.append("iam")
    if efs.get("access_point"):
        base.append(f"accesspoint={efs['access_point']}")
    if efs.get("region"):
        base.append(f"region={efs['region']}")
    return merge([*base, "noresvport", *_common(writable)], efs.get("options") or ())


def _common(writable: bool) -> list[str]:
    # Without negative entries, a release that was just published is seen at once.
    return ["lookupcache=pos", "noatime", "nodev", "nosuid", "rw" if writable else "ro", "_netdev"]


def merge(base: t.Sequence[str], extra: t.Sequence[str]) -> tuple[str, ...]:
    """The base with each extra option in the place of the one that it contradicts, or behind."""
    merged = list(base)
    for option in extra:
        rivals = [index for index, one in enumerate(merged) if _same_thing(one, option)]
        if rivals:
            merged[rivals[0]] = option
            merged = [one for index, one in enumerate(merged) if index not in rivals[1:]]
        else:
            merged.append(option)
    return tuple(merged)


def _same_thing(one: str, other: str) -> bool:
    first, second = (option.partition("=")[0] for option in (one, other))
    if second in (first, f"no{first}") or first == f"no{second}":
        return True
    return any(first in family and second in family for family in _FAMILIES)


def compare(wanted: t.Sequence[str], live: t.Collection[str]) -> list[Difference]:
    """What a live NFS mount has otherwise than asked for.

    Args:
        wanted: options as the unit has them.
        live: flags and options of the mount in /proc/self/mountinfo. Options that it does not show are passed over.
    """
    values = dict(option.partition("=")[::2] for option in live)
    found: list[Difference] = []
    for option in wanted:
        name, _equals, value = option.partition("=")
        if name in _FLAGS:
            flag, opposite = _FLAGS[name]
            bad = opposite in values if flag in ("rw", "dev", "suid", "exec", "relatime") else flag not in values
            if bad:
                found.append(Difference(option, opposite, True))
        elif name in _NOT_LIVE:
            continue
        elif name in ("nfsvers", "hard", "noresvport"):
            found += _compare_fixed(name, value, values)
        elif name in values and not _equal(name, value, values[name]):
            found.append(Difference(option, f"{name}={values[name]}", False))
    if "resvport" in wanted and "noresvport" in values:
        found.append(Difference("resvport", "noresvport", False))
    return found


def _compare_fixed(name: str, value: str, values: t.Mapping[str, str]) -> list[Difference]:
    if name == "nfsvers":
        live = values.get("vers", "")
        return [] if live == value else [Difference(f"nfsvers={value}", f"vers={live}", False)]
    if name == "hard":
        return [Difference("hard", "soft", False)] if "soft" in values or "softerr" in values else []
    return [] if name in values else [Difference(name, "resvport", False)]


def _equal(name: str, wanted: str, live: str) -> bool:
    if name in _AT_MOST and wanted.isdigit() and live.isdigit():
        return int(live) <= int(wanted)  # the server may have less
    return wanted == live


def remountable(before: t.Sequence[str], after: t.Sequence[str]) -> bool:
    """Whether two lists of options differ in nothing but flags that a running mount takes over."""
    return all(option.partition("=")[0] in _FLAGS for option in set(before) ^ set(after))


def flags_of(options: t.Sequence[str]) -> list[str]:
    """Those options that a running mount takes over."""
    return [option for option in options if option in _FLAGS]
