# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sums that Swarm does when it looks for a node or an address, written out for people.

PRIVATE to the collection. Pure.

Source: swarmkit manager/scheduler/nodeinfo.go (what is reserved on a node counts, not what is used) and
manager/allocator/network.go (a task whose network has no address left stays in state "new").
"""

from __future__ import annotations

import ipaddress
import typing as t

from .objects import TERMINAL
from .placement import meets, understood

Item = t.Mapping[str, t.Any]
_UNITS = (("MemoryBytes", "MiB of memory", 2**20), ("NanoCPUs", "CPUs", 10**9))


def scheduling(service: Item, nodes: t.Sequence[Item], tasks: t.Sequence[Item]) -> list[str]:
    """What the service asks for, and for each node why it does not run there, or that it could.

    Args:
        service: live.
        nodes: all of the swarm.
        tasks: all of the swarm, of all stacks.
    """
    template = service["Spec"]["TaskTemplate"]
    asked = _reservations(template)
    placement = template.get("Placement") or {}
    wants = [f"{asked[field] / scale:g} {unit}" for field, unit, scale in _UNITS if asked[field]]
    lines = [f"a task asks for {' and '.join(wants)}"] if wants else []
    for node in nodes:
        name = (node.get("Description") or {}).get("Hostname", node["ID"])
        here = [task for task in tasks if task.get("NodeID") == node["ID"] and _holds(task)]
        reasons = _reasons(service, node, here, asked, placement)
        lines.append(f"{name}: {'; '.join(reasons) or 'has room'}")
    return lines


def _reasons(
    service: Item, node: Item, here: t.Sequence[Item], asked: t.Mapping[str, int], placement: Item
) -> list[str]:
    state = (node.get("Status") or {}).get("State")
    if state != "ready":
        return [f"is {state}"]
    if node["Spec"].get("Availability") != "active":
        return [f"availability is {node['Spec'].get('Availability')}"]
    found = [f"does not meet {item}" for item in placement.get("Constraints") or [] if not meets(node, item)]
    found += [
        f"it was not checked whether it meets {item}"
        for item in placement.get("Constraints") or []
        if not understood(node, item)
    ]
    total = (node.get("Description") or {}).get("Resources") or {}
    for field, unit, scale in _UNITS:
        taken = sum(_reservations(task["Spec"])[field] for task in here)
        free = total.get(field, 0) - taken
        if asked[field] > free:
            has = total.get(field, 0)
            found.append(f"{free / scale:g} {unit} free: it has {has / scale:g}, and {taken / scale:g} are reserved")
    most = placement.get("MaxReplicas") or 0
    own = sum(1 for task in here if task.get("ServiceID") == service["ID"])
    if most and own >= most:
        found.append(f"runs {own} of at most {most} (max_replicas_per_node)")
    return found


def addresses(
    service: Item, services: t.Sequence[Item], networks: t.Sequence[Item], tasks: t.Sequence[Item]
) -> list[str]:
    """For each network of the service: how many addresses it has, and who holds them."""
    lines = []
    targets = {entry["Target"] for entry in service["Spec"]["TaskTemplate"].get("Networks") or []}
    for network in networks:
        if network["Id"] not in targets and network["Name"] not in targets:
            continue
        pools = [pool["Subnet"] for pool in (network.get("IPAM") or {}).get("Config") or [] if pool.get("Subnet")]
        # The first and the last address of a subnet and the gateway are nobody's; a node that uses it takes one more.
        usable = sum(max(ipaddress.ip_network(pool, strict=False).num_addresses - 3, 0) for pool in pools)
        held = sum(
            1
            for task in tasks
            if _holds(task)
            for entry in task.get("NetworksAttachments") or []
            if (entry.get("Network") or {}).get("ID") == network["Id"] and entry.get("Addresses")
        )
        virtual = sum(
            1
            for item in services
            for entry in (item.get("Endpoint") or {}).get("VirtualIPs") or []
            if entry.get("NetworkID") == network["Id"] and entry.get("Addr")
        )
        lines.append(
            f"network {network['Name']} ({', '.join(pools) or 'no subnet'}): {usable} addresses, {held} held by tasks, "
            f"{virtual} by services, and one for each node that uses it"
        )
    return lines


def _reservations(template: Item) -> dict[str, int]:
    given = (template.get("Resources") or {}).get("Reservations") or {}
    return {field: given.get(field) or 0 for field, _unit, _scale in _UNITS}


def _holds(task: Item) -> bool:
    return task["Status"]["State"] not in TERMINAL
