# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Services as a Compose-style document, which the module swarm_stack deploys.

PRIVATE to the collection. A pure function; what it knows of Airflow stands in the services.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from . import container_logs
from .environment import config_data, secret_data
from .platform import Platform
from .services import GID, UID, Health, Service

#: Swarm's limits: a service's name is a DNS label (swarmkit, controlapi/service.go), a secret's name has its own.
_LONGEST_SERVICE_NAME = 63
_LONGEST_OBJECT_NAME = 64
#: swarm_stack adds an underscore and 12 hexadecimal digits to the names of secrets and configs.
_CONTENT_HASH = 13

_CONDITIONS = {"completed": "service_completed_successfully", "healthy": "service_healthy"}
#: Swarm puts the host's name there. Source: docker service create, "Create services using templates".
_NODE = "{{.Node.Hostname}}"


class TargetError(ValueError):
    """The target cannot carry the platform; the text says why and what to do."""


@dataclass(frozen=True)
class Target:
    """What is known of the swarm.

    Attributes:
        stack: name of the stack.
        endpoint_mode: ``vip``, or ``dnsrr`` where the kernel has no IPVS.
        publish_mode: ``ingress`` or ``host``.
        hosts: how many hosts run services; None when that is not known.
        driver_opts: options of the overlay network, for example an MTU.
    """

    stack: str
    endpoint_mode: str = "vip"
    publish_mode: str = "ingress"
    hosts: int | None = None
    driver_opts: t.Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("endpoint_mode", self.endpoint_mode, ("vip", "dnsrr")),
            ("publish_mode", self.publish_mode, ("ingress", "host")),
        ):
            if value not in allowed:
                raise TargetError(f"{name} is {value!r}; choose one of {', '.join(allowed)}")
        if self.endpoint_mode == "dnsrr" and self.publish_mode == "ingress":
            raise TargetError("ports cannot be published by ingress with endpoint_mode dnsrr; use publish_mode host")


def compose(services: t.Sequence[Service], platform: Platform, target: Target) -> dict[str, t.Any]:
    """The whole document: services, networks, secrets, configs and volumes.

    Raises:
        TargetError: a name would be longer than Swarm allows, or replicas would need more hosts.
    """
    logging = container_logs.logging(platform.logs.components)
    used_secrets = {name for service in services for name in service.secrets}
    used_configs = {file.name for service in services for file in service.files}
    document: dict[str, t.Any] = {
        "services": {service.name: _service(service, target, logging) for service in services},
        "networks": {"default": {"driver": "overlay", "attachable": False, "driver_opts": dict(target.driver_opts)}},
        "secrets": {name: {"data": data} for name, data in secret_data(platform).items() if name in used_secrets},
        "configs": {name: {"data": data} for name, data in config_data(platform).items() if name in used_configs},
        "volumes": {mount.source: {} for service in services for mount in service.mounts if mount.type == "volume"},
    }
    _check_names(document, target)
    _check_ports(services, target)
    return document


def _check_ports(services: t.Sequence[Service], target: Target) -> None:
    if target.publish_mode != "host" or target.hosts is None:
        return
    for service in services:
        if service.ports and service.replicas > target.hosts:
            raise TargetError(
                f"{service.name} has {service.replicas} replicas, and each needs port {service.ports[0].published} "
                f"of a host of its own (publish mode host), but the swarm has {target.hosts} host(s). "
                f"Lower airflow_components.{service.name.replace('-', '_')}.replicas"
            )


def _check_names(document: t.Mapping[str, t.Mapping[str, t.Any]], target: Target) -> None:
    names = [(f"{target.stack}_{name}", _LONGEST_SERVICE_NAME, "service") for name in document["services"]]
    for kind in ("secrets", "configs"):
        longest = _LONGEST_OBJECT_NAME - _CONTENT_HASH
        names.extend((f"{target.stack}_{name}", longest, kind.rstrip("s")) for name in document[kind])
    for name, longest, kind in names:
        if len(name) > longest:
            raise TargetError(
                f"the {kind} would be called {name}, {len(name)} characters; Swarm allows {longest}. "
                f"Choose a shorter name for the stack ({target.stack}) or for the workers"
            )


def _service(service: Service, target: Target, logging: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    document: dict[str, t.Any] = {
        "image": service.image,
        "command": list(service.command),
        "environment": {**service.environment, **({service.node_variable: _NODE} if service.node_variable else {})},
        "user": f"{UID}:{GID}",
        "networks": _networks(service),
        "secrets": [
            {"source": name, "target": name, "uid": UID, "gid": GID, "mode": 0o400} for name in service.secrets
        ],
        "stop_grace_period": f"{service.stop_grace}s",
        "logging": {"driver": logging["driver"], "options": dict(logging["options"])},
        "deploy": _deploy(service, target),
    }
    if service.files:
        document["configs"] = [
            {"source": file.name, "target": file.path, "uid": UID, "gid": GID, "mode": 0o444} for file in service.files
        ]
    if service.mounts:
        document["volumes"] = [
            {"type": mount.type, "source": mount.source, "target": mount.target, "read_only": mount.read_only}
            for mount in service.mounts
        ]
    if service.ports:
        document["ports"] = [
            {"target": port.target, "published": port.published, "protocol": "tcp", "mode": target.publish_mode}
            for port in service.ports
        ]
    if service.health:
        document["healthcheck"] = _healthcheck(service.health)
    if service.depends_on:
        document["depends_on"] = {
            dependency.name: {"condition": _CONDITIONS[dependency.condition]} for dependency in service.depends_on
        }
    return document


def _networks(service: Service) -> dict[str, t.Any]:
    """Every service is found by its own name; only other names have to be said."""
    others = [name for name in service.dns_names if name != service.name]
    return {"default": {"aliases": others} if others else {}}


def _healthcheck(health: Health) -> dict[str, t.Any]:
    return {
        "test": ["CMD", *health.command],
        "interval": f"{health.interval}s",
        "start_interval": f"{health.start_interval}s",
        "timeout": f"{health.timeout}s",
        "retries": health.retries,
        "start_period": f"{health.start_period}s",
    }


def _deploy(service: Service, target: Target) -> dict[str, t.Any]:
    limits: dict[str, t.Any] = {}
    if service.memory_mb:
        limits["memory"] = f"{service.memory_mb}M"
    if service.cpus:
        limits["cpus"] = f"{service.cpus:g}"
    resources: dict[str, t.Any] = {"limits": limits} if limits else {}
    if service.memory_reservation_mb:
        resources["reservations"] = {"memory": f"{service.memory_reservation_mb}M"}
    mode = "replicated-job" if service.job else "global" if service.everywhere else "replicated"
    deploy: dict[str, t.Any] = {
        "mode": mode,
        **({} if service.everywhere else {"replicas": service.replicas}),
        "endpoint_mode": target.endpoint_mode,
        "restart_policy": (
            {"condition": "on-failure", "delay": "5s", "max_attempts": 2}
            if service.job
            else {"condition": "any", "delay": "5s"}
        ),
    }
    if resources:
        deploy["resources"] = resources
    if service.constraints:
        deploy["placement"] = {"constraints": list(service.constraints)}
    if not service.job:
        # A new task has to be healthy before an old one stops; two cannot hold one port of a host.
        order = "stop-first" if service.ports and target.publish_mode == "host" else "start-first"
        update = {"parallelism": 1, "delay": "0s", "monitor": "20s", "max_failure_ratio": 0, "order": order}
        deploy["update_config"] = {**update, "failure_action": "rollback"}
        deploy["rollback_config"] = {**update, "failure_action": "pause"}
    return deploy
