# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose engine may change next in a swarm: managers one at a time and the leader last, then workers.

PRIVATE to the collection. No I/O.

A restart of an engine ends its containers within seconds, and takes a manager's vote away while it lasts. So a node is
emptied first, and a manager only goes while the others are a majority. The order comes from the live swarm, which is
asked again before each turn: leadership moves.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.formation import STUCK
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.nodes import (
    DRAINED_BY,
    DRAINED_FROM,
    node_hostname,
    node_state,
)

#: Whom a node that is emptied for its turn is drained by, in the label :data:`DRAINED_BY`.
OWNER = "engine-turns"
#: States of a service's update that is not over.
_UPDATING = {
    "updating": "is being updated. Wait until that is over",
    "rollback_started": "is being rolled back. Wait until that is over",
    "paused": "is updated in part, and the update stopped. Deploy it again, or `docker service rollback` it",
    "rollback_paused": "is rolled back in part, and that stopped. Deploy it again",
}

Live = t.Sequence[t.Mapping[str, t.Any]]


@dataclasses.dataclass(frozen=True)
class Member:
    """A host of this run.

    Attributes:
        answer: what ``swarm_node_info`` said there; empty when it did not answer.
        restart: what differs there and needs a restart, as texts.
        reload: what differs and a running engine takes over.
        refused: why this host cannot become what is asked for; empty when it can.
    """

    host: str
    answer: t.Mapping[str, t.Any]
    restart: tuple[str, ...] = ()
    reload: tuple[str, ...] = ()
    refused: str = ""

    @property
    def node_id(self) -> str:
        return str((self.answer.get("swarm") or {}).get("node_id", ""))


@dataclasses.dataclass(frozen=True)
class Turn:
    """What happens to one host.

    Attributes:
        role: ``leader``, ``manager`` or ``worker``.
        action: ``restart`` (emptied, changed, given back), ``reload`` (changed while it works), or ``restore`` (given
            back, since an earlier run ended between).
        why: what differs, as texts.
        alone: no node could take its tasks meanwhile.
    """

    host: str
    id: str
    hostname: str
    role: str
    action: str
    why: tuple[str, ...]
    alone: bool = False

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.host} ({self.role}): {self.action}: {'; '.join(self.why)}"


@dataclasses.dataclass(frozen=True)
class Turns:
    """Who goes when; hosts of one round go together. With problems, nobody may go."""

    rounds: tuple[tuple[Turn, ...], ...] = ()
    problems: tuple[str, ...] = ()


def plan_turns(
    members: t.Sequence[Member],
    live: Live | None,
    services: Live = (),
    *,
    batch: int = 1,
    accept_outage: bool = False,
) -> Turns:
    """Decide whose turn it is, and in which order the others follow.

    Args:
        members: hosts of this run, in the inventory's order.
        live: answer of ``GET /nodes``; None when no manager could be asked.
        services: answer of ``GET /services``.
        batch: how many workers go together.
        accept_outage: go on where the swarm cannot be managed, or runs nothing, for as long as a restart takes.
    """
    problems = [text for member in members for text in _problems_of_host(member, live)]
    if live is None:
        problems.append(
            "None of these hosts answers as a manager of a swarm that has a leader. Check that Docker runs on "
            "the managers "
            "(systemctl status docker) and that more than half of them are up, and that --limit leaves one in."
        )
        return Turns(problems=tuple(problems))
    nodes = {node["ID"]: node for node in live}
    turns = [turn for member in members if member.node_id in nodes for turn in _turn(member, nodes[member.node_id])]
    rounds = [_mark_alone(found, live) for found in _in_order(turns, max(batch, 1))]
    if turns:
        problems += _problems_of_swarm(live, services)
        restarting = [turn for turn in turns if turn.action == "restart"]
        managers = [turn for turn in restarting if turn.role != "worker"]
        problems += _problems_of_majority(live, managers, accept_outage)
        problems += _problems_of_capacity(rounds, accept_outage)
    return Turns(tuple(rounds), tuple(problems))


def _turn(member: Member, node: t.Mapping[str, t.Any]) -> list[Turn]:
    labels = node["Spec"].get("Labels") or {}
    ours = node["Spec"]["Availability"] == "drain" and labels.get(DRAINED_BY) == OWNER
    if member.restart:
        action, why = "restart", (*member.restart, *member.reload)
    elif ours:
        action = "restore"
        why = ("was drained for its turn, and an earlier run ended before it was given back", *member.reload)
    elif member.reload:
        action, why = "reload", member.reload
    else:
        return []
    status = node.get("ManagerStatus") or {}
    role = "worker" if node["Spec"]["Role"] == "worker" else "leader" if status.get("Leader") else "manager"
    return [Turn(member.host, node["ID"], node_hostname(node), role, action, why)]


