# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give a swarm new join tokens, a new certificate authority, or a new unlock key.

PRIVATE to the collection.

Source for paths, parameters and answers: Docker Engine API reference 1.41, ``/swarm``, ``/swarm/update``, ``/nodes``.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.locking import (
    Wait,
    is_autolocked,
    read_unlock_key,
    update_swarm,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import (
    EngineLike,
    SwarmProblem,
    read_node,
    wait_until,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.nodes import node_hostname, node_state

#: What can be rotated, and the parameter of ``POST /swarm/update`` that does it. The authority has a counter instead.
PARAMETERS = {
    "worker_token": "rotateWorkerToken",
    "manager_token": "rotateManagerToken",
    "unlock_key": "rotateManagerUnlockKey",
}
THINGS = ("worker_token", "manager_token", "ca", "unlock_key")


@dataclasses.dataclass
class Rotation:
    """What was rotated.

    Attributes:
        rotated: of :data:`THINGS`, in that order.
        resumed: the authority was being replaced already, so that this one was waited for and no other begun.
        behind: nodes that have no certificate of the new authority, as texts.
    """

    rotated: list[str]
    resumed: bool = False
    behind: list[str] = dataclasses.field(default_factory=list)


def rotate(
    engine: EngineLike,
    things: t.Collection[str],
    *,
    check_mode: bool = False,
    timeout: float = 600.0,
    wait: Wait = wait_until,
) -> Rotation:
    """Rotate exactly these things, in one request, and wait until they are.

    Args:
        things: of :data:`THINGS`.
        timeout: seconds until every node has a certificate of the new authority.

    Returns:
        With ``behind`` not empty when the time was over first. The rotation goes on then.

    Raises:
        SwarmProblem: it could not be done or not be finished; nothing was changed.
    """
    live = _read_swarm(engine)
    done = Rotation([thing for thing in THINGS if thing in things], bool(live.get("RootRotationInProgress")))
    _refuse(engine, live, done)
    if check_mode or not done.rotated:
        return done
    before = _secrets(engine, live, done)
    begin_ca = "ca" in done.rotated and not done.resumed
    query = {PARAMETERS[thing]: True for thing in done.rotated if thing in PARAMETERS}
    if begin_ca or query:
        update_swarm(engine, _next_authority if begin_ca else dict, query)
    if "ca" in done.rotated:
        done.behind = _await_authority(engine, live, begin_ca, timeout, wait)
    _prove(engine, before, done)
    return done


def refusal(rotation: Rotation, seconds: float) -> str:
    """What to tell when nodes have no certificate of the new authority in time."""
    others = [thing for thing in rotation.rotated if thing != "ca"]
    return (
        f"After {seconds:.0f} s the swarm's new authority is not in use everywhere: {'; '.join(rotation.behind)}. "
        "The rotation goes on by itself, and until it ends both authorities count, so nothing is broken. Bring these "
        "nodes back and run this again, which waits for this rotation and begins no other. Nodes that are gone for "
        "good hold it up until they are removed (`docker node rm`)."
        + (f" Done are: {', '.join(others)}." if others else "")
    )


def behind(swarm: t.Mapping[str, t.Any], nodes: t.Sequence[t.Mapping[str, t.Any]]) -> list[str]:
    """Nodes that are not done with the swarm's authority, and how far they are; by host name.

    Args:
        swarm: answer of ``GET /swarm``.
        nodes: answer of ``GET /nodes``.
    """
    wanted = swarm["TLSInfo"]
    found = []
    for node in sorted(nodes, key=node_hostname):
        has = (node.get("Description") or {}).get("TLSInfo") or {}
        if has.get("CertIssuerPublicKey") != wanted["CertIssuerPublicKey"]:
            what = "has a certificate of the old authority"
        elif has.get("TrustRoot") != wanted["TrustRoot"] and not swarm.get("RootRotationInProgress"):
            what = "has a new certificate and trusts the old authority still"
        else:
            continue
        state = node_state(node)
        found.append(f"{node_hostname(node)} ({node['ID']}) {what}{'' if state == 'ready' else f' and is {state}'}")
    return found


def _read_swarm(engine: EngineLike) -> dict[str, t.Any]:
    swarm = read_node(engine)["swarm"]
    if swarm["state"] != "active" or not swarm["manager"]:
        raise SwarmProblem(
            f"This host manages no swarm (its state is {swarm['state']!r}), so nothing was rotated. Run this on a "
            "manager."
        )
    return dict(engine.get("/swarm"))


def _refuse(engine: EngineLike, live: t.Mapping[str, t.Any], wanted: Rotation) -> None:
    problems = []
    if "unlock_key" in wanted.rotated and not is_autolocked(live):
        problems.append("There is no unlock key, because managers do not lock (swarm_autolock).")
    if "ca" in wanted.rotated:
        lost = [node for node in engine.get("/nodes") or [] if node_state(node) != "ready"]
        if lost:
            named = ", ".join(sorted(f"{node_hostname(node)} ({node['ID']}) is {node_state(node)}" for node in lost))
            problems.append(
                f"A new authority is finished when every node has a certificate of it, and {named}. Bring these nodes "
                "back, or remove those that are gone for good (`docker node rm`)."
            )
    if problems:
        raise SwarmProblem("Nothing was rotated. " + " ".join(problems))


def _next_authority(spec: dict[str, t.Any]) -> dict[str, t.Any]:
    authority = dict(spec.get("CAConfig") or {})
    # With a certificate or key here the swarm would take that one instead of making one.
    for name in ("SigningCACert", "SigningCAKey"):
        authority.pop(name, None)
    return {**spec, "CAConfig": {**authority, "ForceRotate": int(authority.get("ForceRotate") or 0) + 1}}


def _await_authority(
    engine: EngineLike, before: t.Mapping[str, t.Any], begun: bool, timeout: float, wait: Wait
) -> list[str]:
    left = ["the managers do not answer"]

    def finished() -> bool:
        nonlocal left
        try:
            swarm, nodes = engine.get("/swarm"), engine.get("/nodes") or []
        except (EngineError, EngineUnreachable):
            return False  # managers that get new certificates connect to each other anew
        left = behind(swarm, nodes)
        if swarm.get("RootRotationInProgress"):
            left = left or ["the managers have not ended it yet"]
        elif begun and swarm["TLSInfo"]["TrustRoot"] == before["TLSInfo"]["TrustRoot"]:
            left = ["the managers have not begun it yet"]
        return not left

    return [] if wait(finished, timeout) else left


def _secrets(engine: EngineLike, live: t.Mapping[str, t.Any], wanted: Rotation) -> dict[str, str]:
    # The part of a token behind its last dash is the secret; the one before names the authority.
    found = {
        "worker_token": live["JoinTokens"]["Worker"].rpartition("-")[2],
        "manager_token": live["JoinTokens"]["Manager"].rpartition("-")[2],
    }
    if "unlock_key" in wanted.rotated:
        found["unlock_key"] = read_unlock_key(engine)
    return found


def _prove(engine: EngineLike, before: t.Mapping[str, str], done: Rotation) -> None:
    after = _secrets(engine, engine.get("/swarm"), done)
    same = [name for name in done.rotated if name in before and before[name] == after[name]]
    if same:
        raise SwarmProblem(f"The swarm took the request and did not rotate {', '.join(same)}. Run this again.")
