# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real login to PostgreSQL with the standard library.

PRIVATE to the collection.

Sources: PostgreSQL documentation, "Frontend/Backend Protocol" (message flow and formats, SASL authentication) and
"Appendix A. PostgreSQL Error Codes"; RFC 5802 and RFC 7677 for SCRAM-SHA-256.
"""

from __future__ import annotations

import hashlib
import struct
import typing as t

from .problems import CheckFailed
from .scram import ScramClient, ScramError
from .wire import Endpoint, Wire, connect, foreign, tls_context

#: Airflow 3.3 supports PostgreSQL 14 to 18.
MINIMUM_VERSION = 140000

_SSL_REQUEST = struct.pack("!II", 8, 80877103)
_PROTOCOL = 196608
_FACTS = (
    "SELECT current_setting('server_version_num'), current_setting('server_encoding'), "
    "current_setting('max_connections'), has_schema_privilege(current_schema(), 'CREATE'), pg_is_in_recovery()"
)

_NOT_READY = ("host", "{where} is starting up or shutting down ({said})", "wait, or look into its log")
_NEEDS_TLS = (
    "sslmode",
    "{where}, database {database}, does not let user {user} in without TLS ({said})",
    "set sslmode to verify-full and give ca_certificate",
)
#: SQLSTATE to field, problem, fix.
_REFUSALS: t.Mapping[str, tuple[str, str, str]] = {
    "28P01": (
        "password",
        "{where}, database {database}, refuses the password of user {user}",
        "set the right password, or set this one in the server: ALTER ROLE \"{user}\" PASSWORD '...'",
    ),
    "28000": (
        "user",
        "{where}, database {database}, does not let user {user} in from this host ({said})",
        "add a line for this user, database and client network to the server's pg_hba.conf (in a managed service: its "
        "allowed networks), create the user if it does not exist, and compare sslmode with what that line asks for",
    ),
    "3D000": (
        "name",
        "{where} has no database {database}",
        'create it: CREATE DATABASE "{database}" OWNER "{user}" ENCODING \'UTF8\'; or correct the name',
    ),
    "42501": (
        "user",
        "user {user} may not connect to database {database} of {where} ({said})",
        'GRANT CONNECT ON DATABASE "{database}" TO "{user}", or make it the owner',
    ),
    "53300": (
        "host",
        "{where} has no free connection ({said})",
        "raise max_connections (or the user's CONNECTION LIMIT), put PgBouncer in front, or stop other clients",
    ),
    "57P01": _NOT_READY,
    "57P02": _NOT_READY,
    "57P03": _NOT_READY,
}


def check_postgresql(endpoint: Endpoint) -> dict[str, t.Any]:
    """Log in as Airflow will, and look at what Airflow needs.

    Returns:
        ``version`` (for example ``15.18``), ``max_connections`` (int) and ``warnings`` (list of str).

    Raises:
        CheckFailed: with the field to change.
    """
    wire = connect(endpoint)
    try:
        if endpoint.sslmode != "disable":
            _encrypt(wire)
        _log_in(wire)
        row = _query(wire, _FACTS)
        wire.send(b"X" + struct.pack("!I", 4))
    finally:
        wire.close()
    return _judge(row, endpoint)


def _encrypt(wire: Wire) -> None:
    endpoint = wire.endpoint
    wire.send(_SSL_REQUEST)
    answer = wire.read(1)
    if answer == b"N":
        raise CheckFailed(
            "sslmode",
            f"{endpoint.address} does not offer TLS",
            "turn on ssl in the server, or set sslmode to disable if the network is trusted",
        )
    if answer != b"S":
        raise foreign(endpoint)
    # As libpq: "require" verifies the authority when one is given, and the name only with verify-full.
    verify = endpoint.sslmode in ("verify-ca", "verify-full") or bool(endpoint.ca_certificate)
    wire.start_tls(tls_context(endpoint, verify=verify, check_name=endpoint.sslmode == "verify-full"))


def _log_in(wire: Wire) -> None:
    endpoint = wire.endpoint
    settings = {
        "user": endpoint.user,
        "database": endpoint.database or endpoint.user,
        "application_name": "flowstead preflight",
        "client_encoding": "UTF8",
    }
    body = b"".join(f"{key}\0{value}\0".encode() for key, value in settings.items()) + b"\0"
    wire.send(struct.pack("!II", len(body) + 8, _PROTOCOL) + body)
    scram: ScramClient | None = None
    while True:
        kind, payload = _message(wire)
        if kind == b"R":
            scram = _authenticate(wire, payload, scram)
        elif kind == b"E":
            raise _refused(_fields(payload), endpoint)
        elif kind == b"Z":
            return
        elif kind not in (b"S", b"K", b"N", b"v"):
            raise foreign(endpoint)


def _authenticate(wire: Wire, payload: bytes, scram: ScramClient | None) -> ScramClient | None:
    endpoint = wire.endpoint
    (code,) = struct.unpack("!I", payload[:4])
    rest = payload[4:]
    try:
        if code == 0:
            if scram is not None and not scram.finished:
                raise ScramError("the server did not prove that it knows the password")
            return scram
        if code == 3:
            _send(wire, b"p", endpoint.password.encode() + b"\0")
            return scram
        if code == 5:
            _send(wire, b"p", _md5(endpoint.user, endpoint.password, rest[:4]) + b"\0")
            return scram
        if code == 10 and b"SCRAM-SHA-256" in rest.split(b"\0"):
            scram = ScramClient(endpoint.password)
            first = scram.first()
            _send(wire, b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first)
            return scram
        if code == 11 and scram is not None:
            _send(wire, b"p", scram.final(rest))
            return scram
        if code == 12 and scram is not None:
            scram.verify(rest)
            return scram
    except ScramError as error:
        raise CheckFailed(
            "host",
            f"{endpoint.address} fails its side of the SCRAM login ({error})",
            "check that host and port lead to your own server",
        ) from error
    raise CheckFailed(
        "user",
        f"{endpoint.address} asks user {endpoint.user} for a login method other than a password (code {code})",
        "allow scram-sha-256 for this user in the server's pg_hba.conf",
    )


def _query(wire: Wire, statement: str) -> list[str]:
    _send(wire, b"Q", statement.encode() + b"\0")
    row: list[str] = []
    while True:
        kind, payload = _message(wire)
        if kind == b"D":
            row = _columns(payload)
        elif kind == b"E":
            raise _refused(_fields(payload), wire.endpoint)
        elif kind == b"Z":
            return row


def _judge(row: t.Sequence[str], endpoint: Endpoint) -> dict[str, t.Any]:
    number, encoding, connections, may_create, standby = row
    version = f"{int(number) // 10000}.{int(number) % 10000}"
    if int(number) < MINIMUM_VERSION:
        raise CheckFailed(
            "host",
            f"{endpoint.address} is PostgreSQL {version}; Airflow 3.3 needs at least {MINIMUM_VERSION // 10000}",
            "upgrade the server, or take another",
        )
    if standby == "t":
        raise CheckFailed(
            "host",
            f"{endpoint.address} is a read-only standby",
            "point host at the primary, or at a name that follows the primary",
        )
    if may_create != "t":
        raise CheckFailed(
            "user",
            f"user {endpoint.user} may not create tables in database {endpoint.database}",
            f'make it the owner: ALTER DATABASE "{endpoint.database}" OWNER TO "{endpoint.user}"; '
            f'or GRANT CREATE ON SCHEMA public TO "{endpoint.user}"',
        )
    warnings = []
    if encoding != "UTF8":
        warnings.append(
            f"{endpoint.variable}: database {endpoint.database} is encoded as {encoding}; Airflow expects UTF8. "
            "Create it again with ENCODING 'UTF8'."
        )
    return {"version": version, "max_connections": int(connections), "warnings": warnings}


def _refused(error: t.Mapping[str, str], endpoint: Endpoint) -> CheckFailed:
    code = error.get("C", "")
    unknown = ("host", "{where}, database {database}, answers {code}: {said}", "look into the server's log")
    words = {
        "where": endpoint.address,
        "user": endpoint.user,
        "database": endpoint.database,
        "code": code,
        "said": error.get("M", "no reason given"),
    }
    if code == "28000" and endpoint.sslmode == "disable" and "no encryption" in words["said"]:
        return CheckFailed(*(text.format(**words) for text in _NEEDS_TLS))
    return CheckFailed(*(text.format(**words) for text in _REFUSALS.get(code, unknown)))


def _message(wire: Wire) -> tuple[bytes, bytes]:
    kind, length = struct.unpack("!cI", wire.read(5))
    if not 4 <= length <= 1 << 20:
        raise foreign(wire.endpoint)
    return kind, wire.read(length - 4)


def _send(wire: Wire, kind: bytes, payload: bytes) -> None:
    wire.send(kind + struct.pack("!I", len(payload) + 4) + payload)


def _fields(payload: bytes) -> dict[str, str]:
    parts = (part.decode(errors="replace") for part in payload.split(b"\0") if part)
    return {part[0]: part[1:] for part in parts}


def _columns(payload: bytes) -> list[str]:
    (count,) = struct.unpack("!H", payload[:2])
    offset, values = 2, []
    for _column in range(count):
        (length,) = struct.unpack("!i", payload[offset : offset + 4])
        offset += 4
        size = max(length, 0)
        values.append(payload[offset : offset + size].decode())
        offset += size
    return values


def _md5(user: str, password: str, salt: bytes) -> bytes:
    inner = hashlib.md5(password.encode() + user.encode(), usedforsecurity=False).hexdigest()
    return b"md5" + hashlib.md5(inner.encode() + salt, usedforsecurity=False).hexdigest().encode()
