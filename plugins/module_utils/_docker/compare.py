# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a live spec and a wanted one mean the same, and how they differ.

PRIVATE to the collection. Both are brought into one canonical form: names instead of IDs, defaults written out,
lists without an order sorted, and what Swarm adds by itself left out.
"""

from __future__ import annotations

import json
import typing as t

from .objects import REFERENCES
from .service_spec import DEFAULT_RESTART, DEFAULT_STOP_GRACE, DEFAULT_UPDATE, Spec
from .units import spoken

#: Fields that say nothing when they have this value.
_SILENT: t.Mapping[str, t.Any] = {
    "Runtime": "container",
    "Isolation": "default",
    "ReadOnly": False,
    "TTY": False,
    "OpenStdin": False,
    "NoCopy": False,
}


def canonical(spec: t.Mapping[str, t.Any], network_names: t.Mapping[str, str]) -> Spec:
    """A ServiceSpec in canonical form.

    Args:
        spec: wanted or live.
        network_names: network ID -> name; what is not in it is taken for a name.
    """
    result: Spec = json.loads(json.dumps(spec))
    template = result.setdefault("TaskTemplate", {})
    template.pop("ForceUpdate", None)
    _networks(result, template, network_names)
    container = template.setdefault("ContainerSpec", {})
    _container(container)
    template["RestartPolicy"] = {**DEFAULT_RESTART, **(template.get("RestartPolicy") or {})}
    placement = template.get("Placement") or {}
    placement.pop("Platforms", None)
    placement["Constraints"] = sorted(
        " ".join(item.replace("==", " == ").replace("!=", " != ").split())
        for item in placement.get("Constraints") or []
    )
    if not placement.get("MaxReplicas"):
        placement.pop("MaxReplicas", None)
    template["Placement"] = placement
    for part in (template.get("Resources") or {}).values():
        for key in [key for key, value in (part or {}).items() if not value]:
            del part[key]
    _mode(result)
    endpoint = result.get("EndpointSpec") or {}
    endpoint["Mode"] = endpoint.get("Mode") or "vip"
    endpoint["Ports"] = sorted((_port(port) for port in endpoint.get("Ports") or []), key=_text)
    result["EndpointSpec"] = endpoint
    return t.cast(Spec, _pruned(result))


def same(wanted: t.Mapping[str, t.Any], live: t.Mapping[str, t.Any], network_names: t.Mapping[str, str]) -> bool:
    """True when writing ``wanted`` over ``live`` would change nothing."""
    return canonical(wanted, network_names) == canonical(live, network_names)


def differences(before: t.Any, after: t.Any, path: str = "") -> list[str]:
    """Paths at which two canonical specs differ, for example ``TaskTemplate.ContainerSpec.Env``."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = []
        for key in sorted(set(before) | set(after)):
            inner = f"{path}.{key}" if path else key
            if before.get(key) != after.get(key):
                found += differences(before.get(key), after.get(key), inner)
        return found
    return [path]


def reasons(before: Spec, after: Spec) -> list[str]:
    """What differs, in the words of a Compose file: image, environment, secrets, ..."""
    found = []
    for path in differences(before, after):
        word = next((name for prefix, name in _WORDS if path.startswith(prefix)), path)
        if word not in found:
            found.append(word)
    return found


_WORDS = (
    ("Labels.com.docker.stack.image", "image"),
    ("Labels.flowstead.airflow.job-spec", "job"),
    ("Labels", "deploy.labels"),
    ("Mode", "replicas"),
    ("UpdateConfig", "update_config"),
    ("RollbackConfig", "rollback_config"),
    ("EndpointSpec", "ports"),
    ("TaskTemplate.Networks", "networks"),
    ("TaskTemplate.Placement", "placement"),
    ("TaskTemplate.Resources", "resources"),
    ("TaskTemplate.RestartPolicy", "restart_policy"),
    ("TaskTemplate.LogDriver", "logging"),
    ("TaskTemplate.ContainerSpec.Image", "image"),
    ("TaskTemplate.ContainerSpec.Env", "environment"),
    ("TaskTemplate.ContainerSpec.Args", "command"),
    ("TaskTemplate.ContainerSpec.Command", "entrypoint"),
    ("TaskTemplate.ContainerSpec.Secrets", "secrets"),
    ("TaskTemplate.ContainerSpec.Configs", "configs"),
    ("TaskTemplate.ContainerSpec.Mounts", "volumes"),
    ("TaskTemplate.ContainerSpec.Healthcheck", "healthcheck"),
    ("TaskTemplate.ContainerSpec.StopGracePeriod", "stop_grace_period"),
    ("TaskTemplate.ContainerSpec.Labels", "labels"),
    ("TaskTemplate.ContainerSpec.", "container"),
)


