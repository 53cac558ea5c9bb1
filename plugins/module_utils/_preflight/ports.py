# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a port.

PRIVATE to the collection.

Source: proc(5) for /proc/net/tcp and /proc/PID/fd; Linux include/net/tcp_states.h for the state LISTEN (0A).
"""

from __future__ import annotations

import ipaddress
import typing as t
from dataclasses import dataclass
from pathlib import Path

from .problems import Problem

_LISTEN = "0A"
#: Holds the ports that the routing mesh publishes; those of single containers are held by docker-proxy.
_ENGINE = "dockerd"


@dataclass(frozen=True)
class Port:
    """A TCP port the platform will publish.

    Attributes:
        purpose: what it is for, for a person.
        variable: the inventory variable that sets it.
        address: the address it is published on; empty means all.
    """

    port: int
    purpose: str
    variable: str = "ports"
    address: str = ""


@dataclass(frozen=True)
class Publisher:
    """Something in Docker that publishes a port.

    Attributes:
        name: the service's or container's name.
        ours: whether it belongs to the stack that is being deployed.
    """

    name: str
    ours: bool


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket.

    Attributes:
        address: the local address.
        inode: number of the socket, which names its process.
    """

    address: str
    port: int
    inode: int


def check_ports(
    ports: t.Sequence[Port],
    publishers: t.Mapping[int, Publisher],
    listeners: t.Sequence[Listener],
    owner: t.Callable[[int], str],
    *,
    hidden: bool = False,
) -> list[Problem]:
    """Every port is free, or held by the stack that is being deployed.

    Args:
        publishers: port to what publishes it in Docker.
        listeners: every listening socket of the host.
        owner: socket inode to the name of its process, ``""`` when unknown.
        hidden: this member of a swarm cannot see services, as workers cannot. What its engine itself listens on
            belongs to a service of the swarm, and managers, which are asked as well, know of which.
    """
    problems = []
    for wanted in ports:
        publisher = publishers.get(wanted.port)
        if publisher is not None and publisher.ours:
            continue
        if publisher is not None:
            problems.append(_taken(wanted, f"Docker publishes it for {publisher.name}"))
            continue
        held = next((one for one in listeners if one.port == wanted.port and _collide(one, wanted)), None)
        if held is not None:
            name = owner(held.inode)
            if hidden and name.partition(" ")[0] == _ENGINE:
                continue
            problems.append(_taken(wanted, f"{name or 'a process that cannot be named'} listens on {held.address}"))
    return problems


def read_listeners(proc: str = "/proc") -> list[Listener]:
    """Every listening TCP socket of this network namespace."""
    found = []
    for name in ("tcp", "tcp6"):
        try:
            lines = Path(proc, "net", name).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            columns = line.split()
            if len(columns) > 9 and columns[3] == _LISTEN:
                address, _colon, port = columns[1].partition(":")
                found.append(Listener(_address(address), int(port, 16), int(columns[9])))
    return found


def process_of(inode: int, proc: str = "/proc") -> str:
    """The process that holds a socket, as ``name (pid N)``; empty when we may not see it."""
    target = f"socket:[{inode}]"
    for directory in Path(proc).iterdir():
        if not directory.name.isdigit():
            continue
        try:
            if any(str(link.readlink()) == target for link in (directory / "fd").iterdir()):
                name = (directory / "comm").read_text(encoding="utf-8", errors="replace").strip()
                return f"{name} (pid {directory.name})"
        except OSError:
            continue
    return ""


def _taken(wanted: Port, holder: str) -> Problem:
    return Problem(
        check="port",
        variable=wanted.variable,
        value=str(wanted.port),
        problem=f"port {wanted.port} ({wanted.purpose}) is in use: {holder}",
        fix="stop it, or choose another port",
    )


def _collide(held: Listener, wanted: Port) -> bool:
    wildcards = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, never bound
    return held.address in wildcards or wanted.address in wildcards or held.address == wanted.address


def _address(text: str) -> str:
    # The kernel prints each 32-bit word in host order.
    raw = bytes.fromhex(text)
    words = b"".join(raw[offset : offset + 4][::-1] for offset in range(0, len(raw), 4))
    address = ipaddress.ip_address(words)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
