# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations and sizes as Compose files write them.

PRIVATE to the collection.

Source: Compose Specification, "Specifying durations" and "Specifying byte values".
"""

from __future__ import annotations

import re
import typing as t

#: Nanoseconds in one second: the Engine API counts durations in nanoseconds.
SECOND = 1_000_000_000

_DURATION_UNITS = {
    "us": SECOND // 1_000_000,
    "ms": SECOND // 1_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3_600 * SECOND,
    "d": 86_400 * SECOND,
}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:us|ms|s|m|h|d))+\Z")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\Z", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def nanoseconds(value: t.Any) -> int:
    """A duration such as ``1h30m``, ``500ms`` or ``0`` in nanoseconds.

    Raises:
        ValueError: when the text is not a duration.
    """
    text = str(value).strip()
    if text == "0":
        return 0
    if isinstance(value, bool) or not _DURATION.match(text):
        raise ValueError(f"{value!r} is not a duration")
    return sum(int(float(number) * _DURATION_UNITS[unit]) for number, unit in _DURATION_PART.findall(text))


def byte_count(value: t.Any) -> int:
    """A size such as ``512M``, ``1.5G`` or ``1048576`` in bytes; units are powers of 1024.

    Raises:
        ValueError: when the text is not a size.
    """
    match = None if isinstance(value, bool) else _SIZE.match(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is not a size")
    return int(float(match.group(1)) * _SIZE_UNITS[match.group(2).lower()])


def nano_cpus(value: t.Any) -> int:
    """A number of CPUs such as ``0.5`` in billionths of a CPU.

    Raises:
        ValueError: when the value is not a number, or not above zero.
    """
    cpus = 0.0 if isinstance(value, bool) else float(value)
    if cpus <= 0:
        raise ValueError(f"{value!r} is not a number of CPUs")
    return round(cpus * SECOND)


def spoken(nanos: int) -> str:
    """A duration for people: ``90 s``, ``2 min``, ``500 ms``."""
    if nanos % (60 * SECOND) == 0 and nanos >= 120 * SECOND:
        return f"{nanos // (60 * SECOND)} min"
    if nanos % SECOND == 0:
        return f"{nanos // SECOND} s"
    return f"{nanos / (SECOND / 1000):g} ms"
