# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this host may mount an export, asked in NFSv4.1 itself: nothing is mounted, no package is needed.

PRIVATE to the collection.

Source: RFC 8881 (NFSv4.1), sections 15.1 (errors), 16 and 18 (operations); RFC 7862 for minor version 2.
"""

from __future__ import annotations

import os
import platform
import time
import typing as t

from .problems import CheckFailed
from .rpc import RpcClient, RpcRefused, Unpacker, opaque, uint
from .wire import Endpoint, connect, foreign

_PROGRAM, _VERSION = 100003, 4
_NULL, _COMPOUND = 0, 1
_GETATTR, _LOOKUP, _PUTROOTFH = 9, 15, 24
_EXCHANGE_ID, _CREATE_SESSION, _DESTROY_SESSION, _SEQUENCE, _DESTROY_CLIENTID = 42, 43, 44, 53, 57
_DIRECTORY = 2
_OK = 0
#: Try the same again a moment later: DELAY, GRACE.
_LATER = (10008, 10013)
_DENIED = {1: "PERM", 13: "ACCESS", 10016: "WRONGSEC"}
_NAMES = {
    2: "NOENT",
    5: "IO",
    20: "NOTDIR",
    10006: "SERVERFAULT",
    10008: "DELAY",
    10013: "GRACE",
    10021: "MINOR_VERS_MISMATCH",
    **_DENIED,
}
_PAUSE = 0.2


class _Status(Exception):
    """An operation that did not succeed; the last one of a COMPOUND."""

    def __init__(self, status: int, operation: int, index: int) -> None:
        super().__init__(f"NFS4ERR_{_NAMES.get(status, status)}")
        self.status = status
        self.operation = operation
        self.index = index


def check_nfs(endpoint: Endpoint, pause: t.Callable[[float], None] = time.sleep) -> dict[str, t.Any]:
    """Walk to the export as a mount will.

    Args:
        endpoint: ``path`` is the export, ``version`` the minor version's name, and ``reserved_port`` says whether the
            mount will come from a port below 1024.
        pause: waits between two attempts while the server asks for patience.

    Returns:
        ``version`` and ``warnings`` (list of str).

    Raises:
        CheckFailed: with the field to change.
    """
    try:
        _visit(endpoint, endpoint.reserved_port, pause)
    except _Status as error:
        raise _explain(endpoint, error, pause) from error
    except RpcRefused as error:
        raise _refused(endpoint, error) from error
    except ValueError as error:
        raise foreign(endpoint) from error
    return {"version": endpoint.version, "warnings": []}


def _visit(endpoint: Endpoint, reserved_port: bool, pause: t.Callable[[float], None]) -> None:
    wire = connect(endpoint, reserved_port=reserved_port)
    try:
        client = RpcClient(wire, _PROGRAM, _VERSION, platform.node())
        client.call(_NULL)
        session = _Session(client, int(endpoint.version.partition(".")[2] or 1))
        try:
            deadline = time.monotonic() + endpoint.timeout
            while True:
                try:
                    session.walk(endpoint.path)
                    return
                except _Status as error:
                    if error.status not in _LATER or time.monotonic() > deadline:
                        raise
                    pause(_PAUSE)
        finally:
            session.close()
    finally:
        wire.close()


class _Session:
    """A session of one slot, under a client of its own, so that the mounts of this host are not disturbed."""

    def __init__(self, client: RpcClient, minor: int) -> None:
        self._client = client
        self._minor = minor
        self._sequence = 0
        owner = opaque(f"flowstead preflight {platform.node()} {os.urandom(8).hex()}".encode())
        exchanged = self._compound((_EXCHANGE_ID, os.urandom(8) + owner + uint(0, 0, 0)))
        self._id = exchanged.fixed(8)
        channel = uint(0, 65536, 65536, 8192, 64, 1, 0)
        back = uint(0, 4096, 4096, 0, 2, 1, 0)
        arguments = self._id + uint(exchanged.uint(), 0) + channel + back + uint(0x40000000, 1, 0)
        self._session = self._compound((_CREATE_SESSION, arguments)).fixed(16)

    def walk(self, path: str) -> None:
        """Look up one part of a path after the other; the end has to be a directory."""
        parts = [part for part in path.split("/") if part]
        self._sequence += 1
        operations = [(_SEQUENCE, self._session + uint(self._sequence, 0, 0, 0)), (_PUTROOTFH, b"")]
        operations += [(_LOOKUP, opaque(part.encode())) for part in parts]
        attributes = self._compound(*operations, (_GETATTR, uint(1, 1 << 1)))
        for _word in range(attributes.uint()):
            attributes.uint()
        attributes.uint()
        if attributes.uint() != _DIRECTORY:
            raise _Status(20, _GETATTR, len(operations))

    def close(self) -> None:
        """Give back what the server keeps for this client; when that fails, its lease runs out."""
        try:
            self._compound((_DESTROY_SESSION, self._session))
            self._compound((_DESTROY_CLIENTID, self._id))
        except (_Status, RpcRefused, CheckFailed, ValueError):
            return

    def _compound(self, *operations: tuple[int, bytes]) -> Unpacker:
        """Run operations; what is left to read is the result of the last one."""
        body = b"".join(uint(number) + arguments for number, arguments in operations)
        reply = self._client.call(_COMPOUND, opaque(b"preflight") + uint(self._minor, len(operations)) + body)
        status = reply.uint()
        reply.opaque()
        count = reply.uint()
        if status != _OK and not count:
            raise _Status(status, 0, 0)
        for index in range(count):
            number, result = reply.uint(), reply.uint()
            if result != _OK:
                raise _Status(result, number, index)
            if index + 1 < count and number == _SEQUENCE:
                reply.fixed(16 + 5 * 4)
        if count != len(operations):
            raise ValueError("an answer is missing")
        return reply


def _explain(endpoint: Endpoint, error: _Status, pause: t.Callable[[float], None]) -> CheckFailed:
    where = f"{endpoint.address} as export {endpoint.path}"
    if error.status == 10021:
        return CheckFailed(
            "version",
            f"{endpoint.address} serves NFSv4, but not version {endpoint.version}",
            "turn on NFSv4.1 or 4.2 in the server (Linux: [nfsd] in /etc/nfs.conf), or set the version it has",
        )
    if error.status in _DENIED:
        return _denied(endpoint, error, pause)
    if error.status == 2:
        parts = [part for part in endpoint.path.split("/") if part]
        missing = "/" + "/".join(parts[: max(error.index - 1, 0)])
        return CheckFailed(
            "path",
            f"{where}: there is no {missing} on the server, or it does not show it to this host (NFS4ERR_NOENT)",
            "correct the path (NFSv4 counts it from the export with fsid=0, where there is one); export it, for this "
            "host's address too (/etc/exports, then: exportfs -ra)",
        )
    if error.status == 20:
        return CheckFailed(
            "path", f"{where}: this is no directory (NFS4ERR_NOTDIR)", "name the directory that is exported"
        )
    return CheckFailed(
        "host",
        f"{where}: the server answers {error}",
        "look at the server's log; after its start it may ask for 90 s of patience (NFS4ERR_GRACE, NFS4ERR_DELAY)",
    )


def _denied(endpoint: Endpoint, error: _Status, pause: t.Callable[[float], None]) -> CheckFailed:
    where = f"{endpoint.address} as export {endpoint.path}"
    if error.status == 10016:
        return CheckFailed(
            "path",
            f"{where} wants another kind of security than sec=sys ({error}), usually Kerberos",
            "export it with sec=sys for this host's address",
        )
    if not endpoint.reserved_port and _privileged_works(endpoint, pause):
        return CheckFailed(
            "options",
            f"{where} only takes clients that come from a port below 1024 ({error}), and the option noresvport "
            "comes from a higher one",
            "add resvport to the options, or let the server take any port (Linux: the export option insecure)",
        )
    return CheckFailed(
        "path",
        f"{where}: this host may not use it ({error})",
        "export it for this host's address, with access for its root user at least to read",
    )


def _privileged_works(endpoint: Endpoint, pause: t.Callable[[float], None]) -> bool:
    try:
        _visit(endpoint, True, pause)
    except (_Status, RpcRefused, CheckFailed, ValueError):
        return False
    return True


def _refused(endpoint: Endpoint, error: RpcRefused) -> CheckFailed:
    if error.reason in ("version", "program"):
        return CheckFailed(
            "port",
            f"{endpoint.address} speaks RPC, but not NFSv4: {error.detail}",
            "turn on NFSv4.1 in the server, or correct host and port",
        )
    return CheckFailed(
        "host",
        f"{endpoint.address} refuses this host's call: {error.detail}",
        "allow sec=sys for this host's address in the server",
    )
