# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exports of an NFS server: what is wrong with them, and the lines of exports(5).

PRIVATE to the collection. Pure: no I/O, no Ansible.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
import typing as t

from .._platform.problems import Problem, show

Export = t.Mapping[str, t.Any]
Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

_VARIABLE = "local_services_nfs_exports"
#: What an export gets unless its options say otherwise; each with the words that replace it.
_DEFAULTS = (
    ("ro", {"ro", "rw"}),
    ("sync", {"sync", "async"}),
    ("no_subtree_check", {"no_subtree_check", "subtree_check"}),
    ("root_squash", {"root_squash", "no_root_squash", "all_squash"}),
)
_OPTION = re.compile(r"[a-z][a-z0-9_]*(=[A-Za-z0-9@%+/:._-]+)?")
_PATH = re.compile(r"[A-Za-z0-9@%+/:._-]+")


def network(text: object) -> Network | None:
    """An address or a network in CIDR notation; None when it is neither."""
    try:
        return ipaddress.ip_network(str(text), strict=False)
    except ValueError:
        return None


def is_everything(text: object) -> bool:
    """Whether a list of clients names all there are."""
    parsed = network(text)
    return str(text).strip().lower() in ("*", "all") or (parsed is not None and parsed.prefixlen == 0)


def export_problems(exports: t.Sequence[Export]) -> list[Problem]:
    """Everything that is wrong with the exports, in their order."""
    if not exports:
        return [
            Problem(
                _VARIABLE,
                "empty",
                "the NFS server has nothing to export",
                "Name at least one {path: ..., clients: [...]}, or take nfs out of local_services_enabled",
            )
        ]
    found: list[Problem] = []
    for index, export in enumerate(exports):
        where = f"{_VARIABLE}[{index}]"
        found += _path_problems(where, export["path"], [other["path"] for other in exports])
        found += _client_problems(where, export, exports[:index])
        found += _option_problems(where, export)
        found += _owner_problems(where, export, exports[:index])
    return found


def _path_problems(where: str, path: str, paths: t.Sequence[str]) -> list[Problem]:
    def problem(what: str, fix: str) -> list[Problem]:
        return [Problem(f"{where}.path", show(path), what, fix)]

    if not path.startswith("/"):
        return problem("a relative path exports nothing anybody can find", "Write it from / on, like /srv/dags")
    if not path.strip("/"):
        return problem("this would export the whole host", "Export a directory of its own, like /srv/dags")
    if path != posixpath.normpath(path) or path.startswith("//"):
        return problem("the path has dots, double slashes or a slash at its end", "Write the plain path")
    if not _PATH.fullmatch(path):
        return problem("the path has characters that exports(5) reads as its own", "Use letters, digits, / . _ -")
    outer = next((other for other in paths if other != path and path.startswith(f"{other.rstrip('/')}/")), None)
    if outer is not None and outer.strip("/"):
        fix = "Put the two beside each other: clients of the outer one would see the inner one with other rights"
        return problem(f"it lies inside of another export, {outer}", fix)
    return []


def _client_problems(where: str, export: Export, earlier: t.Sequence[Export]) -> list[Problem]:
    found: list[Problem] = []
    clients = list(export.get("clients") or [])
    if not clients:
        found.append(Problem(f"{where}.clients", "empty", "nobody could mount it", "Name the networks (CIDR) that may"))
    before = {network(client) for other in earlier if other["path"] == export["path"] for client in other["clients"]}
    for number, client in enumerate(clients):
        parsed = network(client)
        at = f"{where}.clients[{number}]"
        if is_everything(client):
            fix = "Name the networks (CIDR) whose hosts have to mount it"
            found.append(Problem(at, show(client), "NFS asks for no password, and this lets everybody in", fix))
        elif parsed is None:
            found.append(Problem(at, show(client), "this is no address and no network", "Write it like 192.0.2.0/24"))
        elif parsed in before:
            fix = "Name each network once for a path; the narrowest that holds a client counts"
            found.append(Problem(at, show(client), "this network is named twice for the path", fix))
        before.add(parsed)
    return found


def _option_problems(where: str, export: Export) -> list[Problem]:
    return [
        Problem(
            f"{where}.options[{number}]",
            show(option),
            "this is no option of exports(5)",
            "Write one option per item, such as rw or anonuid=50000",
        )
        for number, option in enumerate(export.get("options") or [])
        if not _OPTION.fullmatch(str(option))
    ]


def _owner_problems(where: str, export: Export, earlier: t.Sequence[Export]) -> list[Problem]:
    """One directory has one owner, however many lists of clients it has."""
    found: list[Problem] = []
    for name in ("owner", "group", "mode"):
        others = {other.get(name) for other in earlier if other["path"] == export["path"]} - {None}
        if export.get(name) is not None and others - {export[name]}:
            fix = f"Give {export['path']} one {name}, in one of its entries"
            found.append(Problem(f"{where}.{name}", show(export[name]), f"another entry says {others.pop()}", fix))
    return found


def directories(exports: t.Sequence[Export]) -> list[dict[str, str]]:
    """Each directory once: ``path``, and ``owner``, ``group`` and ``mode`` where some entry says so."""
    found: dict[str, dict[str, str]] = {}
    for export in exports:
        directory = found.setdefault(export["path"], {"path": export["path"]})
        for name in ("owner", "group", "mode"):
            if export.get(name) is not None:
                directory[name] = export[name]
    return list(found.values())


def lines(exports: t.Sequence[Export]) -> list[str]:
    """One line of exports(5) per directory.

    The server takes the first network of a line that holds the client, so narrow ones come first. A single host is
    written as an address, which counts before every network.
    """
    clients: dict[str, list[tuple[Network, str]]] = {}
    for export in exports:
        for client in export["clients"]:
            parsed = network(client)
            if parsed is None:
                raise ValueError(f"{client} is no network")
            options = ",".join(_options(export.get("options") or []))
            clients.setdefault(export["path"], []).append((parsed, options))
    return [
        " ".join([path, *(f"{_client(one)}({options})" for one, options in sorted(found, key=_narrow_first))])
        for path, found in clients.items()
    ]


def _options(given: t.Sequence[str]) -> list[str]:
    return [default for default, words in _DEFAULTS if not words.intersection(given)] + list(given)


def _narrow_first(client: tuple[Network, str]) -> tuple[int, int, int]:
    return (client[0].max_prefixlen - client[0].prefixlen, client[0].version, int(client[0].network_address))


def _client(one: Network) -> str:
    return str(one.network_address) if one.prefixlen == one.max_prefixlen else str(one)
