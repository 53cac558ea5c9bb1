# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of numbers: ranges, and the size of a component.

PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t

from .problems import show
from .spec import SpecReader

Values = t.Mapping[str, t.Any]


def check_range(reader: SpecReader, path: str, value: float | None, low: int, high: int) -> None:
    """A number has to lie between two others, both allowed."""
    if value is not None and not low <= value <= high:
        reader.add(path, show(value), f"this has to be from {low} to {high}", "Choose a number in that range")


def check_size(reader: SpecReader, path: str, size: Values) -> None:
    """Replicas, memory and processors of a component or a worker."""
    check_range(reader, f"{path}.replicas", size.get("replicas"), 1, 1000)
    check_range(reader, f"{path}.cpus", size.get("cpus"), 0, 1024)
    limit, reservation = size.get("memory_mb"), size.get("memory_reservation_mb")
    if limit is not None and limit != 0 and limit < 256:
        fix = "Give it 256 MiB or more, or 0 for no limit"
        reader.add(f"{path}.memory_mb", show(limit), "no component of Airflow starts with so little", fix)
    if reservation is not None and reservation < 0:
        reader.add(f"{path}.memory_reservation_mb", show(reservation), "this is negative", "Choose 0 or more")
    if limit and reservation and reservation > limit:
        fix = f"Lower it, or raise {path}.memory_mb"
        problem = f"more is reserved than the limit of {limit} MiB allows"
        reader.add(f"{path}.memory_reservation_mb", show(reservation), problem, fix)
