# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP request to a service that takes or finds logs, with an explanation for every way to fail.

PRIVATE to the collection.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
import typing as t
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from .._preflight.problems import CheckFailed
from .._preflight.proxy import bypasses, open_tunnel
from .._preflight.wire import Endpoint, Wire, connect, tls_context

#: Answers are small; nobody gets to fill this host's memory.
LARGEST = 1 << 20
_PATHS = re.compile(r"/services(/collector(/.*)?|/search(/.*)?)?$")


class Answer(t.NamedTuple):
    """What a server said; names of headers have small letters."""

    status: int
    headers: t.Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, t.Any]:
        """The body as a JSON object; empty when it is none."""
        try:
            given = json.loads(self.body)
        except ValueError:
            return {}
        return given if isinstance(given, dict) else {}


@dataclass(frozen=True)
class Door:
    """Where to ask, and how.

    Attributes:
        url: scheme, host and port, and a path when something in front of the service adds one.
        protocol: ``hec`` or ``splunk``.
        option: name of the option that has the URL; the problems of this door are told with it.
        ca_option: name of the option that has the CA certificate.
        ca_certificate: PEM text; empty means the authorities the host trusts.
        verify: whether the certificate has to be trusted.
        timeout: seconds that one step of the conversation may take.
    """

    url: str
    protocol: str
    option: str = "url"
    ca_option: str = "ca_certificate"
    ca_certificate: str = ""
    verify: bool = True
    timeout: float = 10.0
    proxy: str = field(default="", repr=False)
    no_proxy: t.Sequence[str] = ()

    def check(self) -> None:
        """Look at the URL itself.

        Raises:
            CheckFailed: it cannot be used.
        """
        problem = fix = ""
        try:
            parts = urlsplit(self.url)
            port = parts.port
        except ValueError:
            raise CheckFailed(self.option, "it is no address", "write it as https://splunk.example.com:8088") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            problem, fix = "it is no address", "write it as https://splunk.example.com:8088"
        elif parts.username or parts.password:
            problem, fix = "it has a login in it", "take the login out; it has variables of its own"
        elif parts.query or parts.fragment:
            problem, fix = "it has a query in it", "end it after the port, or after the path in front of /services"
        elif port == 0:
            problem, fix = "port 0 is none", "write the port that the service listens on"
        if problem:
            raise CheckFailed(self.option, problem, fix)

    @property
    def encrypted(self) -> bool:
        """Whether the URL says https."""
        return urlsplit(self.url).scheme == "https"

    @property
    def prefix(self) -> str:
        """The path in front of ``/services``, without a slash at its end."""
        return _PATHS.sub("", urlsplit(self.url).path.rstrip("/"))

    @property
    def endpoint(self) -> Endpoint:
        """The same for the checks of a host."""
        parts = urlsplit(self.url)
        return Endpoint(
            name="",
            variable="",
            protocol=self.protocol,
            host=parts.hostname or "",
            port=parts.port or (443 if self.encrypted else 80),
            tls=self.encrypted,
            ca_certificate=self.ca_certificate,
            timeout=self.timeout,
            proxy=self.proxy,
            no_proxy=self.no_proxy,
        )

    def ask(self, method: str, path: str, headers: t.Mapping[str, str], body: bytes | None = None) -> Answer:
        """One request on a connection of its own.

        Args:
            path: begins with ``/services``.

        Raises:
            CheckFailed: there was no answer; with the field to change.
        """
        try:
            return _ask(self.endpoint, self.verify, (method, self.prefix + path, headers, body))
        except CheckFailed as error:
            raise self._told(error) from error

    def _told(self, error: CheckFailed) -> CheckFailed:
        """A problem of the connection, in this door's words."""
        hint = _HINTS[self.protocol]
        if error.field == "ca_certificate":
            fix = (
                "set it to the PEM of the authority that signed the certificate. Splunk's own default certificate "
                "(SplunkServerDefaultCert) carries no host name: give Splunk a certificate for its name"
            )
            return CheckFailed(self.ca_option, error.problem, fix if "PEM" not in error.problem else error.fix)
        if error.field == "tls":
            return CheckFailed(self.option, error.problem, _TLS_FIXES.get(_kind(error), error.fix))
        if error.field == "port":
            return CheckFailed(self.option, error.problem, f"{error.fix}. {hint}")
        return CheckFailed("proxy" if error.field == "proxy" else self.option, error.problem, error.fix)


_HINTS = {
    "hec": "The collector is off until it is turned on, in Splunk under Settings > Data inputs > "
    "HTTP Event Collector > Global Settings; it listens on 8088, at Splunk Cloud on 443",
    "splunk": "It is Splunk's management port, 8089; Splunk Cloud opens it on request only",
}
_TLS_FIXES = {
    "plain": "write http:// if the network is trusted, or turn TLS on there (Enable SSL in the Global Settings of HTTP "
    "Event Collector)",
    "encrypted": "write https:// in place of http://",
}


def _kind(error: CheckFailed) -> str:
    if "speaks TLS" in error.problem:
        return "encrypted"
    return "plain" if "does not speak TLS" in error.problem else ""


def _ask(endpoint: Endpoint, verify: bool, request: tuple[str, str, t.Mapping[str, str], bytes | None]) -> Answer:
    wire = _open(endpoint)
    try:
        if endpoint.tls:
            wire.start_tls(tls_context(endpoint, verify=verify))
        return _talk(wire, request)
    except CheckFailed as error:
        if not endpoint.tls and error.field == "port" and _speaks_tls(endpoint):
            raise CheckFailed(
                "tls", f"{endpoint.address} speaks TLS, and the address says http", "write https://"
            ) from error
        raise
    finally:
        wire.close()


def _open(endpoint: Endpoint) -> Wire:
    if not endpoint.proxy or bypasses(endpoint.host, endpoint.port, endpoint.no_proxy):
        return connect(endpoint)
    return open_tunnel(endpoint)


def _talk(wire: Wire, request: tuple[str, str, t.Mapping[str, str], bytes | None]) -> Answer:
    endpoint = wire.endpoint
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port)
    connection.sock = wire.connection
    method, path, headers, body = request
    try:
        connection.request(method, path, body, {"Accept": "application/json", "Connection": "close", **headers})
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read(LARGEST))
    except http.client.RemoteDisconnected as error:
        raise wire.broken(None) from error
    except http.client.HTTPException as error:
        raise CheckFailed(
            "port", f"{endpoint.address} does not speak HTTP", "correct host and port: another service listens there"
        ) from error
    except OSError as error:  # also ssl.SSLError
        raise wire.broken(error) from error


def _speaks_tls(endpoint: Endpoint) -> bool:
    try:
        wire = _open(endpoint)
    except CheckFailed:
        return False
    try:
        wire.connection = tls_context(endpoint, verify=False).wrap_socket(
            wire.connection, server_hostname=endpoint.host
        )
    except (ssl.SSLError, OSError):
        return False
    finally:
        wire.close()
    return True
