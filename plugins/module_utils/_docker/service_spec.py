# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From one Compose-style service to the ServiceSpec of the Engine API.

PRIVATE to the collection. Pure: a spec names networks, secrets and configs; ``compile.bind`` puts their IDs in.

Source: Engine API 1.41, ServiceSpec; docker/cli ``cli/compose/convert`` for names, labels and defaults.
"""

from __future__ import annotations

import hashlib
import json
import math
import typing as t

from . import relations
from .definition import file_mode
from .objects import IMAGE_LABEL, JOB_LABEL, REFERENCES, STACK_LABEL, StackObject
from .schema import truth
from .units import SECOND, byte_count, nano_cpus, nanoseconds

Spec = dict[str, t.Any]

#: Swarm's own defaults, written out so that a live spec and a wanted one compare (swarmkit, api/defaults).
DEFAULT_UPDATE: Spec = {
    "Parallelism": 1,
    "Delay": 0,
    "FailureAction": "pause",
    "Monitor": 5 * SECOND,
    "MaxFailureRatio": 0,
    "Order": "stop-first",
}
DEFAULT_RESTART: Spec = {"Condition": "any", "Delay": 5 * SECOND, "MaxAttempts": 0, "Window": 0}
DEFAULT_STOP_GRACE = 10 * SECOND
#: Docker's own defaults of a health check, and the first API version with ``StartInterval`` (Docker Engine 25.0).
DEFAULT_INTERVAL, DEFAULT_RETRIES = 30 * SECOND, 3
START_INTERVAL_API = (1, 44)
#: Restarts of a job whose restart_policy asks for on-failure without a number.
JOB_ATTEMPTS = 3


class ServiceCompiler:
    """Compiles services that share networks, secrets, configs and volumes."""

    def __init__(
        self,
        stack: str,
        definition: t.Mapping[str, t.Any],
        networks: t.Mapping[str, str],
        objects: t.Mapping[str, t.Mapping[str, StackObject]],
        api: tuple[int, int],
    ) -> None:
        self.stack = stack
        self.api = api
        self.volumes = definition.get("volumes", {})
        self.networks = networks
        self.objects = objects

    def compile(self, name: str, service: t.Mapping[str, t.Any], image: str) -> Spec:
        deploy = service.get("deploy", {})
        job = relations.is_job(service)
        template: Spec = {
            "ContainerSpec": self._container(service, image),
            "RestartPolicy": _restart(deploy.get("restart_policy", {}), job),
            "Networks": [
                {"Target": self.networks[key], "Aliases": [name, *aliases]}
                for key, aliases in relations.networks_of(service).items()
            ],
        }
        _put(template, "Resources", _resources(deploy.get("resources", {})))
        _put(template, "Placement", _placement(deploy.get("placement", {})))
        if "logging" in service:
            template["LogDriver"] = {
                "Name": service["logging"]["driver"],
                "Options": strings(service["logging"].get("options")),
            }
        spec: Spec = {
            "Name": f"{self.stack}_{name}",
            "Labels": {**strings(deploy.get("labels")), STACK_LABEL: self.stack, IMAGE_LABEL: service["image"]},
            "TaskTemplate": template,
            "Mode": _mode(deploy),
        }
        endpoint: Spec = {"Mode": deploy.get("endpoint_mode", "vip")}
        _put(endpoint, "Ports", [_port(port) for port in service.get("ports") or []])
        spec["EndpointSpec"] = endpoint
        if job:
            # The iteration of a job is known by what it ran, so that an unchanged job is never run again.
            spec["Labels"][JOB_LABEL] = fingerprint(spec)
        else:
            spec["UpdateConfig"] = _rollout(deploy.get("update_config", {}))
            spec["RollbackConfig"] = _rollout(deploy.get("rollback_config", {}))
        return spec

    def _container(self, service: t.Mapping[str, t.Any], image: str) -> Spec:
        spec: Spec = {"Image": image, "Labels": {**strings(service.get("labels")), STACK_LABEL: self.stack}}
        for key, field in (
            ("entrypoint", "Command"),
            ("command", "Args"),
            ("cap_add", "CapabilityAdd"),
            ("cap_drop", "CapabilityDrop"),
        ):
            _put(spec, field, [str(word) for word in service.get(key) or []])
        for key, field in (
            ("hostname", "Hostname"),
            ("user", "User"),
            ("working_dir", "Dir"),
            ("stop_signal", "StopSignal"),
        ):
            if key in service:
                spec[field] = str(service[key])
        for key, field in (("init", "Init"), ("tty", "TTY"), ("read_only", "ReadOnly")):
            if key in service:
                spec[field] = truth(service[key])
        _put(spec, "Env", sorted(f"{key}={value}" for key, value in (service.get("environment") or {}).items()))
        spec["StopGracePeriod"] = (
            nanoseconds(service["stop_grace_period"]) if "stop_grace_period" in service else DEFAULT_STOP_GRACE
        )
        _put(spec, "Healthcheck", _healthcheck(service.get("healthcheck", {}), self.api))
        _put(spec, "Hosts", [_host(entry) for entry in service.get("extra_hosts") or []])
        dns = {
            field: list(service[key])
            for key, field in (("dns", "Nameservers"), ("dns_search", "Search"), ("dns_opt", "Options"))
            if service.get(key)
        }
        _put(spec, "DNSConfig", dns)
        _put(spec, "Sysctls", strings(service.get("sysctls")))
        _put(spec, "Ulimits", [_ulimit(name, limit) for name, limit in (service.get("ulimits") or {}).items()])
        _put(spec, "Mounts", [self._mount(mount) for mount in service.get("volumes") or []])
        for kind, (field, _identifier, name) in REFERENCES.items():
            _put(
                spec,
                field,
                [
                    {name: self.objects[kind][entry["source"]].name, "File": _file(entry, kind)}
                    for entry in relations.references_of(service, f"{kind}s")
                ],
            )
        return spec

    def _mount(self, mount: t.Mapping[str, t.Any]) -> Spec:
        result: Spec = {"Type": mount["type"], "Target": mount["target"]}
        if truth(mount.get("read_only", False)):
            result["ReadOnly"] = True
        if mount["type"] == "bind":
            result["Source"] = mount["source"]
            if "bind" in mount:
                _put(result, "BindOptions", {"Propagation": mount["bind"].get("propagation", "rprivate")})
        elif mount["type"] == "tmpfs":
            if "size" in mount.get("tmpfs", {}):
                result["TmpfsOptions"] = {"SizeBytes": byte_count(mount["tmpfs"]["size"])}
        else:
            self._volume(mount, result)
        return result

    def _volume(self, mount: t.Mapping[str, t.Any], result: Spec) -> None:
        options: Spec = {}
        if truth(mount.get("volume", {}).get("nocopy", False)):
            options["NoCopy"] = True
        source = mount.get("source")
        if source:
            volume = self.volumes.get(source) or {}
            external = truth(volume.get("external", False))
            result["Source"] = volume.get("name", source if external else f"{self.stack}_{source}")
            if not external:
                options["Labels"] = {**strings(volume.get("labels")), STACK_LABEL: self.stack}
                if "driver" in volume or "driver_opts" in volume:
                    options["DriverConfig"] = {
                        "Name": volume.get("driver", "local"),
                        "Options": strings(volume.get("driver_opts")),
                    }
        _put(result, "VolumeOptions", options)


def fingerprint(spec: Spec) -> str:
    """Sixteen hex digits that stand for everything a service's spec says."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def _put(spec: Spec, key: str, value: t.Any) -> None:
    if value:
        spec[key] = value


