# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles, labels and availability of a swarm's nodes, by node ID.

PRIVATE to the collection.

Source for paths and bodies: Docker Engine API reference 1.41, ``/nodes``.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import EngineError
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.patience import patient
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.host import host_of
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import (
    EngineLike,
    SwarmProblem,
    read_node,
    wait_until,
)

KEEP = "keep"
#: How often a node that somebody else writes at the same time is read and written again.
ATTEMPTS = 5
#: Seconds within which a new leader has heard of all nodes that work.
SETTLING = 60.0
#: Seconds until a swarm has given up a node that its new leader never heard of; also one with slow heartbeats.
UNKNOWN_SECONDS = 300.0
#: Label of a node that was drained for maintenance; its value is the availability that it gets back.
DRAINED_FROM = "flowstead.airflow.drained-from"
#: Label of a node that a playbook drained for its own work, and gives back; nobody else's drain has it.
DRAINED_BY = "flowstead.airflow.drained-by"


@dataclasses.dataclass(frozen=True)
class WantedNode:
    """What one node is to be. ``role`` and ``availability`` may be ``keep``; ``label`` values are strings."""

    id: str
    role: str = KEEP
    availability: str = KEEP
    labels: t.Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class NodeChange:
    """One node whose specification differs from the wanted one."""

    id: str
    hostname: str
    before: dict[str, t.Any]
    after: dict[str, t.Any]

    @property
    def demotes(self) -> bool:
        """Whether a manager becomes a worker."""
        return (self.before["Role"], self.after["Role"]) == ("manager", "worker")

    @property
    def order(self) -> tuple[int, str]:
        """Promotions first and demotions last, so that the majority of managers is never the smaller one."""
        roles = (self.before["Role"], self.after["Role"])
        rank = {("worker", "manager"): 0, ("manager", "worker"): 2}.get(roles, 1)
        return rank, self.hostname


def plan_nodes(
    live: t.Sequence[t.Mapping[str, t.Any]], wanted: t.Sequence[WantedNode], *, purge_labels: bool = False
) -> list[NodeChange]:
    """Compare nodes with what they are to be.

    Args:
        live: answer of ``GET /nodes``.
        purge_labels: remove labels that are not wanted; otherwise they are left alone.

    Returns:
        The differences, in the order in which they are to be written.

    Raises:
        SwarmProblem: a wanted node is not in this swarm, or no manager would be left.
    """
    nodes = {node["ID"]: node for node in live}
    unknown = sorted(entry.id for entry in wanted if entry.id not in nodes)
    if unknown:
        raise SwarmProblem(
            f"This swarm has no node with the ID {', '.join(unknown)}. It has: "
            + ", ".join(sorted(f"{node_hostname(node)} ({node['ID']})" for node in live))
            + "."
        )
    changes = []
    for entry in wanted:
        node = nodes[entry.id]
        after = _wanted_spec(node["Spec"], entry, purge_labels)
        if after != _normal(node["Spec"]):
            changes.append(NodeChange(entry.id, node_hostname(node), _normal(node["Spec"]), after))
    _refuse_headless(nodes, changes)
    return sorted(changes, key=lambda change: change.order)


class Replaced(t.NamedTuple):
    """Records of nodes that are down and whose host is back under another ID.

    Attributes:
        removable: ``id``, ``hostname`` and ``role`` of those that can go.
        kept: why others stay, as texts.
    """

    removable: list[dict[str, str]]
    kept: list[str]


def some_unknown(live: t.Sequence[t.Mapping[str, t.Any]]) -> bool:
    """Whether a node is ``unknown`` to its managers."""
    return any(node_state(node) == "unknown" for node in live)


def read_settled(
    engine: EngineLike,
    seconds: float = SETTLING,
    *,
    unsettled: t.Callable[[t.Sequence[t.Mapping[str, t.Any]]], bool] = some_unknown,
    wait: t.Callable[[t.Callable[[], t.Any], float], bool] = wait_until,
) -> list[dict[str, t.Any]]:
    """The answer of ``GET /nodes``, as soon as the swarm knows its nodes, or after ``seconds``.

    A new leader, and one that came back from a backup, hears of nodes by their heartbeats, some seconds after its
    election. A node that is gone is ``unknown`` for longer, until the leader gives it up.

    Args:
        unsettled: whether an answer is not good enough yet; by default, when any node is unknown.
    """
    live: list[dict[str, t.Any]] = []

    def settled() -> bool:
        live[:] = engine.get("/nodes")
        return not unsettled(live)

    wait(patient(settled), seconds)
    return live


