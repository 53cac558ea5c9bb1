# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all hosts of a swarm say, compared with what the inventory asks for.

PRIVATE to the collection. No I/O.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.host import (
    GOSSIP_PORT,
    MANAGER_PORT,
    host_of,
    port_of,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.nodes import (
    WantedNode,
    as_live,
    has_unknown_twin,
    label_text,
    plan_nodes,
    plan_replaced,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.pools import (
    DEFAULT_ADDRESS_POOLS,
    DEFAULT_DATA_PATH_PORT,
    DEFAULT_SUBNET_SIZE,
    warn_overlap,
)

Members = t.Mapping[str, t.Mapping[str, t.Any]]

#: More managers cost every write more and survive no failure that matters (Docker: "Administer and maintain a swarm").
MOST_MANAGERS = 7


@dataclasses.dataclass(frozen=True)
class Settings:
    """What belongs to the whole swarm; empty or 0 for Docker's choice."""

    address_pools: t.Sequence[str] = ()
    subnet_size: int = 0
    data_path_port: int = 0
    purge_labels: bool = False
    remove_replaced: bool = False


def advice_on_managers(managers: t.Sequence[str]) -> list[str]:
    """What to say about the number of managers; nothing when it is 1, 3, 5 or 7."""
    count = len(managers)
    advice = []
    if count and count % 2 == 0:
        survives, next_one = (count - 1) // 2, count // 2
        advice.append(
            f"The inventory has {count} managers, an even number: the swarm survives the loss of "
            f"{survives or 'none'} of them, as it would with {count - 1}, and one more host can fail. "
            f"With {count + 1} it would survive the loss of {next_one}. Use 1, 3, 5 or 7 managers."
        )
    if count > MOST_MANAGERS:
        advice.append(
            f"The inventory has {count} managers. Each of them has to take part in every change of the swarm, which "
            f"gets slower and no safer beyond {MOST_MANAGERS}. Make some of them workers."
        )
    return advice


def networks_of(members: Members) -> dict[str, list[t.Mapping[str, str]]]:
    """Host -> its networks, and the bridge that it is to get."""
    found: dict[str, list[t.Mapping[str, str]]] = {}
    for host, node in members.items():
        bridge = _wanted(node).get("gwbridge_subnet", "")
        planned = [{"interface": "docker_gwbridge", "network": bridge}] if _is_network(bridge) else []
        found[host] = [
            *node.get("networks", []),
            *(entry for entry in planned if entry not in node.get("networks", [])),
        ]
    return found


def problems_of_addresses(members: Members) -> list[str]:
    """Hosts that cannot be told apart: one advertised address, or one node ID, for several of them."""
    problems: list[str] = []
    # The name of an interface may be the same on many hosts; an address may not.
    given = {host: str(_parsed(host_of(_address(node))) or "") for host, node in members.items()}
    for address, hosts in _shared(given).items():
        problems.append(
            f"{', '.join(hosts)}: advertise the same address {address} (swarm_advertise_address). Members find each "
            "other by it; give every host its own."
        )
    for node_id, hosts in _shared({host: node["swarm"].get("node_id", "") for host, node in members.items()}).items():
        problems.append(
            f"{', '.join(hosts)}: are the same node {node_id} of the swarm. Either one machine has several names in "
            "the inventory, or one was cloned from the other with its engine's data: on the clone run "
            "`systemctl stop docker`, remove /var/lib/docker/swarm, start it, and run this playbook again."
        )
    problems.extend(
        f"{host}: swarm_advertise_address is empty, and there is no default route to take the address from. "
        "Name the address by which the other members reach this host."
        for host, node in members.items()
        if _wanted(node) and not _address(node)
    )
    if len(members) > 1:
        problems.extend(
            f"{host}: advertises {_address(node)} (swarm_advertise_address), which no other host can reach. "
            "Name the address by which the other members reach this host."
            for host, node in members.items()
            if _is_loopback(host_of(_address(node)))
        )
    return problems


def problems_of_ports(members: Members, entering: t.Collection[str], managers: t.Collection[str]) -> list[str]:
    """Ports that a host needs to enter the swarm, and that something else holds there."""
    problems: list[str] = []
    for host in entering:
        node = members.get(host) or {}
        listening = port_of(str(_wanted(node).get("listen_address", "")), MANAGER_PORT)
        needed = {GOSSIP_PORT: "gossip among members"}
        if host in managers:
            needed[listening] = "managers (swarm_listen_address)"
        problems.extend(
            f"{host}: port {held['port']}/tcp, which the swarm needs for {needed[held['port']]}, is in use: "
            f"{held['process'] or 'a process that cannot be named'} listens on {held['address']}. "
            "Stop it, or move it to another port."
            for held in node.get("listeners", [])
            # An engine that just left a swarm closes its ports a moment later.
            if held["port"] in needed and not held["process"].startswith("dockerd ")
        )
    return problems


def wanted_nodes(members: Members, managers: t.Collection[str]) -> list[dict[str, t.Any]]:
    """What each host of the run is to be; ``id`` is empty for one that has to join."""
    return [
        {
            "host": host,
            "id": node["swarm"].get("node_id", "") if node["swarm"]["state"] == "active" else "",
            "role": "manager" if host in managers else "worker",
            "availability": _wanted(node).get("availability") or "keep",
            "labels": {key: label_text(value) for key, value in (_wanted(node).get("labels") or {}).items()},
        }
        for host, node in members.items()
        if _wanted(node)
    ]


def settled(live: t.Sequence[t.Mapping[str, t.Any]], wanted: t.Sequence[t.Mapping[str, t.Any]], how: Settings) -> bool:
    """Whether every wanted node is in the swarm as it is to be, and no record is left that may be a replaced one's.

    Args:
        live: ``nodes`` of a manager's ``swarm_node_info``.
        wanted: what :func:`wanted_nodes` said.
    """
    raw = [as_live(node) for node in live]
    asked = [WantedNode(entry["id"], entry["role"], entry["availability"], entry["labels"]) for entry in wanted]
    if plan_nodes(raw, asked, purge_labels=how.purge_labels):
        return False
    ids = {entry.id for entry in asked}
    return not (how.remove_replaced and (plan_replaced(raw, ids).removable or has_unknown_twin(raw, ids)))


def known_nodes(
    wanted: t.Sequence[t.Mapping[str, t.Any]], entered: t.Mapping[str, t.Mapping[str, t.Any]]
) -> list[dict[str, t.Any]]:
    """Options ``nodes`` of ``swarm_nodes``: hosts that entered in this run have their IDs now.

    Args:
        wanted: what :func:`wanted_nodes` said.
        entered: host -> result of ``swarm_member`` there. A host whose entry failed has no ``node`` and is left out.
    """
    nodes = []
    for entry in wanted:
        result = entered.get(entry["host"])
        if result is not None and "node" not in result:
            continue
        nodes.append(
            {
                "id": entry["id"] or ((result or {}).get("node") or {}).get("node_id", ""),
                "role": entry["role"],
                "availability": entry["availability"],
                "labels": entry["labels"],
            }
        )
    return nodes


def member_addresses(members: Members, live: t.Mapping[str, t.Any] | None) -> list[str]:
    """Addresses of all members that are known: those of the run, and those of the live swarm."""
    given = [host_of(_address(node)) for node in members.values()]
    given += [node["swarm"].get("address", "") for node in members.values()]
    given += [node["address"] for node in (live or {}).get("nodes", []) if node["state"] != "down"]
    addresses = {address for address in map(_parsed, given) if address}
    return [str(one) for one in sorted(addresses, key=lambda one: (one.version, int(one)))]


def drift(members: Members, live: t.Mapping[str, t.Any], settings: Settings) -> list[str]:
    """What differs between the live swarm and the inventory and cannot be changed in place."""
    cluster = live["cluster"]
    said = drift_of_settings(cluster, settings)
    if cluster["address_pools"] and not cluster["subnet_size"]:
        said.append(
            "The live swarm was founded with address pools and without a length for the subnets cut from them, so it "
            "can make no overlay network (its log: 'invalid pools size: 0'). Only a new swarm helps."
        )
    for host, node in members.items():
        said.extend(f"{host}: {text}" for text in drift_of_address(node["swarm"], _address(node)))
    said.extend(warn_overlap(cluster["address_pools"] or DEFAULT_ADDRESS_POOLS, networks_of(members)))
    return said


def drift_of_settings(cluster: t.Mapping[str, t.Any], wanted: t.Any) -> list[str]:
    """Settings that were fixed when the swarm was founded and that are asked for with another value.

    Args:
        cluster: ``cluster`` of ``swarm_node_info``.
        wanted: has the attributes ``address_pools``, ``subnet_size`` and ``data_path_port``.
    """
    # A value that nobody asks for is Docker's choice, whatever it was when the swarm was founded.
    pairs = (
        ("swarm_address_pools", list(cluster["address_pools"] or DEFAULT_ADDRESS_POOLS), list(wanted.address_pools)),
        ("swarm_subnet_size", cluster["subnet_size"] or DEFAULT_SUBNET_SIZE, wanted.subnet_size),
        ("swarm_data_path_port", cluster["data_path_port"] or DEFAULT_DATA_PATH_PORT, wanted.data_path_port),
    )
    return [
        f"{name} asks for {asked}, and the live swarm has {live}. This is fixed when a swarm is founded and "
        "is left as it is; only a new swarm can have another value."
        for name, live, asked in pairs
        if asked and asked != live
    ]


def drift_of_address(swarm: t.Mapping[str, t.Any], asked: str) -> list[str]:
    """A member whose address is not the one that is asked for. An interface's name cannot be compared."""
    address = _parsed(host_of(asked))
    if swarm["state"] != "active" or not swarm["address"] or not address or _parsed(swarm["address"]) == address:
        return []
    return [
        f"This member's address is {swarm['address']}, and {address} is asked for (swarm_advertise_address). "
        "It is set when a host joins: let this host leave and join again, one host at a time."
    ]


def _wanted(node: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
    return node.get("wanted") or {}


def _address(node: t.Mapping[str, t.Any]) -> str:
    return str(_wanted(node).get("advertise_address") or "")


def _shared(values: t.Mapping[str, str]) -> dict[str, list[str]]:
    hosts: dict[str, list[str]] = {}
    for host, value in values.items():
        hosts.setdefault(value, []).append(host)
    return {value: found for value, found in hosts.items() if value and len(found) > 1}


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_loopback(text: str) -> bool:
    address = _parsed(text)
    return bool(address and address.is_loopback)


def _is_network(text: str) -> bool:
    try:
        return bool(text) and bool(ipaddress.IPv4Network(text))
    except ValueError:
        return False
