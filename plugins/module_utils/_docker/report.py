# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment hands back: the module's result, and the story of a failure.

PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t

from . import diagnose

if t.TYPE_CHECKING:
    from .runner import Runner


def result(runner: Runner) -> dict[str, t.Any]:
    """The module's result, as far as things have come."""
    state = runner.state
    own = runner.live.own_services()
    done = {action["name"]: action["action"] for action in state.actions if action["kind"] in ("service", "job")}
    services = {}
    for name, service in runner.stack.services.items():
        found = own.get(service.full_name)
        if found is not None and name not in runner.verdicts:
            runner.verdicts[name] = runner.judge(name, found, touched=False)
        verdict = runner.verdicts.get(name)
        services[name] = {
            "id": found["ID"] if found else "",
            "image": service.spec["TaskTemplate"]["ContainerSpec"]["Image"],
            "action": done.get(name, "none"),
            "job": service.job,
            "running": verdict.running if verdict else 0,
            "desired": verdict.desired if verdict else 0,
        }
    return {
        "changed": bool(state.actions),
        "actions": state.actions,
        "services": services,
        "diff": state.diff,
        "failures": state.failures,
        "rolled_back": False,
    }


def message(runner: Runner, rolled_back: str) -> str:
    """The whole story of a failure; ``rolled_back`` is empty (not tried), ``done``, or what went wrong."""
    names = ", ".join(dict.fromkeys(failure["service"] for failure in runner.state.failures))
    parts = [f"Stack {runner.stack.name} was not deployed: {names} failed."]
    parts += [diagnose.describe(failure) for failure in runner.state.failures]
    jobs = [name for name in runner.state.touched if runner.stack.services[name].job]
    if rolled_back == "done":
        parts.append("Rolled back: every service that this run had changed is as it was before, and runs.")
    elif rolled_back:
        parts.append(f"Rolling back did not work either: {rolled_back}")
    elif not runner.state.touched:
        parts.append("Nothing had been changed, so what ran before still runs.")
    elif runner.options.rollback:
        parts.append("No running service had been changed, so there was nothing to roll back.")
    else:
        parts.append("Nothing was rolled back (rollback: false).")
    if jobs:
        parts.append(f"Jobs cannot be undone: {', '.join(jobs)} ran with the new definition.")
    return "\n".join(parts)
