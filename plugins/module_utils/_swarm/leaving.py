# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host leaves its swarm.

PRIVATE to the collection.

Source for paths and bodies: Docker Engine API reference 1.41, ``/swarm/leave``, ``/nodes``.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm import gwbridge
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.membership import Outcome
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import (
    EngineLike,
    SwarmProblem,
    read_node,
    wait_until,
)


def leave(
    engine: EngineLike,
    *,
    end_swarm: bool = False,
    check_mode: bool = False,
    timeout: float = 60.0,
    wait: t.Callable[[t.Callable[[], bool], float], bool] = wait_until,
) -> Outcome:
    """Take this host out of its swarm; a manager is demoted first, so that the others keep their majority.

    Args:
        end_swarm: also when this is the last manager, which ends the swarm with all its services and secrets.

    Raises:
        SwarmProblem: this is the last manager and ``end_swarm`` is not set, or the demotion is refused.
    """
    node = read_node(engine)
    outcome = Outcome()
    if not node["engine"]["reachable"] or node["swarm"]["state"] == "inactive":
        if node["engine"]["reachable"]:
            _leave_gwbridge(engine, outcome, check_mode)
        return outcome
    force = node["swarm"]["state"] in ("pending", "error")
    if node["swarm"]["state"] == "locked" or node["swarm"]["manager"]:
        force = _last_manager(node, end_swarm)
        if not force:
            outcome.actions.append("demote")
            if not check_mode:
                dead = _dead_managers(node) if end_swarm else []
                _demote_itself(engine, node["swarm"]["node_id"], dead, timeout, wait)
    outcome.actions.append("leave")
    if not check_mode:
        engine.post("/swarm/leave", query={"force": force})
        if not wait(lambda: read_node(engine)["swarm"]["state"] == "inactive", timeout):
            raise SwarmProblem(f"This host was told to leave its swarm and did not within {timeout:g} s.")
    _leave_gwbridge(engine, outcome, check_mode)
    return outcome


def _leave_gwbridge(engine: EngineLike, outcome: Outcome, check_mode: bool) -> None:
    if gwbridge.is_ours(gwbridge.read_gwbridge(engine)):
        outcome.actions.append(f"remove {gwbridge.NAME}")
        if not check_mode:
            engine.delete(f"/networks/{gwbridge.NAME}")


def _last_manager(node: t.Mapping[str, t.Any], end_swarm: bool) -> bool:
    """Whether leaving needs force because nobody is left to keep the swarm.

    Raises:
        SwarmProblem: when it does, or that cannot be known, and ``end_swarm`` is not set.
    """
    managers = [peer for peer in node["nodes"] if peer["role"] == "manager"]
    known = bool(managers) and node["swarm"]["state"] == "active"
    if known and len(managers) > 1:
        return False
    if end_swarm:
        return True
    raise SwarmProblem(
        (
            "This host is the last manager of its swarm: leaving ends the swarm with all its services and secrets."
            if known
            else "This host is a manager, and its swarm gives no answer, so nobody can say what leaving would destroy."
        )
        + " Set end_swarm if that is what you want."
    )


def _dead_managers(node: t.Mapping[str, t.Any]) -> list[str]:
    return [
        peer["id"]
        for peer in node["nodes"]
        if peer["role"] == "manager" and peer["state"] == "down" and peer["reachability"] != "reachable"
    ]


def _demote(engine: EngineLike, node_id: str) -> None:
    node = engine.get(f"/nodes/{node_id}")
    engine.post(f"/nodes/{node_id}/update", {**node["Spec"], "Role": "worker"}, {"version": node["Version"]["Index"]})


def _demote_itself(
    engine: EngineLike,
    node_id: str,
    dead: t.Sequence[str],
    timeout: float,
    wait: t.Callable[[t.Callable[[], bool], float], bool],
) -> None:
    refusal: EngineError | None = None

    def accepted() -> bool:
        nonlocal refusal
        try:
            _demote(engine, node_id)
        except EngineError as error:
            refusal = error
            return False
        return True

    done = accepted()
    if not done and dead:
        # Dead managers still have votes. Of a swarm that is to end, they are the first to lose them.
        for peer in dead:
            _demote(engine, peer)
        # They lose them a moment later.
        done = wait(accepted, timeout)
    if not done:
        raise SwarmProblem(
            f"The swarm refuses to do without this manager: {refusal.message if refusal else 'no reason given'}. "
            "Bring another manager back, or add one, and run this again."
        ) from refusal
    if not wait(lambda: _is_worker(engine), timeout):
        raise SwarmProblem(f"This manager was demoted and is still one after {timeout:g} s.")


def _is_worker(engine: EngineLike) -> bool:
    try:
        swarm = read_node(engine)["swarm"]
    except (EngineError, EngineUnreachable):
        return False
    return swarm["state"] == "active" and not swarm["manager"]
