# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host check found, in words a person can act on.

PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Problem:
    """One thing to repair before a deploy.

    Attributes:
        check: which check found it, for example ``port`` or ``postgresql``.
        variable: the inventory variable to change.
        value: its value, or a description of it; never a secret.
        problem: what is wrong.
        fix: what to do.
    """

    check: str
    variable: str
    value: str
    problem: str
    fix: str

    def as_dict(self) -> dict[str, str]:
        """The problem as a plain dict, for a module's result."""
        return asdict(self)


class CheckFailed(Exception):
    """A check that found something wrong with one field of an endpoint.

    Attributes:
        field: the part of the variable that is wrong, for example ``password``.
        problem: what is wrong.
        fix: what to do.
    """

    def __init__(self, field: str, problem: str, fix: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
        self.fix = fix


def message(problems: t.Sequence[Problem], host: str) -> str:
    """All problems as one text: numbered, variable first, fix last.

    Args:
        problems: at least one problem.
        host: how the host is called.
    """
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = [f"{count} on host {host}:"]
    for number, problem in enumerate(problems, 1):
        lines.append(f"{number}. {problem.variable} ({problem.value}): {problem.problem}")
        lines.append(f"   Fix: {problem.fix}")
    return "\n".join(lines)
