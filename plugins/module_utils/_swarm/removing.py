# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node leaves its swarm for good: who may go, and its record.

PRIVATE to the collection.

Source for paths: Docker Engine API reference 1.41, ``/nodes``.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import EngineError
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.answers import Answers
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.drain import Wait, find_node
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import EngineLike, SwarmProblem, wait_until
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.nodes import (
    NodeChange,
    await_role,
    node_hostname,
    node_state,
    update_node,
    votes,
)


@dataclasses.dataclass(frozen=True)
class Removal:
    """A node that is to go.

    Attributes:
        host: the host of this run that is this node and can leave by itself; empty when none is.
        ready: it works, and its tasks can end in order.
        absent_host: nobody can let the host leave, so its record goes by force.
        warnings: what the operator should know.
    """

    id: str
    hostname: str
    role: str
    host: str
    ready: bool
    absent_host: bool
    warnings: tuple[str, ...] = ()

    def facts(self) -> dict[str, t.Any]:
        """For a module's result."""
        return {
            "id": self.id,
            "hostname": self.hostname,
            "role": self.role,
            "host": self.host,
            "ready": self.ready,
        }


def plan_removal(
    live: t.Sequence[t.Mapping[str, t.Any]], answers: Answers, wanted: str, *, gone: bool = False
) -> Removal | None:
    """What removing a node means; None when the swarm has no such node.

    Args:
        live: answer of ``GET /nodes``.
        answers: what ``swarm_node_info`` said on each host of this run that answered.
        wanted: a host of this run, a node's host name or its ID.
        gone: the host cannot leave by itself, and its operator knows that.

    Raises:
        SwarmProblem: the name is ambiguous, the host cannot leave, or the swarm cannot do without the node.
    """
    known = answers.get(wanted, {}).get("swarm") or {}
    name = known.get("node_id") or wanted
    if not any(name in (node["ID"], node_hostname(node)) for node in live):
        return None
    node = find_node(live, name)
    hostname, state = node_hostname(node), node_state(node)
    host = next((one for one, answer in answers.items() if answer["swarm"]["node_id"] == node["ID"]), "")
    # It answers and is in no swarm: it left by itself, perhaps in an earlier run that ended before this.
    left = not host and state == "down" and known.get("state") == "inactive" and _engine_answers(answers[wanted])
    if not host and not left and not gone:
        raise SwarmProblem(
            f"Node {hostname} ({node['ID']}, {state}) was not removed: its host cannot be reached in this run, so "
            "it cannot "
            "leave by itself. Bring it back and run this again. If it is gone for good, add -e swarm_remove_gone=true."
        )
    warnings = _check_managers(live, node) if node["Spec"]["Role"] == "manager" else []
    return Removal(
        node["ID"], hostname, node["Spec"]["Role"], host, state == "ready", not host and not left, tuple(warnings)
    )


def demote(engine: EngineLike, removal: Removal, timeout: float, *, wait: Wait = wait_until) -> None:
    """Make the node a worker, and wait until it is one.

    Raises:
        SwarmProblem: the swarm refuses, or it does not happen in time.
    """
    live = engine.get(f"/nodes/{removal.id}")
    if live["Spec"]["Role"] == "worker":
        return
    after = {**live["Spec"], "Role": "worker"}
    update_node(engine, removal.id, removal.hostname, lambda spec: {**spec, "Role": "worker"})
    if removal.ready:
        await_role(engine, NodeChange(removal.id, removal.hostname, live["Spec"], after), timeout=timeout, wait=wait)


def remove_record(engine: EngineLike, removal: Removal, timeout: float, *, wait: Wait = wait_until) -> None:
    """Take the node's record away, once the swarm has seen that it left.

    Raises:
        SwarmProblem: the swarm refuses for ``timeout`` seconds.
    """
    # Its last heartbeat, or a demotion, may be a moment old.
    refusal = _delete(engine, removal.id, timeout, wait, force=removal.absent_host)
    if refusal:
        raise SwarmProblem(
            f"The swarm keeps the record of {removal.hostname} ({removal.id}), also after {timeout:g} s: {refusal} "
            "It takes no tasks any more; run this again."
        )


def remove_replaced(
    engine: EngineLike, node: t.Mapping[str, str], *, timeout: float = 30.0, wait: Wait = wait_until
) -> None:
    """Take the record of a replaced node out of the swarm; a manager's is demoted first.

    Raises:
        SwarmProblem: the swarm refuses.
    """
    live = engine.get(f"/nodes/{node['id']}") if node["role"] == "manager" else {}
    # Of a swarm that was made anew (init --force-new-cluster), only the record is left, and it cannot be demoted.
    if live and votes(live):
        update_node(engine, node["id"], node["hostname"], lambda spec: {**spec, "Role": "worker"})
    # A demoted manager leaves the quorum a moment later; until then its removal is refused.
    refusal = _delete(engine, node["id"], timeout, wait)
    if refusal:
        raise SwarmProblem(
            f"The swarm refused to remove the replaced node {node['hostname']} ({node['id']}): {refusal}"
        )


def _delete(engine: EngineLike, node_id: str, timeout: float, wait: Wait, *, force: bool = False) -> str:
    """Delete a node's record as soon as the swarm lets it go; its last refusal, or nothing."""
    refusal = ""

    def removed() -> bool:
        nonlocal refusal
        try:
            engine.delete(f"/nodes/{node_id}", {"force": "true"} if force else None)
        except EngineError as error:
            refusal = error.message
            return error.status == 404
        return True

    return "" if wait(removed, timeout) else refusal


def _check_managers(live: t.Sequence[t.Mapping[str, t.Any]], node: t.Mapping[str, t.Any]) -> list[str]:
    hostname = node_hostname(node)
    others = [peer for peer in live if peer["Spec"]["Role"] == "manager" and peer["ID"] != node["ID"]]
    if not others:
        raise SwarmProblem(
            f"Node {hostname} is the last manager: without it the swarm ends, with all its services and secrets. Make "
            "another host a manager first (inventory group swarm_managers, playbook swarm), or end the swarm with the "
            "playbook teardown."
        )
    reachable = [peer for peer in others if (peer.get("ManagerStatus") or {}).get("Reachability") == "reachable"]
    needed = len(others) // 2 + 1
    if len(reachable) < needed:
        silent = ", ".join(sorted(node_hostname(peer) for peer in others if peer not in reachable))
        raise SwarmProblem(
            f"Node {hostname} is a manager, and without it {len(reachable)} of {len(others)} managers are reachable; "
            f"{needed} have to be. Not reachable: {silent}. Bring them back first, or remove those that are gone "
            "for good."
        )
    if len(others) % 2:
        return []
    return [
        f"{len(others)} managers are left, an even number: no more of them may fail than with {len(others) - 1}. Make "
        "another host a manager, or one of them a worker."
    ]


def _engine_answers(answer: t.Mapping[str, t.Any]) -> bool:
    return bool((answer.get("engine") or {}).get("reachable"))
