# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines for people who watch a deployment: one whenever something changes.

PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t

from .compile import Stack
from .state import State
from .waiting import CONVERGED, Verdict


def progress_lines(
    stack: Stack,
    verdicts: t.Mapping[str, Verdict],
    pending: t.Mapping[str, t.Any],
    state: State,
    elapsed: float,
) -> list[str]:
    """What has changed since the last look; the texts shown are remembered in ``state.statuses``."""
    statuses: dict[str, str] = {}
    for name, verdict in verdicts.items():
        statuses[name] = verdict.text
    for name in pending:
        needs = [
            f"{need} ({verdicts[need].text})" if need in verdicts and stack.services[need].job else need
            for need in stack.services[name].depends_on
            if not _settled(need, verdicts, pending)
        ]
        statuses[name] = f"waiting for {', '.join(needs)}" if needs else "next"
    groups: dict[str, list[str]] = {}
    for name, text in statuses.items():
        if state.statuses.get(name) == text or text == "next":
            continue
        if name not in state.touched and name in verdicts and verdicts[name].state == CONVERGED:
            continue
        groups.setdefault(text, []).append(name)
    state.statuses = statuses
    if not groups:
        return []
    news = "; ".join(f"{', '.join(names)} {text}" for text, names in groups.items())
    return [f"{stack.name}: {news} ({elapsed:.0f} s)"]


def _settled(need: str, verdicts: t.Mapping[str, Verdict], pending: t.Mapping[str, t.Any]) -> bool:
    verdict = verdicts.get(need)
    return need not in pending and verdict is not None and (verdict.healthy or verdict.state == CONVERGED)
