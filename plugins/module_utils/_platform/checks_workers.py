# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of workers, and of the queues and bundles they name.

PRIVATE to the collection.
"""

from __future__ import annotations

import re
import typing as t

from .checks_bundles import CANARY_BUNDLE
from .problems import did_you_mean, show
from .sizes import check_range, check_size
from .spec import SpecReader

#: Where tasks go that name no queue. Source: [operators] default_queue of Airflow 3.3.2.
DEFAULT_QUEUE = "default"

_WORKER = re.compile(r"[a-z]([a-z0-9-]{0,22}[a-z0-9])?")
_QUEUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._:@/-]{0,99})?")
_CONSTRAINT = re.compile(r"(node|engine)\.[A-Za-z0-9._/-]+\s*(==|!=)\s*\S(.*\S)?")

Values = t.Mapping[str, t.Any]


def canary_dag_id(queue: str) -> str:
    """The canary DAG of a queue. A DAG's ID allows fewer characters than a queue's name."""
    return "flowstead_canary__" + re.sub(r"[^A-Za-z0-9_.-]", "_", queue)


def check_workers(reader: SpecReader, values: Values) -> None:
    """Names, queues, bundles and sizes of the worker groups, and what they mean together."""
    workers = values["airflow_workers"]
    if workers is None:
        return
    if not workers:
        problem = "without workers no task runs"
        reader.add("airflow_workers", "an empty list", problem, "Give at least one group, with its queues")
        return
    bundles = [item["name"] for item in values["airflow_bundles"] or [] if item and item.get("name")]
    names: dict[str, str] = {}
    for index, worker in enumerate(workers):
        path = f"airflow_workers[{index}]"
        if worker is None:
            continue
        _check_name(reader, path, worker.get("name"), names)
        _check_queues(reader, path, worker.get("queues"))
        if worker.get("bundles") is not None:
            _check_bundle_names(reader, path, worker["bundles"], bundles)
        for position, constraint in enumerate(worker.get("constraints") or []):
            if constraint is not None and not _CONSTRAINT.fullmatch(constraint):
                fix = "Write one like node.labels.team == a, with == or !="
                reader.add(f"{path}.constraints[{position}]", show(constraint), "this is no constraint", fix)
        check_size(reader, path, worker)
        check_range(reader, f"{path}.concurrency", worker.get("concurrency"), 1, 1000)
        check_range(reader, f"{path}.stop_grace_seconds", worker.get("stop_grace_seconds"), 1, 30 * 86400)
    _check_all_queues(reader, values, workers)


def _check_name(reader: SpecReader, path: str, name: str | None, names: dict[str, str]) -> None:
    if name is None:
        return
    if not _WORKER.fullmatch(name):
        fix = "Use small letters, digits and dashes, a letter first, at most 24 characters"
        reader.add(f"{path}.name", show(name), "this is no name for workers", fix)
    elif name in names:
        reader.add(f"{path}.name", show(name), f"{names[name]} has the same name", "Choose another name")
    names.setdefault(name, path)


def _check_queues(reader: SpecReader, path: str, queues: list[t.Any] | None) -> None:
    if queues is None:
        return
    if not queues:
        reader.add(f"{path}.queues", "an empty list", "these workers would consume nothing", "Name a queue")
    for position, queue in enumerate(queues):
        if queue is not None and not _QUEUE.fullmatch(queue):
            fix = "Use letters, digits and . _ : @ / -, at most 100 characters"
            reader.add(f"{path}.queues[{position}]", show(queue), "this is no name for a queue", fix)
        elif queue is not None and queue in queues[:position]:
            reader.add(f"{path}.queues[{position}]", show(queue), "the queue is named twice", "Remove one")


def _check_bundle_names(reader: SpecReader, path: str, wanted: list[t.Any], bundles: list[str]) -> None:
    for position, name in enumerate(wanted):
        where = f"{path}.bundles[{position}]"
        if name == CANARY_BUNDLE:
            reader.add(where, show(name), "every worker has this bundle", "Remove it")
        elif name is not None and name not in bundles:
            known = f"airflow_bundles has {', '.join(bundles)}" if bundles else "airflow_bundles is empty"
            fix = f"{did_you_mean(name, bundles)} {known}".strip()
            reader.add(where, show(name), "airflow_bundles has no such bundle", fix)


def _check_all_queues(reader: SpecReader, values: Values, workers: list[t.Any]) -> None:
    queues = {
        queue: f"airflow_workers[{index}].queues"
        for index, worker in enumerate(workers)
        for queue in (worker or {}).get("queues") or []
        if queue
    }
    dags: dict[str, str] = {}
    for queue, path in queues.items():
        other = dags.setdefault(canary_dag_id(queue), queue)
        if other != queue:
            problem = f'its canary DAG would have the same ID as that of "{other}"'
            reader.add(path, show(queue), problem, "Rename one of the queues")
    operators = (values["airflow_config"] or {}).get("operators")
    default = operators.get("default_queue") if isinstance(operators, t.Mapping) else None
    default = default if isinstance(default, str) and default else DEFAULT_QUEUE
    complete = all(worker and worker.get("queues") for worker in workers)
    if complete and queues and default not in queues:
        problem = f'no worker consumes "{default}", the queue of tasks that name none'
        fix = f"Add {default} to the queues of a group, or set operators.default_queue in airflow_config"
        reader.add("airflow_workers", f"queues {', '.join(sorted(queues))}", problem, fix)
