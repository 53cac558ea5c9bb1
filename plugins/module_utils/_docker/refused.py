# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of the Compose Specification that Swarm does not honour, and what to write in their place.

PRIVATE to the collection. ``docker stack deploy`` drops most of them with a line on stderr, or without one.

Source: Compose Specification, 05-services.md and deploy.md; docker/cli ``cli/compose/types`` (UnsupportedProperties).
"""

from __future__ import annotations

_LIMITS = "use deploy.resources"
_NODE = "set it in the engine's configuration on the node"
_NEVER = "remove it; run the container outside of the swarm if it cannot do without"
_BUILD = "build and push the image before, and name it under image"

SERVICE: dict[str, str] = {
    "annotations": "use labels",
    "attach": "remove it; logs are in docker service logs",
    "blkio_config": _NEVER,
    "build": _BUILD,
    "cgroup": _NEVER,
    "cgroup_parent": _NEVER,
    "container_name": "remove it; tasks are named by Swarm, and other services reach it under its service name",
    "cpu_count": _LIMITS,
    "cpu_percent": _LIMITS,
    "cpu_period": _LIMITS,
    "cpu_quota": _LIMITS,
    "cpu_rt_period": _NEVER,
    "cpu_rt_runtime": _NEVER,
    "cpu_shares": _LIMITS,
    "cpus": _LIMITS,
    "cpuset": _NEVER,
    "credential_spec": _NEVER,
    "develop": _BUILD,
    "device_cgroup_rules": _NEVER,
    "devices": _NEVER,
    "domainname": "use hostname",
    "env_file": "give it in a Compose file (compose_file), or write its lines under environment",
    "extends": "write the service out; YAML anchors work in a Compose file (compose_file)",
    "external_links": "put both services into one network",
    "gpus": _NEVER,
    "group_add": "use user",
    "ipc": _NEVER,
    "isolation": _NEVER,
    "label_file": "use labels",
    "links": "remove it; services of one network reach each other by name",
    "mac_address": _NEVER,
    "mem_limit": _LIMITS,
    "mem_reservation": _LIMITS,
    "mem_swappiness": _NEVER,
    "memswap_limit": _NEVER,
    "models": _NEVER,
    "network_mode": "use networks",
    "oom_kill_disable": _NEVER,
    "oom_score_adj": _NEVER,
    "pid": _NEVER,
    "pids_limit": "use deploy.resources.limits.pids",
    "platform": "use deploy.placement.constraints with node.platform.arch",
    "post_start": "do it in the container's command, or in a replicated-job that depends_on it",
    "pre_stop": "let the process answer its stop_signal",
    "privileged": "use cap_add",
    "profiles": "leave the service out of the definition",
    "provider": _NEVER,
    "pull_policy": "use the module's option resolve_image",
    "restart": "use deploy.restart_policy",
    "runtime": _NODE,
    "scale": "use deploy.replicas",
    "security_opt": _NEVER,
    "shm_size": "mount a tmpfs at /dev/shm under volumes",
    "stdin_open": "remove it; nobody can attach to a task",
    "storage_opt": _NODE,
    "use_api_socket": _NEVER,
    "userns_mode": _NODE,
    "uts": _NEVER,
    "volumes_from": "write the mounts out under volumes",
}
DEFINITION: dict[str, str] = {
    "include": "merge the files into one",
    "models": _NEVER,
}
