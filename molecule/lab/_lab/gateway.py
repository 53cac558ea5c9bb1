"""The lab's gateway: a forward proxy and a name server, as a company network has them; and what balances the guests.

Guests have no route out. Programs on them reach packages through the proxy, which listens inside the lab's
namespace and connects from outside of it. Names of the lab's hosts are answered by the name server; all others
do not exist.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import socket
import struct
import sys
import threading
import typing as t
import urllib.parse
from pathlib import Path

from . import balance
from .settings import Lab

_CLONE_NEWNET = 0x40000000
_HEADER_LIMIT = 64 * 1024
_PATIENCE = 120.0


def listen_inside(lab: Lab) -> tuple[socket.socket, socket.socket]:
    """The proxy's and the name server's sockets, made inside of the namespace by a thread that enters it."""
    made: list[socket.socket] = []
    errors: list[BaseException] = []

    def enter_and_listen() -> None:
        try:
            with open(f"/run/netns/{lab.namespace}", "rb") as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"cannot enter {lab.namespace}")
            proxy = socket.create_server((lab.gateway, lab.proxy_port), backlog=256)
            names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            names.bind((lab.gateway, 53))
            made.extend((proxy, names))
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=enter_and_listen)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return made[0], made[1]


def serve(lab: Lab, ready: Path) -> None:
    """Serve until ended; ``ready`` gets this process's ID once both servers listen."""
    proxy, names = listen_inside(lab)
    names.setblocking(False)
    addresses = {f"{host.name}.{lab.domain}": lab.address(host) for host in lab.hosts}
    addresses |= {host.name: lab.address(host) for host in lab.hosts}

    async def forever() -> None:
        server = await asyncio.start_server(_client, sock=proxy, limit=_HEADER_LIMIT)
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: NameServer(addresses), sock=names)
        threading.Thread(target=balance.follow, args=(lab,), name="balance", daemon=True).start()
        temporary = ready.with_suffix(".new")
        temporary.write_text(f"{os.getpid()}\n")
        temporary.rename(ready)
        async with server:
            await server.serve_forever()

    asyncio.run(forever())


# --- the forward proxy (RFC 9110, 9.3.6 CONNECT; RFC 9112, 3.2.2 absolute form) -----------------------------


async def _client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _PATIENCE)
        line, _, rest = head.partition(b"\r\n")
        method, target, version = line.decode("latin-1").split(" ", 2)
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            await _tunnel(reader, writer, (host.strip("[]"), int(port)), b"", b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            parts = urllib.parse.urlsplit(target)
            path = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
            request = f"{method} {path} {version}\r\n".encode("latin-1") + _one_request(rest)
            await _tunnel(reader, writer, (parts.hostname or "", parts.port or 80), request, b"")
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError) as error:
        print(f"proxy: {error!r}", file=sys.stderr, flush=True)
        with contextlib.suppress(OSError):
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
    finally:
        writer.close()


def _one_request(headers: bytes) -> bytes:
    """The headers, asking the server to close afterwards: the next request may be for another server."""
    kept = [
        line
        for line in headers.split(b"\r\n")
        if line.partition(b":")[0].strip().lower() not in (b"connection", b"proxy-connection", b"keep-alive")
    ]
    return b"Connection: close\r\n" + b"\r\n".join(kept)


async def _tunnel(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    server: tuple[str, int],
    first: bytes,
    answer: bytes,
) -> None:
    far_reader, far_writer = await asyncio.wait_for(asyncio.open_connection(*server), _PATIENCE)
    try:
        far_writer.write(first)
        writer.write(answer)
        await writer.drain()
        upload = asyncio.create_task(_copy(reader, far_writer))
        await _copy(far_reader, writer)
        upload.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await upload
    finally:
        far_writer.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()


# --- the name server (RFC 1035) -------------------------------------------------------------------------------


class NameServer(asyncio.DatagramProtocol):
    """Answers A questions for known names; every other name does not exist."""

    def __init__(self, addresses: dict[str, str]) -> None:
        self.addresses = addresses
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = t.cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple) -> None:
        answer = answer_question(data, self.addresses)
        if answer and self.transport:
            self.transport.sendto(answer, addr)


def answer_question(packet: bytes, addresses: dict[str, str]) -> bytes:
    """The answer to one question, or nothing for what is no question.

    Args:
        packet: a DNS message with one question.
        addresses: names in small letters and their IPv4 addresses.
    """
    if len(packet) < 17 or packet[2] & 0x80 or struct.unpack("!H", packet[4:6])[0] != 1:
        return b""
    labels, position = [], 12
    while position < len(packet) and packet[position]:
        length = packet[position]
        labels.append(packet[position + 1 : position + 1 + length].decode("ascii", errors="replace"))
        position += 1 + length
    question = packet[12 : position + 5]
    if len(question) < position - 7:
        return b""
    kind, _class = struct.unpack("!HH", question[-4:])
    address = addresses.get(".".join(labels).lower())
    code = 0 if address else 3
    records = b""
    if address and kind == 1:
        records = struct.pack("!HHHIH", 0xC00C, 1, 1, 5, 4) + socket.inet_aton(address)
    header = packet[:2] + struct.pack("!HHHHH", 0x8580 | code, 1, 1 if records else 0, 0, 0)
    return header + question + records
