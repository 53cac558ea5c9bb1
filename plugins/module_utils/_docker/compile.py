# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a Compose-style definition to the specs of the Engine API.

PRIVATE to the collection. Pure: specs name networks, secrets and configs; ``bind`` puts their IDs in at write time.

Source: Engine API 1.41, ServiceSpec; docker/cli ``cli/compose/convert`` for names, labels and defaults.
"""

from __future__ import annotations

import base64
import json
import typing as t

from . import relations
from .engine import MAXIMUM_API
from .objects import (
    REFERENCES,
    STACK_LABEL,
    StackObject,
    labels_of,
    object_name,
)
from .schema import truth
from .service_spec import ServiceCompiler, Spec, strings


class Service(t.NamedTuple):
    """One service as it has to run."""

    name: str
    full_name: str
    spec: Spec
    depends_on: dict[str, str]
    job: bool
    rank: int


class Network(t.NamedTuple):
    """One network as it has to exist; ``spec`` is None when it is external."""

    name: str
    full_name: str
    spec: Spec | None


class Stack(t.NamedTuple):
    """A whole stack as it has to be, ready to be compared with the live one."""

    name: str
    services: dict[str, Service]
    networks: dict[str, Network]
    secrets: dict[str, StackObject]
    configs: dict[str, StackObject]

    def objects(self) -> list[StackObject]:
        """Secrets, then configs."""
        return [*self.secrets.values(), *self.configs.values()]


def compile_stack(
    name: str,
    definition: t.Mapping[str, t.Any],
    object_key: str,
    images: t.Mapping[str, str],
    api: tuple[int, int] = MAXIMUM_API,
) -> Stack:
    """The stack that a checked definition describes.

    Args:
        name: name of the stack.
        definition: passed ``check_shape`` and ``check_relations``.
        object_key: key of the content hash in object names.
        images: service name -> image to run, where it differs from the one in the definition (a digest).
        api: version of the API that the engine speaks.
    """
    services = definition.get("services", {})
    graph = {key: relations.depends_on(service) for key, service in services.items()}
    rank = relations.ranks(graph)
    networks = _networks(name, definition)
    secrets = _objects(name, definition, "secret", object_key)
    configs = _objects(name, definition, "config", object_key)
    compiler = ServiceCompiler(
        name,
        definition,
        {key: network.full_name for key, network in networks.items()},
        {"secret": secrets, "config": configs},
        api,
    )
    return Stack(
        name,
        {
            key: Service(
                key,
                f"{name}_{key}",
                compiler.compile(key, service, images.get(key) or service["image"]),
                graph[key],
                relations.is_job(service),
                rank[key],
            )
            for key, service in services.items()
        },
        networks,
        secrets,
        configs,
    )


def bind(spec: Spec, ids: t.Mapping[str, t.Mapping[str, str]]) -> Spec:
    """A spec with the IDs that the Engine wants.

    Args:
        spec: a compiled spec.
        ids: ``network``, ``secret`` and ``config`` -> name -> ID.

    Raises:
        KeyError: with the name of an object that does not exist.
    """
    bound: Spec = json.loads(json.dumps(spec))
    template = bound["TaskTemplate"]
    for network in template.get("Networks", []):
        network["Target"] = ids["network"][network["Target"]]
    for kind, (field, identifier, name) in REFERENCES.items():
        for entry in template["ContainerSpec"].get(field, []):
            entry[identifier] = ids[kind][entry[name]]
    return bound


def object_body(stack: str, item: StackObject) -> Spec:
    """What to POST for a secret or config."""
    data = base64.b64encode((item.data or "").encode()).decode()
    return {"Name": item.name, "Labels": labels_of(stack, item.logical), "Data": data}


def _objects(stack: str, definition: t.Mapping[str, t.Any], kind: str, key: str) -> dict[str, StackObject]:
    result = {}
    for logical, entry in definition.get(f"{kind}s", {}).items():
        if truth(entry.get("external", False)):
            result[logical] = StackObject(kind, logical, entry.get("name", logical), None)
        else:
            name = object_name(key, stack, kind, logical, entry["data"])
            result[logical] = StackObject(kind, logical, name, entry["data"])
    return result


def _networks(stack: str, definition: t.Mapping[str, t.Any]) -> dict[str, Network]:
    declared = dict(definition.get("networks", {}))
    used = {name for service in definition.get("services", {}).values() for name in relations.networks_of(service)}
    if "default" in used:
        declared.setdefault("default", {})
    result = {}
    for name, given in declared.items():
        entry = given or {}
        if truth(entry.get("external", False)):
            result[name] = Network(name, str(entry.get("name", name)), None)
            continue
        full_name = str(entry.get("name", f"{stack}_{name}"))
        spec: Spec = {
            "Name": full_name,
            "Driver": entry.get("driver", "overlay"),
            "Options": strings(entry.get("driver_opts")),
            "Attachable": truth(entry.get("attachable", False)),
            "Internal": truth(entry.get("internal", False)),
            "Labels": {**strings(entry.get("labels")), STACK_LABEL: stack},
        }
        pools = [
            {
                api: pool[key]
                for key, api in (("subnet", "Subnet"), ("gateway", "Gateway"), ("ip_range", "IPRange"))
                if key in pool
            }
            for pool in entry.get("ipam", {}).get("config", [])
        ]
        if pools:
            spec["IPAM"] = {"Driver": "default", "Config": pools}
        result[name] = Network(name, full_name, spec)
    return result