def dump(value: t.Any, indent: int = 0) -> str:
    """Plain data as YAML-like text with sorted keys, for diffs that people read."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        lines = []
        for key in sorted(value):
            inner = value[key]
            if isinstance(inner, (dict, list)) and inner:
                lines.append(f"{pad}{key}:\n{dump(inner, indent + 1)}")
            else:
                lines.append(f"{pad}{key}: {_scalar(inner, key)}\n")
        return "".join(lines)
    if isinstance(value, list) and value:
        return "".join(
            f"{pad}- {dump(item, indent + 1).lstrip()}"
            if isinstance(item, (dict, list)) and item
            else f"{pad}- {_scalar(item)}\n"
            for item in value
        )
    return f"{pad}{_scalar(value)}\n"


def _scalar(value: t.Any, key: str = "") -> str:
    if key in _DURATIONS and isinstance(value, int):
        return spoken(value)
    if key == "Mode" and isinstance(value, int):
        return f"{value:04o}"
    if isinstance(value, str) and value and "\n" not in value and value.strip() == value:
        return value
    return json.dumps(value)


#: Keys whose numbers are nanoseconds.
_DURATIONS = frozenset({"Delay", "Monitor", "Window", "StopGracePeriod", "Interval", "Timeout", "StartPeriod"})


def _text(value: t.Any) -> str:
    return json.dumps(value, sort_keys=True)


def _networks(spec: Spec, template: Spec, names: t.Mapping[str, str]) -> None:
    # Old clients wrote networks beside the template; Swarm treats both alike.
    attached = template.pop("Networks", None) or spec.pop("Networks", None) or []
    spec.pop("Networks", None)
    template["Networks"] = sorted(
        (
            {"Target": names.get(entry["Target"], entry["Target"]), "Aliases": sorted(entry.get("Aliases") or [])}
            for entry in attached
        ),
        key=_text,
    )


def _container(container: Spec) -> None:
    if container.get("StopGracePeriod") is None:
        container["StopGracePeriod"] = DEFAULT_STOP_GRACE
    for key in ("Env", "CapabilityAdd", "CapabilityDrop", "Hosts"):
        container[key] = sorted(container.get(key) or [])
    container["Mounts"] = sorted(container.get("Mounts") or [], key=lambda mount: mount.get("Target", ""))
    container["Ulimits"] = sorted(container.get("Ulimits") or [], key=_text)
    for field, identifier, _name in REFERENCES.values():
        entries = container.get(field) or []
        for entry in entries:
            entry.pop(identifier, None)
        container[field] = sorted(entries, key=_text)


def _mode(spec: Spec) -> None:
    mode = spec.get("Mode") or {}
    if "Global" in mode or "GlobalJob" in mode:
        # An empty mapping is all that these modes say; keep it from being pruned.
        spec["Mode"] = {"Global": True} if "Global" in mode else {"GlobalJob": True}
    elif "ReplicatedJob" in mode:
        given = mode["ReplicatedJob"] or {}
        spec["Mode"] = {
            "ReplicatedJob": {
                "MaxConcurrent": given.get("MaxConcurrent") or 1,
                "TotalCompletions": given.get("TotalCompletions") or 1,
            }
        }
    else:
        count = (mode.get("Replicated") or {}).get("Replicas")
        spec["Mode"] = {"Replicated": {"Replicas": 1 if count is None else count}}
    if "ReplicatedJob" in mode or "GlobalJob" in mode:
        spec.pop("UpdateConfig", None)
        spec.pop("RollbackConfig", None)
        return
    for key in ("UpdateConfig", "RollbackConfig"):
        config = spec.get(key) or {}
        spec[key] = {**DEFAULT_UPDATE, **{name: value for name, value in config.items() if value not in (None, "")}}


def _port(port: t.Mapping[str, t.Any]) -> Spec:
    return {
        "Protocol": port.get("Protocol") or "tcp",
        "PublishMode": port.get("PublishMode") or "ingress",
        "TargetPort": port.get("TargetPort"),
        "PublishedPort": port.get("PublishedPort") or 0,
    }


def _pruned(value: t.Any) -> t.Any:
    """Without empty values and without fields that say nothing."""
    if isinstance(value, dict):
        inner = {key: _pruned(item) for key, item in value.items()}
        return {
            key: item
            for key, item in inner.items()
            if item not in (None, "", [], {}) and not (key in _SILENT and item == _SILENT[key])
        }
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return value