def has_unknown_twin(live: t.Sequence[t.Mapping[str, t.Any]], kept: t.Collection[str]) -> bool:
    """Whether the swarm does not know yet that a wanted node is ready, or that what may be its dead twin is down.

    Args:
        live: answer of ``GET /nodes``.
        kept: IDs of nodes that are wanted.
    """
    for node in live:
        others = [twin for twin in live if node_hostname(twin) == node_hostname(node) and twin["ID"] not in kept]
        if node["ID"] in kept and any(
            _same_address(node, twin) and "unknown" in (node_state(node), node_state(twin)) for twin in others
        ):
            return True
    return False


def plan_replaced(live: t.Sequence[t.Mapping[str, t.Any]], kept: t.Collection[str]) -> Replaced:
    """Find dead twins: down, with the host name and address of a wanted node that is ready.

    A host name alone proves nothing: hosts of one image may share one. And a manager goes only when those that stay
    are a majority without it.

    Args:
        live: answer of ``GET /nodes``.
        kept: IDs of nodes that are never taken for replaced ones.
    """
    ready: dict[str, list[t.Mapping[str, t.Any]]] = {}
    for node in live:
        if node["ID"] in kept and node_state(node) == "ready":
            ready.setdefault(node_hostname(node), []).append(node)
    managers = [node for node in live if votes(node)]
    reachable = sum(_reachable(node) for node in managers)
    count = len(managers)
    found = Replaced([], [])
    for node in live:
        name = node_hostname(node)
        if node["ID"] in kept or node_state(node) not in ("down", "unknown") or name not in ready:
            continue
        if node_state(node) == "unknown":
            found.kept.append(
                f"Node {node['ID']} is unknown to the swarm's leader, and {name} is in the swarm under another ID. Its "
                "record stays until the leader has given it up: run this again when `docker node ls` says Down."
            )
            continue
        role = node["Spec"].get("Role", "worker")
        reason = ""
        if not any(_same_address(node, twin) for twin in ready[name]):
            reason = "its address is another one, so it may be another host of the same name"
        elif votes(node) and reachable < (count - 1) // 2 + 1:
            reason = f"only {reachable} of {count} managers can be reached, too few to do without its vote"
        if reason:
            found.kept.append(
                f"Node {node['ID']} is down, and {name} is in the swarm under another ID. Its record stays: {reason}. "
                f"If it is gone for good: `docker node {'demote' if role == 'manager' else 'rm'} {node['ID']}`"
                + (f", then `docker node rm {node['ID']}`." if role == "manager" else ".")
            )
            continue
        found.removable.append({"id": node["ID"], "hostname": name, "role": role})
    return found


def write_change(engine: EngineLike, change: NodeChange, wanted: WantedNode, *, purge_labels: bool = False) -> None:
    """Write one planned change; a node that somebody else wrote meanwhile is read and compared again.

    Raises:
        SwarmProblem: the swarm refuses, for example because a majority of managers would be lost.
    """
    update_node(engine, change.id, change.hostname, lambda spec: _wanted_spec(spec, wanted, purge_labels))


def update_node(
    engine: EngineLike, node_id: str, hostname: str, body: t.Callable[[dict[str, t.Any]], dict[str, t.Any]]
) -> None:
    """Write what ``body`` makes of a node's specification; again when somebody else wrote it meanwhile.

    Raises:
        SwarmProblem: the swarm refuses, for example because a majority of managers would be lost.
    """
    for attempt in range(1, ATTEMPTS + 1):
        node = engine.get(f"/nodes/{node_id}")
        try:
            engine.post(f"/nodes/{node_id}/update", body(node["Spec"]), {"version": node["Version"]["Index"]})
        except EngineError as error:
            if error.out_of_sequence and attempt < ATTEMPTS:
                continue
            raise SwarmProblem(f"The swarm refused to change node {hostname} ({node_id}): {error.message}") from error
        return


