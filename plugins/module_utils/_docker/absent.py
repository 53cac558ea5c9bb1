# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes a stack away: services, then what their tasks held, then networks, secrets and configs. Never volumes.

PRIVATE to the collection.
"""

from __future__ import annotations

import time
import typing as t

from . import compare, diagnose, job_end
from .cleanup import delete
from .engine import Engine, EngineUnreachable
from .live import NotASwarmManager, NotInSwarm, check_manager
from .objects import STACK_LABEL, TERMINAL
from .runner import POLL, SHORTEST_SLICE, Step
from .state import Options, State
from .waiting import is_job


class Remover:
    """One removal of one stack; same arguments as ``runner.Runner``."""

    def __init__(
        self,
        engine: Engine,
        options: Options,
        state: State | None = None,
        clock: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self.engine = engine
        self.options = options
        self.state = state or State(clock())
        self.clock = clock
        self.sleep = sleep
        self.label = f"{STACK_LABEL}={options.name}"

    def run(self, slice_seconds: float | None = None) -> Step:
        """Go on until the end, or until the slice is over.

        Raises:
            NotASwarmManager, EngineUnreachable, EngineError: as reading and writing raise them.
        """
        began = self.clock()
        try:
            check_manager(self.engine.get("/info"))
        except (EngineUnreachable, NotASwarmManager) as error:
            if not self.options.check and not isinstance(error, NotInSwarm):
                raise
            self.state.notes.append(f"nothing to remove is known: {error}")
            return Step([], self._result())
        lines: list[str] = []
        while True:
            step = self._step()
            lines += step.lines
            now = self.clock()
            over = slice_seconds is not None and (
                now - began >= slice_seconds or (bool(lines) and now - began >= SHORTEST_SLICE)
            )
            if step.result is not None or over:
                return step._replace(lines=lines)
            self.sleep(POLL)

    def _step(self) -> Step:
        working = []
        for service in self._find("/services"):
            if not self.options.check and is_job(service) and not job_end.stop(self.engine, service):
                working.append(service["Spec"]["Name"])
                continue
            before = compare.dump(compare.canonical(service["Spec"], {}))
            self._remove("service", service["Spec"]["Name"], f"/services/{service['ID']}", before)
        if working:
            return self._waiting([f"the command of job {name} is being stopped" for name in working])
        if not self.options.check:
            left = self._left()
            if left and self.options.wait:
                return self._waiting(left)
        held = [
            network["Name"]
            for network in self._find("/networks")
            if not self._remove("network", network["Name"], f"/networks/{network['Id']}", "", in_use=True)
        ]
        kept = [
            item["Spec"]["Name"]
            for kind in ("secret", "config")
            for item in self._find(f"/{kind}s")
            if not self._remove(kind, item["Spec"]["Name"], f"/{kind}s/{item['ID']}", "", in_use=True)
        ]
        if (held or kept) and self.options.wait:
            return self._waiting([f"{name} is still in use" for name in [*held, *kept]])
        return Step([], self._result())

    def _find(self, path: str) -> list[dict[str, t.Any]]:
        return self.engine.get(path, {"filters": {"label": [self.label]}}) or []

    def _remove(self, kind: str, name: str, path: str, before: str, in_use: bool = False) -> bool:
        if not self.options.check and not delete(self.engine, path, in_use):
            return False
        title = f"{kind} {name}"
        action = {"kind": kind, "name": name, "action": "remove", "reason": "state is absent"}
        self.state.actions.append(action)
        self.state.diff.append(
            {"before_header": title, "after_header": title, "before": before or f"name: {name}\n", "after": ""}
        )
        return True

    def _left(self) -> list[str]:
        """Tasks anywhere in the swarm, and containers on this node, that have not ended."""
        tasks = [task for task in self._find("/tasks") if task["Status"]["State"] not in TERMINAL]
        left: dict[str, int] = {}
        for task in tasks:
            name = (task["Spec"].get("ContainerSpec") or {}).get("Image", "").partition("@")[0]
            left[name] = left.get(name, 0) + 1
        if left:
            return [f"tasks of {name} are stopping ({count})" for name, count in sorted(left.items())]
        containers = self._find("/containers/json")
        return [f"containers are stopping ({len(containers)})"] if containers else []

    def _waiting(self, left: list[str]) -> Step:
        text = "; ".join(left)
        elapsed = self.clock() - self.state.began
        if elapsed >= self.options.timeout:
            failure: dict[str, t.Any] = {
                "service": self.options.name,
                "cause": "timeout",
                "node": "",
                "exit_code": None,
                "message": text,
                "log": [],
                "advice": "A task stops within its stop_grace_period; raise timeout, or run again later.",
            }
            self.state.failures.append(failure)
            message = f"Stack {self.options.name} is not gone yet.\n{diagnose.describe(failure)}"
            return Step([], self._result(), message)
        lines = []
        if self.state.statuses.get("") != text:
            self.state.statuses[""] = text
            lines.append(f"{self.options.name}: {text} ({elapsed:.0f} s)")
        return Step(lines, None)

    def _result(self) -> dict[str, t.Any]:
        state = self.state
        return {
            "changed": bool(state.actions),
            "actions": state.actions,
            "services": {},
            "diff": state.diff,
            "failures": state.failures,
            "rolled_back": False,
        }
