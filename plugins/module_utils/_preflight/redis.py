# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real login to Redis (or Valkey) with the standard library.

PRIVATE to the collection.

Sources: Redis documentation, "Redis serialization protocol specification", and the commands AUTH, SELECT and INFO.
"""

from __future__ import annotations

import re
import typing as t

from .problems import CheckFailed
from .wire import Endpoint, Wire, connect, foreign, tls_context

#: Pattern of the server's words, field, problem, fix.
_REFUSALS: t.Sequence[tuple[str, str, str, str]] = (
    (
        "^WRONGPASS|invalid password",
        "password",
        "{where} refuses the password of {who}",
        "set the right password (requirepass, or the user's in the server's ACL), and the user if it has one",
    ),
    ("^NOAUTH", "password", "{where} wants a password and none is given", "set the password"),
    (
        "without any password configured|no password is set",
        "password",
        "{where} has no password, but one is given",
        "set this password in the server (requirepass), or leave the password empty",
    ),
    (
        "wrong number of arguments for 'auth'|^ERR syntax error",
        "user",
        "{where} is older than Redis 6 and knows no users",
        "leave user empty",
    ),
    (
        "^DENIED",
        "host",
        "{where} is in protected mode and serves only its own host",
        "give the server a password (requirepass) and an address to bind to",
    ),
    (
        "^NOPERM",
        "user",
        "{who} may not do what a broker needs at {where} ({said})",
        "allow the user the keys, channels and commands of a broker: ~* &* +@all -@admin -@dangerous +info",
    ),
    (
        "DB index|SELECT is not allowed",
        "database",
        "{where} has no database {database}",
        "take a lower number, usually 0 to 15",
    ),
    ("^(LOADING|BUSY|MASTERDOWN)", "host", "{where} is not ready ({said})", "wait, or look into its log"),
    ("max number of clients", "host", "{where} has no free connection ({said})", "raise its maxclients"),
)


class RedisError(Exception):
    """An error answer of the server, in its own words."""


def check_redis(endpoint: Endpoint) -> dict[str, t.Any]:
    """Log in as Celery will, and look at what a broker needs.

    Returns:
        ``version`` and ``warnings`` (list of str).

    Raises:
        CheckFailed: with the field to change.
    """
    wire = connect(endpoint)
    try:
        if endpoint.tls:
            wire.start_tls(tls_context(endpoint))
        _log_in(wire)
        return _judge(wire)
    finally:
        wire.close()


def call(wire: Wire, *words: str) -> str:
    """Send one command; returns a simple string, an integer as text, or a bulk string ("" for a null).

    Raises:
        RedisError: the server answers with an error.
        CheckFailed: the server is gone, or is no Redis.
    """
    encoded = [word.encode() for word in words]
    parts = [b"*%d\r\n" % len(encoded)] + [b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded]
    wire.send(b"".join(parts))
    line = wire.read_line()
    kind, rest = line[:1], line[1:].decode(errors="replace")
    if kind == b"-":
        raise RedisError(rest)
    if kind in (b"+", b":"):
        return rest
    if kind == b"$" and rest.lstrip("-").isdigit():
        length = int(rest)
        if length < 0:
            return ""
        return wire.read(length + 2)[:-2].decode(errors="replace")
    raise foreign(wire.endpoint)


def _log_in(wire: Wire) -> None:
    endpoint = wire.endpoint
    try:
        if endpoint.password:
            user = [endpoint.user] if endpoint.user else []
            call(wire, "AUTH", *user, endpoint.password)
        call(wire, "PING")
        if endpoint.database:
            call(wire, "SELECT", endpoint.database)
    except RedisError as error:
        raise _refused(str(error), endpoint) from error


def _judge(wire: Wire) -> dict[str, t.Any]:
    endpoint = wire.endpoint
    try:
        facts = _facts(call(wire, "INFO"))
    except RedisError as error:
        return {
            "version": "",
            "warnings": [f"{endpoint.variable}: INFO is not allowed ({error}), so its settings were not checked."],
        }
    if facts.get("redis_mode") == "cluster":
        raise CheckFailed(
            "host",
            f"{endpoint.address} is a Redis Cluster, which Celery cannot use as a broker",
            "take a Redis without cluster mode (in a managed service: cluster mode disabled)",
        )
    if facts.get("role") == "slave":
        raise CheckFailed(
            "host",
            f"{endpoint.address} is a read-only replica",
            "point host at the primary endpoint",
        )
    warnings = []
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        warnings.append(
            f"{endpoint.variable}: {endpoint.address} has maxmemory-policy {policy}: when its memory is full it throws "
            "queued tasks away. Set maxmemory-policy to noeviction."
        )
    version = facts.get("valkey_version") or facts.get("redis_version", "")
    return {"version": version, "warnings": warnings}


def _facts(info: str) -> dict[str, str]:
    lines = (line.partition(":") for line in info.splitlines() if not line.startswith("#"))
    return {key: value for key, colon, value in lines if colon}


def _refused(said: str, endpoint: Endpoint) -> CheckFailed:
    words = {
        "where": endpoint.address,
        "who": f"user {endpoint.user}" if endpoint.user else "the default user",
        "database": endpoint.database,
        "said": said,
    }
    for pattern, *texts in _REFUSALS:
        if re.search(pattern, said):
            return CheckFailed(*(text.format(**words) for text in texts))
    return CheckFailed("host", f"{endpoint.address} answers: {said}", "look into the server's log")
