# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Can this swarm run these services at all? Questions answered before anything is written.

PRIVATE to the collection.

Source: swarmkit manager/constraint/constraint.go for the meaning of placement constraints.
"""

from __future__ import annotations

import re
import typing as t

from .compile import Stack
from .objects import STACK_LABEL
from .schema import Problem

Node = t.Mapping[str, t.Any]
#: What a placement constraint looks like.
CONSTRAINT = re.compile(r"\s*([\w.-]+)\s*(==|!=)\s*(.+?)\s*\Z")


def check_placement(stack: Stack, nodes: t.Sequence[t.Mapping[str, t.Any]]) -> list[Problem]:
    """Services that no node may run, each with the constraint that excludes the last of them."""
    problems = []
    ready = usable(nodes)
    if nodes and not ready:
        return [
            Problem(
                "services",
                "no node of this swarm is ready and active",
                "look at docker node ls; bring a node back (docker node update --availability active)",
            )
        ]
    for service in stack.services.values():
        template = service.spec["TaskTemplate"]
        problems += _ambiguous(service.name, template, nodes)
        left, reason = narrow((template.get("Placement") or {}).get("Constraints") or [], ready)
        if reason:
            problems.append(
                Problem(
                    f"services.{service.name}.deploy.placement.constraints",
                    reason,
                    f"set it on a node, or change it; nodes are {names_of(ready)}",
                )
            )
        else:
            problems += _resources(service.name, template, left)
    return problems


def usable(nodes: t.Sequence[Node]) -> list[Node]:
    """Nodes that take tasks."""
    return [
        node
        for node in nodes
        if (node.get("Status") or {}).get("State") == "ready" and node["Spec"].get("Availability") == "active"
    ]


def narrow(constraints: t.Sequence[str], nodes: t.Sequence[Node]) -> tuple[list[Node], str]:
    """Those of the nodes that meet all constraints; and, when there is none, which constraint excludes the last."""
    left = list(nodes)
    for constraint in constraints:
        fitting = [node for node in left if meets(node, constraint)]
        if not fitting:
            together = " together with the constraints before it" if len(left) != len(nodes) else ""
            return [], f"no ready node meets {constraint!r}{together}"
        left = fitting
    return left, ""


def _ambiguous(name: str, template: t.Mapping[str, t.Any], nodes: t.Sequence[t.Mapping[str, t.Any]]) -> list[Problem]:
    """Constraints on a host name that several nodes have: a dead node and its successor, or two clones."""
    problems = []
    for constraint in (template.get("Placement") or {}).get("Constraints") or []:
        match = CONSTRAINT.match(constraint)
        if match is None or match.group(1).lower() != "node.hostname":
            continue
        wanted = match.group(3)
        same = [node for node in nodes if node["Description"].get("Hostname", "").lower() == wanted.lower()]
        if len(same) > 1:
            which = ", ".join(f"{node['ID']} ({(node.get('Status') or {}).get('State')})" for node in same)
            problems.append(
                Problem(
                    f"services.{name}.deploy.placement.constraints",
                    f"{constraint!r} is ambiguous: {len(same)} nodes are called {wanted}: {which}",
                    "use node.id or a label, or remove the node that is gone (docker node rm)",
                )
            )
    return problems


def check_ports(stack: Stack, services: t.Sequence[t.Mapping[str, t.Any]]) -> list[Problem]:
    """Ports of the mesh that a service of another stack publishes already; Swarm would refuse the service."""
    own = {service.full_name for service in stack.services.values()}
    taken = {
        (port.get("PublishedPort"), port.get("Protocol", "tcp")): item["Spec"]["Name"]
        for item in services
        if item["Spec"]["Name"] not in own and (item["Spec"].get("Labels") or {}).get(STACK_LABEL) != stack.name
        for port in (item["Spec"].get("EndpointSpec") or {}).get("Ports") or []
        if port.get("PublishMode", "ingress") == "ingress" and port.get("PublishedPort")
    }
    problems = []
    for service in stack.services.values():
        for port in (service.spec.get("EndpointSpec") or {}).get("Ports") or []:
            key = (port.get("PublishedPort"), port.get("Protocol", "tcp"))
            if port.get("PublishMode", "ingress") == "ingress" and key in taken:
                problems.append(
                    Problem(
                        f"services.{service.name}.ports",
                        f"port {key[0]}/{key[1]} is already published by the service {taken[key]}",
                        "publish another port, or change that service first",
                    )
                )
    return problems


def _resources(name: str, template: t.Mapping[str, t.Any], nodes: t.Sequence[t.Mapping[str, t.Any]]) -> list[Problem]:
    asked = (template.get("Resources") or {}).get("Reservations") or {}
    problems = []
    for field, key, unit, scale in (("MemoryBytes", "memory", "MiB", 2**20), ("NanoCPUs", "cpus", "CPUs", 10**9)):
        wanted = asked.get(field) or 0
        largest = max(((node["Description"].get("Resources") or {}).get(field, 0) for node in nodes), default=0)
        if wanted and nodes and wanted > largest:
            problems.append(
                Problem(
                    f"services.{name}.deploy.resources.reservations.{key}",
                    f"{wanted / scale:g} {unit} are reserved, and the largest fitting node has {largest / scale:g}",
                    "reserve less, or add a larger node",
                )
            )
    return problems


def meets(node: t.Mapping[str, t.Any], constraint: str) -> bool:
    """Whether a node meets one constraint; an expression that is not understood counts as met."""
    match = CONSTRAINT.match(constraint)
    if match is None:
        return True
    key, operator, wanted = match.groups()
    found = _value(node, key)
    if found is None:
        return True
    return (found.lower() == wanted.lower()) == (operator == "==")


def understood(node: t.Mapping[str, t.Any], constraint: str) -> bool:
    """Whether :func:`meets` can tell."""
    match = CONSTRAINT.match(constraint)
    return match is not None and _value(node, match.group(1)) is not None


def _value(node: t.Mapping[str, t.Any], key: str) -> str | None:
    spec, description = node["Spec"], node["Description"]
    lowered = key.lower()
    if lowered.startswith("node.labels."):
        return str((spec.get("Labels") or {}).get(key[len("node.labels.") :], ""))
    if lowered.startswith("engine.labels."):
        return str(((description.get("Engine") or {}).get("Labels") or {}).get(key[len("engine.labels.") :], ""))
    known = {
        "node.id": node["ID"],
        "node.hostname": description.get("Hostname", ""),
        "node.role": spec.get("Role", ""),
        "node.platform.os": (description.get("Platform") or {}).get("OS", ""),
        "node.platform.arch": (description.get("Platform") or {}).get("Architecture", ""),
    }
    return known.get(lowered)


def names_of(nodes: t.Sequence[Node]) -> str:
    """Host names of nodes, not too many."""
    names = [node["Description"].get("Hostname", node["ID"]) for node in nodes]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
