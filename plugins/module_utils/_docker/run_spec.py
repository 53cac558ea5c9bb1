# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is different in a one-off command from the service whose place it takes.

PRIVATE to the collection. Pure: no I/O.
"""

from __future__ import annotations

import copy
import shlex
import typing as t

from .placement import CONSTRAINT, Node, names_of, narrow, usable
from .units import SECOND

Item = dict[str, t.Any]
#: Words that only a shell understands.
_SHELL = ("|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1")


class BadWish(Exception):
    """Parameters that cannot be meant; the text names all of them, each with the fix."""


class Wishes(t.NamedTuple):
    """How a command's surroundings differ from its service's; what is empty or None is the service's.

    Attributes:
        command: program and arguments; in the place of the service's command.
        entrypoint: in the place of the service's; an empty one is none at all.
        environment: added to the service's, or in the place of the variables with these names.
        constraints: in the place of the service's.
        node: ID of the node, beside the constraints.
        memory_mb: limit of memory, in MiB.
        stop_seconds: between SIGTERM and SIGKILL when its time is up.
    """

    command: list[str]
    entrypoint: list[str] | None = None
    environment: t.Mapping[str, str] | None = None
    image: str = ""
    user: str = ""
    workdir: str = ""
    constraints: list[str] | None = None
    node: str = ""
    memory_mb: int | None = None
    stop_seconds: int = 10


def words_of(command: t.Any) -> list[str]:
    """A command as words: a list as it is, a text cut as a shell would, without a shell.

    Raises:
        BadWish: it is neither, is empty, or needs a shell.
    """
    if isinstance(command, str):
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise BadWish(f"command cannot be cut into words ({error}): give a list, or close the quote") from None
        found = [word for word in words if word in _SHELL]
        if found:
            raise BadWish(
                f"command has {found[0]!r}, which only a shell understands, and no shell runs: "
                "give a list such as ['sh', '-c', 'first | second']"
            )
    elif isinstance(command, list) and all(isinstance(word, (str, int, float)) for word in command):
        words = [str(word) for word in command]
    else:
        raise BadWish("command is no list of texts: give one such as ['airflow', 'db', 'check'], or a text")
    if not words or not words[0]:
        raise BadWish("command is empty: give the program and its arguments")
    return words


def environment_of(given: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Extra environment as texts.

    Raises:
        BadWish: names every variable that is no text or number; its value is not shown.
    """
    bad = [name for name, value in given.items() if isinstance(value, bool) or not isinstance(value, (str, int, float))]
    bad += [name for name in given if not name or "=" in name or "\0" in name]
    if bad:
        raise BadWish(f"environment.{', environment.'.join(bad)} cannot be used: give a name and a text, in quotes")
    return {name: str(value) for name, value in given.items()}


def constraint_problems(constraints: t.Sequence[str]) -> list[str]:
    """Placement constraints that Swarm would not understand."""
    return [
        f"constraints has {text!r}: write one such as node.role==worker or node.labels.zone!=a"
        for text in constraints
        if not CONSTRAINT.match(text)
    ]


def adapt(spec: Item, wishes: Wishes) -> Item:
    """The spec of a job, as ``job_spec.clone`` makes it, with the wishes."""
    made = copy.deepcopy(spec)
    template = made["TaskTemplate"]
    container = template["ContainerSpec"]
    for field, wish in (("Image", wishes.image), ("User", wishes.user), ("Dir", wishes.workdir)):
        if wish:
            container[field] = wish
    if wishes.entrypoint is not None:
        container["Command"] = list(wishes.entrypoint)
    if wishes.entrypoint == []:
        # The engine takes an empty entrypoint for the image's own; a command without arguments has none.
        container["Command"], container["Args"] = container["Args"], []
    if wishes.environment:
        kept = [entry for entry in container.get("Env") or [] if entry.partition("=")[0] not in wishes.environment]
        container["Env"] = kept + [f"{name}={value}" for name, value in wishes.environment.items()]
    container["StopGracePeriod"] = wishes.stop_seconds * SECOND
    if wishes.constraints is not None or wishes.node:
        placement = template.setdefault("Placement", {})
        kept = placement.get("Constraints") or [] if wishes.constraints is None else wishes.constraints
        placement["Constraints"] = [*kept, *([f"node.id=={wishes.node}"] if wishes.node else [])]
    if wishes.memory_mb:
        _limit_memory(template, wishes.memory_mb << 20)
    return made


def _limit_memory(template: Item, memory: int) -> None:
    resources = template["Resources"] = template.get("Resources") or {}
    resources["Limits"] = {**(resources.get("Limits") or {}), "MemoryBytes": memory}
    reservations = resources.get("Reservations") or {}
    if reservations.get("MemoryBytes", 0) > memory:
        reservations["MemoryBytes"] = memory


def candidates(spec: Item, nodes: t.Sequence[Node], wanted: Node | None) -> tuple[list[str], str]:
    """Host names of the nodes that may run a job; and, when there is none, why.

    Args:
        spec: of the job.
        nodes: of the swarm.
        wanted: the one node that was asked for.
    """
    ready = usable(nodes)
    if wanted is not None and wanted["ID"] not in [node["ID"] for node in ready]:
        state, availability = wanted["Status"]["State"], wanted["Spec"]["Availability"]
        return [], f"node {names_of([wanted])} takes no tasks: its state is {state}, its availability {availability}"
    if not ready:
        return [], "no node of this swarm is ready and active (docker node ls)"
    constraints = [
        text
        for text in (spec["TaskTemplate"].get("Placement") or {}).get("Constraints") or []
        if wanted is None or text != f"node.id=={wanted['ID']}"
    ]
    left, reason = narrow(constraints, ready if wanted is None else [wanted])
    if reason and wanted is not None:
        reason = f"node {names_of([wanted])} does not meet the constraints {', '.join(constraints)}"
    elif reason:
        reason += f"; nodes are {names_of(ready)}"
    return [str(node["Description"].get("Hostname", node["ID"])) for node in left], reason
