# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The address under which other containers of the platform reach this one.

Airflow stores it with jobs and task instances, and the API server fetches logs from it. A container's own
name is its ID, which no other host resolves; its address on the stack's network works from everywhere.
Set as ``[core] hostname_callable = flowstead_airflow.hosts.address``.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import socket
import typing as t
from pathlib import Path
from urllib.parse import urlsplit

_HOSTS = Path("/etc/hosts")


@functools.lru_cache(maxsize=1)
def address() -> str:
    """This container's address, found once per process. Never raises.

    In this order: FLOWSTEAD_ADDRESS; the address that the container engine wrote into /etc/hosts beside the
    container's name; the local end of the route to the execution API; the host's name.
    """
    return find(os.environ, _read(_HOSTS), socket.gethostname(), local_end)


def find(
    environ: t.Mapping[str, str],
    hosts: str,
    hostname: str,
    route: t.Callable[[str, int], str | None],
) -> str:
    """The pure part of :func:`address`.

    Args:
        environ: the environment.
        hosts: the text of /etc/hosts.
        hostname: this host's own name.
        route: gives the local address used to reach (host, port), or None.
    """
    told = environ.get("FLOWSTEAD_ADDRESS", "").strip()
    if told:
        return told
    own = own_addresses(hosts, hostname)
    if len(own) == 1:
        return own[0]
    peer = urlsplit(environ.get("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", ""))
    if peer.hostname:
        local = route(peer.hostname, peer.port or (443 if peer.scheme == "https" else 80))
        if local is not None and _reachable(local):
            return local
    return own[0] if own else hostname


def own_addresses(hosts: str, hostname: str) -> list[str]:
    """Addresses beside ``hostname`` in /etc/hosts which others can reach; IPv4 before IPv6."""
    found = []
    for line in hosts.splitlines():
        fields = line.partition("#")[0].split()
        if len(fields) > 1 and hostname in fields[1:] and _reachable(fields[0]):
            found.append(fields[0])
    return sorted(dict.fromkeys(found), key=lambda entry: ":" in entry)


def local_end(host: str, port: int) -> str | None:
    """The local address of a route; sends no packet. None when the name or the route is unknown."""
    try:
        for family, kind, protocol, _name, target in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.connect(target)
                return str(probe.getsockname()[0])
    except OSError:
        return None
    return None


def _reachable(entry: str) -> bool:
    try:
        parsed = ipaddress.ip_address(entry)
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_unspecified or parsed.is_link_local or parsed.is_multicast)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
