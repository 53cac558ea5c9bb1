# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real login to RabbitMQ with the standard library.

PRIVATE to the collection.

Source: AMQP 0-9-1 specification, sections 2.3 (frames), 1.4.2 (connection methods) and 4.2 (wire format); RabbitMQ
documentation, "Authentication Failure Notifications".
"""

from __future__ import annotations

import struct
import typing as t

from .problems import CheckFailed
from .wire import Endpoint, Wire, connect, foreign, tls_context

_HEADER = b"AMQP\x00\x00\x09\x01"
_FRAME_END = 0xCE
_START, _START_OK, _TUNE, _TUNE_OK, _OPEN, _OPEN_OK, _CLOSE, _CLOSE_OK = 10, 11, 30, 31, 40, 41, 50, 51
#: Bytes of the field types with a fixed size.
_FIXED = {kind: size for size, kinds in ((1, "tbB"), (2, "Usu"), (4, "Iif"), (5, "D"), (8, "LldT")) for kind in kinds}


def check_rabbitmq(endpoint: Endpoint) -> dict[str, t.Any]:
    """Log in as Celery will, and open the virtual host.

    Returns:
        ``version`` and ``warnings`` (list of str).

    Raises:
        CheckFailed: with the field to change.
    """
    wire = connect(endpoint)
    try:
        if endpoint.tls:
            wire.start_tls(tls_context(endpoint))
        wire.send(_HEADER)
        version = _read_start(wire)
        _log_in(wire)
    finally:
        wire.close()
    return {"version": version, "warnings": []}


def _read_start(wire: Wire) -> str:
    endpoint = wire.endpoint
    method, body = _method(wire)
    if method != _START:
        raise foreign(endpoint)
    properties, offset = _table(body, 2)
    (length,) = struct.unpack_from("!I", body, offset)
    mechanisms = body[offset + 4 : offset + 4 + length].split()
    if b"PLAIN" not in mechanisms:
        raise CheckFailed(
            "user",
            f"{endpoint.address} does not offer logins with a password "
            f"({b' '.join(mechanisms).decode(errors='replace')})",
            "allow PLAIN in the server's auth_mechanisms",
        )
    return properties.get("version", "")


def _log_in(wire: Wire) -> None:
    endpoint = wire.endpoint
    # With this capability a wrong password is told, instead of a closed connection.
    capability = _short("authentication_failure_close") + b"t\x01"
    properties = _short("capabilities") + b"F" + _long(capability)
    properties += _short("product") + b"S" + _long(b"flowstead preflight")
    response = f"\0{endpoint.user}\0{endpoint.password}".encode()
    _send(wire, _START_OK, _long(properties) + _short("PLAIN") + _long(response) + _short("en_US"))
    _expect(wire, _TUNE, echo=_TUNE_OK)
    _send(wire, _OPEN, _short(endpoint.database or "/") + b"\x00\x00")
    _expect(wire, _OPEN_OK)
    _send(wire, _CLOSE, struct.pack("!H", 200) + _short("done") + struct.pack("!HH", 0, 0))


def _expect(wire: Wire, wanted: int, echo: int = 0) -> None:
    method, body = _method(wire)
    if method == _CLOSE:
        (code,) = struct.unpack_from("!H", body)
        text = body[3 : 3 + body[2]].decode(errors="replace")
        _send(wire, _CLOSE_OK, b"")
        raise _refused(code, text, wire.endpoint)
    if method != wanted:
        raise foreign(wire.endpoint)
    if echo:
        _send(wire, echo, body)


def _refused(code: int, text: str, endpoint: Endpoint) -> CheckFailed:
    where = endpoint.address
    host = endpoint.database or "/"
    if code == 403:
        return CheckFailed(
            "password",
            f"{where} refuses user {endpoint.user} with this password",
            "set the right user and password; note that the user guest may log in from the server's own host only",
        )
    if code == 530 and "not found" in text:
        return CheckFailed(
            "virtual_host",
            f"{where} has no virtual host {host}",
            f"create it (rabbitmqctl add_vhost '{host}'), or correct the name",
        )
    if code == 530:
        return CheckFailed(
            "user",
            f"user {endpoint.user} may not use virtual host {host} of {where} ({text})",
            f"rabbitmqctl set_permissions -p '{host}' '{endpoint.user}' '.*' '.*' '.*'",
        )
    return CheckFailed("host", f"{where} closes the login with {code}: {text}", "look into the server's log")


def _method(wire: Wire) -> tuple[int, bytes]:
    head = wire.read(7)
    kind, _channel, size = struct.unpack("!BHI", head)
    if head.startswith(b"AMQP") or kind != 1 or not 4 <= size <= 1 << 20:
        raise foreign(wire.endpoint)
    payload = wire.read(size + 1)
    class_id, method = struct.unpack_from("!HH", payload)
    if payload[-1] != _FRAME_END or class_id != 10:
        raise foreign(wire.endpoint)
    return method, payload[4:-1]


def _send(wire: Wire, method: int, arguments: bytes) -> None:
    payload = struct.pack("!HH", 10, method) + arguments
    wire.send(struct.pack("!BHI", 1, 0, len(payload)) + payload + bytes([_FRAME_END]))


def _table(data: bytes, offset: int) -> tuple[dict[str, str], int]:
    """The text values of a field table, and the offset behind it."""
    (length,) = struct.unpack_from("!I", data, offset)
    offset += 4
    end = offset + length
    values: dict[str, str] = {}
    while offset < end:
        size = data[offset]
        key = data[offset + 1 : offset + 1 + size].decode(errors="replace")
        kind = chr(data[offset + 1 + size])
        offset += 2 + size
        if kind in _FIXED:
            offset += _FIXED[kind]
        elif kind in "SxFA":
            (size,) = struct.unpack_from("!I", data, offset)
            if kind == "S":
                values[key] = data[offset + 4 : offset + 4 + size].decode(errors="replace")
            offset += 4 + size
        elif kind != "V":
            break
    return values, end


def _short(text: str) -> bytes:
    data = text.encode()
    return bytes([len(data)]) + data


def _long(data: bytes) -> bytes:
    return struct.pack("!I", len(data)) + data
