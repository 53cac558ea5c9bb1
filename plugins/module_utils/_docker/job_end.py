# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a job: its command is stopped where it still runs, and then its service is removed.

PRIVATE to the collection.

Older engines, 20.10 among them, forget to stop the tasks of a job whose service is removed: the command would go on,
and nobody would see it (moby/moby#44312, moby/swarmkit#3112). A job that wants no completions any more stops them
everywhere.
"""

from __future__ import annotations

import copy
import time
import typing as t

from .engine import Engine, EngineError
from .objects import TERMINAL

Item = dict[str, t.Any]
#: Seconds until Swarm has to have told the tasks to stop, and between two looks.
STOP_SECONDS = 30.0
PAUSE_SECONDS = 0.2
_NOTHING = {"MaxConcurrent": 0, "TotalCompletions": 0}
#: A constraint that no node meets: a job of every node, which has no number of completions, then has none to run on.
_NOWHERE = "node.id==none"


def stop(engine: Engine, service: Item) -> bool:
    """Have a job's command stopped wherever it still runs; whether it runs nowhere. It does not wait.

    Args:
        service: the job as it is now.

    Raises:
        EngineError, EngineUnreachable: as the engine client raises them.
    """
    tasks = engine.get("/tasks", {"filters": {"service": [service["ID"]]}}) or []
    if not any(_goes_on(task) for task in tasks):
        return True
    spec = copy.deepcopy(service["Spec"])
    if "ReplicatedJob" in spec["Mode"]:
        spec["Mode"] = {"ReplicatedJob": dict(_NOTHING)}
    else:
        placement = spec["TaskTemplate"].setdefault("Placement", {})
        placement["Constraints"] = sorted({*(placement.get("Constraints") or []), _NOWHERE})
    if spec != service["Spec"]:
        try:
            engine.post(f"/services/{service['ID']}/update", spec, {"version": str(service["Version"]["Index"])})
        except EngineError as error:
            if error.status != 404 and not error.out_of_sequence:  # gone, or written by others: look again
                raise
    return False


def step(engine: Engine, service: Item, *, last: bool = False) -> bool:
    """One step to the end of a job; whether it was the last one. It does not wait until the command has obeyed.

    Args:
        service: the job as it is now.
        last: remove it, whatever its tasks do.

    Raises:
        EngineError, EngineUnreachable: as the engine client raises them.
    """
    try:
        if not last and not stop(engine, service):
            return False
        engine.delete(f"/services/{service['ID']}")
    except EngineError as error:
        if error.status != 404:  # gone already
            raise
    return True


def finish(
    look: t.Callable[[], Item | None],
    engine: Engine,
    *,
    now: t.Callable[[], float] = time.monotonic,
    sleep: t.Callable[[float], None] = time.sleep,
) -> None:
    """All steps.

    Args:
        look: reads the job; None when it is gone.

    Raises:
        EngineError, EngineUnreachable: as the engine client raises them.
    """
    began = now()
    while True:
        service = look()
        if service is None or step(engine, service, last=now() - began >= STOP_SECONDS):
            return
        sleep(PAUSE_SECONDS)


def _goes_on(task: Item) -> bool:
    return task["Status"]["State"] not in TERMINAL and task["DesiredState"] not in ("remove", "shutdown")
