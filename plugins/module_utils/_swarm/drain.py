# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Empty a node for maintenance, wait until it is empty, and let it take tasks again.

PRIVATE to the collection.

Swarm ends the tasks of a drained node with their service's own grace period, unlike a restart of the engine, which ends
them within seconds. It does so in the background: the request returns at once, so what matters is the wait.

Source for paths: Docker Engine API reference 1.41, ``/nodes``, ``/tasks`` and ``/services``.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.objects import TERMINAL
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.patience import patient
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.units import SECOND
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import EngineLike, SwarmProblem, wait_until
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.nodes import (
    DRAINED_BY,
    DRAINED_FROM,
    NodeChange,
    node_hostname,
    node_state,
    update_node,
)

#: Seconds in which Docker's own default grace period ends a task.
DEFAULT_GRACE = 10.0
#: Seconds beside the longest grace period: for the managers to notice, and for containers to be taken away.
MARGIN = 60.0

Wait = t.Callable[[t.Callable[[], t.Any], float], bool]


@dataclasses.dataclass(frozen=True)
class Resident:
    """A task on a node that is not over yet."""

    id: str
    service: str
    slot: int
    state: str

    @property
    def text(self) -> str:
        """As people know it: the service's name, and the number among its replicas where it has one."""
        return f"{self.service}{f'.{self.slot}' if self.slot else ''} ({self.state})"

    def facts(self) -> dict[str, t.Any]:
        """For a module's result."""
        return {"id": self.id, "service": self.service, "slot": self.slot, "state": self.state}


@dataclasses.dataclass(frozen=True)
class Emptied:
    """How a node became empty.

    Attributes:
        stayed: tasks that were not over when the time was.
        state: of the node: ``ready``, or what it became meanwhile.
    """

    stayed: tuple[Resident, ...]
    state: str


def find_node(live: t.Sequence[t.Mapping[str, t.Any]], wanted: str) -> dict[str, t.Any]:
    """The node with this ID or host name, of the answer of ``GET /nodes``.

    Raises:
        SwarmProblem: none has it, or more than one.
    """
    found = [node for node in live if node["ID"] == wanted] or [node for node in live if node_hostname(node) == wanted]
    if len(found) > 1:
        told = ", ".join(f"{node['ID']} ({node_state(node)})" for node in found)
        raise SwarmProblem(
            f"{len(found)} nodes are called {wanted}: {told}. Name the one that you mean by its ID. A record whose "
            "host is gone for good goes with `docker node rm`."
        )
    if not found:
        names = ", ".join(sorted(f"{node_hostname(node)} ({node['ID']})" for node in live))
        raise SwarmProblem(f"This swarm has no node {wanted}. It has {names}.")
    return dict(found[0])


def plan_drain(
    live: t.Sequence[t.Mapping[str, t.Any]], node: t.Mapping[str, t.Any], *, owner: str = "", alone: bool = False
) -> NodeChange | None:
    """What draining a node changes, or nothing when it is drained already.

    Args:
        owner: who drains it, and gives it back; empty is a person.
        alone: also when no other node could take its tasks.

    Raises:
        SwarmProblem: no other node could take its tasks.
    """
    if node["Spec"]["Availability"] == "drain":
        return None
    others = [
        other
        for other in live
        if other["ID"] != node["ID"] and other["Spec"]["Availability"] == "active" and node_state(other) == "ready"
    ]
    if not others and not alone:
        raise SwarmProblem(
            f"Node {node_hostname(node)} was not drained: no other node of this swarm is ready and active, so that all "
            "services would stop. Bring another node back first (docker node ls shows which)."
        )
    labels = {**(node["Spec"].get("Labels") or {}), DRAINED_FROM: node["Spec"]["Availability"]}
    labels.pop(DRAINED_BY, None)
    labels.update({DRAINED_BY: owner} if owner else {})
    return _change(node, "drain", labels)


def plan_restore(node: t.Mapping[str, t.Any], *, always: bool = False, owner: str = "") -> NodeChange | None:
    """What gives a node back its availability, or nothing.

    Args:
        always: make it active also when it was not this collection that drained it.
        owner: only when this one drained it.
    """
    labels = dict(node["Spec"].get("Labels") or {})
    if owner and labels.get(DRAINED_BY) != owner:
        return None
    labels.pop(DRAINED_BY, None)
    before = labels.pop(DRAINED_FROM, None)
    now = node["Spec"]["Availability"]
    remembered = before if before and now == "drain" else now
    after = "active" if always else remembered
    if after == now and before is None:
        return None
    return _change(node, after, labels)


def write_availability(engine: EngineLike, change: NodeChange) -> None:
    """Write a planned change of availability; labels that somebody else wrote meanwhile stay.

    Raises:
        SwarmProblem: the swarm refuses.
    """
    gone = set(change.before["Labels"]) - set(change.after["Labels"])
    came = {key: value for key, value in change.after["Labels"].items() if change.before["Labels"].get(key) != value}

    def body(spec: dict[str, t.Any]) -> dict[str, t.Any]:
        labels = {key: value for key, value in (spec.get("Labels") or {}).items() if key not in gone}
        return {**spec, "Availability": change.after["Availability"], "Labels": {**labels, **came}}

    update_node(engine, change.id, change.hostname, body)


