# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts said about themselves, and the manager that is asked about all of them.

PRIVATE to the collection. No I/O.
"""

from __future__ import annotations

import typing as t

Answers = t.Mapping[str, t.Mapping[str, t.Any]]


def collect_answers(
    hosts: t.Sequence[str], hostvars: t.Mapping[str, t.Any], name: str
) -> dict[str, t.Mapping[str, t.Any]]:
    """What ``swarm_node_info`` said on each host, in the order of ``hosts``; hosts that did not answer are left out.

    Args:
        hostvars: variables of all hosts.
        name: the variable that the module's result was registered in.
    """
    found = {host: hostvars.get(host, {}).get(name) for host in hosts}
    return {host: answer for host, answer in found.items() if isinstance(answer, t.Mapping) and "swarm" in answer}


def choose_entry(answers: Answers, avoid: t.Collection[str] = ()) -> str:
    """The first host that manages a swarm and is in touch with its leader; empty when there is none.

    Args:
        avoid: hosts that are taken only when no other one can be.
    """
    # A manager that is cut off from the others says so in cluster.error, and could change nothing.
    able = [
        host
        for host, answer in answers.items()
        if answer["swarm"]["manager"] and answer["swarm"]["state"] == "active" and not _error(answer)
    ]
    return next((host for host in [*(host for host in able if host not in avoid), *able]), "")


def _error(answer: t.Mapping[str, t.Any]) -> str:
    return str((answer.get("cluster") or {}).get("error") or "")
