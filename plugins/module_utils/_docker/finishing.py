# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Old tasks that finish their work after a rollout: it is over when the new ones serve, and does not wait for them.

PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t

from .engine import Engine
from .live import Live
from .objects import STACK_LABEL, TERMINAL
from .units import SECOND
from .waiting import is_job

Item = dict[str, t.Any]


def finishing(engine: Engine, live: Live, names: t.Mapping[str, str]) -> list[Item]:
    """Tasks that were told to end and have not, of some services of the stack.

    Args:
        names: full name of a service -> its name in the definition.

    Returns:
        One entry for each task: ``service``, ``task``, ``node``, ``state`` and ``grace_seconds``.
    """
    services = {item["ID"]: item for name, item in live.own_services().items() if name in names and not is_job(item)}
    if not services:
        return []
    nodes = {node["ID"]: (node.get("Description") or {}).get("Hostname", node["ID"]) for node in live.nodes}
    filters = {"label": [f"{STACK_LABEL}={live.stack}"], "desired-state": ["shutdown"]}
    found = []
    for task in engine.get("/tasks", {"filters": filters}) or []:
        if task["ServiceID"] in services and task["Status"]["State"] not in TERMINAL:
            # Its own grace period, which may be another one than that of the new tasks.
            grace = (task["Spec"].get("ContainerSpec") or {}).get("StopGracePeriod")
            entry = {
                "service": names[services[task["ServiceID"]]["Spec"]["Name"]],
                "task": task["ID"],
                "node": nodes.get(task.get("NodeID", ""), ""),
                "state": task["Status"]["State"],
                "grace_seconds": 10.0 if grace is None else grace / SECOND,
            }
            found.append(entry)
    return sorted(found, key=lambda entry: (entry["service"], entry["node"], entry["task"]))


def finishing_line(stack: str, tasks: t.Sequence[Item]) -> list[str]:
    """What people are told of them: nothing, or one line."""
    parts = []
    for name in dict.fromkeys(entry["service"] for entry in tasks):
        own = [entry for entry in tasks if entry["service"] == name]
        grace = max(entry["grace_seconds"] for entry in own)
        places = ", ".join(dict.fromkeys(entry["node"] for entry in own))
        parts.append(f"{name} {len(own)} (on {places}, for {grace:.0f} s at most)")
    return [f"{stack}: old tasks finish their work: {'; '.join(parts)}"] if parts else []
