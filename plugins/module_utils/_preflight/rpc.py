# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ONC RPC over TCP: as much as one client needs that asks one question after the other.

PRIVATE to the collection.

Source: RFC 5531 (messages, record marking, AUTH_SYS) and RFC 4506 (XDR).
"""

from __future__ import annotations

import os
import struct

from .wire import Wire, foreign

_CALL, _REPLY = 0, 1
_RPC_VERSION = 2
_AUTH_NONE, _AUTH_SYS = 0, 1
_ACCEPTED, _DENIED = 0, 1
_SUCCESS, _PROGRAM_UNAVAILABLE, _PROGRAM_MISMATCH = 0, 1, 2
_LAST_FRAGMENT = 0x80000000
#: No answer that is asked for here comes near.
_LONGEST_RECORD = 1 << 20


class RpcRefused(Exception):
    """The server took the message and did not run it.

    Attributes:
        reason: ``version`` (the program is there in other versions), ``program`` (it is not there),
            ``auth`` (this kind of credential is not good enough), or ``other``.
        detail: in words.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Unpacker:
    """Reads XDR from front to back.

    Raises:
        ValueError: from every method, when the data ends too early.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    def fixed(self, length: int) -> bytes:
        """Opaque data of a length that both sides know."""
        end = self._offset + length
        if end > len(self._data):
            raise ValueError("the answer ends too early")
        data = self._data[self._offset : end]
        self._offset = end + -length % 4
        return data

    def uint(self) -> int:
        """An unsigned number of 32 bits."""
        return int(struct.unpack("!I", self.fixed(4))[0])

    def hyper(self) -> int:
        """An unsigned number of 64 bits."""
        return int(struct.unpack("!Q", self.fixed(8))[0])

    def opaque(self) -> bytes:
        """Data with its length in front."""
        return self.fixed(self.uint())


def uint(*numbers: int) -> bytes:
    """Unsigned numbers of 32 bits."""
    return struct.pack(f"!{len(numbers)}I", *numbers)


def opaque(data: bytes) -> bytes:
    """Data with its length in front, filled up to 4 bytes."""
    return uint(len(data)) + data + bytes(-len(data) % 4)


class RpcClient:
    """Calls procedures of one program.

    Args:
        wire: a connection to the server.
        program: its number.
        version: its version.
        machine: how this host is called.
    """

    def __init__(self, wire: Wire, program: int, version: int, machine: str) -> None:
        self._wire = wire
        self._program = program
        self._version = version
        self._machine = machine
        self._xid = struct.unpack("!I", os.urandom(4))[0]

    def call(self, procedure: int, arguments: bytes = b"") -> Unpacker:
        """The result of a procedure, called as root of this host.

        Raises:
            RpcRefused: the server refuses the call.
            CheckFailed: the connection broke, or this is no RPC server.
        """
        self._xid = (self._xid + 1) & 0xFFFFFFFF
        user = uint(0) + opaque(self._machine.encode()[:255]) + uint(0, 0, 0)
        credential = uint(_AUTH_SYS) + opaque(user) if procedure else uint(_AUTH_NONE, 0)
        header = uint(self._xid, _CALL, _RPC_VERSION, self._program, self._version, procedure)
        message = header + credential + uint(_AUTH_NONE, 0) + arguments
        self._wire.send(uint(_LAST_FRAGMENT | len(message)) + message)
        reply = Unpacker(self._record())
        try:
            return self._accept(reply)
        except ValueError as error:
            raise foreign(self._wire.endpoint) from error

    def _record(self) -> bytes:
        record = b""
        while True:
            (head,) = struct.unpack("!I", self._wire.read(4))
            length = head & ~_LAST_FRAGMENT
            if length + len(record) > _LONGEST_RECORD:
                raise foreign(self._wire.endpoint)
            record += self._wire.read(length)
            if head & _LAST_FRAGMENT:
                return record

    def _accept(self, reply: Unpacker) -> Unpacker:
        if (reply.uint(), reply.uint()) != (self._xid, _REPLY):
            raise ValueError("this is no answer to the call")
        if reply.uint() == _DENIED:
            if reply.uint() == 1:
                raise RpcRefused("auth", f"it refuses AUTH_SYS (auth_stat {reply.uint()})")
            raise RpcRefused("other", "it refuses the version of RPC")
        reply.uint()
        reply.opaque()
        status = reply.uint()
        if status == _PROGRAM_MISMATCH:
            raise RpcRefused("version", f"it offers versions {reply.uint()} to {reply.uint()}")
        if status == _PROGRAM_UNAVAILABLE:
            raise RpcRefused("program", "it does not offer this program")
        if status != _SUCCESS:
            raise RpcRefused("other", f"it could not run the call (accept_stat {status})")
        return reply
