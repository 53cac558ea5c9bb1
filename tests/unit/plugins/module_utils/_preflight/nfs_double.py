"""A server that speaks RPC and NFSv4.1 as far as the preflight asks, and refuses what the kernel's nfsd refuses.

It parses every message to its last byte, wants a session before anything else in a COMPOUND, counts the sequence of the
slot, and shows a client only exports that are meant for it.
"""

from __future__ import annotations

import socket
import struct
import typing as t

NOENT, PERM, NOTDIR, WRONGSEC = 2, 1, 20, 10016
DELAY, MINOR_VERS_MISMATCH, OP_NOT_IN_SESSION, BADSESSION = 10008, 10021, 10071, 10052
_SESSION = b"session-of-16-b."
_CLIENT = b"client08"


class Request:
    """The bytes of one message, read from front to back."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, count: int) -> bytes:
        """Exactly so many bytes."""
        assert len(self.data) >= count, "the message ends too early"
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def uint(self) -> int:
        """A number."""
        return int(struct.unpack("!I", self.take(4))[0])

    def opaque(self) -> bytes:
        """Data with its length."""
        length = self.uint()
        data = self.take(length)
        assert self.take(-length % 4) == bytes(-length % 4), "XDR is filled up with zeros"
        return data


class NfsDouble:
    """What one server offers.

    Args:
        exports: path to what a client gets that looks it up: 0 or an error.
        minors: minor versions it speaks.
        versions: versions of NFS it speaks.
        insecure: take clients from every port.
        delays: how many times it first asks for patience.
        fragments: cut answers into records of this many bytes.
    """

    def __init__(self, exports: t.Mapping[str, int] | None = None, **more: t.Any) -> None:
        self.exports = {"/export/dags": 0} if exports is None else exports
        self.minors: t.Sequence[int] = more.pop("minors", (1, 2))
        self.versions: tuple[int, int] = more.pop("versions", (3, 4))
        self.insecure: bool = more.pop("insecure", True)
        self.delays: int = more.pop("delays", 0)
        self.fragments: int = more.pop("fragments", 0)
        self.files: t.Collection[str] = more.pop("files", ())
        self.auth_too_weak: bool = more.pop("auth_too_weak", False)
        assert not more
        self.clients = self.sessions = 0
        self.sequence = 0
        self.port = 0

    def __call__(self, connection: socket.socket) -> None:
        """Serve one connection."""
        self.port = connection.getpeername()[1]
        stream = connection.makefile("rb")
        while head := stream.read(4):
            (length,) = struct.unpack("!I", head)
            assert length & 0x80000000, "this client sends whole messages"
            self.answer(connection, self.message(Request(stream.read(length & 0x7FFFFFFF))))
        assert (self.clients, self.sessions) == (0, 0), "the client leaves state behind"

    def answer(self, connection: socket.socket, reply: bytes) -> None:
        """Send a reply, in one fragment or in several."""
        size = self.fragments or len(reply)
        parts = [reply[start : start + size] for start in range(0, len(reply), size)]
        for index, part in enumerate(parts):
            last = 0x80000000 if index + 1 == len(parts) else 0
            connection.sendall(struct.pack("!I", last | len(part)) + part)

    def message(self, call: Request) -> bytes:
        """One RPC call."""
        xid = call.take(4)
        kind, rpc, program, version, procedure = struct.unpack("!5I", call.take(20))
        assert (kind, rpc) == (0, 2)
        flavor, credential = call.uint(), Request(call.opaque())
        assert (call.uint(), call.opaque()) == (0, b"")
        if procedure and (flavor != 1 or self.auth_too_weak):
            return xid + struct.pack("!4I", 1, 1, 1, 5)
        if procedure:
            credential.take(4)
            assert 0 < len(credential.opaque()) <= 255
            assert (credential.uint(), credential.uint(), credential.uint(), credential.data) == (0, 0, 0, b"")
        accepted = xid + struct.pack("!4I", 1, 0, 0, 0)
        if program != 100003:
            return accepted + struct.pack("!I", 1)
        if not self.versions[0] <= version <= self.versions[1]:
            return accepted + struct.pack("!3I", 2, *self.versions)
        accepted += struct.pack("!I", 0)
        return accepted if procedure == 0 else accepted + self.compound(call)

    def compound(self, call: Request) -> bytes:
        """One COMPOUND: operations until the first that fails."""
        tag, minor, count = call.opaque(), call.uint(), call.uint()
        head = struct.pack("!I", len(tag)) + tag + bytes(-len(tag) % 4)
        if minor not in self.minors:
            return struct.pack("!I", MINOR_VERS_MISMATCH) + head + struct.pack("!I", 0)
        results, status, path = [], 0, None
        for index in range(count):
            number = call.uint()
            status, body, path = self.operation(number, call, path, first=index == 0)
            results.append(struct.pack("!2I", number, status) + body)
            if status:
                break
        assert status or call.data == b"", "something follows the last operation"
        return struct.pack("!I", status) + head + struct.pack("!I", len(results)) + b"".join(results)

    def operation(self, number: int, call: Request, path: str | None, first: bool) -> tuple[int, bytes, str | None]:
        """One operation: its status, its result, and where the client is now."""
        if first and number in {42, 43, 44, 57}:
            return self.management(number, call)
        if number == 53 and first:
            return self.slot(call)
        if first:
            return OP_NOT_IN_SESSION, b"", None
        if number == 24:
            return 0, b"", ""
        if number == 15 and path is not None:
            return self.lookup(f"{path}/{call.opaque().decode()}")
        assert (number, call.uint(), call.uint()) == (9, 1, 2)
        return 0, struct.pack("!4I", 1, 2, 4, 1 if path in self.files else 2), path

    def slot(self, call: Request) -> tuple[int, bytes, None]:
        """SEQUENCE: the next one of the only slot."""
        if call.take(16) != _SESSION or not self.sessions:
            return BADSESSION, b"", None
        self.sequence += 1
        assert struct.unpack("!4I", call.take(16)) == (self.sequence, 0, 0, 0)
        return 0, _SESSION + struct.pack("!5I", self.sequence, 0, 0, 0, 0), None

    def management(self, number: int, call: Request) -> tuple[int, bytes, None]:
        """Clients and sessions."""
        if number == 42:
            call.take(8)
            assert 0 < len(call.opaque()) <= 1024
            assert (call.uint(), call.uint(), call.uint()) == (0, 0, 0)
            self.clients += 1
            server = (
                struct.pack("!Q", 0) + struct.pack("!I", 3) + b"nfs\0" + struct.pack("!I", 0) + struct.pack("!I", 0)
            )
            return 0, _CLIENT + struct.pack("!3I", 1, 0x20000, 0) + server, None
        if number == 43:
            assert call.take(8) == _CLIENT
            assert (call.uint(), call.uint()) == (1, 0)
            for smallest in (1024, 1024):
                _padding, request, response, _cached, operations, slots, rdma = struct.unpack("!7I", call.take(28))
                assert min(request, response) >= smallest
                assert operations >= 2
                assert slots >= 1
                assert rdma == 0
            assert struct.unpack("!3I", call.take(12)) == (0x40000000, 1, 0)
            self.sessions += 1
            channel = struct.pack("!7I", 0, 65536, 65536, 8192, 50, 1, 0)
            return 0, _SESSION + struct.pack("!2I", 1, 0) + channel + channel, None
        if number == 44:
            assert call.take(16) == _SESSION
            self.sessions -= 1
            return 0, b"", None
        assert call.take(8) == _CLIENT
        assert not self.sessions, "NFS4ERR_CLIENTID_BUSY"
        self.clients -= 1
        return 0, b"", None

    def lookup(self, path: str) -> tuple[int, bytes, str | None]:
        """A path of the tree that exports make."""
        if self.delays:
            self.delays -= 1
            return DELAY, b"", None
        if path in self.exports:
            if not self.insecure and self.port >= 1024:
                return PERM, b"", None
            return self.exports[path], b"", path
        if any(export.startswith(f"{path}/") for export in self.exports) or path in self.files:
            return 0, b"", path
        return NOENT, b"", None
