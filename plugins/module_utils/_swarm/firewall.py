# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which ports a swarm's members open for each other, and for whom.

PRIVATE to the collection.

Source for the ports: Docker, "Getting started with Swarm mode", section "Open protocols and ports between the hosts".
"""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import typing as t

#: Marks what this collection wrote in a host's firewall.
TAG = "flowstead-swarm"
GOSSIP_PORT = 7946


@dataclasses.dataclass(frozen=True)
class Opening:
    """What one member lets in from the others.

    Attributes:
        members: addresses of all members, IPv4 and IPv6.
        manager: whether the host is to be a manager, which listens on ``manager_port``.
        encrypted: whether overlay networks are encrypted, which takes the IP protocol 50 (ESP).
    """

    members: tuple[str, ...]
    manager: bool = False
    manager_port: int = 2377
    data_path_port: int = 4789
    encrypted: bool = False

    @property
    def tcp(self) -> tuple[int, ...]:
        return tuple(sorted({GOSSIP_PORT, self.manager_port} if self.manager else {GOSSIP_PORT}))

    @property
    def udp(self) -> tuple[int, ...]:
        return tuple(sorted({GOSSIP_PORT, self.data_path_port}))

    @property
    def digest(self) -> str:
        """A short text that differs when anything of this differs."""
        return hashlib.sha256(repr(dataclasses.astuple(self)).encode()).hexdigest()[:8]

    def addresses(self, version: int) -> list[str]:
        """The members' addresses of one IP version."""
        return [one for one in self.members if ipaddress.ip_address(one).version == version]


class Run(t.Protocol):
    """Runs a program; returns exit code, output and errors. ``data`` is its standard input."""

    def __call__(self, command: t.Sequence[str], data: str = "") -> tuple[int, str, str]: ...


@dataclasses.dataclass
class Plan:
    """What a firewall has to be told.

    Attributes:
        commands: programs with their arguments and standard input, in order.
        files: path -> text, or None for a file that has to go.
        before, after: what people see as a difference.
    """

    commands: list[tuple[list[str], str]] = dataclasses.field(default_factory=list)
    files: dict[str, str | None] = dataclasses.field(default_factory=dict)
    before: list[str] = dataclasses.field(default_factory=list)
    after: list[str] = dataclasses.field(default_factory=list)

    @property
    def changed(self) -> bool:
        return bool(self.commands or self.files)


def must(run: Run, command: t.Sequence[str], data: str = "") -> str:
    """Output of a program that has to succeed.

    Raises:
        FirewallProblem: it did not.
    """
    code, out, err = run(command, data)
    if code != 0:
        raise FirewallProblem(f"`{' '.join(command)}` failed with {code}: {(err or out).strip()}")
    return out


class FirewallProblem(Exception):
    """The firewall is not there, or not in a state to be changed; the text says what to do."""
