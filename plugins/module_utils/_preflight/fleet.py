# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks of all hosts say together: what each found, and what only a comparison shows.

PRIVATE to the collection. Pure.
"""

from __future__ import annotations

import typing as t

from .problems import Problem

Results = t.Mapping[str, t.Mapping[str, t.Any]]


def verdict(
    results: Results,
    *,
    now: float | None = None,
    clock_seconds: float = 0,
    same_architecture: bool = True,
    more: Results | None = None,
) -> str:
    """One text with every problem of every host; empty when there is none.

    Args:
        results: host to what ``host_preflight`` returned there.
        now: the controller's clock after the last answer.
        clock_seconds: how far a host's clock may be from the controller's; 0 does not look.
        same_architecture: all hosts have to be of one architecture.
        more: the same of another check with problems of this form, for example ``hec_check``.
    """
    answers = [*results.items(), *(more or {}).items()]
    found = [(host, problem) for host, result in answers for problem in _own(result)]
    if same_architecture:
        found += compare_architectures(results)
    if clock_seconds > 0 and now is not None:
        found += compare_clocks(results, now, clock_seconds)
    if not found:
        return ""
    hosts = {host: None for host, _problem in found if host}
    count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
    lines = [f"{count} on {', '.join(hosts)}. Nothing was changed by this check."]
    for number, (host, problem) in enumerate(found, 1):
        lines.append(f"{number}. {host}: {problem.variable} ({problem.value}): {problem.problem}.")
        lines.append(f"   Fix: {problem.fix}.")
    return "\n".join(lines)


def compare_architectures(results: Results) -> list[tuple[str, Problem]]:
    """One image serves all hosts, so they have to be alike."""
    groups: dict[str, list[str]] = {}
    for host, result in results.items():
        machine = (result.get("platform") or {}).get("architecture")
        if machine:
            groups.setdefault(machine, []).append(host)
    if len(groups) < 2:
        return []
    usual = max(groups, key=lambda machine: len(groups[machine]))
    different = [host for machine, hosts in groups.items() if machine != usual for host in hosts]
    parts = "; ".join(f"{machine}: {', '.join(hosts)}" for machine, hosts in groups.items())
    return [
        (
            ", ".join(different),
            Problem(
                check="architecture",
                variable="airflow_architectures",
                value="empty",
                problem=f"the hosts differ in architecture ({parts}), and an image for one does not run on the other",
                fix="take hosts of one architecture, or list those that the image exists for in airflow_architectures",
            ),
        )
    ]


def compare_clocks(results: Results, now: float, tolerance: float) -> list[tuple[str, Problem]]:
    """Tokens carry times, so clocks have to agree. The way to a host takes time, and never counts against it."""
    found = []
    for host, result in results.items():
        clock = result.get("clock")
        if not clock:
            continue
        ahead = clock["host"] - max(now, clock["controller"])
        behind = clock["controller"] - clock["host"]
        if max(ahead, behind) <= tolerance:
            continue
        seconds, direction = (ahead, "ahead of") if ahead > behind else (behind, "behind")
        found.append(
            (
                host,
                Problem(
                    check="clock",
                    variable="airflow_preflight_clock_seconds",
                    value=f"{tolerance:g}",
                    problem=f"its clock is at least {seconds:.0f} s {direction} the controller's, and Airflow refuses "
                    "tokens of a host whose clock is wrong",
                    fix="let NTP set the clock there (`timedatectl`), or the controller's if that one is wrong",
                ),
            )
        )
    return found


def _own(result: t.Mapping[str, t.Any]) -> list[Problem]:
    if "problems" in result:
        return [Problem(**problem) for problem in result["problems"]]
    if result.get("skipped"):
        return []
    said = str(result.get("msg") or "it gave no reason").strip()
    return [
        Problem(
            check="host",
            variable="host_preflight",
            value="no answer",
            problem=f"the check itself failed: {said[-600:]}",
            fix="look at the host's connection, become rights and Python, and run this again",
        )
    ]
