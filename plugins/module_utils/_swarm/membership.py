# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host enters a swarm.

PRIVATE to the collection.

Source for paths and bodies: Docker Engine API reference 1.41, ``/swarm/init``, ``/swarm/join``.
"""

from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import EngineError
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm import gwbridge, reach
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import (
    EngineLike,
    SwarmProblem,
    read_node,
    wait_until,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.pools import (
    DEFAULT_ADDRESS_POOLS,
    DEFAULT_SUBNET_SIZE,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.survey import (
    drift_of_address,
    drift_of_settings,
)


@dataclasses.dataclass(frozen=True)
class Membership:
    """What a host's membership is to be.

    Attributes:
        advertise_address: address (or interface) that other members use to reach this one.
        found: found a swarm; otherwise the host joins one, and never founds one for want of somebody to join.
        join_addresses: managers to join through. In check mode empty for a swarm that is yet to be founded.
        address_pools, subnet_size, data_path_port: fixed when a swarm is founded; empty or 0 for Docker's choice.
        cluster_id: the swarm that is expected; empty when any is right.
    """

    advertise_address: str
    listen_address: str = "0.0.0.0:2377"
    data_path_address: str = ""
    found: bool = False
    join_addresses: tuple[str, ...] = ()
    join_token: str = dataclasses.field(default="", repr=False)
    availability: str = "active"
    address_pools: tuple[str, ...] = ()
    subnet_size: int = 0
    data_path_port: int = 0
    gwbridge_subnet: str = ""
    cluster_id: str = ""


@dataclasses.dataclass
class Outcome:
    """What was done, or would be done in check mode."""

    actions: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)

    @property
    def changed(self) -> bool:
        return bool(self.actions)


def enter(
    engine: EngineLike,
    wanted: Membership,
    *,
    check_mode: bool = False,
    timeout: float = 60.0,
    wait: t.Callable[[t.Callable[[], bool], float], bool] = wait_until,
    routes: str | None = None,
    probe: reach.Probe = reach.connect,
) -> Outcome:
    """Make this host a member of the wanted swarm.

    Args:
        timeout: seconds until the node has to be active.
        wait: called with a condition and seconds.
        routes: text of ``/proc/net/route``; read from the host when None.
        probe: tries a TCP connection; returns why it failed, or "".

    Raises:
        SwarmProblem: a state that only a person can resolve, with the way out.
        EngineError: the engine refused.
    """
    node = read_node(engine)
    outcome = Outcome()
    if not node["engine"]["reachable"]:
        return _without_engine(node, wanted, outcome, check_mode)
    state = node["swarm"]["state"]
    if state not in ("inactive", "active"):
        raise SwarmProblem(_stuck(state, node["swarm"]["error"]))
    if state == "inactive" and not (wanted.found or wanted.join_addresses or check_mode):
        raise SwarmProblem(
            "This host is to join a swarm, and join_addresses is empty: there is no manager to join through. "
            "Name managers of the swarm as address:port, or set found to make this host the first of a new swarm."
        )
    if state == "inactive" and wanted.join_addresses:
        _knock(wanted, outcome, check_mode, probe, wait)
    if wanted.gwbridge_subnet:
        _enter_gwbridge(engine, wanted.gwbridge_subnet, outcome, check_mode, routes)
    if state == "active":
        _compare(node, wanted, outcome)
        return outcome
    outcome.actions.append("init" if wanted.found else "join")
    if check_mode:
        return outcome
    _post(engine, wanted)
    if not wait(lambda: read_node(engine)["swarm"]["state"] == "active", timeout):
        after = read_node(engine)["swarm"]
        raise SwarmProblem(
            f"This host did not become an active member within {timeout:g} s; its state is {after['state']!r}"
            + (f": {after['error']}" if after["error"] else "")
            + ". "
            + reach.explain_hanging(wanted.join_addresses, wanted.advertise_address, probe=probe)
        )
    return outcome


def _knock(wanted: Membership, outcome: Outcome, check_mode: bool, probe: reach.Probe, wait: reach.Wait) -> None:
    """A join that nobody answers leaves the host 'pending'; so look first, while nothing is changed."""
    problem = reach.explain_unreachable(wanted.join_addresses, probe=probe, wait=wait)
    if problem and not check_mode:
        raise SwarmProblem(f"{problem} Nothing was changed on it.")
    if problem:
        outcome.warnings.append(problem)


def _post(engine: EngineLike, wanted: Membership) -> None:
    try:
        if wanted.found:
            engine.post("/swarm/init", _init_body(wanted))
        else:
            engine.post("/swarm/join", _join_body(wanted))
    except EngineError as error:
        # The engine goes on joining in the background after its own patience of 20 s has ended.
        if "Timeout was reached before node" not in error.message:
            raise


def _without_engine(node: t.Mapping[str, t.Any], wanted: Membership, outcome: Outcome, check_mode: bool) -> Outcome:
    if not check_mode:
        raise SwarmProblem(str(node["engine"]["error"]))
    if wanted.gwbridge_subnet:
        gwbridge.parse_subnet(wanted.gwbridge_subnet)
        outcome.actions.append("create docker_gwbridge")
    outcome.actions.append("init" if wanted.found else "join")
    outcome.warnings.append("No Docker Engine answers on this host yet; the plan takes it for a new one.")
    return outcome


def _stuck(state: str, error: str) -> str:
    ways = {
        "pending": "It has been joining a swarm and gets no answer. If it was removed from that swarm, "
        "run `docker swarm leave --force` on it; if not, check 2377/tcp to the managers.",
        "locked": "It is a member that waits for the swarm's unlock key: run `docker swarm unlock` on it.",
    }
    return f"This host's swarm state is {state!r}{f' ({error})' if error else ''}. " + ways.get(
        state, "Look at the log of its engine; `docker swarm leave --force` starts it afresh."
    )


def _compare(node: t.Mapping[str, t.Any], wanted: Membership, outcome: Outcome) -> None:
    swarm, cluster = node["swarm"], node["cluster"]
    if wanted.cluster_id and swarm["cluster_id"] and swarm["cluster_id"] != wanted.cluster_id:
        raise SwarmProblem(
            f"This host is a manager of swarm {swarm['cluster_id']}, and the inventory's swarm is "
            f"{wanted.cluster_id}. Run `docker swarm leave --force` on it (this ends what runs there), "
            "then this playbook again."
        )
    outcome.warnings.extend(drift_of_address(swarm, wanted.advertise_address))
    if cluster and not cluster["error"]:
        outcome.warnings.extend(drift_of_settings(cluster, wanted))


def _init_body(wanted: Membership) -> dict[str, t.Any]:
    body: dict[str, t.Any] = {**_common_body(wanted), "ForceNewCluster": False, "Spec": {}}
    if wanted.address_pools or wanted.subnet_size:
        # Always both: with pools and no size, the engine founds a swarm that can make no network
        # ("failed to create allocator: invalid pools size: 0", Docker 26.1).
        body["DefaultAddrPool"] = list(wanted.address_pools or DEFAULT_ADDRESS_POOLS)
        body["SubnetSize"] = wanted.subnet_size or DEFAULT_SUBNET_SIZE
    if wanted.data_path_port:
        body["DataPathPort"] = wanted.data_path_port
    return body


def _join_body(wanted: Membership) -> dict[str, t.Any]:
    return {
        **_common_body(wanted),
        "RemoteAddrs": list(wanted.join_addresses),
        "JoinToken": wanted.join_token,
    }


def _common_body(wanted: Membership) -> dict[str, t.Any]:
    body: dict[str, t.Any] = {
        "ListenAddr": wanted.listen_address,
        "AdvertiseAddr": wanted.advertise_address,
        "Availability": wanted.availability,
    }
    if wanted.data_path_address:
        body["DataPathAddr"] = wanted.data_path_address
    return body


def _enter_gwbridge(engine: EngineLike, subnet: str, outcome: Outcome, check_mode: bool, routes: str | None) -> None:
    text = Path(gwbridge.ROUTES).read_text(encoding="ascii") if routes is None else routes
    if gwbridge.gwbridge_missing(gwbridge.read_gwbridge(engine), subnet, text):
        outcome.actions.append(f"create {gwbridge.NAME}")
        if not check_mode:
            engine.post("/networks/create", gwbridge.gwbridge_document(subnet))