def availability_result(node: t.Mapping[str, t.Any], change: NodeChange | None) -> dict[str, t.Any]:
    """What a module returns about a node whose availability it changes, or leaves as it is."""
    hostname = node_hostname(node)
    spec = change.after if change else node["Spec"]
    return {
        "changed": change is not None,
        "node": {"id": node["ID"], "hostname": hostname, "availability": spec["Availability"]},
        "diff": {
            "before": {hostname: change.before} if change else {},
            "after": {hostname: change.after} if change else {},
        },
    }


def residents(engine: EngineLike, node_id: str) -> tuple[Resident, ...]:
    """Tasks on a node that are not over, whatever they are meant to become."""
    return tuple(task for task in _tasks(engine, node_id) if task.state not in TERMINAL)


def visitors(engine: EngineLike, node_id: str) -> frozenset[str]:
    """Names of the services that have, or had until lately, tasks on a node; Swarm remembers a few of each."""
    return frozenset(task.service for task in _tasks(engine, node_id))


def longest_grace(engine: EngineLike, names: t.Collection[str]) -> float:
    """The longest grace period, in seconds, of the services with these names."""
    graces = [DEFAULT_GRACE]
    for service in engine.get("/services") or []:
        if service["Spec"]["Name"] in names:
            grace = service["Spec"]["TaskTemplate"].get("ContainerSpec", {}).get("StopGracePeriod")
            graces.append(grace / SECOND if grace is not None else DEFAULT_GRACE)
    return max(graces)


def await_empty(engine: EngineLike, node_id: str, seconds: float, *, wait: Wait = wait_until) -> Emptied:
    """Wait until no task is left on a node, or until it is down, so that nobody knows any more what is on it."""
    left: tuple[Resident, ...] = ()
    state = "ready"

    def empty() -> bool:
        nonlocal left, state
        left, state = residents(engine, node_id), node_state(engine.get(f"/nodes/{node_id}"))
        return not left or state != "ready"

    wait(patient(empty), seconds)
    return Emptied(left, state)


def await_services(
    engine: EngineLike, names: t.Collection[str], seconds: float, *, wait: Wait = wait_until
) -> tuple[str, ...]:
    """Wait until the services with these names have what they want; those that do not, as ``name running/wanted``."""
    weak: tuple[str, ...] = ()

    def strong() -> bool:
        nonlocal weak
        weak = tuple(weak_services(engine, names))
        return not weak

    wait(patient(strong), seconds)
    return weak


def weak_services(engine: EngineLike, names: t.Collection[str]) -> list[str]:
    """Services that run fewer tasks than they want, as ``name running/wanted``; jobs, which end, are left out."""
    found = []
    for service in engine.get("/services", {"status": "true"}) or []:
        name, status = service["Spec"]["Name"], service.get("ServiceStatus") or {}
        job = {"ReplicatedJob", "GlobalJob"} & set(service["Spec"].get("Mode") or {})
        running, wanted = int(status.get("RunningTasks") or 0), int(status.get("DesiredTasks") or 0)
        if name in names and not job and running < wanted:
            found.append(f"{name} {running}/{wanted}")
    return sorted(found)


def refusal(hostname: str, left: t.Sequence[Resident], seconds: float) -> str:
    """What to tell when a node was not empty in time."""
    return (
        f"Node {hostname} takes no new tasks, and after {seconds:.0f} s these are still on it: "
        + ", ".join(task.text for task in left)
        + ". They end when their work does, or when their service's stop_grace_period is over. Wait longer by running "
        "this again, or give the drain up by making the node active. Do not restart its engine now: that kills them."
    )


def shortage(hostname: str, weak: t.Sequence[str], seconds: float) -> str:
    """What to tell when services did not come to full strength on the other nodes."""
    return (
        f"Node {hostname} is empty and stays drained, but after {seconds:.0f} s these services have not what they want "
        f"on the other nodes: {', '.join(weak)}. `docker service ps --no-trunc` of each says why. Make the node active "
        "again, or go on knowing that they are short; do not empty another node now."
    )


def _tasks(engine: EngineLike, node_id: str) -> list[Resident]:
    names = {service["ID"]: service["Spec"]["Name"] for service in engine.get("/services") or []}
    found = [
        Resident(
            task["ID"],
            names.get(task.get("ServiceID", ""), task.get("ServiceID", "")),
            int(task.get("Slot") or 0),
            task["Status"]["State"],
        )
        for task in engine.get("/tasks", {"filters": {"node": [node_id]}}) or []
    ]
    return sorted(found, key=lambda task: (task.service, task.slot, task.id))


def _change(node: t.Mapping[str, t.Any], availability: str, labels: t.Mapping[str, str]) -> NodeChange:
    before = {**node["Spec"], "Labels": dict(node["Spec"].get("Labels") or {})}
    after = {**before, "Availability": availability, "Labels": dict(labels)}
    return NodeChange(node["ID"], node_hostname(node), before, after)
