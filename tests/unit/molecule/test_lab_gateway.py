"""The lab's name server and forward proxy."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest
from _lab import gateway

NAMES = {"swarm1.lab.test": "10.77.0.11"}


def question(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    return struct.pack("!HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!HH", kind, 1)


def parse(packet: bytes) -> tuple[int, int, int]:
    identity, flags, _questions, answers, _authority, _more = struct.unpack("!HHHHHH", packet[:12])
    return identity, flags & 0xF, answers


def test_a_known_name_has_its_address_whatever_the_case():
    answer = gateway.answer_question(question("Swarm1.lab.test"), NAMES)
    assert parse(answer) == (0x1234, 0, 1)
    assert answer.endswith(socket.inet_aton("10.77.0.11"))


def test_a_known_name_has_no_address_of_another_kind():
    assert parse(gateway.answer_question(question("swarm1.lab.test", kind=28), NAMES)) == (0x1234, 0, 0)


def test_every_other_name_does_not_exist():
    assert parse(gateway.answer_question(question("example.com"), NAMES)) == (0x1234, 3, 0)


@pytest.mark.parametrize("packet", [b"", b"short", question("swarm1.lab.test")[:20], b"\0" * 17])
def test_what_is_no_question_gets_no_answer(packet: bytes):
    assert gateway.answer_question(packet, NAMES) == b""


async def through_proxy(request: bytes, serve) -> bytes:
    """What comes back through the proxy, with a server behind it."""
    behind = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy = await asyncio.start_server(gateway._client, "127.0.0.1", 0)
    port = behind.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection(*proxy.sockets[0].getsockname())
    writer.write(request.replace(b"PORT", str(port).encode()))
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    behind.close()
    proxy.close()
    return answer


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say what arrived, and close."""
    writer.write(await reader.read(4096))
    await writer.drain()
    writer.close()


def test_a_plain_request_reaches_its_server_without_the_proxys_headers():
    request = b"GET http://127.0.0.1:PORT/a?b=c HTTP/1.1\r\nHost: 127.0.0.1\r\nProxy-Connection: keep-alive\r\n\r\n"
    said = asyncio.run(through_proxy(request, echo))
    assert said.startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert b"Proxy-Connection" not in said
    assert b"Connection: close\r\n" in said


def test_a_tunnel_carries_bytes_both_ways():
    said = asyncio.run(through_proxy(b"CONNECT 127.0.0.1:PORT HTTP/1.1\r\n\r\nhello", echo))
    assert said == b"HTTP/1.1 200 OK\r\n\r\nhello"


def test_a_server_that_does_not_exist_is_a_bad_gateway():
    request = b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n"
    assert asyncio.run(through_proxy(request, echo)).startswith(b"HTTP/1.1 502 ")
