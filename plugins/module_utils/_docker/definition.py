# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Compose-style definition that swarm_stack takes: which keys, which values.

PRIVATE to the collection. What crosses from one part of a definition to another (a secret that a service names
but nobody declares, a circle of depends_on) is in ``relations.py``.

Source: Compose Specification, and the keys that ``docker stack deploy`` hands to Swarm.
"""

from __future__ import annotations

import typing as t

from . import refused
from . import schema as s
from .schema import Problem

#: Modes of a service that runs to completion.
JOB_MODES = ("replicated-job", "global-job")

_NAME = r"[a-zA-Z0-9](?:[a-zA-Z0-9_-]*[a-zA-Z0-9])?"
_NAME_HINT = "use letters, digits, dashes and underscores, with a letter or digit at both ends"
_OBJECT_NAME = r"[a-zA-Z0-9](?:[a-zA-Z0-9_.-]*[a-zA-Z0-9])?"
_OBJECT_HINT = "use letters, digits, dots, dashes and underscores, with a letter or digit at both ends"
_ENVIRONMENT_NAME = r"[^=\s]+"

_words = s.list_of(s.text(empty=True, hint="write a text; quote numbers and booleans"))
_labels = s.map_of(s.scalar)


def _constraint(path: str, value: t.Any, problems: list[Problem]) -> None:
    s.text(
        r"\s*(?:node\.(?:id|hostname|ip|role|platform\.os|platform\.arch|labels\.[\w.-]+)|engine\.labels\.[\w.-]+)"
        r"\s*(?:==|!=)\s*\S.*",
        "write for example node.labels.zone == a, node.role == worker or node.hostname != db1",
    )(path, value, problems)


def _command(path: str, value: t.Any, problems: list[Problem]) -> None:
    if isinstance(value, str):
        problems.append(Problem(path, f"{s.shown(value)} is one text", "write a list, one item per argument"))
        return
    _words(path, value, problems)


def _secret_data(path: str, value: t.Any, problems: list[Problem]) -> None:
    if not isinstance(value, str) or not value:
        kind = "empty" if value in (None, "") else f"of type {type(value).__name__}"
        problems.append(Problem(path, f"the content is {kind}", "give a text that is not empty"))


def file_mode(value: t.Any) -> int:
    """A file mode: a string is octal, a number is taken as it is (YAML has already read 0400 as octal)."""
    if isinstance(value, bool):
        raise ValueError("a boolean is no mode")
    mode = int(value, 8) if isinstance(value, str) else int(value)
    if not 0 <= mode <= 0o7777:
        raise ValueError("out of range")
    return mode


_reference = s.short_or_long(
    s.text(_OBJECT_NAME, _OBJECT_HINT),
    s.record(
        {
            "source": s.text(_OBJECT_NAME, _OBJECT_HINT),
            "target": s.text(),
            "uid": s.scalar,
            "gid": s.scalar,
            "mode": s.converted(file_mode, "write an octal mode such as '0400' as a quoted string"),
        },
        required=["source"],
    ),
)


_port = s.record(
    {
        "target": s.whole(1, 65535),
        "published": s.whole(1, 65535),
        "protocol": s.one_of("tcp", "udp", "sctp"),
        "mode": s.one_of("ingress", "host"),
    },
    required=["target"],
)
_mount = s.record(
    {
        "type": s.one_of("bind", "volume", "tmpfs"),
        "source": s.text(),
        "target": s.text(r"/.*", "write an absolute path"),
        "read_only": s.flag,
        "bind": s.record({"propagation": s.one_of("private", "rprivate", "shared", "rshared", "slave", "rslave")}),
        "volume": s.record({"nocopy": s.flag}),
        "tmpfs": s.record({"size": s.size}),
    },
    required=["type", "target"],
)
_healthcheck = s.record(
    {
        "test": s.list_of(s.text(), least=1),
        "interval": s.duration,
        "timeout": s.duration,
        "retries": s.whole(1),
        "start_period": s.duration,
        "start_interval": s.duration,
        "disable": s.flag,
    }
)
_update_config = s.record(
    {
        "parallelism": s.whole(0),
        "delay": s.duration,
        "failure_action": s.one_of("pause", "continue", "rollback"),
        "monitor": s.duration,
        "max_failure_ratio": s.fraction,
        "order": s.one_of("stop-first", "start-first"),
    }
)
_rollback_config = s.record(
    {
        "parallelism": s.whole(0),
        "delay": s.duration,
        "failure_action": s.one_of("pause", "continue"),
        "monitor": s.duration,
        "max_failure_ratio": s.fraction,
        "order": s.one_of("stop-first", "start-first"),
    }
)
_deploy = s.record(
    {
        "mode": s.one_of("replicated", "global", *JOB_MODES),
        "replicas": s.whole(0),
        "endpoint_mode": s.one_of("vip", "dnsrr"),
        "labels": _labels,
        "resources": s.record(
            {
                "limits": s.record({"cpus": s.cpus, "memory": s.size, "pids": s.whole(1)}),
                "reservations": s.record({"cpus": s.cpus, "memory": s.size}),
            }
        ),
        "restart_policy": s.record(
            {
                "condition": s.one_of("none", "on-failure", "any"),
                "delay": s.duration,
                "max_attempts": s.whole(0),
                "window": s.duration,
            }
        ),
        "update_config": _update_config,
        "rollback_config": _rollback_config,
        "placement": s.record(
            {
                "constraints": s.list_of(_constraint),
                "preferences": s.list_of(s.record({"spread": s.text()}, required=["spread"])),
                "max_replicas_per_node": s.whole(0),
            }
        ),
    }
)
_limit = s.short_or_long(s.whole(-1), s.record({"soft": s.whole(-1), "hard": s.whole(-1)}, ["soft", "hard"]))

SERVICE: dict[str, s.Checker] = {
    "image": s.text(r"\S+", "write an image such as apache/airflow:3.3.2"),
    "command": _command,
    "entrypoint": _command,
    "environment": s.map_of(s.scalar, _ENVIRONMENT_NAME, "a name holds no blank and no ="),
    "secrets": s.list_of(_reference),
    "configs": s.list_of(_reference),
    "networks": s.short_or_long(
        s.list_of(s.text(_NAME, _NAME_HINT)),
        s.map_of(s.record({"aliases": s.list_of(s.text())}, nothing=True)),
    ),
    "ports": s.list_of(_port),
    "volumes": s.list_of(_mount),
    "healthcheck": _healthcheck,
    "stop_grace_period": s.duration,
    "stop_signal": s.text(),
    "hostname": s.text(),
    "user": s.scalar,
    "working_dir": s.text(),
    "init": s.flag,
    "tty": s.flag,
    "read_only": s.flag,
    "depends_on": s.short_or_long(
        s.list_of(s.text()),
        s.map_of(
            s.record(
                {"condition": s.one_of("service_started", "service_healthy", "service_completed_successfully")},
                nothing=True,
            )
        ),
    ),
    "deploy": _deploy,
    "labels": _labels,
    "cap_add": s.list_of(s.text()),
    "cap_drop": s.list_of(s.text()),
    "sysctls": s.map_of(s.scalar),
    "ulimits": s.map_of(_limit),
    "extra_hosts": s.list_of(s.text(r"[^:=\s]+[:=]\S+", "write name:address")),
    "dns": s.list_of(s.text()),
    "dns_search": s.list_of(s.text()),
    "dns_opt": s.list_of(s.text()),
    "logging": s.record({"driver": s.text(), "options": s.map_of(s.scalar)}, required=["driver"]),
}
_object = s.record({"data": _secret_data, "external": s.flag, "name": s.text(_OBJECT_NAME, _OBJECT_HINT)})
_network = s.record(
    {
        "driver": s.text(),
        "driver_opts": s.map_of(s.scalar),
        "attachable": s.flag,
        "internal": s.flag,
        "ipam": s.record(
            {"config": s.list_of(s.record({"subnet": s.text(), "gateway": s.text(), "ip_range": s.text()}))}
        ),
        "external": s.flag,
        "name": s.text(),
        "labels": _labels,
    },
    nothing=True,
)
_volume = s.record(
    {
        "driver": s.text(),
        "driver_opts": s.map_of(s.scalar),
        "labels": _labels,
        "external": s.flag,
        "name": s.text(),
    },
    nothing=True,
)
DEFINITION: dict[str, s.Checker] = {
    "services": s.map_of(s.record(SERVICE, required=["image"], refused=refused.SERVICE), _NAME, _NAME_HINT),
    "networks": s.map_of(_network, _OBJECT_NAME, _OBJECT_HINT),
    "secrets": s.map_of(_object, _OBJECT_NAME, _OBJECT_HINT),
    "configs": s.map_of(_object, _OBJECT_NAME, _OBJECT_HINT),
    "volumes": s.map_of(_volume, _OBJECT_NAME, _OBJECT_HINT),
}


def check_shape(definition: t.Any) -> list[Problem]:
    """Everything that is wrong with the keys and values of a definition, in its own order."""
    problems: list[Problem] = []
    s.record(DEFINITION, required=["services"], refused=refused.DEFINITION)("", definition, problems)
    return problems


def part_of(problem: Problem) -> tuple[str, ...]:
    """The entry that a problem is about, such as ``("services", "web")``."""
    return tuple(problem.path.replace("[", ".").split(".")[:2])


def sound_part(definition: t.Any, problems: t.Sequence[Problem]) -> dict[str, t.Any]:
    """What of a definition is worth a further look when some of it is wrong.

    Wrong services are left out. Other wrong entries stay as names, so that references to them are not called wrong.
    """
    wrong = {part_of(problem) for problem in problems}
    result: dict[str, t.Any] = {}
    for section, entries in (definition if isinstance(definition, t.Mapping) else {}).items():
        if section not in DEFINITION or not isinstance(entries, t.Mapping):
            continue
        stand_in: dict[str, t.Any] = {"external": True}
        result[section] = {
            name: stand_in if (section, str(name)) in wrong else entry
            for name, entry in entries.items()
            if section != "services" or (section, str(name)) not in wrong
        }
    left_out = set(definition.get("services") or {}) - set(result.get("services", {})) if result else set()
    for name, service in result.get("services", {}).items():
        needs = service.get("depends_on")
        if left_out and isinstance(needs, t.Mapping):
            needs = {need: entry for need, entry in needs.items() if need not in left_out}
        elif left_out and needs:
            needs = [need for need in needs if need not in left_out]
        if needs != service.get("depends_on"):
            result["services"][name] = {**service, "depends_on": needs}
    return result
