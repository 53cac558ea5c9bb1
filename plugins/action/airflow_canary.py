# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the canaries in slices and print a line whenever something changes."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.flowstead.airflow.plugins.plugin_utils import inherited as _inherited  # noqa: F401

#: Seconds after which the controller hears from the target again, also when nothing changed.
SLICE_SECONDS = 15.0

display = Display()


class ActionModule(ActionBase):
    """Progress for M(flowstead.airflow.airflow_canary)."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Repeat the module until it has a result."""
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        arguments = {name: value for name, value in self._task.args.items() if not name.startswith("_")}
        resume: str | None = None
        while True:
            answer = self._execute_module(
                module_name="flowstead.airflow.airflow_canary",
                module_args={**arguments, "_slice": SLICE_SECONDS, "_resume": resume},
                task_vars=task_vars,
            )
            for line in answer.pop("progress", []):
                display.display(line)
            resume = answer.pop("_resume", None)
            if resume is None:
                result.update(answer)
                return result