def strings(mapping: t.Mapping[str, t.Any] | None) -> dict[str, str]:
    return {str(key): str(value) for key, value in (mapping or {}).items()}


def _mode(deploy: t.Mapping[str, t.Any]) -> Spec:
    mode = deploy.get("mode", "replicated")
    count = int(deploy.get("replicas", 1))
    if mode == "global":
        return {"Global": {}}
    if mode == "global-job":
        return {"GlobalJob": {}}
    if mode == "replicated-job":
        return {"ReplicatedJob": {"MaxConcurrent": max(count, 1), "TotalCompletions": max(count, 1)}}
    return {"Replicated": {"Replicas": count}}


def _restart(policy: t.Mapping[str, t.Any], job: bool) -> Spec:
    result = dict(DEFAULT_RESTART)
    if job:
        # Without a policy a job is tried once; with one it always ends.
        result["Condition"] = "on-failure" if policy else "none"
        result["MaxAttempts"] = JOB_ATTEMPTS if policy.get("condition", "on-failure") == "on-failure" and policy else 0
    if "condition" in policy:
        result["Condition"] = policy["condition"]
    for key, field in (("delay", "Delay"), ("window", "Window")):
        if key in policy:
            result[field] = nanoseconds(policy[key])
    if "max_attempts" in policy:
        result["MaxAttempts"] = int(policy["max_attempts"])
    return result


