# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Before a deployment: read, choose images, plan, and write what services will need.

PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t

from . import compile as compiling
from . import images, lint, placement, recreating, report, waiting
from . import live as living
from . import plan as planning
from .definition import part_of
from .engine import EngineError, EngineUnreachable
from .live import Live, NotASwarmManager
from .objects import PATHS
from .schema import Problem
from .waiting import Memory

if t.TYPE_CHECKING:
    from .runner import Runner


class Impossible(Exception):
    """The plan cannot be carried out; nothing has been written.

    Attributes:
        problems: all of them.
    """

    def __init__(self, problems: t.Sequence[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = list(problems)


def read_first(runner: Runner) -> None:
    """Read the swarm; in check mode, an engine or a swarm that is not there yet counts as empty.

    Raises:
        NotASwarmManager, EngineUnreachable: outside check mode.
        EngineError: as reading raises it.
    """
    try:
        runner.live = living.read(runner.engine, runner.options.name)
    except (EngineUnreachable, NotASwarmManager) as error:
        if not runner.options.check:
            raise
        runner.state.notes.append(f"everything is planned as new: {error}")
        runner.live = Live(runner.options.name)


def plan_all(runner: Runner) -> tuple[planning.Plan, list[Problem]]:
    """Choose images and plan: what is to be done, and everything that forbids it. Writes nothing."""
    state, options = runner.state, runner.options
    own = runner.live.own_services()
    chosen = images.choose(
        runner.engine,
        options.definition.get("services", {}),
        {
            name: own[full]
            for name in options.definition.get("services", {})
            if (full := f"{options.name}_{name}") in own
        },
        policy=options.resolve_image if runner.live.nodes else "never",
        auth=options.registry_auth,
        single_node=len(runner.live.nodes) == 1,
    )
    state.images = chosen.chosen
    state.notes += chosen.notes
    problems = chosen.problems
    if options.check:
        # In check mode an earlier task may only have announced that it builds the image.
        state.notes += [str(problem) for problem in problems]
        problems = []
    runner.compile()
    plan = planning.make_plan(runner.stack, runner.live, options.prune, options.keep_objects, options.recreate)
    problems += plan.problems
    problems += placement.check_placement(runner.stack, runner.live.nodes)
    problems += placement.check_ports(runner.stack, runner.live.services)
    return plan, problems


def problems_beside(runner: Runner, known: t.Sequence[Problem]) -> list[Problem]:
    """What the swarm says against the sound part of a definition, the problems of which are ``known``.

    Nothing when it cannot be asked: there is enough to put right already.
    """
    wrong = {part_of(problem) for problem in known}
    if any(len(part) < 2 and part != ("object_key",) for part in wrong):
        return []  # a name, a circle of services: what concerns all of it
    try:
        read_first(runner)
        found = plan_all(runner)[1]
    except (EngineUnreachable, EngineError, NotASwarmManager):
        return []
    return [problem for problem in found if part_of(problem) not in wrong]


def start(runner: Runner) -> dict[str, t.Any] | None:
    """Choose images, plan, and write what services need.

    Returns:
        The result when that is all (check mode), else None.

    Raises:
        Impossible: with everything that forbids the plan; nothing has been written.
    """
    state, options = runner.state, runner.options
    own = runner.live.own_services()
    plan, problems = plan_all(runner)
    if problems:
        raise Impossible(problems)
    definition = options.definition
    for action in plan.services:
        service = definition["services"][action.name]
        state.notes += lint.hints(action.name, service, definition.get("volumes", {}), len(runner.live.nodes))
    if options.check:
        for action in plan.actions():
            runner.record(action)
        return report.result(runner)
    for wanted in runner.stack.services.values():
        found = own.get(wanted.full_name)
        if found is not None:
            failed = waiting.failed_before(found, runner.live.tasks_of(found["ID"]))
            state.memory[wanted.name] = Memory(old_failures=failed)
    if recreating.begin(runner, plan):
        state.phase = "recreate"
    else:
        create_all(runner)
    return None


def create_all(runner: Runner) -> None:
    """Write networks, secrets and configs that are not there."""
    options = runner.options
    for action in planning.make_plan(runner.stack, runner.live, options.prune, options.keep_objects).creates:
        anew = runner.state.old_networks.get(action.name) if action.kind == "network" else None
        _create(runner, action._replace(**anew["action"]) if anew else action)
        if anew:
            runner.state.new_networks.append(action.name)


def _create(runner: Runner, action: planning.Action) -> None:
    if action.kind == "network":
        network = next(item for item in runner.stack.networks.values() if item.full_name == action.name)
        made = runner.engine.post("/networks/create", {**(network.spec or {}), "CheckDuplicate": True})
        runner.live.networks.append({"Id": made["Id"], "Name": action.name, "Labels": (network.spec or {})["Labels"]})
    else:
        item = next(item for item in runner.stack.objects() if (item.kind, item.name) == action[:2])
        body = compiling.object_body(runner.stack.name, item)
        made = runner.engine.post(f"{PATHS[item.kind]}/create", body)
        found = {"ID": made["ID"], "Spec": {"Name": item.name, "Labels": body["Labels"]}}
        (runner.live.secrets if item.kind == "secret" else runner.live.configs).append(found)
    runner.record(action)
