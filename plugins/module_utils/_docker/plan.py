# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done so that a live swarm holds the wanted stack.

PRIVATE to the collection. Pure: check mode, diff and the real run share one plan.
"""

from __future__ import annotations

import typing as t

from . import compare, waiting
from .compile import Network, Service, Stack
from .live import Live
from .objects import JOB_LABEL, STACK_LABEL, collectable
from .schema import Problem
from .service_spec import Spec

CREATE, UPDATE, REMOVE, RUN_AGAIN, RECREATE = "create", "update", "remove", "run again", "recreate"


class Action(t.NamedTuple):
    """One step of a plan. ``before`` and ``after`` are texts for a diff; no secret's content is in them."""

    kind: str
    name: str
    action: str
    reason: str
    before: str = ""
    after: str = ""

    def public(self) -> dict[str, str]:
        """For the module's result."""
        return {"kind": self.kind, "name": self.name, "action": self.action, "reason": self.reason}


class Plan(t.NamedTuple):
    """All steps, and what forbids them."""

    creates: list[Action]
    services: list[Action]
    removals: list[Action]
    garbage: list[Action]
    problems: list[Problem]

    def actions(self) -> list[Action]:
        """In the order in which they happen."""
        return [*self.creates, *self.services, *self.removals, *self.garbage]


def make_plan(stack: Stack, live: Live, prune: bool, keep_objects: int, recreate: bool = False) -> Plan:
    """Compare a wanted stack with the live swarm.

    With ``recreate``, what Swarm cannot change is planned to be made anew; without, it is a problem.
    """
    problems: list[Problem] = []
    creates: list[Action] = []
    for network in stack.networks.values():
        creates += _network(network, live, problems, recreate)
    creates += _objects(stack, live, problems)
    own = live.own_services()
    taken = {item["Spec"]["Name"]: item for item in live.services}
    anew = {
        name: action.name
        for action in creates
        if action.action == RECREATE
        for name in _users(stack, live, action.name)
    }
    services = []
    for service in in_order(stack.services.values()):
        found = own.get(service.full_name)
        if found is None and service.full_name in taken:
            problems.append(
                Problem(
                    f"services.{service.name}",
                    f"a service {service.full_name} exists and is not of this stack",
                    "remove it, or choose another stack name",
                )
            )
            continue
        impossible: list[Problem] = []
        action = plan_service(service, found, live, impossible)
        reasons = [f"its network {anew[service.name]} is made anew"] if service.name in anew else []
        if recreate:
            reasons = [problem.what for problem in impossible] or reasons
        else:
            problems += impossible
        if reasons and found is not None:
            action = _anew(service, found, live, reasons[0])
        if action is not None:
            services.append(action)
    removals = _removals(stack, live) if prune else []
    return Plan(creates, services, removals, _garbage(stack, live, removals, keep_objects), problems)


def in_order(services: t.Iterable[Service]) -> list[Service]:
    """Services with what they depend on before them."""
    return sorted(services, key=lambda service: (service.rank, service.name))


def plan_service(
    service: Service, found: dict[str, t.Any] | None, live: Live, problems: list[Problem] | None = None
) -> Action | None:
    """What to do with one service, or None when it is as it should be."""
    names = live.network_names()
    kind = "job" if service.job else "service"
    after = compare.canonical(service.spec, names)
    if found is None:
        return Action(kind, service.name, CREATE, "it does not exist", "", compare.dump(after))
    before = compare.canonical(found["Spec"], names)
    old_mode, new_mode = next(iter(before["Mode"])), next(iter(after["Mode"]))
    if old_mode != new_mode and problems is not None:
        problems.append(
            Problem(
                f"services.{service.name}.deploy.mode",
                f"Swarm cannot turn {old_mode} into {new_mode}",
                f"allow it with recreate: true, or remove the service first: docker service rm {service.full_name}",
            )
        )
    tasks = live.tasks_of(found["ID"])
    if service.job:
        # A job is what it ran: its fingerprint decides, so that nothing Swarm adds can run it again.
        if before.get("Labels", {}).get(JOB_LABEL) == after["Labels"][JOB_LABEL]:
            if waiting.has_given_up(found, tasks):
                text = compare.dump(after)
                return Action(kind, service.name, RUN_AGAIN, "its last run failed", text, text)
            return None
    elif before == after:
        if waiting.has_given_up(found, tasks):
            text = compare.dump(after)
            return Action(kind, service.name, UPDATE, "Swarm paused its last rollout", text, text)
        return None
    reason = ", ".join(compare.reasons(before, after)) or "its spec"
    return Action(kind, service.name, UPDATE, f"changed: {reason}", compare.dump(before), compare.dump(after))


def _anew(service: Service, found: dict[str, t.Any], live: Live, reason: str) -> Action:
    names = live.network_names()
    texts = [compare.dump(compare.canonical(spec, names)) for spec in (found["Spec"], service.spec)]
    return Action("job" if service.job else "service", service.name, RECREATE, reason, *texts)


def targets_of(service: t.Mapping[str, t.Any]) -> set[str]:
    """IDs (or names) of the networks that a live service is attached to."""
    return {entry["Target"] for entry in service["Spec"]["TaskTemplate"].get("Networks") or []}


