# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bridge ``docker_gwbridge``, through which containers of overlay networks reach their own host.

PRIVATE to the collection.

Docker makes this network by itself when a node joins, with a subnet of its own choice. Made before that, with the
name and options that Docker documents ("Customize the docker_gwbridge interface"), its addresses are known:
the host is the first address of the subnet.
"""

from __future__ import annotations

import ipaddress
import struct
import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import EngineLike, SwarmProblem

NAME = "docker_gwbridge"
#: Marks the network as ours, so that leaving the swarm takes it away again.
LABELS = {"flowstead.airflow.managed-by": "swarm_member"}
ROUTES = "/proc/net/route"


def read_gwbridge(engine: EngineLike) -> dict[str, t.Any] | None:
    """The network as the engine describes it, or None."""
    found = engine.get("/networks", {"filters": {"name": [NAME]}}) or []
    return next((network for network in found if network["Name"] == NAME), None)


def subnets_of(network: t.Mapping[str, t.Any] | None) -> list[str]:
    """Subnets of a network as the engine describes it; none for None."""
    return [str(entry.get("Subnet", "")) for entry in ((network or {}).get("IPAM") or {}).get("Config") or []]


def gwbridge_missing(network: t.Mapping[str, t.Any] | None, subnet: str, routes: str) -> bool:
    """Whether the network has to be made.

    Args:
        network: what :func:`read_gwbridge` found.
        subnet: wanted IPv4 subnet, for example ``10.209.0.0/24``.
        routes: text of ``/proc/net/route``.

    Raises:
        SwarmProblem: the subnet is no subnet, is in use on this host, or the network has another one.
    """
    wanted = parse_subnet(subnet)
    if network is None:
        _refuse_overlap(wanted, routes)
        return True
    live = subnets_of(network)
    if str(wanted) not in live:
        raise SwarmProblem(
            f"The network {NAME} of this host has the subnet {', '.join(live) or 'none'}, and {wanted} is asked for "
            "(swarm_gwbridge_subnet). Docker cannot change it in place. Either set swarm_gwbridge_subnet to the "
            f"live subnet, or let this host leave its swarm, run `docker network rm {NAME}` there, "
            "and then this playbook again."
        )
    return False


def gwbridge_document(subnet: str) -> dict[str, t.Any]:
    """Body of ``POST /networks/create``."""
    wanted = parse_subnet(subnet)
    return {
        "Name": NAME,
        "Driver": "bridge",
        "IPAM": {"Driver": "default", "Config": [{"Subnet": str(wanted), "Gateway": str(wanted[1])}]},
        "Options": {
            "com.docker.network.bridge.name": NAME,
            "com.docker.network.bridge.enable_icc": "false",
            "com.docker.network.bridge.enable_ip_masquerade": "true",
        },
        "Labels": LABELS,
    }


def is_ours(network: t.Mapping[str, t.Any] | None) -> bool:
    """Whether :func:`gwbridge_document` made this network."""
    labels = (network or {}).get("Labels") or {}
    return all(labels.get(key) == value for key, value in LABELS.items())


def parse_subnet(subnet: str) -> ipaddress.IPv4Network:
    """Raises SwarmProblem unless ``subnet`` is an IPv4 subnet with room for containers."""
    try:
        wanted = ipaddress.IPv4Network(subnet)
    except ValueError as error:
        raise SwarmProblem(
            f"swarm_gwbridge_subnet is {subnet!r}, which is no IPv4 subnet ({error}). "
            "Write the first address and the length, for example 10.209.0.0/24."
        ) from error
    if wanted.prefixlen > 28:
        raise SwarmProblem(
            f"swarm_gwbridge_subnet is {subnet}, which has room for {max(wanted.num_addresses - 3, 0)} containers. "
            "Give it a length of 28 or less; 24 is usual."
        )
    return wanted


def _refuse_overlap(wanted: ipaddress.IPv4Network, routes: str) -> None:
    taken = [
        f"{network} by {interface}"
        for interface, network in parse_routes(routes)
        if network.prefixlen > 0 and network.overlaps(wanted) and interface != NAME
    ]
    if taken:
        raise SwarmProblem(
            f"swarm_gwbridge_subnet {wanted} overlaps with addresses that this host already routes: "
            f"{', '.join(taken)}. Choose a subnet that nothing on this host or its network uses."
        )


def parse_routes(text: str) -> list[tuple[str, ipaddress.IPv4Network]]:
    """Interface and destination of each IPv4 route in the format of ``/proc/net/route`` (see proc(5))."""
    routes = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8:
            continue
        address, mask = (_native(fields[column]) for column in (1, 7))
        routes.append((fields[0], ipaddress.IPv4Network((address, bin(mask).count("1")))))
    return routes


def _native(text: str) -> int:
    """The kernel prints the four network-order bytes as one number in its own byte order."""
    return int.from_bytes(struct.pack("=I", int(text, 16)), "big")
