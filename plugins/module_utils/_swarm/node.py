# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one host knows about its Docker Engine and its swarm.

PRIVATE to the collection.

Source for names: Docker Engine API reference 1.41, ``GET /info``, ``GET /swarm`` and ``GET /nodes``.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    EngineError,
    EngineUnreachable,
)

#: Seconds between two looks at something that is expected to change.
POLL_SECONDS = 0.5


class EngineLike(t.Protocol):
    """The part of :class:`Engine` that this package uses."""

    socket_path: str

    @property
    def api_version(self) -> str: ...

    def get(self, path: str, query: t.Mapping[str, t.Any] | None = None) -> t.Any: ...

    def post(self, path: str, body: t.Any = None, query: t.Mapping[str, t.Any] | None = None) -> t.Any: ...

    def delete(self, path: str, query: t.Mapping[str, t.Any] | None = None) -> None: ...


class SwarmProblem(Exception):
    """Something a person has to decide or repair; the text says what and how."""


def wait_until(
    condition: t.Callable[[], t.Any],
    seconds: float,
    *,
    clock: t.Callable[[], float] = time.monotonic,
    pause: t.Callable[[float], None] = time.sleep,
) -> bool:
    """Look at ``condition`` until it holds or ``seconds`` have passed; returns whether it held.

    The condition is looked at least once, also with ``seconds`` 0.
    """
    deadline = clock() + seconds
    while True:
        if condition():
            return True
        if clock() >= deadline:
            return False
        pause(POLL_SECONDS)


def read_node(engine: EngineLike, *, tokens: bool = False) -> dict[str, t.Any]:
    """Describe the engine, this node's membership and, on a manager, the cluster and its nodes.

    Args:
        engine: the engine of this host.
        tokens: also read the join tokens, which are secrets.

    Returns:
        ``engine``, ``swarm``, ``cluster`` and ``nodes`` as documented in ``swarm_node_info``.
        An engine that does not answer is described, not raised.
    """
    try:
        version = engine.api_version
        info = engine.get("/info")
    except EngineUnreachable as error:
        return {
            "engine": {"reachable": False, "error": str(error), "version": "", "api_version": ""},
            "swarm": _membership({}),
            "cluster": {},
            "nodes": [],
        }
    swarm = _membership(info.get("Swarm") or {})
    document: dict[str, t.Any] = {
        "engine": {
            "reachable": True,
            "error": "",
            "version": info.get("ServerVersion", ""),
            "api_version": version,
        },
        "swarm": swarm,
        "cluster": {},
        "nodes": [],
    }
    if swarm["manager"] and swarm["state"] == "active":
        document["cluster"], document["nodes"] = _read_cluster(engine, info)
        if tokens and not document["cluster"]["error"]:
            document["join_tokens"] = _tokens(engine.get("/swarm"))
    return document


def describe_node(node: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """One entry of ``GET /nodes``, reduced to what roles and people need."""
    spec = node.get("Spec") or {}
    description = node.get("Description") or {}
    status = node.get("Status") or {}
    manager = node.get("ManagerStatus") or {}
    return {
        "id": node["ID"],
        "hostname": description.get("Hostname", ""),
        "role": spec.get("Role", ""),
        "availability": spec.get("Availability", ""),
        "labels": dict(spec.get("Labels") or {}),
        "state": status.get("State", ""),
        "message": status.get("Message", ""),
        "address": status.get("Addr", ""),
        "engine_version": (description.get("Engine") or {}).get("EngineVersion", ""),
        "leader": bool(manager.get("Leader", False)),
        "reachability": manager.get("Reachability", ""),
        "manager_address": manager.get("Addr", ""),
    }


def _membership(swarm: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    cluster = swarm.get("Cluster") or {}
    return {
        "state": swarm.get("LocalNodeState") or "inactive",
        "node_id": swarm.get("NodeID", ""),
        "cluster_id": cluster.get("ID", ""),
        "manager": bool(swarm.get("ControlAvailable", False)),
        "address": swarm.get("NodeAddr", ""),
        "error": swarm.get("Error", ""),
        "remote_managers": [
            {"node_id": peer.get("NodeID", ""), "address": peer.get("Addr", "")}
            for peer in swarm.get("RemoteManagers") or []
        ],
    }


def _read_cluster(engine: EngineLike, info: t.Mapping[str, t.Any]) -> tuple[dict[str, t.Any], list[dict[str, t.Any]]]:
    live = (info.get("Swarm") or {}).get("Cluster") or {}
    spec = live.get("Spec") or {}
    cluster = {
        "error": "",
        "address_pools": list(live.get("DefaultAddrPool") or []),
        "subnet_size": live.get("SubnetSize") or 0,
        "data_path_port": live.get("DataPathPort") or 0,
        "autolock": bool((spec.get("EncryptionConfig") or {}).get("AutoLockManagers", False)),
    }
    try:
        nodes = [describe_node(node) for node in engine.get("/nodes") or []]
    except EngineError as error:
        cluster["error"] = error.message
        nodes = []
    return cluster, sorted(nodes, key=lambda node: (node["hostname"], node["id"]))


def _tokens(swarm: t.Mapping[str, t.Any]) -> dict[str, str]:
    tokens = swarm["JoinTokens"]
    return {"manager": tokens["Manager"], "worker": tokens["Worker"]}
