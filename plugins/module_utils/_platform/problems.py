# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a variable, in words for somebody who has to repair it.

PRIVATE to the collection.
"""

from __future__ import annotations

import difflib
import typing as t
from dataclasses import dataclass

#: A value longer than this many characters is cut in a message.
_LONGEST_VALUE = 60


@dataclass(frozen=True)
class Problem:
    """One thing that has to be repaired before anything is changed.

    Attributes:
        variable: path of the variable, for example ``airflow_workers[0].queues``.
        value: what it holds, as :func:`show` or :func:`describe` write it; never a secret's value.
        problem: what is wrong with it.
        fix: what to do; ends like a sentence.
    """

    variable: str
    value: str
    problem: str
    fix: str

    def __post_init__(self) -> None:
        if not self.fix.endswith((".", "?")):
            object.__setattr__(self, "fix", self.fix + ".")

    def line(self) -> str:
        """The problem on one line, with the fix."""
        return f"{self.variable} ({self.value}): {self.problem}. {self.fix}"


def show(value: object) -> str:
    """A value that is no secret, as it is written in YAML, cut when it is long."""
    if value is None:
        return "not set"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def describe(value: object) -> str:
    """A value that is or may hold a secret: its type and size only."""
    if value is None:
        return "not set"
    if isinstance(value, str):
        return f"set, {len(value)} characters" if value else "set, but empty"
    return f"set, {type_name(value)}"


def type_name(value: object) -> str:
    """The type of a value in the words of YAML."""
    for kind, name in (
        (bool, "a boolean"),
        (int, "a whole number"),
        (float, "a number"),
        (str, "a string"),
        (t.Mapping, "a dictionary"),
        (t.Sequence, "a list"),
    ):
        if isinstance(value, t.cast(type, kind)):
            return name
    return "nothing" if value is None else type(value).__name__


def did_you_mean(name: str, known: t.Iterable[str], similarity: float = 0.7) -> str:
    """A hint at the closest known name, or an empty string when none is close; similarity is from 0 to 1."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=similarity)
    return f"Did you mean {close[0]}?" if close else ""
