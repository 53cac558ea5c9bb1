# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The units of systemd that keep the share mounted, as text.

PRIVATE to the collection. Pure.

Source: systemd.mount(5), systemd.unit(5) (OnFailure, RequiresMountsFor, specifiers), systemd-escape(1).
"""

from __future__ import annotations

import re
import typing as t

from .settings import Share

DIRECTORY = "/etc/systemd/system"
RETRY = "flowstead-dag-share.service"
_DROP_IN = "flowstead-dag-share.conf"
_MARK = "# Written by flowstead.airflow.dag_share, which overwrites changes.\n"


def unit_name(path: str) -> str:
    """The name that systemd gives the mount of a path, as ``systemd-escape --path --suffix=mount`` does."""
    escaped = []
    for part in path.strip("/").split("/"):
        text = "".join(
            char if re.fullmatch(r"[A-Za-z0-9:_.]", char) else "".join(f"\\x{byte:02x}" for byte in char.encode())
            for char in part
        )
        escaped.append(text)
    name = "-".join(escaped)
    if name.startswith("."):
        name = "\\x2e" + name[1:]
    return f"{name}.mount"


def unit_path(path: str) -> str:
    """The file of the unit that mounts a path."""
    return f"{DIRECTORY}/{unit_name(path)}"


def drop_in(unit: str) -> str:
    """The file by which a unit waits for the share."""
    return f"{DIRECTORY}/{unit}.d/{_DROP_IN}"


def wanted_link(path: str) -> str:
    """The link that mounts a path at boot."""
    return f"{DIRECTORY}/remote-fs.target.wants/{unit_name(path)}"


def is_ours(text: str | None) -> bool:
    """Whether a file comes from here."""
    return text is not None and text.startswith(_MARK)


def options_of(unit: str) -> tuple[str, ...]:
    """The mount options that the text of a unit has."""
    found = re.search(r"^Options=(.*)$", unit, re.MULTILINE)
    return tuple(found.group(1).replace("%%", "%").split(",")) if found else ()


def what_of(unit: str) -> str:
    """What the text of a unit mounts."""
    found = re.search(r"^What=(.*)$", unit, re.MULTILINE)
    return found.group(1).replace("%%", "%") if found else ""


def render(share: Share) -> dict[str, str]:
    """Every file that a share needs, path to text."""
    files: dict[str, str] = {}
    if share.remote:
        files[unit_path(share.path)] = _mount(share)
        files[f"{DIRECTORY}/{RETRY}"] = _retry(share)
    if share.remote or share.must_be_mounted:
        files.update({drop_in(unit): f"{_MARK}[Unit]\nRequiresMountsFor={share.path}\n" for unit in share.units})
    return files


def _mount(share: Share) -> str:
    return _ini(
        ("Unit", [("Description", "DAG share of Airflow"), ("After", "nfs-server.service"), ("OnFailure", RETRY)]),
        (
            "Mount",
            [
                ("What", share.what),
                ("Where", share.path),
                ("Type", share.kind),
                ("Options", ",".join(share.options)),
                ("TimeoutSec", str(share.mount_seconds)),
            ],
        ),
        ("Install", [("WantedBy", "remote-fs.target")]),
    )


def _retry(share: Share) -> str:
    # systemd gives up on units whose mount failed; nothing else starts them when the server is back.
    start = "if systemctl --quiet is-enabled {0}; then systemctl --no-block start {0}; fi"
    commands = [("ExecStart", f"systemctl start {unit_name(share.path)}".replace("\\", "\\\\"))]
    commands += [("ExecStart", f"/bin/sh -c '{start.format(unit)}'".replace("\\", "\\\\")) for unit in share.units]
    return _ini(
        (
            "Unit",
            [
                ("Description", "Try again to mount the DAG share, then start what waits for it"),
                ("StartLimitIntervalSec", "0"),
            ],
        ),
        (
            "Service",
            [("Type", "oneshot"), *commands, ("Restart", "on-failure"), ("RestartSec", str(share.retry_seconds))],
        ),
    )


def _ini(*sections: tuple[str, t.Sequence[tuple[str, str]]]) -> str:
    parts = [
        f"[{name}]\n" + "".join(f"{key}={value.replace('%', '%%')}\n" for key, value in lines)
        for name, lines in sections
    ]
    return _MARK + "\n".join(parts)
