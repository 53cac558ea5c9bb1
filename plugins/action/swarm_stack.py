# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs swarm_stack in slices and shows a line whenever something changes."""

from __future__ import annotations

import time
import typing as t
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.flowstead.airflow.plugins.plugin_utils import inherited as _inherited  # noqa: F401
from ansible_collections.flowstead.airflow.plugins.plugin_utils.compose_file import ComposeFileError, read

display = Display()

#: Seconds that one run of the module may take before it reports.
SLICE = 10.0
#: Seconds without news after which the last news is shown again.
HEARTBEAT = 60.0


class ActionModule(ActionBase):
    """The same options as the module; one combined result."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run the module until it is done."""
        super().run(tmp, task_vars)
        arguments = {key: value for key, value in self._task.args.items() if not key.startswith("_")}
        if arguments.get("compose_file"):
            problem = self._read_compose_file(arguments)
            if problem:
                return {"failed": True, "changed": False, "msg": problem}
        began = shown = time.monotonic()
        last = ""
        resume: str | None = None
        while True:
            extra: dict[str, t.Any] = {"_slice": SLICE}
            if resume is not None:
                extra["_resume"] = resume
            result: dict[str, t.Any] = self._execute_module(
                module_name="flowstead.airflow.swarm_stack",
                module_args={**arguments, **extra},
                task_vars=task_vars,
            )
            lines = result.pop("_progress", None) or []
            resume = result.pop("_resume", None)
            for line in lines:
                display.display(f"  {line}")
            now = time.monotonic()
            if lines:
                last, shown = lines[-1], now
            elif resume is not None and now - shown >= HEARTBEAT:
                display.display(f"  {last or arguments.get('name')}, still waiting after {now - began:.0f} s")
                shown = now
            if resume is None:
                return result

    def _read_compose_file(self, arguments: dict[str, t.Any]) -> str:
        """Put what the file holds into ``definition``; returns what is wrong, or nothing."""
        name, variables = arguments.pop("compose_file"), arguments.pop("compose_variables", None) or {}
        if arguments.get("definition"):
            return "Give either definition or compose_file, not both."
        if not isinstance(variables, dict):
            return "compose_variables is no mapping. Write name: value pairs."
        try:
            arguments["definition"] = read(Path(self._find_needle("files", name)), variables)
        except (AnsibleError, ComposeFileError) as error:
            return str(error)
        return ""
