# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node comes back from maintenance: ready, given back what it was, and services at full strength again.

PRIVATE to the collection.

Source for paths: Docker Engine API reference 1.41, ``/nodes`` and ``/services``.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.patience import patient
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.drain import (
    Wait,
    weak_services,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import EngineLike, SwarmProblem, wait_until
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.nodes import node_hostname, node_state

#: Looks in a row in which no service may be short: a global service wants its new task a moment after the node is back.
STEADY = 3


def await_back(engine: EngineLike, node_id: str, seconds: float, *, wait: Wait = wait_until) -> None:
    """Wait until a node is ready and, where it is a manager, reachable for the others.

    Raises:
        SwarmProblem: it is not within ``seconds``.
    """
    node: dict[str, t.Any] = {}

    def back() -> bool:
        nonlocal node
        node = engine.get(f"/nodes/{node_id}")
        manager = node["Spec"]["Role"] == "manager"
        return node_state(node) == "ready" and (not manager or _reachability(node) == "reachable")

    if wait(patient(back), seconds):
        return
    told = [node_state(node), *([_reachability(node)] if node.get("ManagerStatus") else [])]
    raise SwarmProblem(
        f"Node {node_hostname(node)} ({node_id}) did not come back: after {seconds:.0f} s it is "
        f"{' and '.join(told)}. It "
        "stays drained. Look at the log of its engine there (journalctl -u docker), and check 2377/tcp and "
        "7946 among the "
        "hosts. Once it is ready, run this again."
    )


def await_strength(
    engine: EngineLike, but: t.Collection[str], seconds: float, *, wait: Wait = wait_until
) -> tuple[str, ...]:
    """Wait until all services have what they want; those that do not, as ``name running/wanted``.

    Args:
        but: names of services that nobody waits for.
    """
    weak: list[str] = []
    looks = 0

    def strong() -> bool:
        nonlocal weak, looks
        names = {service["Spec"]["Name"] for service in engine.get("/services") or []}
        weak = weak_services(engine, names - set(but))
        looks = 0 if weak else looks + 1
        return looks >= STEADY

    wait(patient(strong), seconds)
    return tuple(weak)


def still_short(hostname: str, weak: t.Sequence[str], seconds: float) -> str:
    """What to tell when services did not come back to full strength."""
    return (
        f"Node {hostname} is back and takes tasks as before, but after {seconds:.0f} s these services have "
        "not what they "
        f"want: {', '.join(weak)}. `docker service ps --no-trunc` of each says why. No other node was "
        "touched. Repair them, "
        "then run this again: it goes on with the nodes that are left."
    )


def _reachability(node: t.Mapping[str, t.Any]) -> str:
    return str((node.get("ManagerStatus") or {}).get("Reachability") or "unreachable")