def await_role(
    engine: EngineLike,
    change: NodeChange,
    *,
    timeout: float = 60.0,
    wait: t.Callable[[t.Callable[[], bool], float], bool] = wait_until,
) -> None:
    """Wait until a promotion or demotion has taken place, which is some time after the swarm accepted it.

    Until then a promoted manager does not count towards the majority.

    Raises:
        SwarmProblem: it has not within ``timeout`` seconds.
    """
    if change.before["Role"] == change.after["Role"]:
        return

    def settled() -> bool:
        try:
            status = engine.get(f"/nodes/{change.id}").get("ManagerStatus") or {}
        except EngineError:
            # Who demotes itself cannot be asked about the swarm any more.
            return change.after["Role"] == "worker" and not read_node(engine)["swarm"]["manager"]
        return status.get("Reachability") == "reachable" if change.after["Role"] == "manager" else not status

    if not wait(settled, timeout):
        raise SwarmProblem(
            f"Node {change.hostname} ({change.id}) was told to be a {change.after['Role']} and is not one after "
            f"{timeout:g} s. Check that it is up and that the managers reach each other on 2377/tcp."
        )


def as_live(node: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What :func:`describe_node` made, back in the shape of ``GET /nodes`` as far as plans need it."""
    return {
        "ID": node["id"],
        "Spec": {"Role": node["role"], "Availability": node["availability"], "Labels": node["labels"]},
        "Description": {"Hostname": node["hostname"]},
        "Status": {"State": node["state"], "Addr": node["address"]},
        "ManagerStatus": {"Reachability": node["reachability"], "Addr": node["manager_address"]},
    }


def label_text(value: t.Any) -> str:
    """A label's value as text: booleans as Docker users write them, nothing as empty."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _wanted_spec(spec: t.Mapping[str, t.Any], wanted: WantedNode, purge_labels: bool) -> dict[str, t.Any]:
    after = _normal(spec)
    if wanted.role != KEEP:
        after["Role"] = wanted.role
    # A node in maintenance stays drained until it is given back, also in a run that somebody else starts meanwhile.
    maintained = after["Availability"] == "drain" and DRAINED_FROM in after["Labels"]
    if wanted.availability != KEEP and not maintained:
        after["Availability"] = wanted.availability
    ours = (DRAINED_FROM, DRAINED_BY)
    kept = {key: value for key, value in after["Labels"].items() if not purge_labels and key not in ours}
    # What is remembered of a node that somebody made active by hand would end a later drain that is not meant.
    remembered = {key: after["Labels"][key] for key in ours if maintained and key in after["Labels"]}
    after["Labels"] = {**kept, **remembered, **wanted.labels}
    return after


def _normal(spec: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {**spec, "Labels": dict(spec.get("Labels") or {})}


def node_hostname(node: t.Mapping[str, t.Any]) -> str:
    return str((node.get("Description") or {}).get("Hostname", ""))


def node_state(node: t.Mapping[str, t.Any]) -> str:
    return str((node.get("Status") or {}).get("State", ""))


def _reachable(node: t.Mapping[str, t.Any]) -> bool:
    return (node.get("ManagerStatus") or {}).get("Reachability") == "reachable"


def votes(node: t.Mapping[str, t.Any]) -> bool:
    return node["Spec"].get("Role") == "manager" and bool((node.get("ManagerStatus") or {}).get("Reachability"))


def _same_address(one: t.Mapping[str, t.Any], other: t.Mapping[str, t.Any]) -> bool:
    return not _addresses(one) or not _addresses(other) or bool(_addresses(one) & _addresses(other))


def _addresses(node: t.Mapping[str, t.Any]) -> set[str]:
    found = {host_of(str((node.get(part) or {}).get("Addr", ""))) for part in ("Status", "ManagerStatus")}
    # What an engine says that does not know its address.
    return found - {"", "0.0.0.0", "127.0.0.1", "::"}  # noqa: S104 - compared with, never bound


def _refuse_headless(nodes: t.Mapping[str, t.Mapping[str, t.Any]], changes: t.Sequence[NodeChange]) -> None:
    roles = {node_id: node["Spec"]["Role"] for node_id, node in nodes.items()}
    roles.update({change.id: change.after["Role"] for change in changes})
    if nodes and "manager" not in roles.values():
        raise SwarmProblem("No manager would be left in this swarm. Name at least one node as a manager.")
