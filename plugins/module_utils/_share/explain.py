# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong with the share, in words for somebody who has to repair it.

PRIVATE to the collection. Pure.

Source: the texts are those of mount.nfs(8), nfs-utils 2.6 and 2.8.
"""

from __future__ import annotations

from .mark import NAME, Sight, is_mark
from .settings import Share

_MOUNT = (
    (
        "access denied by server",
        "the server does not export it to this host's address (/etc/exports, then: exportfs -ra)",
    ),
    (
        "Operation not permitted",
        "the server does not take clients from ports above 1023: add resvport to dag_share_nfs.options, or export it "
        "with the option insecure. Where resvport is there already, another mount from this server keeps its old "
        "connection: unmount that first",
    ),
    (
        "No such file or directory",
        "the server has no such export, or not for this host: correct dag_share_nfs.path, or /etc/exports there",
    ),
    ("Connection refused", "nothing listens there: start the NFS server, or correct dag_share_nfs.host"),
    ("timed out", "the server does not answer: open TCP port 2049 for this host, or correct dag_share_nfs.host"),
    ("No route to host", "correct dag_share_nfs.host, or the routes of this host"),
    ("Failed to resolve server", "correct dag_share_nfs.host, or this host's DNS"),
    ("Protocol not supported", "the server does not offer this version: turn on NFSv4.1, or set dag_share_nfs.version"),
    ("incorrect mount option", "an entry of the options is not known to this kernel: correct dag_share_nfs.options"),
    ("Invalid argument", "an entry of the options is not known to this kernel: correct dag_share_nfs.options"),
)


def explain_mount(share: Share, code: int, output: str) -> str:
    """Why mount(8) failed, with its own words and a fix."""
    fix = next((fix for text, fix in _MOUNT if text in output), "see the server's log, and dmesg of this host")
    if code == 124:
        fix = "the server does not answer: open its port for this host, or correct the host"
    said = output.replace("\n", " ")
    return f"{share.what} cannot be mounted ({said}). Nothing was changed. Most likely {fix}."


def explain_silence(share: Share) -> str:
    """The mount is there, and its server does not answer."""
    server = share.what or share.path
    return (
        f"{share.path} does not answer: {server} is mounted, but its server is away. What uses it waits and goes on by "
        "itself when the server is back. Bring the server back, then run this again."
    )


def explain_sight(share: Share, sight: Sight, wanted: str) -> str:
    """What speaks against the share that was found; empty when it is the right one.

    Args:
        wanted: what the mark has to say; empty when any will do.
    """
    name = share.what or share.path
    if sight.error:
        return _unreadable(share, sight.error)
    if sight.mark and not is_mark(sight.mark):
        return f"{NAME} on {name} is no ID ({sight.mark[:40]!r}). Write one line of letters, digits and dashes into it."
    if sight.mark and wanted and sight.mark != wanted:
        source = "dag_share_id asks for" if share.share_id else "this host has seen before"
        return (
            f"{name} is the share {sight.mark!r}, not {wanted!r}, which {source}. If this is the wrong export, "
            f"correct it; if it is right, set dag_share_id to {sight.mark}."
        )
    if sight.mark:
        return ""
    return _unmarked(share, sight, wanted or "an-id-of-your-choice")


def _unmarked(share: Share, sight: Sight, share_id: str) -> str:
    name = share.what or share.path
    by_hand = f"echo {share_id} > {NAME}"
    if sight.names:
        return (
            f"{name} has no {NAME} and holds {', '.join(sight.names)}: this may be the wrong export, so it is left "
            f"alone. Correct the export; or, if it is the DAG share, mark it by hand, in its top directory: {by_hand}"
        )
    if share.writable:
        return (
            f"{name} is empty and has no {NAME}, and dag_share_sentinel_create is false. Correct the export; or, if it "
            f"is the DAG share, set that to true for one run, or mark it by hand, in its top directory: {by_hand}"
        )
    return (
        f"{name} is empty and has no {NAME}: a new share, or the wrong export. This host may not write. Set "
        f"dag_share_publisher to true for one host, which marks it; or mark it by hand where it can be written, in its "
        f"top directory: {by_hand}"
    )


def _unreadable(share: Share, error: str) -> str:
    name = share.what or share.path
    if not share.remote and "No such file" in error:
        return f"{share.path} does not exist on this host. Make it, or correct dag_share_path."
    if "Read-only" in error or "Permission denied" in error or "not permitted" in error:
        fix = (
            "Export it rw for this host, with no_root_squash or with a top directory that the user nobody may write"
            if share.writable
            else "Let everybody read its top directory; root of this host counts as nobody there"
        )
        return f"{name} refuses this host ({error}). {fix}."
    return f"{name} cannot be read ({error}). See the server's log, and dmesg of this host."
