# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which manager's state is kept, and whether one may be restored: decided from what all hosts say.

PRIVATE to the collection. No I/O.
"""

from __future__ import annotations

import typing as t

Members = t.Mapping[str, t.Mapping[str, t.Any]]


def plan_backup(members: Members, wanted: str = "", accept_outage: bool = False) -> dict[str, t.Any]:
    """Choose the manager whose engine is stopped for a backup.

    Args:
        members: inventory host -> what ``swarm_node_info`` said there, in order of the inventory. Hosts that could
            not be asked have no ``swarm``.
        wanted: host that a person has chosen, or "".
        accept_outage: also where the swarm cannot be managed while the engine is stopped.

    Returns:
        ``host`` (or ""), ``entry`` (another manager, to drain it through, or ""), ``node_id``, ``drain`` (whether
        tasks have to leave it first, and can), ``outage`` (whether the swarm cannot be managed meanwhile) and
        ``problems``.
    """
    plan: dict[str, t.Any] = {"host": "", "entry": "", "node_id": "", "drain": False, "outage": False, "problems": []}
    working = working_managers(members)
    problems = _problems_of_managers(members, working)
    if wanted and wanted not in working and not problems:
        problems.append(
            f"{wanted} (swarm_backup_host) is no manager that works. These are: {', '.join(working)}. Name one of "
            "them, or none."
        )
    if problems:
        return {**plan, "problems": problems}
    nodes = {node["id"]: node for node in next(iter(working.values()))["nodes"]}
    managers = [node for node in nodes.values() if node["role"] == "manager"]
    own = {host: nodes[node["swarm"]["node_id"]] for host, node in working.items() if node["swarm"]["node_id"] in nodes}
    host = wanted or _best(own)
    chosen = own[host]
    outage = _outage(managers, chosen)
    if outage and not accept_outage:
        problems.append(
            f"Nothing was stopped. {outage} Take the backup when that does no harm, and say so: -e "
            "swarm_backup_accept_outage=true."
        )
    elif chosen["leader"] and len(managers) > 1 and not accept_outage:
        problems.append(
            f"{host} leads the swarm, and stopping it would have the others elect a leader. Name another manager in "
            f"swarm_backup_host, or none. Managers that work: {', '.join(working)}."
        )
    others = [
        node
        for node in nodes.values()
        if node is not chosen and node["state"] == "ready" and node["availability"] == "active"
    ]
    entry = next((other for other in working if other != host), "")
    return {
        "host": "" if problems else host,
        "entry": entry,
        "node_id": chosen["id"],
        "drain": bool(chosen["availability"] != "drain" and others and entry),
        "outage": bool(outage),
        "problems": problems,
    }


def plan_restore(members: Members, host: str, force: bool = False) -> list[str]:
    """What speaks against restoring a swarm onto a host; nothing when it may be done.

    Args:
        members: as for :func:`plan_backup`.
        force: restore also while managers work, or may.
    """
    if not host:
        return [
            "swarm_restore_host is empty, so nothing was changed. Name the host that is to be the first manager "
            "again, by its name in the inventory: -e swarm_restore_host=HOST."
        ]
    if host not in members:
        return [f"{host} (swarm_restore_host) is not in this inventory, or not in this play. Nothing was changed."]
    if "swarm" not in members[host]:
        return [
            f"{host} (swarm_restore_host) could not be asked. Nothing was changed. Make sure that it can be reached."
        ]
    alive = [f"{name} manages swarm {node['swarm']['cluster_id']}" for name, node in working_managers(members).items()]
    alive += [
        f"{name} is locked, and may work once it has the unlock key (playbook swarm)"
        for name, node in members.items()
        if (node.get("swarm") or {}).get("state") == "locked" and name != host
    ]
    if not alive or force:
        return []
    return [
        f"Nothing was changed, because a swarm is there: {'; '.join(alive)}. Restoring an older one beside it makes "
        "two of them, and whatever was written since the backup is lost. A swarm that lost some of its managers "
        "needs no backup: rebuild those and run site. If you do want to go back, first let these hosts leave "
        "(`docker swarm leave --force`), or say -e swarm_restore_force=true."
    ]


def working_managers(members: Members) -> dict[str, t.Mapping[str, t.Any]]:
    """Hosts that manage a swarm which has a leader."""
    return {
        host: node
        for host, node in members.items()
        if "swarm" in node
        and node["swarm"]["state"] == "active"
        and node["swarm"]["manager"]
        and not node["cluster"].get("error")
    }


def _problems_of_managers(members: Members, working: Members) -> list[str]:
    if not working:
        silent = [host for host, node in members.items() if "swarm" not in node]
        said = f" Not asked, because they could not be reached: {', '.join(silent)}." if silent else ""
        return [f"No host of this inventory manages a swarm that works, so there is nothing to keep.{said}"]
    clusters = sorted({node["swarm"]["cluster_id"] for node in working.values()})
    if len(clusters) > 1:
        return [f"The hosts of this inventory manage {len(clusters)} swarms: {', '.join(clusters)}. Take one of them."]
    return []


def _best(own: t.Mapping[str, t.Mapping[str, t.Any]]) -> str:
    """The manager that is missed least: it does not lead, takes no tasks if there is one, and comes last."""
    ranked = sorted(own, key=lambda host: (own[host]["leader"], own[host]["availability"] != "drain"))
    best = (own[ranked[0]]["leader"], own[ranked[0]]["availability"] != "drain")
    return [host for host in ranked if (own[host]["leader"], own[host]["availability"] != "drain") == best][-1]


def _outage(managers: t.Sequence[t.Mapping[str, t.Any]], chosen: t.Mapping[str, t.Any]) -> str:
    if len(managers) == 1:
        return (
            "This swarm has one manager, and a backup needs its engine to be stopped: all that runs on it stops "
            "meanwhile, and nothing is started again anywhere."
        )
    left = [node for node in managers if node is not chosen and node["reachability"] == "reachable"]
    majority = len(managers) // 2 + 1
    if len(left) >= majority:
        return ""
    missing = [node["hostname"] for node in managers if node["reachability"] != "reachable"]
    return (
        f"This swarm has {len(managers)} managers, and {majority} of them have to work. With the engine of "
        f"{chosen['hostname']} stopped it would be {len(left)}, so that nothing is started again anywhere meanwhile."
        + (f" Not reachable: {', '.join(missing)}; bring them back first." if missing else "")
    )
