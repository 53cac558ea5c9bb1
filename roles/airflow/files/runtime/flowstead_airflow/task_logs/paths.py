# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the path of a log file says about it.

Source: ``[logging] log_filename_template`` of Airflow 3.3.2, FileTaskHandler.add_triggerer_suffix, and
DagFileProcessorManager._render_log_filename.
"""

from __future__ import annotations

import re

_TASK = re.compile(
    r"dag_id=(?P<dag_id>.+?)/run_id=(?P<run_id>.+?)/task_id=(?P<task_id>[^/]+?)/"
    r"(?:map_index=(?P<map_index>\d+)/)?attempt=(?P<try_number>\d+)\.log(?P<trigger>\.trigger(?:\.\d+)?(?:\.log)?)?.*",
    re.DOTALL,
)
_DAG_PROCESSOR = re.compile(r"dag_processor/[^/]+/(?P<bundle>[^/]+)/.+", re.DOTALL)

_ASIDE = re.compile(r"\.log\.\d{10,}\Z")


def describe(relative: str) -> dict[str, str | int]:
    """Component, and what else the path names: dag_id, run_id, task_id, map_index, try_number, bundle.

    Args:
        relative: the path below the log folder.
    """
    task = _TASK.fullmatch(relative)
    if task:
        found: dict[str, str | int] = {"component": "triggerer" if task["trigger"] else "task"}
        for name in ("dag_id", "run_id", "task_id"):
            found[name] = task[name]
        found["map_index"] = int(task["map_index"] or -1)
        found["try_number"] = int(task["try_number"])
        return found
    parsed = _DAG_PROCESSOR.fullmatch(relative)
    if parsed:
        return {"component": "dag_processor", "bundle": parsed["bundle"]}
    return {"component": "airflow"}


def is_trigger(relative: str) -> bool:
    """Whether a triggerer writes this file. It begins the file anew when it gets the same task again."""
    return describe(relative)["component"] == "triggerer"


def set_aside(relative: str, segment: int) -> str:
    """Where a triggerer's file goes that is not delivered yet, so that it is not begun anew over its lines."""
    return f"{relative}.{segment}"


def source_of(relative: str) -> str:
    """The path under which a file's lines are known: without what :func:`set_aside` has added."""
    return _ASIDE.sub(".log", relative)


def is_log(name: str) -> bool:
    """Whether a file's name is one of a log file."""
    return source_of(name).endswith(".log")
