# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings as the platform hands them to a container: environment variables and secret files."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

#: Where Docker mounts secrets.
SECRETS = Path("/run/secrets")


class SettingMissing(Exception):
    """A variable or a secret file that this container needs is not there."""


def text(name: str, default: str | None = None, environ: t.Mapping[str, str] | None = None) -> str:
    """An environment variable without white space around it.

    Args:
        name: the variable's name.
        default: the value when it is unset or empty.
        environ: where to look; the process's environment by default.

    Raises:
        SettingMissing: when it is unset or empty and has no default.
    """
    value = (os.environ if environ is None else environ).get(name, "").strip()
    if value:
        return value
    if default is None:
        raise SettingMissing(f"the environment variable {name} is not set")
    return default


def names(name: str, environ: t.Mapping[str, str] | None = None) -> tuple[str, ...]:
    """A comma list, without empty entries and in the order written; empty when the variable is unset."""
    return tuple(entry.strip() for entry in text(name, "", environ).split(",") if entry.strip())


def number(name: str, default: float, environ: t.Mapping[str, str] | None = None) -> float:
    """A number.

    Raises:
        SettingMissing: when the variable is set and is no number.
    """
    value = text(name, str(default), environ)
    try:
        return float(value)
    except ValueError:
        raise SettingMissing(f"the environment variable {name} is {value!r}, which is not a number") from None


def boolean(name: str, default: bool, environ: t.Mapping[str, str] | None = None) -> bool:
    """A truth value as Airflow reads it: t, true or 1 in any case are true."""
    return text(name, str(default), environ).lower() in ("t", "true", "1")


def secret(name: str, directory: Path | None = None) -> str:
    """A secret's content without the line end that an editor may have left.

    Raises:
        SettingMissing: when the file is not there, not readable or empty. The text never holds the value.
    """
    path = (SECRETS if directory is None else directory) / name
    try:
        value = path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingMissing(f"the secret {path} cannot be read: {error.strerror}") from None
    if not value:
        raise SettingMissing(f"the secret {path} is empty")
    return value
