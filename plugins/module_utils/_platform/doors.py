# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What roles ask of a platform beside its services: servers, canaries, needs of a host.

PRIVATE to the collection. Pure.
"""

from __future__ import annotations

import math
import typing as t
from urllib.parse import urlsplit

from .bundles import Bundle
from .checks_workers import canary_dag_id
from .platform import Platform, Postgres
from .services import Service


def endpoints(platform: Platform) -> list[dict[str, t.Any]]:
    """Servers outside the platform that its hosts have to reach, with logins: handle as a secret."""
    broker = platform.broker
    return [
        _postgres("database", "airflow_database", platform.database),
        _postgres("result backend", "airflow_result_backend", platform.result_backend),
        {
            "name": "broker",
            "variable": "airflow_broker",
            "protocol": broker.type,
            "host": broker.host,
            "port": broker.port,
            "user": broker.user or "",
            "password": broker.password,
            "database": str(broker.database) if broker.type == "redis" else broker.virtual_host,
            "tls": broker.tls,
            "sslmode": "verify-full" if broker.tls else "disable",
            "ca_certificate": broker.ca_certificate or "",
        },
    ]


def _postgres(name: str, variable: str, server: Postgres) -> dict[str, t.Any]:
    return {
        "name": name,
        "variable": variable,
        "protocol": "postgresql",
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": server.password,
        "database": server.name,
        "tls": server.sslmode != "disable",
        "sslmode": server.sslmode,
        "ca_certificate": server.ca_certificate or "",
    }


def collectors(platform: Platform) -> list[dict[str, t.Any]]:
    """Splunk as a sink of task logs, once for each index that lines go to; with tokens: handle as a secret."""
    splunk = platform.logs.splunk
    if not splunk:
        return []
    variable = "airflow_logs.tasks.splunk"
    places = {splunk.index: f"{variable}.index"}
    for bundle, index in splunk.bundle_indexes.items():
        places.setdefault(index, f"{variable}.bundle_indexes.{bundle}")
    return [
        {
            "name": f"Splunk for task logs, index {index}",
            "variable": variable,
            "variables": {"index": place, "proxy": f"airflow_proxy.{urlsplit(splunk.url).scheme}"},
            "url": splunk.url,
            "token": splunk.token,
            "index": index,
            "ca_certificate": splunk.ca_certificate or "",
            "search_url": splunk.search_url,
            "search_token": splunk.search_token,
            "search_ca_certificate": splunk.search_ca_certificate or "",
            "proxy": platform.surroundings.proxy_for(splunk.url),
            "no_proxy": list(platform.surroundings.direct),
        }
        for index, place in places.items()
    ]


def canaries(platform: Platform) -> list[dict[str, t.Any]]:
    """One canary for each queue: its DAG, and the groups of workers that may run it."""
    return [
        {
            "queue": queue,
            "dag_id": canary_dag_id(queue),
            "workers": [worker.name for worker in platform.workers if queue in worker.queues],
        }
        for queue in platform.queues
    ]


def bundles(platform: Platform) -> list[dict[str, t.Any]]:
    """What roles need to know of each bundle; queues are those whose workers see it, so that its tasks may use them."""
    return [
        {
            "name": bundle.name,
            "delivery": bundle.delivery,
            "path": bundle.host_path,
            "owner": bundle.owner,
            "group": bundle.group,
            "mode": bundle.mode,
            "refresh_seconds": bundle.refresh_seconds,
            "queues": _queues(platform, bundle),
        }
        for bundle in platform.bundles
    ]


def _queues(platform: Platform, bundle: Bundle) -> list[str]:
    """Queues that only workers consume which see the bundle: any of them may take a task."""
    seeing = [worker for worker in platform.workers if bundle.name in worker.bundles]
    blind = {queue for worker in platform.workers if worker not in seeing for queue in worker.queues}
    return [
        queue for queue in dict.fromkeys(queue for worker in seeing for queue in worker.queues) if queue not in blind
    ]


def requirements(platform: Platform, services: t.Sequence[Service], hosts: int) -> dict[str, t.Any]:
    """What each of some equal hosts needs.

    Args:
        platform: the platform.
        services: its services.
        hosts: how many hosts carry them, 1 or more.

    Returns:
        memory_mb: MiB that each host has to be able to reserve; memory_total_mb: all of them together;
        ports: the TCP ports published, each with its purpose and variable; bundles: paths that hosts have to see.
    """
    running = [service for service in services if not service.job]
    spread = [service for service in running if not service.everywhere]
    on_each = sum(service.memory_reservation_mb for service in running if service.everywhere)
    total = sum(service.replicas * service.memory_reservation_mb for service in spread)
    largest = max((service.memory_reservation_mb for service in spread), default=0)
    return {
        "memory_mb": max(math.ceil(total / max(hosts, 1)), largest) + on_each,
        "memory_total_mb": total + on_each * max(hosts, 1),
        "ports": [
            {
                "port": port.published,
                "purpose": service.name,
                "variable": f"airflow_components.{service.name.replace('-', '_')}.port",
            }
            for service in running
            for port in service.ports
        ],
        "bundles": [bundle.host_path for bundle in platform.bundles if bundle.mounted],
    }