def _in_order(turns: t.Sequence[Turn], batch: int) -> list[tuple[Turn, ...]]:
    """Who only has to be given back goes first: others may need it."""
    back = tuple(turn for turn in turns if turn.action == "restore")
    going = [turn for turn in turns if turn.action != "restore"]
    managers = sorted((turn for turn in going if turn.role != "worker"), key=lambda turn: turn.role == "leader")
    workers = [turn for turn in going if turn.role == "worker"]
    batches = [tuple(workers[first : first + batch]) for first in range(0, len(workers), batch)]
    return [*([back] if back else []), *((turn,) for turn in managers), *batches]


def _mark_alone(found: tuple[Turn, ...], live: Live) -> tuple[Turn, ...]:
    leaving = {turn.id for turn in found if turn.action == "restart"}
    alone = not any(_takes_tasks(node) for node in live if node["ID"] not in leaving)
    return tuple(dataclasses.replace(turn, alone=alone and turn.id in leaving) for turn in found)


def _takes_tasks(node: t.Mapping[str, t.Any]) -> bool:
    """Whether a node takes tasks, or will once it is given back."""
    labels = node["Spec"].get("Labels") or {}
    now = node["Spec"]["Availability"]
    if now == "drain" and labels.get(DRAINED_BY) == OWNER:
        now = labels.get(DRAINED_FROM, now)
    return bool(now == "active") and node_state(node) == "ready"


def _problems_of_host(member: Member, live: Live | None) -> list[str]:
    host, engine, swarm = member.host, member.answer.get("engine"), member.answer.get("swarm")
    problems = []
    if not engine or not swarm:
        problems.append(
            f"{host}: cannot be reached, so nobody knows what its engine is. Bring it back, or leave it out."
        )
    elif not engine["reachable"]:
        problems.append(
            f"{host}: {engine['error']} Start it there (journalctl -u docker says why it ended); the playbook "
            "engine with "
            f"--limit {host} installs and starts it."
        )
    elif swarm["state"] in STUCK:
        problems.append(f"{host}: {STUCK[swarm['state']].format(error=swarm['error'] or 'none')}.")
    elif swarm["state"] != "active":
        problems.append(f"{host}: is in no swarm. Run the playbook swarm first, or leave it out with --limit.")
    elif live is not None and member.node_id not in {node["ID"] for node in live}:
        problems.append(f"{host}: is in another swarm, which does not know its node ID {member.node_id}.")
    if member.refused:
        problems.append(f"{host}: {member.refused}")
    return problems


def _problems_of_swarm(live: Live, services: Live) -> list[str]:
    problems = []
    for node in live:
        if node_state(node) != "ready":
            problems.append(
                f"Node {node_hostname(node)} ({node['ID']}) is {node_state(node)}. Bring it back; if it is gone for "
                "good, "
                f"the playbook remove_node takes its record away (-e swarm_remove_node={node['ID']} "
                "-e swarm_remove_gone=true)."
            )
    for service in services:
        state = str((service.get("UpdateStatus") or {}).get("State", ""))
        if state in _UPDATING:
            problems.append(f"Service {service['Spec']['Name']} {_UPDATING[state]}.")
    return problems


def _problems_of_majority(live: Live, managers: t.Sequence[Turn], accept_outage: bool) -> list[str]:
    voters = [node for node in live if node["Spec"]["Role"] == "manager"]
    silent = [node for node in voters if (node.get("ManagerStatus") or {}).get("Reachability") != "reachable"]
    reachable, needed = len(voters) - len(silent), len(voters) // 2 + 1
    if not managers or reachable - 1 >= needed:
        return []
    names = ", ".join(turn.host for turn in managers)
    if len(voters) <= 2 and not silent:
        if accept_outage:
            return []
        return [
            f"The swarm has {len(voters)} manager(s), and without {names} it has no majority: while that engine "
            "restarts, "
            "nothing can be deployed, and tasks that end are not replaced. Add managers until there are three, "
            "or accept it "
            "with -e docker_engine_accept_outage=true."
        ]
    return [
        f"The engine of a manager ({names}) would restart, and {reachable} of {len(voters)} managers are reachable: "
        f"without one more there is no majority of {needed}. Not reachable: "
        f"{', '.join(sorted(map(node_hostname, silent)))}. Bring them back first (`docker node ls`)."
    ]


def _problems_of_capacity(rounds: t.Sequence[tuple[Turn, ...]], accept_outage: bool) -> list[str]:
    alone = [turn.host for found in rounds for turn in found if turn.alone]
    if not alone or accept_outage:
        return []
    return [
        f"While {', '.join(alone)} is changed, no other node is ready and active, so all services would stop. "
        "Let fewer "
        "workers go together (docker_engine_batch), let another node take tasks, or accept it with "
        "-e docker_engine_accept_outage=true."
    ]
