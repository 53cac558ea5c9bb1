# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Swarm cannot change is taken away and made anew, when that is allowed: options of a network, mode of a service.

PRIVATE to the collection. A network goes only after all services that use it, so these are down meanwhile.
"""

from __future__ import annotations

import json
import typing as t

from . import plan as planning
from .cleanup import delete, held_networks
from .compile import Spec

if t.TYPE_CHECKING:
    from .runner import Runner


def begin(runner: Runner, plan: planning.Plan) -> bool:
    """Remove the services that have to go, after keeping their specs; False when nothing is made anew."""
    state = runner.state
    own = runner.live.own_services()
    names = runner.live.network_names()
    networks = {item["Name"]: item for item in runner.live.networks}
    state.old_networks = {
        action.name: {"request": as_request(networks[action.name]), "action": _told(action)}
        for action in plan.creates
        if action.action == planning.RECREATE
    }
    state.recreated = {action.name: _told(action) for action in plan.services if action.action == planning.RECREATE}
    for name in state.recreated:
        found = own[f"{runner.stack.name}_{name}"]
        state.removed[name] = with_targets(found["Spec"], names)
        delete(runner.engine, f"/services/{found['ID']}")
    gone = {own[f"{runner.stack.name}_{name}"]["ID"] for name in state.recreated}
    # Networks of services that the definition no longer has hold it, too; these go a little early.
    targets = {networks[name]["Id"] for name in state.old_networks}
    for action in plan.removals:
        if action.kind == "service" and planning.targets_of(own[action.name]) & (targets | set(state.old_networks)):
            delete(runner.engine, f"/services/{own[action.name]['ID']}")
            gone.add(own[action.name]["ID"])
            runner.record(action)
    runner.live.services = [item for item in runner.live.services if item["ID"] not in gone]
    return bool(state.recreated or state.old_networks)


def networks_are_gone(runner: Runner) -> bool:
    """Remove the old networks as soon as no task holds them; True when all are gone."""
    held = held_networks(runner) if runner.state.old_networks else set()
    done = True
    for name in runner.state.old_networks:
        found = next((item for item in runner.live.networks if item["Name"] == name), None)
        if found is None or name in runner.state.new_networks:
            continue
        if found["Id"] in held or not delete(runner.engine, f"/networks/{found['Id']}", in_use=True):
            done = False
            continue
        runner.live.networks = [item for item in runner.live.networks if item["Name"] != name]
    return done


def restore_networks(runner: Runner) -> None:
    """Before services are rolled back: networks that are gone come back as they were; new ones stay as they are."""
    live = {item["Name"] for item in runner.engine.get("/networks") or []}
    for name, old in runner.state.old_networks.items():
        if name in live:
            runner.state.notes.append(f"network {name} was made anew, and stays so; services are as they were")
            continue
        runner.engine.post("/networks/create", old["request"])
        runner.live.networks = runner.engine.get("/networks") or []
        action = {"kind": "network", "name": name, "action": "create", "reason": "rolled back"}
        runner.state.actions.append(action)


def _told(action: planning.Action) -> dict[str, str]:
    return {"action": action.action, "reason": action.reason, "before": action.before}


def as_request(network: t.Mapping[str, t.Any]) -> Spec:
    """What would make this network again."""
    options = {key: value for key, value in (network.get("Options") or {}).items() if not key.endswith("vxlanid_list")}
    request: Spec = {key: network.get(key) for key in ("Name", "Driver", "Attachable", "Internal", "Labels")}
    return {**request, "Options": options, "CheckDuplicate": True}


def with_targets(spec: Spec, targets: t.Mapping[str, str]) -> Spec:
    """A spec with networks by name in the place of IDs, or the other way round: a new network has another ID."""
    copy: Spec = json.loads(json.dumps(spec))
    for entry in copy["TaskTemplate"].get("Networks") or []:
        entry["Target"] = targets.get(entry["Target"], entry["Target"])
    return copy
