# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's configuration file: layers, rules, and which changes need a restart.

PRIVATE to the collection. No I/O.
"""

from __future__ import annotations

import json
import re
import typing as t

#: Keys that a running engine takes over on SIGHUP. Source: dockerd reference, "Configuration reload behavior".
RELOADABLE = frozenset(
    {
        "allow-nondistributable-artifacts",
        "authorization-plugins",
        "debug",
        "default-runtime",
        "features",
        "insecure-registries",
        "labels",
        "live-restore",
        "max-concurrent-downloads",
        "max-concurrent-uploads",
        "max-download-attempts",
        "registry-mirrors",
        "runtimes",
        "shutdown-timeout",
    }
)
#: Keys that belong to the way in which the engine is started.
OWNED = {
    "hosts": "the way in which the engine is started gives it its sockets, and dockerd refuses to start with both",
    "pidfile": "the way in which the engine is started gives it its pid file, and dockerd refuses to start with both",
}
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s\"]+(?=@)")


class ConfigProblem(Exception):
    """The file or the wanted settings cannot be used; ``problems`` holds one text for each reason."""

    def __init__(self, problems: t.Sequence[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = list(problems)


def parse_config(text: str, path: str) -> dict[str, t.Any]:
    """Read the file that is there; an empty one counts as no settings.

    Raises:
        ConfigProblem: it is not a JSON object.
    """
    if not text.strip():
        return {}
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ConfigProblem(
            [f"{path} is on this host and is not JSON ({error}). Repair it or move it away; it is left as it is."]
        ) from error
    if not isinstance(document, dict):
        raise ConfigProblem(
            [
                f"{path} is on this host and holds a {type(document).__name__} instead of settings. "
                "Repair it or move it away; it is left as it is."
            ]
        )
    return document


def merge_layers(live: t.Mapping[str, t.Any], layers: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """Lay ``layers`` over ``live``, later ones win. Mappings merge, lists are replaced, null takes a key away."""
    merged: dict[str, t.Any] = dict(live)
    for layer in layers:
        merged = _merge(merged, layer)
    return merged


def find_problems(config: t.Mapping[str, t.Any], *, swarm: bool) -> list[str]:
    """What is wrong with these settings although dockerd would start with them, or would say it less clearly.

    Args:
        swarm: the engine is or will be a member of a swarm.
    """
    problems = [
        f"daemon.json: {key!r} cannot be set there: {reason}." for key, reason in OWNED.items() if key in config
    ]
    if swarm and config.get("live-restore"):
        problems.append(
            "daemon.json: 'live-restore' is true, and an engine with it refuses to be a member of a swarm. "
            "Take it out, or set docker_engine_swarm to false on hosts that stay alone."
        )
    if swarm and config.get("firewall-backend") == "nftables":
        problems.append(
            "daemon.json: 'firewall-backend' is nftables, and an engine with it refuses to be a member of a swarm. "
            "Use iptables."
        )
    problems.extend(_log_problems(config))
    return problems


def restart_keys(before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any]) -> list[str]:
    """Changed keys that a running engine only takes over when it starts again.

    A reload looks at the keys that are in the file, so one that is gone from it keeps its old value until then.
    """
    return [key for key in changed_keys(before, after) if key not in RELOADABLE or key not in after]


def changed_keys(before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any]) -> list[str]:
    """Keys whose values differ, sorted."""
    missing = object()
    return sorted(key for key in {*before, *after} if before.get(key, missing) != after.get(key, missing))


def format_config(config: t.Mapping[str, t.Any]) -> str:
    """The text of the file: sorted, indented, so that a diff of two is short."""
    return json.dumps(config, indent=2, sort_keys=True) + "\n"


def mask_credentials(text: str) -> str:
    """Hide ``user:password`` in URLs, for diffs and messages."""
    return _CREDENTIALS.sub("********", text)


def read_verdict(code: int, output: str, *, validates: bool) -> str:
    """What dockerd said about a candidate file; empty when it accepts it.

    Args:
        code: exit code.
        output: its standard output and standard error.
        validates: it was run with ``--validate`` (Docker 23 and later). Older engines are asked to start with the
            pid file of a living process: they read the file, and then stop at the pid file.
    """
    if validates:
        return "" if code == 0 else _last_line(output)
    return "" if "pid file found" in output else _last_line(output)


def _merge(base: t.Mapping[str, t.Any], layer: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    merged = dict(base)
    for key, value in layer.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            below = merged.get(key)
            merged[key] = _merge(below if isinstance(below, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def _log_problems(config: t.Mapping[str, t.Any]) -> list[str]:
    options = config.get("log-opts", {})
    if not isinstance(options, dict):
        return [f"daemon.json: 'log-opts' is a {type(options).__name__}; write option: value pairs."]
    problems = [
        f"daemon.json: 'log-opts' {name} is {value!r}; dockerd only takes strings there. Put quotes around it."
        for name, value in sorted(options.items())
        if not isinstance(value, str)
    ]
    driver = config.get("log-driver", "json-file")
    if driver == "json-file" and "max-size" not in options:
        problems.append(
            "daemon.json: the log driver json-file without 'max-size' grows until the disk is full. "
            "Set log-opts: {max-size: 20m, max-file: '5'}, or log-driver: local."
        )
    if driver == "none":
        problems.append(
            "daemon.json: 'log-driver' is none, so nobody could ever say why a container failed. "
            "Use local, or a driver that ships logs elsewhere."
        )
    return problems


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for line in lines if "unable to configure" in line or "level=fatal" in line]
    return mask_credentials((told or lines or ["it gave no reason"])[-1])