def _rollout(config: t.Mapping[str, t.Any]) -> Spec:
    result = dict(DEFAULT_UPDATE)
    for key, field, convert in (
        ("parallelism", "Parallelism", int),
        ("delay", "Delay", nanoseconds),
        ("failure_action", "FailureAction", str),
        ("monitor", "Monitor", nanoseconds),
        ("max_failure_ratio", "MaxFailureRatio", _ratio),
        ("order", "Order", str),
    ):
        if key in config:
            result[field] = convert(config[key])
    return result


def _ratio(value: t.Any) -> float:
    """A share as the engine writes it, so that a diff does not show 0 turning into 0.0."""
    ratio = float(value)
    return int(ratio) if ratio.is_integer() else ratio


def _resources(resources: t.Mapping[str, t.Any]) -> Spec:
    result: Spec = {}
    for key, field in (("limits", "Limits"), ("reservations", "Reservations")):
        part: Spec = {}
        given = resources.get(key, {})
        if "cpus" in given:
            part["NanoCPUs"] = nano_cpus(given["cpus"])
        if "memory" in given:
            part["MemoryBytes"] = byte_count(given["memory"])
        if "pids" in given:
            part["Pids"] = int(given["pids"])
        _put(result, field, part)
    return result


def _placement(placement: t.Mapping[str, t.Any]) -> Spec:
    result: Spec = {}
    _put(result, "Constraints", [str(constraint).strip() for constraint in placement.get("constraints", [])])
    _put(
        result,
        "Preferences",
        [{"Spread": {"SpreadDescriptor": entry["spread"]}} for entry in placement.get("preferences", [])],
    )
    _put(result, "MaxReplicas", int(placement.get("max_replicas_per_node", 0)))
    return result


def _port(port: t.Mapping[str, t.Any]) -> Spec:
    result: Spec = {
        "Protocol": port.get("protocol", "tcp"),
        "TargetPort": int(port["target"]),
        "PublishMode": port.get("mode", "ingress"),
    }
    if "published" in port:
        result["PublishedPort"] = int(port["published"])
    return result


def _healthcheck(check: t.Mapping[str, t.Any], api: tuple[int, int]) -> Spec:
    if truth(check.get("disable", False)):
        return {"Test": ["NONE"]}
    result: Spec = {}
    _put(result, "Test", list(check.get("test") or []))
    fields = (
        ("interval", "Interval"),
        ("timeout", "Timeout"),
        ("start_period", "StartPeriod"),
        ("start_interval", "StartInterval"),
    )
    for key, field in fields:
        if key in check:
            _put(result, field, nanoseconds(check[key]))
    if "retries" in check:
        result["Retries"] = int(check["retries"])
    if api < START_INTERVAL_API and "StartInterval" in result:
        _check_often(result)
    return result


def _check_often(check: Spec) -> None:
    """Check at the start's interval all the time, until the same time has passed without an answer."""
    interval, often = check.get("Interval") or DEFAULT_INTERVAL, check.pop("StartInterval")
    check["Interval"] = often
    check["Retries"] = math.ceil((check.get("Retries") or DEFAULT_RETRIES) * interval / often)


def _host(entry: str) -> str:
    name, _colon, address = entry.replace("=", ":", 1).partition(":")
    return f"{address} {name}"


def _ulimit(name: str, limit: t.Any) -> Spec:
    if isinstance(limit, t.Mapping):
        return {"Name": name, "Soft": int(limit["soft"]), "Hard": int(limit["hard"])}
    return {"Name": name, "Soft": int(limit), "Hard": int(limit)}


def _file(entry: t.Mapping[str, t.Any], kind: str) -> Spec:
    # A config has no directory of its own: a bare target lands at the root, as with the Docker CLI.
    target = entry.get("target", entry["source"] if kind == "secret" else f"/{entry['source']}")
    return {
        "Name": target,
        "UID": str(entry.get("uid", "0")),
        "GID": str(entry.get("gid", "0")),
        "Mode": file_mode(entry.get("mode", 0o444)),
    }
