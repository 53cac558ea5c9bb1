# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Overlay networks that belong to the swarm and to no stack.

PRIVATE to the collection.

Source for paths and bodies: Docker Engine API reference 1.41, ``/networks``. ``community.docker.docker_network`` takes
one network for each call and recreates one whose options differ, with everything that is attached to it.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import (
    EngineLike,
    SwarmProblem,
    wait_until,
)

#: Marks a network as made by this collection.
LABELS = {"flowstead.airflow.managed-by": "swarm_networks"}
#: ``docker network create --opt encrypted`` and how the engine keeps it.
ENCRYPTED = "encrypted"
#: Options that the engine adds by itself.
_OWN_OPTIONS = ("com.docker.network.driver.overlay.vxlanid_list",)


@dataclasses.dataclass(frozen=True)
class WantedNetwork:
    """One overlay network.

    Attributes:
        subnet: IPv4 subnet; empty for the next free one of the swarm's address pools.
        driver_opts: options of the overlay driver, for example ``com.docker.network.driver.mtu``.
    """

    name: str
    attachable: bool = True
    encrypted: bool = False
    internal: bool = False
    subnet: str = ""
    driver_opts: t.Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def options(self) -> dict[str, str]:
        """Options of the driver, with the one for encryption."""
        options = {key: str(value) for key, value in self.driver_opts.items()}
        return {**options, ENCRYPTED: "true"} if self.encrypted else options


def check_networks(wanted: t.Sequence[WantedNetwork]) -> list[str]:
    """Problems that can be seen without a look at the swarm."""
    problems = []
    names = [network.name for network in wanted]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(f"{name}: is there {names.count(name)} times. Give every network its own name.")
    for network in wanted:
        if network.name in ("ingress", "bridge", "host", "none", "docker_gwbridge"):
            problems.append(f"{network.name}: is a name that Docker itself uses. Choose another one.")
        if ENCRYPTED in network.driver_opts:
            problems.append(f"{network.name}: driver_opts has 'encrypted'. Set encrypted: true beside it instead.")
        if network.subnet:
            try:
                ipaddress.IPv4Network(network.subnet)
            except ValueError as error:
                problems.append(
                    f"{network.name}: subnet is {network.subnet!r}, which is no IPv4 subnet ({error}). "
                    "Write the first address and the length, for example 172.30.8.0/24."
                )
    return problems


def plan_networks(
    live: t.Sequence[t.Mapping[str, t.Any]], wanted: t.Sequence[WantedNetwork]
) -> tuple[list[WantedNetwork], list[str]]:
    """Compare networks with what they are to be.

    Args:
        live: answer of ``GET /networks``.

    Returns:
        Networks to create, and problems: differences that only a new network could have.
    """
    found = {network["Name"]: network for network in live}
    create, problems = [], []
    for network in wanted:
        there = found.get(network.name)
        if there is None:
            problems.extend(_overlap(network, live))
            create.append(network)
            continue
        differences = _differences(there, network)
        if differences:
            problems.append(
                f"{network.name}: {', '.join(differences)}. Docker cannot change this in place, and nothing was "
                "changed. Either ask for what is there (swarm_networks), or remove the services and containers that "
                f"use it, run `docker network rm {network.name}` on a manager, and then this playbook again."
            )
    return create, problems


def create_networks(
    engine: EngineLike,
    networks: t.Sequence[WantedNetwork],
    *,
    timeout: float = 20.0,
    wait: t.Callable[[t.Callable[[], bool], float], bool] = wait_until,
) -> None:
    """Make networks, and wait until the swarm's leader has given each its addresses.

    Raises:
        EngineError: the engine refuses.
        SwarmProblem: a network has no addresses after ``timeout`` seconds; nothing could be attached to it.
    """
    for network in networks:
        engine.post("/networks/create", network_body(network))
    waiting = {network.name for network in networks}

    def allocated() -> bool:
        found = {network["Name"] for network in engine.get("/networks") or [] if network.get("Driver")}
        waiting.difference_update(found)
        return not waiting

    if networks and not wait(allocated, timeout):
        raise SwarmProblem(
            f"The swarm accepted the network {', '.join(sorted(waiting))} and gave it no addresses within "
            f"{timeout:g} s. "
            'Its leader\'s log says why (`journalctl -u docker`, "Failed allocation for network"): the address pools '
            "(swarm_address_pools) may be used up."
        )


def network_body(network: WantedNetwork) -> dict[str, t.Any]:
    """Body of ``POST /networks/create``."""
    body: dict[str, t.Any] = {
        "Name": network.name,
        "Driver": "overlay",
        "Scope": "swarm",
        "Attachable": network.attachable,
        "Internal": network.internal,
        "Options": network.options,
        "Labels": LABELS,
    }
    if network.subnet:
        body["IPAM"] = {"Driver": "default", "Config": [{"Subnet": network.subnet}]}
    return body


def refuse(problems: t.Sequence[str]) -> None:
    """Raise SwarmProblem with all problems, if there are any."""
    if problems:
        raise SwarmProblem("\n".join(f"Network {problem}" for problem in problems))


def _differences(there: t.Mapping[str, t.Any], wanted: WantedNetwork) -> list[str]:
    if there.get("Scope") == "swarm" and not there.get("Driver"):
        return ["has no addresses: the swarm's leader could not allocate it (see `journalctl -u docker` there)"]
    if there.get("Driver") != "overlay" or there.get("Scope") != "swarm":
        return [f"is a network of the driver {there.get('Driver')} and the scope {there.get('Scope')}"]
    differences = [
        f"{word} is {str(bool(there.get(key))).lower()} and is to be {str(asked).lower()}"
        for key, word, asked in (
            ("Attachable", "attachable", wanted.attachable),
            ("Internal", "internal", wanted.internal),
        )
        if bool(there.get(key)) != asked
    ]
    options = {key: str(value) for key, value in (there.get("Options") or {}).items() if key not in _OWN_OPTIONS}
    # The command line writes "--opt encrypted" as an empty value, which switches encryption on too.
    if options.get(ENCRYPTED) == "":
        options[ENCRYPTED] = "true"
    for key in sorted({*options, *wanted.options}):
        if options.get(key) != wanted.options.get(key):
            word = "encrypted" if key == ENCRYPTED else f"driver_opts.{key}"
            differences.append(
                f"{word} is {options.get(key, 'not set')} and is to be {wanted.options.get(key, 'not set')}"
            )
    subnets = [str(entry.get("Subnet", "")) for entry in (there.get("IPAM") or {}).get("Config") or []]
    if wanted.subnet and subnets and wanted.subnet not in subnets:
        differences.append(f"subnet is {', '.join(subnets)} and is to be {wanted.subnet}")
    return differences


def _overlap(wanted: WantedNetwork, live: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    if not wanted.subnet:
        return []
    subnet = ipaddress.IPv4Network(wanted.subnet)
    return [
        f"{wanted.name}: subnet {subnet} overlaps with {entry['Subnet']} of the network {network['Name']}. "
        "Choose another one, or leave it to Docker (empty)."
        for network in live
        for entry in (network.get("IPAM") or {}).get("Config") or []
        if ":" not in entry.get("Subnet", ":") and ipaddress.IPv4Network(entry["Subnet"]).overlaps(subnet)
    ]