def _users(stack: Stack, live: Live, network: str) -> list[str]:
    """Services of the stack that are attached to a network now."""
    identifiers = {network, *(item["Id"] for item in live.networks if item["Name"] == network)}
    own = live.own_services()
    return [
        service.name
        for service in stack.services.values()
        if service.full_name in own and targets_of(own[service.full_name]) & identifiers
    ]


def carried_over(service: Service, found: dict[str, t.Any]) -> Spec:
    """The wanted spec with what must survive an update: the count of forced updates."""
    spec = {**service.spec, "TaskTemplate": {**service.spec["TaskTemplate"]}}
    force = (found["Spec"].get("TaskTemplate") or {}).get("ForceUpdate") or 0
    if force:
        spec["TaskTemplate"]["ForceUpdate"] = force
    return spec


def _network(network: Network, live: Live, problems: list[Problem], recreate: bool) -> list[Action]:
    found = [item for item in live.networks if item["Name"] == network.full_name]
    path = f"networks.{network.name}"
    if network.spec is None:
        if not found:
            problems.append(
                Problem(
                    path,
                    f"the external network {network.full_name!r} does not exist",
                    "create it, or remove external: true",
                )
            )
        elif found[0].get("Scope") != "swarm" and found[0].get("Driver") not in ("host", "null"):
            problems.append(
                Problem(path, f"{network.full_name!r} exists on this node only", "a stack needs an overlay network")
            )
        return []
    if not found:
        return [Action("network", network.full_name, CREATE, "it does not exist", "", compare.dump(network.spec))]
    differing = _network_differences(network.spec, found[0])
    if differing and recreate and found[0].get("Labels", {}).get(STACK_LABEL) == network.spec["Labels"][STACK_LABEL]:
        reason = f"changed: {', '.join(differing)}"
        before = {key: found[0].get(key) for key in network.spec}
        return [
            Action("network", network.full_name, RECREATE, reason, compare.dump(before), compare.dump(network.spec))
        ]
    if differing:
        problems.append(
            Problem(
                path,
                f"{network.full_name} exists with another {', '.join(differing)}, and Swarm cannot change a network",
                "allow it with recreate: true (its services are down meanwhile), or give the network another name",
            )
        )
    return []


def _network_differences(spec: Spec, found: t.Mapping[str, t.Any]) -> list[str]:
    result = []
    for key, word in (("Driver", "driver"), ("Attachable", "attachable"), ("Internal", "internal")):
        if spec[key] != found.get(key, False):
            result.append(word)
    live_options = found.get("Options") or {}
    for key, value in spec["Options"].items():
        if live_options.get(key) != value and not (key in live_options and value == ""):
            result.append(f"driver_opts.{key}")
    if "encrypted" in live_options and "encrypted" not in spec["Options"]:
        result.append("driver_opts.encrypted")
    wanted = [pool.get("Subnet") for pool in spec.get("IPAM", {}).get("Config", []) if pool.get("Subnet")]
    live_pools = [pool.get("Subnet") for pool in (found.get("IPAM") or {}).get("Config") or []]
    if any(subnet not in live_pools for subnet in wanted):
        result.append("ipam")
    if (found.get("Labels") or {}).get(STACK_LABEL) != spec["Labels"][STACK_LABEL]:
        result.append("owner (it is not of this stack)")
    return result


def _objects(stack: Stack, live: Live, problems: list[Problem]) -> list[Action]:
    ids = live.ids()
    actions = []
    for item in stack.objects():
        if item.name in ids[item.kind]:
            continue
        if item.data is None:
            problems.append(
                Problem(
                    f"{item.kind}s.{item.logical}",
                    f"the external {item.kind} {item.name!r} does not exist",
                    "create it, or give its data here",
                )
            )
            continue
        known = any(name.startswith(f"{stack.name}_{item.logical}_") for name in ids[item.kind])
        reason = "its content changed" if known else "it does not exist"
        actions.append(Action(item.kind, item.name, CREATE, reason, "", f"name: {item.name}\n"))
    return actions


def _removals(stack: Stack, live: Live) -> list[Action]:
    wanted = {service.full_name for service in stack.services.values()}
    actions = [
        Action(
            "service",
            name,
            REMOVE,
            "the definition no longer has it",
            compare.dump(compare.canonical(item["Spec"], live.network_names())),
            "",
        )
        for name, item in sorted(live.own_services().items())
        if name not in wanted
    ]
    networks = {network.full_name for network in stack.networks.values()}
    actions += [
        Action("network", name, REMOVE, "the definition no longer has it", f"Name: {name}\n", "")
        for name in sorted(live.own_networks())
        if name not in networks
    ]
    return actions


def _garbage(stack: Stack, live: Live, removals: t.Sequence[Action], keep: int) -> list[Action]:
    """What can be collected before anything is written; the real collection looks again afterwards."""
    leaving = {action.name for action in removals if action.kind == "service"}
    services = [item for item in live.services if item["Spec"]["Name"] not in leaving]
    actions = []
    for kind, objects, wanted in (("secret", live.secrets, stack.secrets), ("config", live.configs, stack.configs)):
        for item in collectable(
            kind,
            stack.name,
            objects,
            services,
            live.tasks,
            wanted={entry.name for entry in wanted.values()},
            logicals=set(wanted),
            keep=keep,
        ):
            actions.append(Action(kind, item["name"], REMOVE, "nothing uses it any more", f"name: {item['name']}\n"))
    return actions
