# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The short forms in which people write Compose files, brought into the long forms that a definition is made of.

PRIVATE to the collection. Pure. What is not understood is left as it is, so that ``definition.check_shape`` names it.

Source: Compose Specification, 05-services.md; docker/cli ``cli/compose/loader`` for what ``docker stack`` takes.
"""

from __future__ import annotations

import re
import shlex
import typing as t

from .schema import truth

Mapping = dict[str, t.Any]

_PORT = re.compile(
    r"(?:(?P<address>\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F:]+\]):)?(?:(?P<published>\d+(?:-\d+)?):)?"
    r"(?P<target>\d+(?:-\d+)?)(?:/(?P<protocol>tcp|udp|sctp))?"
)
_FLAGS = {"ro": True, "rw": False}
_PROPAGATION = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
#: Keys that say nothing to Swarm and change nothing when they are left out.
_SILENT = ("expose",)


def long_form(definition: t.Any) -> t.Any:
    """A definition in long forms; the one given is not changed."""
    if not isinstance(definition, t.Mapping):
        return definition
    result = {key: value for key, value in definition.items() if key != "version" and not str(key).startswith("x-")}
    # "name" of a Compose file is the project's; the stack is named by the task.
    result.pop("name", None)
    if isinstance(result.get("services"), t.Mapping):
        result["services"] = {name: _service(entry) for name, entry in result["services"].items()}
    for kind in ("networks", "volumes", "secrets", "configs"):
        if isinstance(result.get(kind), t.Mapping):
            result[kind] = {name: _declared(entry, kind) for name, entry in result[kind].items()}
        elif kind in result and result[kind] is None:
            del result[kind]
    return result


def _service(given: t.Any) -> t.Any:
    if not isinstance(given, t.Mapping):
        return given
    service = _known(given)
    for key in _SILENT:
        service.pop(key, None)
    for key, change in _CHANGES.items():
        if key in service:
            service[key] = change(service[key])
    if isinstance(service.get("deploy"), t.Mapping):
        deploy = service["deploy"] = dict(service["deploy"])
        if "labels" in deploy:
            deploy["labels"] = _pairs(deploy["labels"])
    if isinstance(service.get("healthcheck"), t.Mapping) and isinstance(service["healthcheck"].get("test"), str):
        service["healthcheck"] = {**service["healthcheck"], "test": ["CMD-SHELL", service["healthcheck"]["test"]]}
    if "tmpfs" in service:
        targets = _texts(service.pop("tmpfs"))
        mounts = [{"type": "tmpfs", "target": target} for target in targets]
        service["volumes"] = [*(service.get("volumes") or []), *mounts]
    return service


def _known(given: t.Mapping[str, t.Any]) -> Mapping:
    """Without extensions and without keys that say nothing (``ports:`` with nothing behind it)."""
    return {key: value for key, value in given.items() if not str(key).startswith("x-") and value is not None}


def _declared(given: t.Any, kind: str) -> t.Any:
    if not isinstance(given, t.Mapping):
        return given
    entry = _known(given)
    external = entry.get("external")
    if isinstance(external, t.Mapping):  # up to version 3.4: external: {name: ...}
        entry.update(external=True, **{key: value for key, value in external.items() if key == "name"})
    if "labels" in entry:
        if kind in ("secrets", "configs"):
            del entry["labels"]
        else:
            entry["labels"] = _pairs(entry["labels"])
    if "content" in entry and "data" not in entry and kind == "configs":
        entry["data"] = entry.pop("content")
    if kind in ("networks", "volumes") and "external" in entry and not truth(entry["external"]):
        del entry["external"]
    return entry


def _words(value: t.Any) -> t.Any:
    try:
        return shlex.split(value) if isinstance(value, str) else value
    except ValueError:  # a quote that is never closed
        return value


def _pairs(value: t.Any) -> t.Any:
    """``["A=1", "B"]`` as a mapping; a name alone is an empty text."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return {name: rest for name, _equals, rest in (item.partition("=") for item in value)}
    if isinstance(value, t.Mapping):
        return {name: "" if entry is None else _word(entry) for name, entry in value.items()}
    return value


def _environment(value: t.Any) -> t.Any:
    """As pairs; a name without a value would be taken from the shell of whoever deploys, so it is left out."""
    if isinstance(value, list):
        value = [item for item in value if not isinstance(item, str) or "=" in item]
    elif isinstance(value, t.Mapping):
        value = {name: entry for name, entry in value.items() if entry is not None}
    return _pairs(value)


def _word(value: t.Any) -> t.Any:
    return str(value).lower() if isinstance(value, bool) else value


def _texts(value: t.Any) -> t.Any:
    return [value] if isinstance(value, str) else value


def _hosts(value: t.Any) -> t.Any:
    if isinstance(value, t.Mapping):
        return [f"{name}:{address}" for name, address in value.items()]
    return value


def _ports(value: t.Any) -> t.Any:
    if not isinstance(value, list):
        return value
    return [port for item in value for port in _port(item)]


def _port(item: t.Any) -> list[t.Any]:
    if isinstance(item, t.Mapping):
        return [{key: entry for key, entry in item.items() if key not in ("name", "app_protocol")}]
    match = None if isinstance(item, bool) else _PORT.fullmatch(str(item))
    if match is None or match["address"]:
        return [item]  # Swarm cannot bind a port to an address
    targets, published = _range(match["target"]), _range(match["published"])
    if published and len(published) != len(targets):
        return [item]
    rest = {"protocol": match["protocol"]} if match["protocol"] else {}
    if not published:
        return [{"target": target, **rest} for target in targets]
    return [{"target": target, "published": out, **rest} for target, out in zip(targets, published)]


def _range(text: str | None) -> list[int]:
    if not text:
        return []
    first, dash, last = text.partition("-")
    return list(range(int(first), int(last) + 1)) if dash else [int(first)]


def _mounts(value: t.Any) -> t.Any:
    return [_mount(item) for item in value] if isinstance(value, list) else value


def _mount(item: t.Any) -> t.Any:
    if not isinstance(item, str):
        return item
    parts = item.split(":")
    if len(parts) == 1:
        return {"type": "volume", "target": item}
    source, target, options = parts[0], parts[1], parts[2].split(",") if len(parts) == 3 else []
    if len(parts) > 3 or not source:
        return item
    bind = source[0] in "/.~"
    mount: Mapping = {"type": "bind" if bind else "volume", "source": source, "target": target}
    for option in options:
        if option in _FLAGS:
            mount["read_only"] = _FLAGS[option]
        elif option in _PROPAGATION and bind:
            mount["bind"] = {"propagation": option}
        elif option == "nocopy" and not bind:
            mount["volume"] = {"nocopy": True}
        elif option not in ("z", "Z"):
            return item
    return mount


_CHANGES: dict[str, t.Callable[[t.Any], t.Any]] = {
    "command": _words,
    "entrypoint": _words,
    "environment": _environment,
    "labels": _pairs,
    "sysctls": _pairs,
    "dns": _texts,
    "dns_search": _texts,
    "extra_hosts": _hosts,
    "ports": _ports,
    "volumes": _mounts,
}
