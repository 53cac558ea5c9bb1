# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lock the managers of a swarm, and unlock one that waits for its key.

PRIVATE to the collection.

An autolocked manager keeps its keys encrypted on its disk: after each start of its engine it is ``locked``, and takes
no part in the swarm, until somebody gives it the unlock key.

Source for paths and bodies: Docker Engine API reference 1.41, ``/swarm``, ``/swarm/update``, ``/swarm/unlock``.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import (
    EngineLike,
    SwarmProblem,
    read_node,
    wait_until,
)

#: How often settings that somebody else writes at the same time are read and written again.
ATTEMPTS = 5

Wait = t.Callable[[t.Callable[[], bool], float], bool]
Spec = dict[str, t.Any]


def update_swarm(
    engine: EngineLike, change: t.Callable[[Spec], Spec], query: t.Mapping[str, t.Any] | None = None
) -> None:
    """Write the swarm's settings, as ``change`` makes them of the live ones.

    Args:
        query: further parameters, for example ``rotateWorkerToken``.

    Raises:
        SwarmProblem: somebody else keeps writing them.
    """
    for _attempt in range(ATTEMPTS):
        live = engine.get("/swarm")
        try:
            engine.post(
                "/swarm/update", change(dict(live["Spec"])), {**(query or {}), "version": live["Version"]["Index"]}
            )
        except EngineError as error:
            if not error.out_of_sequence:
                raise
        else:
            return
    raise SwarmProblem(f"The swarm's settings changed {ATTEMPTS} times while they were written. Run this again.")


def is_autolocked(swarm: t.Mapping[str, t.Any]) -> bool:
    """Whether managers lock, by the answer of ``GET /swarm``."""
    return bool((swarm["Spec"].get("EncryptionConfig") or {}).get("AutoLockManagers", False))


def set_autolock(engine: EngineLike, enabled: bool, *, check_mode: bool = False) -> bool:
    """Let managers lock, or not; returns whether that is a change."""
    if is_autolocked(engine.get("/swarm")) == enabled:
        return False
    if not check_mode:
        update_swarm(engine, lambda spec: {**spec, "EncryptionConfig": {"AutoLockManagers": enabled}})
    return True


def read_unlock_key(engine: EngineLike) -> str:
    """The key that unlocks managers, which is a secret; empty when they do not lock."""
    answer = engine.get("/swarm/unlockkey") or {}
    return str(answer.get("UnlockKey", ""))


def unlock(
    engine: EngineLike, key: str, *, check_mode: bool = False, timeout: float = 60.0, wait: Wait = wait_until
) -> bool:
    """Unlock this host's manager when it is locked; returns whether it was.

    Raises:
        SwarmProblem: there is no key, it is a wrong one, or the manager does not work afterwards.
    """
    node = read_node(engine)
    if not node["engine"]["reachable"]:
        raise SwarmProblem(str(node["engine"]["error"]))
    if node["swarm"]["state"] != "locked":
        return False
    if not key:
        raise SwarmProblem(
            "This host's manager is locked, and there is no key to unlock it. Set swarm_unlock_key (from the vault), "
            "or swarm_unlock_key_file, the file on the controller that holds it. A manager that works tells the key: "
            "`docker swarm unlock-key`. Do not let this host leave the swarm: it is a member of it."
        )
    if not check_mode:
        _give_key(engine, key)
        _await_work(engine, timeout, wait)
    return True


def _give_key(engine: EngineLike, key: str) -> None:
    try:
        engine.post("/swarm/unlock", {"UnlockKey": key})
    except EngineUnreachable:
        # Without a majority of managers the engine does not answer before there is one. The state tells more.
        return
    except EngineError as error:
        if "invalid key" in error.message.lower():
            raise SwarmProblem(
                "This host's manager is locked, and the given key is not the one that unlocks it. Nothing was "
                "changed. After a rotation the new key counts, and for a manager that was off meanwhile the one "
                "before. A manager that works tells the key: `docker swarm unlock-key`."
            ) from error
        # Others may have unlocked it meanwhile, and an engine that waits for a majority gives up in the end.
        if "not locked" not in error.message and "could not be started" not in error.message:
            raise


def _await_work(engine: EngineLike, timeout: float, wait: Wait) -> None:
    node: dict[str, t.Any] = {}

    def works() -> bool:
        try:
            node.update(read_node(engine))
        except EngineError:
            return False
        return node["swarm"]["state"] == "active" and not node["cluster"].get("error")

    if wait(works, timeout):
        return
    state = node["swarm"]["state"] if node else "unknown"
    if state == "locked":
        raise SwarmProblem(f"This host's manager was given the key and is still locked after {timeout:g} s.")
    said = str((node.get("cluster") or {}).get("error", "") or (node.get("swarm") or {}).get("error", ""))
    raise SwarmProblem(
        f"This host's manager is unlocked, and its swarm does not work after {timeout:g} s (state {state!r}"
        f"{f': {said}' if said else ''}). It may be waiting for a majority: start and unlock the other managers, then "
        "run this again."
    )
