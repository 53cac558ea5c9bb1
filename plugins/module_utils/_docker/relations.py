# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the parts of a definition say about each other: references, order, limits of Swarm.

PRIVATE to the collection. Runs only on a definition whose shape is right (``definition.check_shape``).
"""

from __future__ import annotations

import re
import typing as t

from .definition import JOB_MODES
from .schema import Problem, did_you_mean, truth

#: Longest name of a service, secret or config that Swarm takes (swarmkit, controlapi/common.go).
SERVICE_NAME_LIMIT = 63
OBJECT_NAME_LIMIT = 64
#: Sizes in bytes above which Swarm refuses (swarmkit: MaxSecretSize 500 KiB, MaxConfigSize 1000 KiB).
SECRET_LIMIT = 500 * 1024 - 1
CONFIG_LIMIT = 1000 * 1024 - 1
#: Characters that the content hash and its separators add to ``<stack>_<logical name>``.
HASH_SUFFIX = 13
_STACK = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_-]*[a-zA-Z0-9])?")

CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}


def mode_of(service: t.Mapping[str, t.Any]) -> str:
    """The deploy mode of a service."""
    return str(service.get("deploy", {}).get("mode", "replicated"))


def is_job(service: t.Mapping[str, t.Any]) -> bool:
    """True for a service that runs to completion."""
    return mode_of(service) in JOB_MODES


def depends_on(service: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Service name -> condition; the short form means ``service_started``."""
    given = service.get("depends_on") or {}
    if isinstance(given, (list, tuple)):
        return dict.fromkeys(given, "service_started")
    return {name: (entry or {}).get("condition", "service_started") for name, entry in given.items()}


def networks_of(service: t.Mapping[str, t.Any]) -> dict[str, list[str]]:
    """Network name -> further aliases; without any, the network ``default``."""
    given = service.get("networks") or ["default"]
    if isinstance(given, (list, tuple)):
        return {name: [] for name in given}
    return {name: list((entry or {}).get("aliases", [])) for name, entry in given.items()}


def references_of(service: t.Mapping[str, t.Any], kind: str) -> list[dict[str, t.Any]]:
    """The ``secrets`` or ``configs`` of a service in their long form."""
    return [{"source": entry} if isinstance(entry, str) else dict(entry) for entry in service.get(kind) or []]


def check_relations(stack: str, definition: t.Mapping[str, t.Any], has_key: bool) -> list[Problem]:
    """Every contradiction inside one definition.

    Args:
        stack: name of the stack.
        definition: a definition of the right shape.
        has_key: whether ``object_key`` is given.
    """
    problems: list[Problem] = []
    if not _STACK.fullmatch(stack):
        problems.append(Problem("name", f"{stack!r} is not allowed", "use letters, digits, dashes and underscores"))
    for kind, limit in (("secrets", SECRET_LIMIT), ("configs", CONFIG_LIMIT)):
        _check_objects(stack, definition, kind, limit=limit, has_key=has_key, problems=problems)
    services = definition.get("services", {})
    for name, service in services.items():
        path = f"services.{name}"
        length = len(f"{stack}_{name}")
        if length > SERVICE_NAME_LIMIT:
            problems.append(
                Problem(path, f"{stack}_{name} has {length} characters", f"{SERVICE_NAME_LIMIT} is the limit")
            )
        _check_references(path, service, definition, problems)
        _check_dependencies(path, service, services, problems)
        _check_mode(path, service, problems)
        _check_ports(path, service, problems)
    _check_published(services, problems)
    _check_circles(services, problems)
    return problems


def _check_objects(
    stack: str,
    definition: t.Mapping[str, t.Any],
    kind: str,
    *,
    limit: int,
    has_key: bool,
    problems: list[Problem],
) -> None:
    for name, entry in definition.get(kind, {}).items():
        path = f"{kind}.{name}"
        external = truth(entry.get("external", False))
        if external == ("data" in entry):
            problems.append(Problem(path, "needs either data or external: true", "give exactly one of them"))
        if external or "data" not in entry:
            continue
        if "name" in entry:
            problems.append(
                Problem(f"{path}.name", "goes with external: true only", "remove it; names follow the content")
            )
        if not has_key:
            problems.append(
                Problem(
                    "object_key",
                    f"is missing, and {path} carries data",
                    "give a long random text that stays the same between runs",
                )
            )
        if len(f"{stack}_{name}") + HASH_SUFFIX > OBJECT_NAME_LIMIT:
            problems.append(
                Problem(
                    path,
                    "is too long",
                    f"stack name and this name may have {OBJECT_NAME_LIMIT - HASH_SUFFIX - 1} characters together",
                )
            )
        size = len(entry["data"].encode())
        if size > limit:
            problems.append(Problem(path, f"holds {size} bytes", f"{limit} is the limit of Swarm"))


