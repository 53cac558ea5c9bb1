# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is left over: services and networks that the definition no longer has, secrets and configs nobody uses.

PRIVATE to the collection. Runs last, when everything new has converged, and never touches volumes.
"""

from __future__ import annotations

import typing as t

from . import job_end
from . import plan as planning
from .engine import Engine, EngineError
from .objects import PATHS, STACK_LABEL, TERMINAL, collectable
from .waiting import is_job

if t.TYPE_CHECKING:
    from .runner import Runner


def remove_leftovers(runner: Runner) -> bool:
    """Remove services, then networks; False while a network is still held by tasks that are stopping."""
    plan = planning.make_plan(runner.stack, runner.live, True, runner.options.keep_objects)
    own = runner.live.own_services()
    networks = runner.live.own_networks()
    held = held_networks(runner) if any(action.kind == "network" for action in plan.removals) else set()
    done = True
    for action in plan.removals:
        if action.kind == "service":
            if is_job(own[action.name]) and not job_end.stop(runner.engine, own[action.name]):
                done = False
                continue
            delete(runner.engine, f"/services/{own[action.name]['ID']}")
            runner.live.services = [item for item in runner.live.services if item["ID"] != own[action.name]["ID"]]
            runner.record(action)
            continue
        identifier = networks[action.name]["Id"]
        if identifier in held or not delete(runner.engine, f"/networks/{identifier}", in_use=True):
            done = False
            continue
        runner.live.networks = [item for item in runner.live.networks if item["Name"] != action.name]
        runner.record(action)
    if not done and runner.clock() - runner.state.began >= runner.options.timeout:
        runner.state.notes.append("a job or network that is no longer needed is still in use; the next run removes it")
        return True
    return done


def held_networks(runner: Runner) -> set[str]:
    """IDs of networks that tasks of this stack still hold, those of removed services included."""
    query = {"filters": {"label": [f"{STACK_LABEL}={runner.stack.name}"]}}
    return {
        attachment["Network"]["ID"]
        for task in runner.engine.get("/tasks", query) or []
        if task["Status"]["State"] not in TERMINAL
        for attachment in task.get("NetworksAttachments") or []
    }


def collect_garbage(runner: Runner) -> None:
    """Delete secrets and configs of this stack that nothing needs; what is in use stays."""
    tasks: list[dict[str, t.Any]] | None = None
    for kind, wanted in (("secret", runner.stack.secrets), ("config", runner.stack.configs)):
        names = {item.name for item in wanted.values()}
        for attempt in ("guess", "sure"):
            candidates = collectable(
                kind,
                runner.stack.name,
                runner.live.secrets if kind == "secret" else runner.live.configs,
                runner.live.services,
                runner.live.tasks if tasks is None else tasks,
                wanted=names,
                logicals=set(wanted),
                keep=runner.options.keep_objects,
            )
            if not candidates or attempt == "sure":
                break
            # Only now is it worth asking for all tasks of the swarm, and for services as they are this moment.
            runner.live.services = runner.engine.get("/services", {"status": "true"}) or []
            tasks = runner.engine.get("/tasks") or []
        for item in candidates:
            if delete(runner.engine, f"{PATHS[kind]}/{item['id']}", in_use=True):
                runner.record(
                    planning.Action(
                        kind, item["name"], planning.REMOVE, "nothing uses it any more", f"name: {item['name']}\n"
                    )
                )


def delete(engine: Engine, path: str, in_use: bool = False) -> bool:
    """Delete; what is gone already is as good as deleted. With ``in_use``, being in use is an answer: False."""
    try:
        engine.delete(path)
    except EngineError as error:
        if error.status == 404:
            return True
        if in_use and ("in use" in error.message or "active endpoints" in error.message):
            return False
        raise
    return True
