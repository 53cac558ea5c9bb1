# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Swarm accepts and people regret: hints, said only about services that are about to be written.

PRIVATE to the collection.
"""

from __future__ import annotations

import re
import typing as t

from .relations import is_job
from .schema import truth

#: Names of services that work on something which takes its time.
_WORKER = re.compile(r"(?:^|[^a-z])(?:workers?|celery|consumers?)(?:$|[^a-z])", re.IGNORECASE)
#: Images of servers whose clients keep connections open, and idle (moby issue 31208).
_IDLE = re.compile(
    r"(?:postgres(?:ql)?|pgbouncer|mysql|mariadb|percona.*|redis|valkey|rabbitmq|mongo(?:db)?|memcached)", re.IGNORECASE
)


def hints(name: str, service: t.Mapping[str, t.Any], volumes: t.Mapping[str, t.Any], nodes: int) -> list[str]:
    """Hints about one service.

    Args:
        name: of the service.
        service: its definition.
        volumes: the volumes of the definition.
        nodes: number of nodes in the swarm.
    """
    deploy = service.get("deploy", {})
    update = deploy.get("update_config", {})
    checked = bool(service.get("healthcheck", {}).get("test"))
    found = []
    if update.get("order") == "start-first" and not checked and not is_job(service):
        found.append("start-first without a healthcheck sends work to new tasks before they are ready")
    image = service["image"].partition("@")[0].rpartition("/")[2]
    if "@" not in service["image"] and (":" not in image or image.endswith(":latest")):
        found.append(f"image {service['image']} has no fixed tag, so nobody can say later what ran")
    if not checked and service.get("ports") and not is_job(service):
        found.append("it publishes a port and has no healthcheck, so work is sent to it as soon as its process exists")
    if _WORKER.search(name) and not is_job(service) and "stop_grace_period" not in service:
        found.append("stop_grace_period is not set: Swarm kills it 10 s after asking it to stop, whatever it works on")
    if _IDLE.fullmatch(image.partition(":")[0]) and deploy.get("endpoint_mode", "vip") == "vip":
        found.append(
            "clients reach it by a virtual IP, which forgets a connection that is idle for 15 minutes; "
            "use endpoint_mode: dnsrr, or TCP keepalives below 900 s in its clients"
        )
    mounts = [mount for mount in service.get("volumes") or [] if mount["type"] == "volume" and mount.get("source")]
    if nodes > 1 and not deploy.get("placement", {}).get("constraints") and not is_job(service):
        found += [
            f"volume {mount['source']} is local to a node, and no placement constraint keeps the service on that node"
            for mount in mounts
            if not _shared(volumes.get(mount["source"]) or {})
        ]
    return [f"{name}: {hint}" for hint in found]


def _shared(volume: t.Mapping[str, t.Any]) -> bool:
    """True for volumes that may be the same on every node: a driver of its own, NFS options, or made elsewhere."""
    return (
        bool(volume.get("driver_opts"))
        or volume.get("driver", "local") != "local"
        or truth(volume.get("external", False))
    )