def _check_references(
    path: str, service: t.Mapping[str, t.Any], definition: t.Mapping[str, t.Any], problems: list[Problem]
) -> None:
    for kind in ("secrets", "configs"):
        declared = definition.get(kind, {})
        targets: set[str] = set()
        for index, entry in enumerate(references_of(service, kind)):
            where = f"{path}.{kind}[{index}]"
            if entry["source"] not in declared:
                problems.append(
                    Problem(
                        where,
                        f"{entry['source']!r} is not declared under {kind}",
                        did_you_mean(entry["source"], declared),
                    )
                )
            target = str(entry.get("target", entry["source"]))
            if target in targets:
                problems.append(Problem(where, f"target {target!r} is used twice", "give another target"))
            targets.add(target)
    declared = definition.get("networks", {})
    for name in networks_of(service):
        if name not in declared and name != "default":
            problems.append(
                Problem(f"{path}.networks", f"{name!r} is not declared under networks", did_you_mean(name, declared))
            )
    mounted: set[str] = set()
    for index, mount in enumerate(service.get("volumes") or []):
        where = f"{path}.volumes[{index}]"
        if mount["target"] in mounted:
            problems.append(Problem(where, f"target {mount['target']!r} is used twice", "give another target"))
        mounted.add(mount["target"])
        source = mount.get("source")
        if mount["type"] == "bind" and not str(source or "").startswith("/"):
            problems.append(
                Problem(f"{where}.source", f"{source!r} is not an absolute path", "write the path on the node")
            )
        if mount["type"] == "volume" and source and source not in definition.get("volumes", {}):
            problems.append(
                Problem(
                    f"{where}.source",
                    f"{source!r} is not declared under volumes",
                    did_you_mean(source, definition.get("volumes", {})),
                )
            )
        if mount["type"] == "tmpfs" and source:
            problems.append(Problem(f"{where}.source", "a tmpfs has no source", "remove it"))


def _check_dependencies(
    path: str, service: t.Mapping[str, t.Any], services: t.Mapping[str, t.Any], problems: list[Problem]
) -> None:
    for name, condition in depends_on(service).items():
        where = f"{path}.depends_on.{name}"
        if name not in services:
            problems.append(Problem(where, "no such service", did_you_mean(name, services)))
        elif condition == "service_completed_successfully" and not is_job(services[name]):
            problems.append(
                Problem(
                    where,
                    f"{name} never completes: its mode is {mode_of(services[name])}",
                    "use service_healthy, or make it a replicated-job",
                )
            )
        elif condition == "service_healthy" and is_job(services[name]):
            problems.append(Problem(where, f"{name} is a job", "use condition service_completed_successfully"))


def _check_mode(path: str, service: t.Mapping[str, t.Any], problems: list[Problem]) -> None:
    deploy = service.get("deploy", {})
    mode = mode_of(service)
    if "replicas" in deploy and mode in ("global", "global-job"):
        problems.append(
            Problem(f"{path}.deploy.replicas", f"mode {mode} runs once on each node", "remove replicas or mode")
        )
    if not is_job(service):
        return
    for key in ("update_config", "rollback_config"):
        if key in deploy:
            problems.append(Problem(f"{path}.deploy.{key}", "a job is never rolled out", "remove it"))
    restart = deploy.get("restart_policy", {})
    if restart.get("condition") == "any":
        problems.append(
            Problem(
                f"{path}.deploy.restart_policy.condition",
                "'any' would run a finished job again for ever",
                "choose none or on-failure",
            )
        )
    if restart.get("condition") == "on-failure" and str(restart.get("max_attempts", "")) == "0":
        problems.append(
            Problem(
                f"{path}.deploy.restart_policy.max_attempts",
                "0 means without end",
                "give a number of 1 or more, so that a failing job is reported",
            )
        )


def _check_ports(path: str, service: t.Mapping[str, t.Any], problems: list[Problem]) -> None:
    deploy = service.get("deploy", {})
    order = deploy.get("update_config", {}).get("order", "stop-first")
    for index, port in enumerate(service.get("ports") or []):
        where = f"{path}.ports[{index}]"
        ingress = port.get("mode", "ingress") == "ingress"
        if ingress and deploy.get("endpoint_mode") == "dnsrr":
            problems.append(
                Problem(where, "mode ingress needs a virtual IP, and endpoint_mode is dnsrr", "use mode: host")
            )
        if not ingress and port.get("published") and order == "start-first":
            problems.append(
                Problem(
                    f"{path}.deploy.update_config.order",
                    f"start-first cannot work while the old task holds host port {port['published']}",
                    "use stop-first",
                )
            )


def _check_published(services: t.Mapping[str, t.Any], problems: list[Problem]) -> None:
    taken: dict[tuple[str, str], str] = {}
    for name, service in services.items():
        for index, port in enumerate(service.get("ports") or []):
            if not port.get("published") or port.get("mode", "ingress") != "ingress":
                continue
            key = (str(port["published"]), port.get("protocol", "tcp"))
            if key in taken:
                problems.append(
                    Problem(
                        f"services.{name}.ports[{index}].published",
                        f"{key[0]}/{key[1]} is already published by {taken[key]}",
                        "choose another port",
                    )
                )
            taken.setdefault(key, name)


def _check_circles(services: t.Mapping[str, t.Any], problems: list[Problem]) -> None:
    graph = {name: [d for d in depends_on(service) if d in services] for name, service in services.items()}
    rank = ranks(graph)
    circle = sorted(name for name in graph if name not in rank)
    if circle:
        problems.append(
            Problem(
                "services",
                f"depends_on goes round in a circle among {', '.join(circle)}",
                "remove one of these depends_on",
            )
        )


def ranks(graph: t.Mapping[str, t.Iterable[str]]) -> dict[str, int]:
    """Name -> length of its longest chain of dependencies; what stands in or behind a circle is left out."""
    rank: dict[str, int] = {}
    waiting = {name: set(needs) for name, needs in graph.items()}
    while True:
        ready = [name for name, needs in waiting.items() if needs <= rank.keys()]
        if not ready:
            return rank
        for name in ready:
            rank[name] = 1 + max((rank[need] for need in waiting.pop(name)), default=-1)
