# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host brings into a swarm beside its engine: its networks, and who holds the swarm's ports.

PRIVATE to the collection.

Source: proc(5) for /proc/net/route and /proc/net/tcp.
"""

from __future__ import annotations

import socket
import typing as t
from pathlib import Path

from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.ports import process_of, read_listeners
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.gwbridge import parse_routes

#: TCP port by which members gossip. Docker has no option for another one.
GOSSIP_PORT = 7946
#: TCP port on which managers listen, unless ``swarm_listen_address`` says otherwise.
MANAGER_PORT = 2377


def read_networks(proc: str = "/proc") -> list[dict[str, str]]:
    """Interface and IPv4 network of each route, without the default one; empty when the kernel tells none."""
    try:
        text = Path(proc, "net", "route").read_text(encoding="ascii")
    except OSError:
        return []
    found = {(interface, str(network)) for interface, network in parse_routes(text) if network.prefixlen > 0}
    return [{"interface": interface, "network": network} for interface, network in sorted(found)]


def own_address() -> str:
    """Address of the interface with the default route, IPv4 before IPv6; empty without such a route."""
    # Addresses for documentation, which nothing is sent to: connecting a UDP socket only looks up the route.
    for family, target in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as looking:
                looking.connect((target, 9))
                return str(looking.getsockname()[0])
        except OSError:
            continue
    return ""


def read_holders(ports: t.Collection[int], proc: str = "/proc") -> list[dict[str, t.Any]]:
    """Who listens on these TCP ports, as ``port``, ``address`` and ``process`` (empty when it cannot be named)."""
    found = {one.port: one for one in read_listeners(proc) if one.port in ports}
    return [
        {"port": port, "address": found[port].address, "process": process_of(found[port].inode, proc)}
        for port in sorted(found)
    ]


def port_of(address: str, default: int = MANAGER_PORT) -> int:
    """Port of ``address:port``; ``default`` when there is none."""
    port = address.rpartition(":")[2]
    return int(port) if ":" in address and port.isdigit() else default


def host_of(address: str) -> str:
    """Host of ``address:port``, ``[address]:port`` or an address alone."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address if address.count(":") > 1 else address.partition(":")[0]
