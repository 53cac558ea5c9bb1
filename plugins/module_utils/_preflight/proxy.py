# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way through a forward proxy, by the rules that an engine follows.

PRIVATE to the collection.

Sources: RFC 9110, section 9.3.6 (CONNECT); golang.org/x/net/http/httpproxy for what NO_PROXY means to an engine.
"""

from __future__ import annotations

import base64
import dataclasses
import ipaddress
import typing as t
from urllib.parse import unquote, urlsplit

from .problems import CheckFailed
from .wire import Endpoint, Wire, connect


def bypasses(host: str, port: int, no_proxy: t.Sequence[str]) -> bool:
    """Whether ``host`` is reached directly: loopback always, and what an entry of ``no_proxy`` covers.

    An entry is a name (with its subdomains), ``.name`` or ``*.name`` (its subdomains alone), an address, a network,
    any of these but a network with a port, or ``*``.
    """
    name = host.lower().rstrip(".")
    address = _address(name)
    if name == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_covers(entry.strip().lower(), name, address, port) for entry in no_proxy)


def open_tunnel(endpoint: Endpoint) -> Wire:
    """Connect to the endpoint through its proxy.

    Raises:
        CheckFailed: the proxy cannot be reached, or refuses; field ``proxy``.
    """
    url = urlsplit(endpoint.proxy if "://" in endpoint.proxy else f"http://{endpoint.proxy}")
    if url.scheme != "http" or not url.hostname:
        raise CheckFailed(
            "proxy",
            f"the proxy for {endpoint.address} has no http address, so this check cannot use it",
            "write it as http://host:port; the connection through it is encrypted all the same",
        )
    server = dataclasses.replace(endpoint, host=url.hostname, port=url.port or 80)
    try:
        wire = connect(server)
        wire.send(_request(endpoint.address, url.username, url.password))
        status = _read_status(wire)
    except CheckFailed as error:
        raise CheckFailed("proxy", f"the proxy for {endpoint.address}: {error.problem}", error.fix) from error
    if status == 200:
        wire.endpoint = endpoint
        return wire
    wire.close()
    fix = "let the proxy reach it, or name its host in no_proxy when this host reaches it directly"
    if status == 407:
        fix = "let the proxy admit this host by its address, or set user and password where this variable may hold them"
    raise CheckFailed("proxy", f"the proxy {server.address} refuses to reach {endpoint.address} ({status})", fix)


def _covers(entry: str, name: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int) -> bool:
    if entry == "*":
        return True
    network = _network(entry)
    if network is not None:
        return address is not None and address in network
    host, colon, wanted = entry.rpartition(":")
    if colon and wanted.isdigit():
        if int(wanted) != port:
            return False
        entry = host.strip("[]")
        if _address(entry) is not None:
            return _address(entry) == address
    if entry.startswith("*."):
        entry = entry[1:]
    if entry.startswith("."):
        return name.endswith(entry)
    return bool(entry) and (name == entry or name.endswith(f".{entry}"))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _request(address: str, user: str | None, password: str | None) -> bytes:
    lines = [f"CONNECT {address} HTTP/1.1", f"Host: {address}"]
    if user:
        login = base64.b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode("ascii")
        lines.append(f"Proxy-Authorization: Basic {login}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _read_status(wire: Wire) -> int:
    words = wire.read_line().split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise CheckFailed("proxy", f"{wire.endpoint.address} is no HTTP proxy", "correct its address")
    while wire.read_line():
        pass
    return int(words[1])
