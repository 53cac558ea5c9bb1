# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who founds the swarm, who joins it, and through whom: decided from the live state of all hosts.

PRIVATE to the collection. No I/O.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._swarm import pools
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.survey import (
    Settings,
    advice_on_managers,
    drift,
    member_addresses,
    networks_of,
    problems_of_addresses,
    problems_of_ports,
    settled,
    wanted_nodes,
)

#: Where a node stands that is neither outside of a swarm nor a working member of one.
STUCK = {
    "pending": (
        "has been joining a swarm and gets no answer from it ('pending'). Either its managers cannot be reached "
        "on port 2377/tcp, or it was removed from the swarm meanwhile. If it was: "
        "run `docker swarm leave --force` there, then this playbook again"
    ),
    "error": "cannot take part in its swarm ('error'). Its own words: {error}",
    "locked": (
        "is a manager of a locked swarm and waits for its key. Set swarm_unlock_key or swarm_unlock_key_file and run "
        "this without --limit, or run `docker swarm unlock` there, then this playbook again; never let it join anew"
    ),
}


def plan_formation(
    members: t.Mapping[str, t.Mapping[str, t.Any]],
    managers: t.Sequence[str],
    workers: t.Sequence[str],
    *,
    check_mode: bool = False,
    settings: Settings | None = None,
) -> dict[str, t.Any]:
    """Decide how the inventory's hosts become one swarm.

    Args:
        members: inventory host -> what ``swarm_node_info`` said there. A host that could not be asked is missing.
        managers: inventory hosts that are to be managers, in order of the inventory.
        workers: inventory hosts that are to be workers.
        check_mode: a host without an engine is then taken for one that will get it.
        settings: what the whole swarm is to be; Docker's choices when None.

    Returns:
        ``founder`` (host that initialises, or ""), ``entry`` (host with a manager to join through and to ask),
        ``cluster_id``, ``addresses`` (manager addresses to join, the entry's first), ``managers`` and
        ``workers`` (hosts that have to join), ``compare`` (members whose bridge differs from the wanted one),
        ``autolock`` (whether managers lock),
        ``nodes`` (what each host of the run is to be), ``settled`` (whether all nodes are that already),
        ``member_addresses``, ``warnings`` and ``problems`` (texts; when there are any, nothing may be done).
    """
    settings = settings or Settings()
    problems = _problems_of_hosts(members, managers, workers, check_mode)
    problems += problems_of_addresses(members)
    active = {host: node for host, node in members.items() if node["swarm"]["state"] == "active"}
    in_charge = {host: node for host, node in active.items() if node["swarm"]["manager"]}
    # A manager whose swarm has no leader does not know the swarm's ID.
    clusters = sorted({node["swarm"]["cluster_id"] for node in in_charge.values()} - {""})
    if len(clusters) > 1:
        problems.append(_two_swarms(in_charge, clusters))
    working = [host for host in in_charge if not in_charge[host]["cluster"].get("error")]
    headless = sorted(set(in_charge) - set(working))
    if headless:
        problems.append(_without_leader({host: in_charge[host] for host in headless}))
    entry = next((host for host in [*managers, *workers, *working] if host in working), "")
    founder = ""
    locked = sorted(host for host, node in members.items() if node["swarm"]["state"] == "locked")
    if not problems and not entry and not locked:
        founder = _founder(members, active, managers, problems)
        entry = founder
    live = in_charge.get(entry)
    if live and len(clusters) == 1:
        problems.extend(_strangers(live, active, in_charge))
    joining = [host for host in members if host not in active and host != founder and host not in locked]
    problems += problems_of_ports(members, [founder, *joining], [founder, *managers])
    if founder:
        problems += pools.refuse_overlap(settings.address_pools, settings.subnet_size, networks_of(members))
    nodes = wanted_nodes(members, managers)
    warnings = advice_on_managers(managers)
    is_settled = False
    if locked and not problems:
        warnings.append(
            f"{', '.join(locked)}: locked. A real run unlocks them first"
            + ("." if entry else ", and what else it changes cannot be told before.")
        )
        # Without a manager that works nothing can be planned, and nobody could be asked.
        is_settled = not entry
        joining = joining if entry else []
    if live and not problems:
        warnings += drift(members, live, settings)
        try:
            present = [node for node in nodes if node["host"] not in locked]
            is_settled = not joining and settled(live["nodes"], present, settings)
        except SwarmProblem as problem:
            problems.append(str(problem))
    return {
        "founder": "" if problems else founder,
        "entry": entry,
        "cluster_id": clusters[0] if len(clusters) == 1 else "",
        "addresses": _addresses(live) if live else [],
        "managers": [host for host in managers if host in joining],
        "workers": [host for host in workers if host in joining],
        "compare": [host for host, node in active.items() if _has_other_bridge(node)],
        "autolock": bool(live and live["cluster"].get("autolock")),
        "nodes": [node for node in nodes if node["host"] not in locked],
        "settled": is_settled,
        "member_addresses": member_addresses(members, live),
        "warnings": warnings,
        "problems": problems,
    }


