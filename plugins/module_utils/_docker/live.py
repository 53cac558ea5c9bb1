# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the live swarm holds, read in seven calls.

PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t

from .engine import Engine
from .objects import STACK_LABEL

Item = dict[str, t.Any]


class NotASwarmManager(Exception):
    """The engine answers, but it cannot be asked about a swarm. The text says why and what to do."""


class NotInSwarm(NotASwarmManager):
    """The engine is in no swarm at all, so no stack exists on it."""


class Live:
    """One reading of the swarm.

    Attributes:
        stack: name of the stack that is looked at.
        services: every service of the swarm, of all stacks (garbage collection needs them).
        networks, secrets, configs, nodes: everything of that kind.
        tasks: the tasks of this stack that run its services' current specs.
    """

    def __init__(self, stack: str) -> None:
        self.stack = stack
        self.services: list[Item] = []
        self.networks: list[Item] = []
        self.secrets: list[Item] = []
        self.configs: list[Item] = []
        self.nodes: list[Item] = []
        self.tasks: list[Item] = []

    def own_services(self) -> dict[str, Item]:
        """Full name -> service, for the services of this stack."""
        return {
            item["Spec"]["Name"]: item
            for item in self.services
            if (item["Spec"].get("Labels") or {}).get(STACK_LABEL) == self.stack
        }

    def own_networks(self) -> dict[str, Item]:
        """Name -> network, for the networks of this stack."""
        return {
            item["Name"]: item for item in self.networks if (item.get("Labels") or {}).get(STACK_LABEL) == self.stack
        }

    def network_names(self) -> dict[str, str]:
        """Network ID -> name."""
        return {item["Id"]: item["Name"] for item in self.networks}

    def ids(self) -> dict[str, dict[str, str]]:
        """Kind -> name -> ID, for ``compile.bind``."""
        return {
            "network": {item["Name"]: item["Id"] for item in self.networks},
            "secret": {item["Spec"]["Name"]: item["ID"] for item in self.secrets},
            "config": {item["Spec"]["Name"]: item["ID"] for item in self.configs},
        }

    def tasks_of(self, service_id: str) -> list[Item]:
        """Tasks of one service, those on lost nodes left out."""
        lost = {node["ID"] for node in self.nodes if (node.get("Status") or {}).get("State") == "down"}
        return [task for task in self.tasks if task["ServiceID"] == service_id and task.get("NodeID") not in lost]


def read(engine: Engine, stack: str) -> Live:
    """Everything that a plan needs.

    Raises:
        NotASwarmManager: when this engine is in no swarm, locked, or only a worker.
        EngineUnreachable, EngineError: as the engine client raises them.
    """
    check_manager(engine.get("/info"))
    live = Live(stack)
    live.networks = engine.get("/networks") or []
    live.secrets = engine.get("/secrets") or []
    live.configs = engine.get("/configs") or []
    live.nodes = engine.get("/nodes") or []
    refresh(engine, live)
    return live


def refresh(engine: Engine, live: Live) -> None:
    """Read again what moves while services converge: two calls."""
    live.services = engine.get("/services", {"status": "true"}) or []
    live.tasks = engine.get("/tasks", {"filters": current_tasks(live.stack)}) or []


def current_tasks(stack: str) -> dict[str, list[str]]:
    """Filter for tasks that run what their service asks for now.

    ``_up-to-date`` is what the Docker CLI itself uses to show progress (moby, daemon/cluster/filters.go).
    """
    return {"label": [f"{STACK_LABEL}={stack}"], "_up-to-date": ["true"]}


def check_manager(info: t.Mapping[str, t.Any]) -> None:
    """Refuse an engine that is no manager of a swarm.

    Raises:
        NotASwarmManager: with the reason and the way out.
    """
    swarm = info.get("Swarm") or {}
    state = swarm.get("LocalNodeState", "inactive")
    host = info.get("Name", "this host")
    if state == "locked":
        raise NotASwarmManager(f"The swarm on {host} is locked. Unlock it (docker swarm unlock) and run again.")
    if state != "active":
        kind = NotInSwarm if state == "inactive" else NotASwarmManager
        raise kind(
            f"{host} is in no swarm (its state is {state!r}). Form the swarm first (role flowstead.airflow.swarm)."
        )
    if not swarm.get("ControlAvailable"):
        raise NotASwarmManager(
            f"{host} is a worker of its swarm, and stacks are deployed through a manager. Run this on a manager."
        )
