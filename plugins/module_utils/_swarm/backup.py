# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep a manager's state: stop its engine, pack the state, start the engine, and see it work again.

PRIVATE to the collection.

The store of a running manager is written to all the time, so that a copy of it may be none. Docker's documentation
asks for a stopped engine.
"""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import EngineError
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm import archive
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.locking import Wait, read_unlock_key, unlock
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import (
    EngineLike,
    SwarmProblem,
    read_node,
    wait_until,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.supervisor import Supervisor

#: Where engines keep their data unless they say otherwise.
DATA_ROOT = "/var/lib/docker"


@dataclasses.dataclass(frozen=True)
class Source:
    """The manager whose state is kept.

    Attributes:
        directory: its state.
        manifest: what to know of the archive; the same in check mode.
        key: unlocks it after its engine's start; empty when managers do not lock.
    """

    directory: Path
    manifest: dict[str, t.Any]
    key: str = dataclasses.field(default="", repr=False)


def inspect(engine: EngineLike, path: Path, unlock_key: str = "") -> Source:
    """Look whether this host's state can be kept; changes nothing.

    Args:
        unlock_key: the key that people hold; empty when they did not give it.

    Raises:
        SwarmProblem: with the reason.
    """
    node = read_node(engine)
    swarm = node["swarm"]
    if swarm["state"] != "active" or not swarm["manager"]:
        raise SwarmProblem(
            f"This host manages no swarm (its state is {swarm['state']!r}), so there is nothing to keep."
        )
    if node["cluster"]["error"]:
        raise SwarmProblem(f"This host's swarm does not work: {node['cluster']['error']} What it has may be old.")
    key = read_unlock_key(engine) if node["cluster"]["autolock"] else ""
    if key and unlock_key and unlock_key != key:
        raise SwarmProblem(
            "The given unlock key is not the swarm's, so that nobody could restore from a backup with it. Its engine "
            "was not stopped. `docker swarm unlock-key` tells the key; keep that one (swarm_unlock_key, "
            "swarm_unlock_key_file)."
        )
    info = engine.get("/info")
    directory = Path(info.get("DockerRootDir") or DATA_ROOT, archive.NAME)
    archive.refuse_unpackable(directory, path)
    own: dict[str, t.Any] = next((peer for peer in node["nodes"] if peer["id"] == swarm["node_id"]), {})
    manifest = {
        "cluster_id": swarm["cluster_id"],
        "node_id": swarm["node_id"],
        "hostname": own.get("hostname", ""),
        "address": swarm["address"],
        "manager_address": own.get("manager_address", ""),
        "engine_version": node["engine"]["version"],
        "managers": sorted(peer["hostname"] for peer in node["nodes"] if peer["role"] == "manager"),
        "workers": sorted(peer["hostname"] for peer in node["nodes"] if peer["role"] == "worker"),
        "autolock": bool(key),
    }
    return Source(directory, manifest, key)


def back_up(
    engine: EngineLike,
    supervisor: Supervisor,
    source: Source,
    path: Path,
    *,
    timeout: float = 120.0,
    wait: Wait = wait_until,
) -> archive.Packed:
    """Pack a manager's state. The engine runs again afterwards, also when packing failed.

    Args:
        timeout: seconds until the manager has to work again.

    Raises:
        SwarmProblem: it did not come about, or the manager does not work again.
    """
    packed, problem = None, ""
    try:
        supervisor.stop()
        packed = archive.pack(source.directory, path)
    except (SwarmProblem, OSError) as error:
        problem = f"Nothing was kept: {error}. "
    finally:
        supervisor.start()
    try:
        await_manager(engine, source.key, timeout, wait)
    except SwarmProblem as error:
        kept = f" The archive is complete: {path}." if packed else ""
        raise SwarmProblem(f"{problem}{error}{kept}") from error
    if packed is None:
        raise SwarmProblem(f"{problem}The engine was started again, and this manager works.")
    return packed


def await_manager(engine: EngineLike, key: str, timeout: float, wait: Wait) -> None:
    """Wait until this host is a manager that works: it is unlocked where that is needed, ready, and reachable.

    Raises:
        SwarmProblem: it is not, in time.
    """
    node: dict[str, t.Any] = {}

    def works() -> bool:
        try:
            node.clear()
            node.update(read_node(engine))
        except EngineError:
            return False
        if node["swarm"]["state"] == "locked" and key:
            unlock(engine, key, timeout=timeout, wait=wait)
            node.update(read_node(engine))
        own = [peer for peer in node["nodes"] if peer["id"] == node["swarm"]["node_id"]]
        return any(peer["state"] == "ready" and peer["reachability"] == "reachable" for peer in own)

    if not wait(works, timeout):
        state = node["swarm"]["state"] if node else "unknown"
        said = (node.get("engine") or {}).get("error") or (node.get("cluster") or {}).get("error") or ""
        raise SwarmProblem(
            f"The engine was started again, and this manager does not work after {timeout:g} s (state {state!r}"
            f"{f': {said}' if said else ''}). `journalctl -u docker` on it says why."
        )
