# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Address pools that overlay networks are cut from, against the networks that hosts have already.

PRIVATE to the collection. No I/O.

Docker checks a pool against the routes of the node that founds the swarm only; an overlap on any other node shows up
much later, as addresses that containers there cannot reach (moby#50011, moby#24220).
"""

from __future__ import annotations

import ipaddress
import typing as t

#: Docker's own choices, which an empty option stands for.
DEFAULT_SUBNET_SIZE = 24
DEFAULT_DATA_PATH_PORT = 4789
DEFAULT_ADDRESS_POOLS = ("10.0.0.0/8",)

#: Pools to propose: private ranges (RFC 1918) that data centres use least, each with room for 256 networks or more.
_PROPOSALS = (
    "172.20.0.0/14",
    "172.24.0.0/14",
    "172.28.0.0/14",
    "192.168.0.0/16",
    *(f"10.{second}.0.0/16" for second in range(240, 0, -16)),
)


def check_pools(pools: t.Sequence[str], subnet_size: int) -> list[str]:
    """Problems that can be seen without a look at any host: each pool is an IPv4 subnet with room, none overlap."""
    problems = []
    size = subnet_size or DEFAULT_SUBNET_SIZE
    parsed: list[ipaddress.IPv4Network] = []
    for pool in pools:
        try:
            network = ipaddress.IPv4Network(pool)
        except ValueError as error:
            problems.append(
                f"swarm_address_pools has {pool!r}, which is no IPv4 subnet ({error}). "
                "Write the first address and the length, for example 172.20.0.0/14."
            )
            continue
        if network.prefixlen > size:
            problems.append(
                f"swarm_address_pools has {pool}, which is too small for one network of the length {size} "
                f"(swarm_subnet_size{'' if subnet_size else ', by default'}). "
                f"Give the pool a length of {size} or less; every overlay network takes one /{size} of it."
            )
        problems.extend(
            f"swarm_address_pools has {pool} and {other}, which overlap. Leave one of them out."
            for other in parsed
            if network.overlaps(other)
        )
        parsed.append(network)
    return problems


def overlaps(pools: t.Sequence[str], networks: t.Mapping[str, t.Sequence[t.Mapping[str, str]]]) -> list[str]:
    """Each overlap of a pool with a network of a host, as a phrase.

    Args:
        pools: valid subnets.
        networks: host -> its ``interface`` and ``network`` pairs.
    """
    parsed = [ipaddress.IPv4Network(pool) for pool in pools]
    return [
        f"{pool} with {entry['network']} of {host} ({entry['interface']})"
        for pool in parsed
        for host, entries in networks.items()
        for entry in entries
        if ipaddress.IPv4Network(entry["network"]).overlaps(pool)
    ]


def free_pool(networks: t.Mapping[str, t.Sequence[t.Mapping[str, str]]], subnet_size: int = 0) -> str:
    """A pool that overlaps no network of any host, or ``""``."""
    taken = [ipaddress.IPv4Network(entry["network"]) for entries in networks.values() for entry in entries]
    for proposal in map(ipaddress.IPv4Network, _PROPOSALS):
        if proposal.prefixlen <= (subnet_size or DEFAULT_SUBNET_SIZE) and not any(map(proposal.overlaps, taken)):
            return str(proposal)
    return ""


def refuse_overlap(
    pools: t.Sequence[str],
    subnet_size: int,
    networks: t.Mapping[str, t.Sequence[t.Mapping[str, str]]],
) -> list[str]:
    """Problems of founding a swarm with these pools on these hosts.

    An empty list of pools is Docker's 10.0.0.0/8. For a swarm of one host that is no problem: Docker itself then
    takes subnets that this host does not route.
    """
    problems = check_pools(pools, subnet_size)
    if problems or (not pools and len(networks) < 2):
        return problems
    found = overlaps(pools or DEFAULT_ADDRESS_POOLS, networks)
    if not found:
        return []
    named = ", ".join(pools) if pools else f"empty, which is Docker's {DEFAULT_ADDRESS_POOLS[0]}"
    free = free_pool(networks, subnet_size)
    return [
        f"swarm_address_pools is {named}. Overlay networks would overlap with networks that hosts have: "
        f"{_few(found)}. Containers could not reach the addresses in both, and it cannot be changed once the swarm "
        f"is founded. Set swarm_address_pools to subnets that nothing uses"
        + (f", for example [{free}]." if free else " (none of the usual private ranges is free on these hosts).")
    ]


def warn_overlap(pools: t.Sequence[str], networks: t.Mapping[str, t.Sequence[t.Mapping[str, str]]]) -> list[str]:
    """What to say about a live swarm whose pools overlap with hosts' networks."""
    found = overlaps(pools, networks) if len(networks) > 1 else []
    if not found:
        return []
    return [
        f"The address pools of the live swarm overlap with networks that hosts have: {_few(found)}. Containers "
        "cannot reach an address that is in both. Only a new swarm can have other pools (swarm_address_pools); "
        "until then give overlay networks explicit subnets outside of the hosts' networks."
    ]


def _few(phrases: t.Sequence[str], most: int = 6) -> str:
    more = len(phrases) - most
    return "; ".join(phrases[:most]) + (f"; and {more} more" if more > 0 else "")