def _problems_of_hosts(
    members: t.Mapping[str, t.Mapping[str, t.Any]],
    managers: t.Sequence[str],
    workers: t.Sequence[str],
    check_mode: bool,
) -> list[str]:
    problems = []
    if not managers:
        problems.append("The inventory names no manager. Put one, three or five hosts into the group of managers.")
    for host in sorted(set(managers) & set(workers)):
        problems.append(f"{host}: is in the groups of managers and of workers. Leave it in one of them.")
    for host, node in members.items():
        state = node["swarm"]["state"]
        if not node["engine"]["reachable"] and not check_mode:
            problems.append(f"{host}: {node['engine']['error']}")
        elif state in STUCK and not (state == "locked" and check_mode):
            problems.append(f"{host}: {STUCK[state].format(error=node['swarm']['error'] or 'none')}.")
    return problems


def _without_leader(headless: t.Mapping[str, t.Mapping[str, t.Any]]) -> str:
    said = next(iter(headless.values()))["cluster"]["error"]
    return (
        f"{', '.join(headless)}: the swarm has no leader, because no majority of its managers reach each other. "
        f"Its own words: {said} Nothing was changed, since every change could make it worse. Start the managers that "
        "are down, and check 2377/tcp among all of them; then run this again. Only when they are lost for good: on ONE "
        "manager that is left run `docker swarm init --force-new-cluster --advertise-addr ITS_ADDRESS` (services, "
        "secrets and configs stay), on the other managers that are left `docker swarm leave --force`, "
        "and then this playbook."
    )


def _has_other_bridge(node: t.Mapping[str, t.Any]) -> bool:
    asked = (node.get("wanted") or {}).get("gwbridge_subnet", "")
    return bool(asked) and asked not in node.get("gwbridge", [])


def _two_swarms(in_charge: t.Mapping[str, t.Mapping[str, t.Any]], clusters: t.Sequence[str]) -> str:
    named = "; ".join(
        f"{cluster}: "
        + ", ".join(sorted(host for host in in_charge if in_charge[host]["swarm"]["cluster_id"] == cluster))
        for cluster in clusters
    )
    return (
        f"The inventory's hosts manage {len(clusters)} different swarms ({named}). Decide which one stays; "
        "on the hosts of the others run `docker swarm leave --force` (this ends what runs there), then this playbook."
    )


def _founder(
    members: t.Mapping[str, t.Mapping[str, t.Any]],
    active: t.Mapping[str, t.Mapping[str, t.Any]],
    managers: t.Sequence[str],
    problems: list[str],
) -> str:
    if active:
        problems.append(
            f"{', '.join(sorted(active))}: already in a swarm whose managers are not in this inventory. "
            "Add them to the group of managers, or run `docker swarm leave` on these hosts."
        )
        return ""
    silent = [host for host in managers if host not in members]
    if silent:
        problems.append(
            f"{', '.join(silent)}: did not say whether a swarm exists. Founding one now could make a second one. "
            "Bring these hosts back, or take them out of the group of managers."
        )
        return ""
    return managers[0]


def _strangers(
    entry: t.Mapping[str, t.Any],
    active: t.Mapping[str, t.Mapping[str, t.Any]],
    in_charge: t.Mapping[str, t.Mapping[str, t.Any]],
) -> list[str]:
    known = {node["id"] for node in entry["nodes"]}
    return [
        f"{host}: is a worker of another swarm (its node ID {active[host]['swarm']['node_id']} is unknown to "
        f"swarm {entry['swarm']['cluster_id']}). Run `docker swarm leave` there, then this playbook again."
        for host in sorted(set(active) - set(in_charge))
        if known and active[host]["swarm"]["node_id"] not in known
    ]


def _addresses(entry: t.Mapping[str, t.Any]) -> list[str]:
    own = [node["manager_address"] for node in entry["nodes"] if node["id"] == entry["swarm"]["node_id"]]
    others = [
        node["manager_address"]
        for node in entry["nodes"]
        if node["reachability"] == "reachable" and node["id"] != entry["swarm"]["node_id"]
    ]
    # A rebuilt manager and its former self have the same address.
    return [address for address in dict.fromkeys(own + others) if address]
