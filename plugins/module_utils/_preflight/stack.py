# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What our stack holds on this engine: its ports and its memory.

PRIVATE to the collection.

Source: Docker Engine API reference 1.41: /services, /containers/json, /containers/{id}/stats.
"""

from __future__ import annotations

import typing as t

from .ports import Publisher

_NAMESPACE = "com.docker.stack.namespace"
_MIB = 1024 * 1024


class Reader(t.Protocol):
    """The one verb of the Engine client that is needed."""

    def get(self, path: str, query: t.Mapping[str, t.Any] | None = None) -> t.Any:
        """GET a JSON document."""


def publishers(services: t.Sequence[t.Mapping], containers: t.Sequence[t.Mapping], stack: str) -> dict[int, Publisher]:
    """TCP port to what publishes it: services (ingress and host mode) and plain containers."""
    found: dict[int, Publisher] = {}
    for container in containers:
        labels = container.get("Labels") or {}
        service = labels.get("com.docker.swarm.service.name")
        names = container.get("Names") or [container.get("Id", "")]
        title = f"service {service}" if service else f"container {names[0].lstrip('/')}"
        publisher = Publisher(title, _is_ours(labels, stack))
        for port in container.get("Ports") or []:
            if port.get("PublicPort") and port.get("Type") == "tcp":
                found[port["PublicPort"]] = publisher
    for service in services:
        spec = service.get("Spec") or {}
        publisher = Publisher(f"service {spec.get('Name', '')}", _is_ours(spec.get("Labels") or {}, stack))
        # Spec: what is asked for, also in host mode; Endpoint: what the swarm gave.
        for part in (spec.get("EndpointSpec") or {}, service.get("Endpoint") or {}):
            for port in part.get("Ports") or []:
                ingress = port.get("PublishMode", "ingress") == "ingress"
                # A host-mode port counts only where its container runs, which is above; ours is ours anywhere.
                if port.get("PublishedPort") and port.get("Protocol", "tcp") == "tcp" and (ingress or publisher.ours):
                    found[port["PublishedPort"]] = publisher
    return found


def memory_mb(engine: Reader, containers: t.Sequence[t.Mapping], stack: str) -> int:
    """MiB that the containers of the stack on this engine use now, without the file cache."""
    used = 0
    for container in containers:
        if _is_ours(container.get("Labels") or {}, stack):
            stats = engine.get(f"/containers/{container['Id']}/stats", {"stream": False, "one-shot": True})
            used += _used(stats.get("memory_stats") or {})
    return used // _MIB


def _used(memory: t.Mapping) -> int:
    stats = memory.get("stats") or {}
    cache = stats.get("total_inactive_file", stats.get("inactive_file", 0))
    return max(memory.get("usage", 0) - cache, 0)


def _is_ours(labels: t.Mapping[str, str], stack: str) -> bool:
    return bool(stack) and labels.get(_NAMESPACE) == stack
