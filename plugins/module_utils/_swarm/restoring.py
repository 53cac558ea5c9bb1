# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a swarm back from the kept state of one of its managers.

PRIVATE to the collection.

Source: Docker, "Administer and maintain a swarm of Docker Engines", section "Restore from a backup"; Docker Engine API
reference 1.41, ``/swarm/init`` with ``ForceNewCluster``.

An engine cannot make a new cluster of an autolocked state: the request finds the store locked although it was unlocked
before, and forgets the swarm (moby/moby#36852, seen with 20.10.24). So such a state is unlocked and nothing else: it
works when its swarm had one manager, or when a majority of its managers were restored, each from a backup of its own.
"""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm import archive
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.backup import DATA_ROOT, await_manager
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.host import GOSSIP_PORT, host_of
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.locking import Wait
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import (
    EngineLike,
    SwarmProblem,
    read_node,
    wait_until,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.reach import Probe
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.supervisor import Supervisor

#: Seconds after which an engine that manages a swarm answers its members about overlay networks, or never will.
_GOSSIP_SECONDS = 30.0


@dataclasses.dataclass(frozen=True)
class Target:
    """What the restored manager is to be.

    Attributes:
        path: the archive, on this host.
        sha256: of the archive, as its manifest says; empty to take it on trust.
        aside: name that this host's own state gets, beside where it was.
        autolock, managers: whether the swarm was autolocked, and how many managers it had, as the manifest says.
    """

    path: Path
    aside: str
    advertise_address: str
    sha256: str = ""
    listen_address: str = "0.0.0.0:2377"
    data_path_address: str = ""
    data_root: str = ""
    unlock_key: str = dataclasses.field(default="", repr=False)
    autolock: bool = False
    managers: int = 1


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the state goes.

    Attributes:
        directory: of this host's engine, for the state.
        aside: where the state goes that is there now; None when there is none.
        saved: ``docker-state.json`` of the archive.
    """

    directory: Path
    aside: Path | None
    saved: dict[str, t.Any]


class Restored(t.NamedTuple):
    """What became of it.

    Attributes:
        works: whether the swarm does. One that was autolocked and had several managers may wait for a majority of them.
        warning: what stands in the way of other hosts that join, or nothing.
    """

    works: bool
    warning: str = ""


def inspect(engine: EngineLike, target: Target, *, force: bool = False) -> Place:
    """Look whether the state can be restored here; changes nothing.

    Args:
        force: also on a manager whose swarm works.

    Raises:
        SwarmProblem: with the reason.
    """
    saved = archive.read_archive(target.path, target.sha256)
    if target.autolock and not target.unlock_key:
        raise SwarmProblem(
            "The backup is of an autolocked swarm and is of no use without the unlock key of that time. Set "
            "swarm_unlock_key, or swarm_unlock_key_file. Nothing was changed."
        )
    before = host_of(str(saved.get("AdvertiseAddr", "")))
    if target.autolock and before and before != target.advertise_address:
        raise SwarmProblem(
            f"The backup is of an autolocked swarm, and of a manager with the address {before}. Docker can start "
            f"such a state under that address only, and this host's is {target.advertise_address} "
            "(swarm_advertise_address). Nothing was changed. Restore on a host with that address."
        )
    node = read_node(engine)
    swarm = node["swarm"]
    if not force and swarm["state"] == "active" and swarm["manager"] and not node["cluster"]["error"]:
        raise SwarmProblem(
            f"This host manages the swarm {swarm['cluster_id']}, which works. Restoring would put an older one in "
            "its place, so nothing was changed. Set swarm_restore_force if that is what you want."
        )
    root = target.data_root
    if not root and node["engine"]["reachable"]:
        root = str(engine.get("/info").get("DockerRootDir") or "")
    directory = Path(root or DATA_ROOT, archive.NAME)
    if not directory.parent.is_dir():
        raise SwarmProblem(f"{directory.parent} is not there. Install the engine first (playbook engine).")
    aside = directory.with_name(target.aside)
    if aside.exists():
        raise SwarmProblem(f"{aside} exists already, and this host's own state would go there. Run this again.")
    return Place(directory, aside if directory.exists() else None, saved)


def restore(
    engine: EngineLike,
    supervisor: Supervisor,
    target: Target,
    place: Place,
    *,
    probe: Probe,
    timeout: float = 120.0,
    wait: Wait = wait_until,
) -> Restored:
    """Replace this host's state by the archive's, and make it the only manager of that swarm.

    Args:
        probe: tries a TCP connection to an address of this host.
        timeout: seconds for each of the steps.

    Raises:
        SwarmProblem: it did not come about. The host's own state is back when it was not unpacked.
    """
    supervisor.stop()
    try:
        if place.aside:
            place.directory.rename(place.aside)
        archive.unpack(target.path, place.directory.parent)
    except OSError as error:
        _put_back(place)
        raise SwarmProblem(
            f"The state could not be written: {error}. What this host had is in its place again."
        ) from error
    finally:
        supervisor.start()
    state = _await_state(engine, timeout, wait)
    if state == "locked":
        _unlock(engine, target)
    elif state != "inactive":
        _take_over(engine, target, place, timeout, wait)
    try:
        await_manager(engine, "", timeout, wait)
    except SwarmProblem:
        if state != "locked" or target.managers == 1 or read_node(engine)["swarm"]["state"] == "locked":
            raise
        return Restored(False)
    return Restored(True, _await_gossip(engine, supervisor, target, probe=probe, timeout=timeout, wait=wait))


def count(engine: EngineLike) -> dict[str, int]:
    """How many services, secrets, configs and nodes the swarm has."""
    return {kind: len(engine.get(f"/{kind}") or []) for kind in ("services", "secrets", "configs", "nodes")}


def _put_back(place: Place) -> None:
    if place.directory.exists():
        place.directory.rename(place.directory.with_name(f"{place.directory.name}.incomplete"))
    if place.aside and place.aside.exists():
        place.aside.rename(place.directory)


def _await_state(engine: EngineLike, timeout: float, wait: Wait) -> str:
    state = "inactive"

    def known() -> bool:
        nonlocal state
        state = str(read_node(engine)["swarm"]["state"])
        return state != "inactive"

    wait(known, timeout)
    return state


def _take_over(engine: EngineLike, target: Target, place: Place, timeout: float, wait: Wait) -> None:
    """The others of the kept state do not answer, so this manager goes on without them, with their state."""
    refused = ""

    def taken() -> bool:
        nonlocal refused
        try:
            engine.post("/swarm/init", _body(target, place))
        except EngineUnreachable as error:
            refused = str(error)
            return False
        except EngineError as error:
            refused = error.message  # until the manager is there, the engine says that it is none
            return False
        return True

    if not wait(taken, timeout):
        raise SwarmProblem(
            f"The state was restored, and this host did not take over its swarm within {timeout:g} s: {refused} "
            + (f"What it had before is in {place.aside}. " if place.aside else "")
            + "`journalctl -u docker` on it says more."
        )


def _await_gossip(
    engine: EngineLike, supervisor: Supervisor, target: Target, *, probe: Probe, timeout: float, wait: Wait
) -> str:
    """Others join only a manager that tells them about overlay networks; says what to look at when it does not.

    An engine that has taken over a swarm sometimes never begins to, until it is started again (seen with 26.1.5).
    """
    why = ""

    def answers() -> bool:
        nonlocal why
        address = host_of(str(read_node(engine)["swarm"]["address"]))
        why = f"{address}: {failure}" if (failure := probe(address, GOSSIP_PORT)) else ""
        return not why

    if wait(answers, _GOSSIP_SECONDS):
        return ""
    try:
        supervisor.stop()
    finally:
        supervisor.start()
    await_manager(engine, target.unlock_key, timeout, wait)
    if wait(answers, _GOSSIP_SECONDS):
        return ""
    return (
        f"The swarm works here again, and this host does not reach the engine's own port {GOSSIP_PORT}/tcp ({why}), "
        "also not after another start of the engine. If that is so for other hosts, too, none can join: look at "
        "swarm_advertise_address, and at `journalctl -u docker` here."
    )


def _unlock(engine: EngineLike, target: Target) -> None:
    if not target.unlock_key:
        raise SwarmProblem(
            "The state was restored, and it is that of an autolocked swarm, which its manifest does not say. Set "
            "swarm_unlock_key, and run the playbook swarm."
        )
    try:
        engine.post("/swarm/unlock", {"UnlockKey": target.unlock_key})
    except EngineUnreachable:
        return  # it answers when a majority is back, and the state tells
    except EngineError as error:
        if "invalid key" in error.message.lower():
            raise SwarmProblem(
                "The state was restored, and the given key does not unlock it: it has to be the one of the time of "
                "the backup. Run this again with that key."
            ) from error
        raise


def _body(target: Target, place: Place) -> dict[str, t.Any]:
    body: dict[str, t.Any] = {
        "ListenAddr": target.listen_address,
        "AdvertiseAddr": target.advertise_address,
        "ForceNewCluster": True,
        "Spec": {},
    }
    if target.data_path_address:
        body["DataPathAddr"] = target.data_path_address
    for ours, theirs in (
        ("DefaultAddrPool", "DefaultAddressPool"),
        ("SubnetSize", "SubnetSize"),
        ("DataPathPort", "DataPathPort"),
    ):
        if place.saved.get(theirs):
            body[ours] = place.saved[theirs]
    return body
