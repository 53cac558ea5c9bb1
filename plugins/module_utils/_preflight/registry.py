# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real login to an image registry with the standard library, as an engine makes it.

PRIVATE to the collection.

Sources: OCI Distribution Specification 1.1, "Endpoints" (end-1); RFC 7235 for challenges, RFC 7617 for Basic; the
registry's token authentication specification for Bearer.
"""

from __future__ import annotations

import base64
import dataclasses
import http.client
import json
import re
import ssl
import typing as t
from urllib.parse import urlencode, urlsplit

from .problems import CheckFailed
from .proxy import bypasses, open_tunnel
from .wire import Endpoint, Wire, connect, tls_context

#: Answers are small; nobody gets to fill this host's memory.
_LARGEST = 1 << 20
_PARAMETER = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


class Answer(t.NamedTuple):
    """What a server said."""

    status: int
    headers: t.Mapping[str, str]
    body: bytes


def check_registry(endpoint: Endpoint) -> dict[str, t.Any]:
    """Ask for ``/v2/`` and log in the way the registry wants it.

    Returns:
        ``authentication``: ``none``, ``basic`` or ``bearer``; and ``warnings`` (list of str).

    Raises:
        CheckFailed: with the field to change.
    """
    answer = _get(endpoint, "/v2/", {})
    how = "none"
    if answer.status == 401:
        how, answer = _log_in(endpoint, answer.headers.get("www-authenticate", ""))
    _judge(endpoint, answer)
    warnings = []
    if how == "none" and endpoint.password:
        warnings.append(
            f"{endpoint.variable}: {endpoint.address} asks nobody for a login; the given one was not checked."
        )
    return {"authentication": how, "warnings": warnings}


def parse_challenge(header: str) -> tuple[str, dict[str, str]]:
    """A ``WWW-Authenticate`` header as its scheme, in small letters, and its parameters."""
    scheme, _blank, rest = header.strip().partition(" ")
    found = {
        match[1].lower(): re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
        for match in _PARAMETER.finditer(rest)
    }
    return scheme.lower(), found


def _log_in(endpoint: Endpoint, header: str) -> tuple[str, Answer]:
    scheme, parameters = parse_challenge(header)
    if scheme == "basic":
        if not endpoint.password:
            raise _wants_login(endpoint)
        return scheme, _get(endpoint, "/v2/", _basic(endpoint))
    if scheme == "bearer" and parameters.get("realm"):
        token = _fetch_token(endpoint, parameters)
        return scheme, _get(endpoint, "/v2/", {"Authorization": f"Bearer {token}"})
    raise CheckFailed(
        "host",
        f"{endpoint.address} wants a login in a way that engines do not know ({scheme or 'no scheme'})",
        "check that host and port lead to the registry itself, and not to a sign-on page in front of it",
    )


def _fetch_token(endpoint: Endpoint, parameters: t.Mapping[str, str]) -> str:
    realm = urlsplit(parameters["realm"])
    if realm.scheme not in ("http", "https") or not realm.hostname:
        raise CheckFailed(
            "host",
            f"{endpoint.address} names a token service that is no address ({parameters['realm']})",
            "set the realm of its token authentication to an https address",
        )
    if realm.scheme == "http" and endpoint.tls and endpoint.password:
        raise CheckFailed(
            "host",
            f"{endpoint.address} would have the password sent to {parameters['realm']} without encryption",
            "set the realm of its token authentication to an https address",
        )
    server = dataclasses.replace(
        endpoint,
        name=f"token service of the {endpoint.name}",
        host=realm.hostname,
        port=realm.port or (443 if realm.scheme == "https" else 80),
        tls=realm.scheme == "https",
    )
    query = {name: parameters[name] for name in ("service", "scope") if name in parameters}
    if endpoint.password:
        query["account"] = endpoint.user
    path = f"{realm.path or '/'}?{'&'.join(part for part in (realm.query, urlencode(query)) if part)}"
    answer = _get(server, path, _basic(endpoint) if endpoint.password else {})
    if answer.status in (401, 403):
        raise _refused(endpoint, answer, server.address) if endpoint.password else _wants_login(endpoint)
    _judge(server, answer)
    try:
        given = json.loads(answer.body)
        return str(given.get("token") or given["access_token"])
    except (ValueError, KeyError, AttributeError) as error:
        raise CheckFailed(
            "host",
            f"{server.address}, the token service of {endpoint.address}, gives no token",
            "look into the log of the token service",
        ) from error


#: What to do about TLS, where that is another thing than for a database.
_FIXES = {
    "tls": "give the registry TLS, or list it there if the network is trusted, so that the engine goes without",
    "ca_certificate": "give the PEM of the authority that signed the registry's certificate",
}


def _get(endpoint: Endpoint, path: str, headers: t.Mapping[str, str]) -> Answer:
    """One request on a connection of its own."""
    wire = _open(endpoint)
    try:
        if endpoint.tls:
            _encrypt(wire)
        return _talk(wire, path, headers)
    finally:
        wire.close()


def _encrypt(wire: Wire) -> None:
    try:
        context = tls_context(wire.endpoint)
        if wire.endpoint.ca_certificate:
            context.load_default_certs()  # an engine trusts both
        wire.start_tls(context)
    except CheckFailed as error:
        raise CheckFailed(error.field, error.problem, _FIXES.get(error.field, error.fix)) from error


def _open(endpoint: Endpoint) -> Wire:
    if not endpoint.proxy or bypasses(endpoint.host, endpoint.port, endpoint.no_proxy):
        return connect(endpoint)
    return open_tunnel(endpoint)


def _talk(wire: Wire, path: str, headers: t.Mapping[str, str]) -> Answer:
    endpoint = wire.endpoint
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port)
    connection.sock = wire.connection
    try:
        connection.request("GET", path, headers={"Accept": "application/json", **headers})
        response = connection.getresponse()
        body = response.read(_LARGEST)
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, body)
    except http.client.BadStatusLine as error:
        if isinstance(error, http.client.RemoteDisconnected):
            raise wire.broken(None) from error
        if not endpoint.tls and "\x15\x03" in str(error.args[0]):
            raise _encrypted(endpoint) from error
        raise _foreign(endpoint, "it does not speak HTTP") from error
    except http.client.HTTPException as error:
        raise _foreign(endpoint, f"{type(error).__name__}") from error
    except ssl.SSLError as error:
        raise wire.broken(error) from error
    except OSError as error:
        raise wire.broken(error) from error


def _judge(endpoint: Endpoint, answer: Answer) -> None:
    """Anything but success is told apart."""
    if answer.status == 200:
        return
    if answer.status in (401, 403):
        raise _refused(endpoint, answer, endpoint.address)
    if answer.status == 429:
        wait = answer.headers.get("retry-after")
        raise CheckFailed(
            "user",
            f"{endpoint.address} refuses more requests for now (429)" + (f" and says to wait {wait} s" if wait else ""),
            "wait, or give a login with a higher limit, or a mirror of your own",
        )
    if answer.status == 400 and not endpoint.tls and b"HTTPS" in answer.body:
        raise _encrypted(endpoint)
    if answer.status >= 500:
        raise CheckFailed(
            "host",
            f"{endpoint.address} is ill: it answers {answer.status}{_said(answer)}",
            "look into the registry's log, and that of whatever stands in front of it",
        )
    raise _foreign(endpoint, f"it answers {answer.status} to /v2/")


def _refused(endpoint: Endpoint, answer: Answer, where: str) -> CheckFailed:
    if not endpoint.password:
        return _wants_login(endpoint)
    return CheckFailed(
        "password",
        f"{where} refuses the login of user {endpoint.user} ({answer.status}{_said(answer)})",
        "set the right user and password; a token may have expired, or may not be for this registry",
    )


def _wants_login(endpoint: Endpoint) -> CheckFailed:
    return CheckFailed("user", f"{endpoint.address} wants a login and none is given", "set user and password")


def _encrypted(endpoint: Endpoint) -> CheckFailed:
    return CheckFailed(
        "tls",
        f"{endpoint.address} speaks TLS, and is listed as a registry without it",
        "take it out of the list, so that the engine encrypts",
    )


def _foreign(endpoint: Endpoint, why: str) -> CheckFailed:
    return CheckFailed(
        "host",
        f"{endpoint.address} is no image registry: {why}",
        "correct host and port: another service listens there",
    )


def _basic(endpoint: Endpoint) -> dict[str, str]:
    login = base64.b64encode(f"{endpoint.user}:{endpoint.password}".encode()).decode("ascii")
    return {"Authorization": f"Basic {login}"}


def _said(answer: Answer) -> str:
    """The registry's own words (distribution specification, "Error Codes"), when there are any."""
    try:
        first = json.loads(answer.body)["errors"][0]
        return f", {str(first.get('message') or first['code'])[:200]}"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return ""
