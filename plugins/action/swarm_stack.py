# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs swarm_stack in slices and shows a line whenever something changes."""

from __future__ import annotations

import time
import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.flowstead.airflow.plugins.plugin_utils import inherited as _inherited  # noqa: F401

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
