# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stack and the swarm that carries it, at one moment: what runs, what does not, and why.

PRIVATE to the collection.
"""

from __future__ import annotations

import calendar
import re
import time
import typing as t

from . import live as reading
from .diagnose import diagnose
from .engine import Engine
from .objects import STACK_LABEL, TERMINAL
from .waiting import CONVERGED, FAILED, Limits, Memory, Verdict, judge

Item = t.Mapping[str, t.Any]

#: One look has no time to wait: what is wrong now is wrong.
_NOW = Limits(task_failures=1, pending_timeout=0.0)
#: Seconds before a task's creation in which failures of others may have to do with it.
_RECENT = 600.0
_FAILED_TASK = ("failed", "rejected", "orphaned")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


def overview(engine: Engine, stack: str, mask: t.Callable[[str], str], *, log: bool = True) -> dict[str, t.Any]:
    """Everything that the module ``swarm_status`` returns, as documented there.

    Args:
        mask: hides what nobody may see in texts that come from services.
        log: whether the last lines of a failed service's log are fetched.

    Raises:
        NotASwarmManager: when this engine is in no swarm, locked, or only a worker.
        EngineUnreachable, EngineError: as the engine client raises them.
    """
    live = reading.read(engine, stack)
    nodes = [_node(node) for node in live.nodes]
    nodes.sort(key=lambda node: (node["role"] != "manager", node["hostname"], node["id"]))
    hosts = {node["id"]: node["hostname"] for node in nodes}
    services, failures, problems = [], [], node_problems(nodes)
    for full, service in sorted(live.own_services().items()):
        name = full.removeprefix(f"{stack}_")
        tasks = live.tasks_of(service["ID"])
        old = old_failures(tasks)
        memory = Memory(old_failures=old)
        verdict, _memory = judge(service, tasks, touched=False, memory=memory, limits=_NOW, now=0.0)
        services.append(_service(name, service, tasks, verdict._replace(text=mask(verdict.text)), hosts, mask=mask))
        if verdict.state == FAILED:
            found = diagnose(
                engine, service, verdict, name=name, nodes=live.nodes, mask=mask, old_failures=old, log=log
            )
            failures.append(found)
            problems.append(f"service {name} failed: {found['cause']}: {found['message']}")
        elif verdict.state != CONVERGED:
            problems.append(f"service {name} is not where it should be: {mask(verdict.text)}")
    if not services:
        problems.append(f"this swarm has no stack {stack}")
    return {
        "stack": stack,
        "healthy": not problems,
        "problems": problems,
        "nodes": nodes,
        "services": services,
        "failures": failures,
    }


def old_failures(tasks: t.Sequence[Item]) -> tuple[str, ...]:
    """IDs of failed tasks that say nothing about today: those that lie well before the newest task that lives."""
    living = [_seconds(task.get("CreatedAt", "")) for task in tasks if task["Status"]["State"] not in TERMINAL]
    newest = max((made for made in living if made is not None), default=None)
    if newest is None:
        return ()
    ended = {task["ID"]: _seconds(task["Status"].get("Timestamp", "")) for task in tasks}
    return tuple(
        task["ID"]
        for task in tasks
        if task["Status"]["State"] in _FAILED_TASK and (ended[task["ID"]] or newest) < newest - _RECENT
    )


def _seconds(moment: str) -> float | None:
    """Docker's text for a moment, in seconds since 1970."""
    match = _MOMENT.match(moment)
    return calendar.timegm(time.strptime(match.group(), "%Y-%m-%dT%H:%M:%S")) if match else None


def node_problems(nodes: t.Sequence[Item]) -> list[str]:
    """What is wrong with the nodes, one sentence each. A node that is drained or paused is not, by itself."""
    found = []
    for node in nodes:
        if node["state"] != "ready":
            found.append(f"node {node['hostname']} is {node['state']}")
        elif node["role"] == "manager" and node["reachability"] != "reachable":
            found.append(f"manager {node['hostname']} cannot be reached by the others")
    if nodes and not any(node["availability"] == "active" and node["state"] == "ready" for node in nodes):
        found.append("no node takes tasks")
    return found


def _node(node: Item) -> dict[str, t.Any]:
    spec, description = node.get("Spec") or {}, node.get("Description") or {}
    manager = node.get("ManagerStatus") or {}
    return {
        "id": node["ID"],
        "hostname": description.get("Hostname", ""),
        "role": spec.get("Role", ""),
        "leader": bool(manager.get("Leader", False)),
        "state": (node.get("Status") or {}).get("State", ""),
        "availability": spec.get("Availability", ""),
        "reachability": manager.get("Reachability", ""),
        "engine": (description.get("Engine") or {}).get("EngineVersion", ""),
        "address": (node.get("Status") or {}).get("Addr", ""),
    }


def _service(
    name: str,
    service: Item,
    tasks: t.Sequence[Item],
    verdict: Verdict,
    hosts: t.Mapping[str, str],
    *,
    mask: t.Callable[[str], str],
) -> dict[str, t.Any]:
    spec = service["Spec"]
    image = spec["TaskTemplate"]["ContainerSpec"].get("Image", "")
    running = [task for task in tasks if task["Status"]["State"] == "running" and task["DesiredState"] == "running"]
    failed = [task for task in tasks if task["Status"]["State"] in _FAILED_TASK]
    last = max(failed, key=lambda task: task["Status"].get("Timestamp", ""), default=None)
    return {
        "name": name,
        "stack": (spec.get("Labels") or {}).get(STACK_LABEL, ""),
        "mode": next(iter(spec.get("Mode") or {"Replicated": None})),
        "state": verdict.state,
        "text": verdict.text,
        "running": verdict.running,
        "desired": verdict.desired,
        "image": image.partition("@")[0],
        "digest": image.partition("@")[2],
        "nodes": sorted({hosts.get(task.get("NodeID", ""), "") for task in running} - {""}),
        "failed_tasks": len(failed),
        "last_failure": mask(last["Status"].get("Err") or last["Status"].get("Message") or "") if last else "",
        "last_failure_at": last["Status"].get("Timestamp", "") if last else "",
        "changed_at": service.get("UpdatedAt", ""),
    }
