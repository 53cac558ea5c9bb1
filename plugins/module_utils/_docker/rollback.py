# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Back to what ran before: the specs from before the first write, in reverse order.

PRIVATE to the collection. Swarm's own ``rollback=previous`` is not used: every write overwrites what it would go
back to. Jobs are left alone: what a migration has done to a database stays done.
"""

from __future__ import annotations

import typing as t

from . import compare, recreating, waiting
from .engine import EngineError
from .waiting import CONVERGED, Memory

if t.TYPE_CHECKING:
    from .runner import Runner

#: Longest time in seconds that restored services get to converge.
LONGEST = 600.0
#: How often somebody else's write may come between.
TRIES = 3


def begin_rollback(runner: Runner) -> None:
    """Write the old specs; remove services that this run created."""
    # What was taken away to be made anew, and is not there yet, comes back first.
    runner.state.touched.update(runner.state.removed)
    runner.state.removed = {}
    if runner.state.old_networks:
        try:
            recreating.restore_networks(runner)
        except EngineError as error:
            runner.state.notes.append(f"a network could not be rolled back: {error.message}")
    for name in reversed(list(runner.state.touched)):
        if runner.stack.services[name].job:
            continue
        before = runner.state.touched[name]
        try:
            _restore(runner, f"{runner.stack.name}_{name}", name, before)
        except EngineError as error:
            runner.state.notes.append(f"{name} could not be rolled back: {error.message}")


def _restore(runner: Runner, full_name: str, name: str, before: dict[str, t.Any] | None) -> None:
    before = recreating.with_targets(before, runner.live.ids()["network"]) if before else before
    for attempt in range(TRIES):
        found = runner.live.own_services().get(full_name)
        if before is None:
            if found is not None:
                runner.engine.delete(f"/services/{found['ID']}")
                _record(runner, name, "remove", "rolled back: it did not exist before")
            return
        if found is None:
            runner.engine.post("/services/create", before)
            _record(runner, name, "create", "rolled back")
            return
        if compare.same(before, found["Spec"], runner.live.network_names()):
            return
        if set(before["Mode"]) != set(found["Spec"]["Mode"]):
            runner.engine.delete(f"/services/{found['ID']}")
            runner.engine.post("/services/create", before)
            _record(runner, name, "recreate", "rolled back to its previous mode")
            return
        try:
            version = {"version": str(found["Version"]["Index"])}
            runner.engine.post(f"/services/{found['ID']}/update", before, version)
        except EngineError as error:
            if not error.out_of_sequence or attempt + 1 == TRIES:
                raise
            runner.live.services = runner.engine.get("/services", {"status": "true"}) or []
            continue
        runner.state.memory[name] = Memory()
        _record(runner, name, "update", "rolled back to its previous definition")
        return


def _record(runner: Runner, name: str, action: str, reason: str) -> None:
    runner.state.actions.append({"kind": "service", "name": name, "action": action, "reason": reason})


def rollback_is_over(runner: Runner) -> tuple[bool, list[str], str]:
    """Whether the restored services run again: (over, lines, what went wrong or nothing)."""
    own = runner.live.own_services()
    waiting_for: dict[str, list[str]] = {}
    wrong = [note for note in runner.state.notes if "could not be rolled back" in note]
    for name, before in runner.state.touched.items():
        if runner.stack.services[name].job:
            continue
        found = own.get(f"{runner.stack.name}_{name}")
        if before is None or found is None:
            if (before is None) != (found is None):
                wrong.append(f"{name} is {'still there' if found else 'gone'}")
            continue
        verdict, memory = waiting.judge(
            found,
            runner.live.tasks_of(found["ID"]),
            touched=False,
            memory=runner.state.memory.get(name, Memory()),
            limits=runner.options.limits,
            now=runner.clock(),
        )
        runner.state.memory[name] = memory
        runner.verdicts[name] = verdict
        if verdict.state != CONVERGED and not verdict.draining:
            waiting_for.setdefault(verdict.text, []).append(name)
    entries = [f"{', '.join(names)} {what}" for what, names in waiting_for.items()]
    text = "; ".join(entries)
    lines = []
    if text and runner.state.statuses.get("") != text:
        lines.append(f"{runner.stack.name}: rolling back: {text}")
        runner.state.statuses[""] = text
    late = runner.clock() - runner.state.rollback_began >= min(runner.options.timeout, LONGEST)
    if waiting_for and not late:
        return False, lines, ""
    if waiting_for:
        wrong += [f"{entry} (gave up waiting)" for entry in entries]
    return True, lines, "; ".join(wrong)
