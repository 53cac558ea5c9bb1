"""Behaviour of the logins to Redis and RabbitMQ, against servers that check every byte."""

from __future__ import annotations

import socket
import ssl
import struct
import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.problems import CheckFailed
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.rabbitmq import check_rabbitmq
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.redis import check_redis
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.wire import Endpoint

PASSWORD = "secret"
INFO = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n"


class Redis:
    """A server with one user; it answers nothing before a login, as the real one."""

    def __init__(
        self, password: str = PASSWORD, info: str = INFO, context: ssl.SSLContext | None = None, says: str = ""
    ) -> None:
        self.password, self.info, self.context, self.says = password, info, context, says
        self.known = not password

    def __call__(self, connection: socket.socket) -> None:
        if self.context:
            connection = self.context.wrap_socket(connection, server_side=True)
        stream = connection.makefile("rwb")
        if self.says:
            stream.write(f"-{self.says}\r\n".encode())
            stream.flush()
            return
        while True:
            head = stream.readline()
            if not head:
                return
            assert head[:1] == b"*", "requests are arrays"
            words = []
            for _word in range(int(head[1:])):
                size = stream.readline()
                assert size[:1] == b"$", "of bulk strings"
                words.append(stream.read(int(size[1:])).decode())
                assert stream.read(2) == b"\r\n"
            stream.write(self.answer(*words).encode())
            stream.flush()

    def answer(self, command: str, *rest: str) -> str:
        if command == "AUTH":
            if not self.password:
                return "-ERR AUTH <password> called without any password configured for the default user.\r\n"
            if rest not in ((self.password,), ("default", self.password)):
                return "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
            self.known = True
            return "+OK\r\n"
        if not self.known:
            return "-NOAUTH Authentication required.\r\n"
        answers = {"PING": "+PONG\r\n", "INFO": f"${len(self.info)}\r\n{self.info}\r\n"}
        if command == "SELECT":
            return "+OK\r\n" if int(rest[0]) < 16 else "-ERR DB index is out of range\r\n"
        return answers[command]


def broker(port: int, protocol: str = "redis", **changes: t.Any) -> Endpoint:
    """The broker at a port."""
    settings: dict[str, t.Any] = {"user": "", "password": "secret", "timeout": 3.0, **changes}
    return Endpoint(
        name="broker", variable="airflow_broker", protocol=protocol, host="127.0.0.1", port=port, **settings
    )


def redis_refusal(port: int, **changes: t.Any) -> CheckFailed:
    """The problem that a check of this Redis finds."""
    with pytest.raises(CheckFailed) as caught:
        check_redis(broker(port, **changes))
    return caught.value


@pytest.mark.parametrize("user", ["", "default"])
def test_redis_accepts_the_password_and_tells_its_version(serve: t.Any, user: str) -> None:
    assert check_redis(broker(serve(Redis()), user=user, database="0")) == {"version": "7.0.15", "warnings": []}


def test_redis_without_a_password_is_used_without_one(serve: t.Any) -> None:
    assert check_redis(broker(serve(Redis(password="")), password=""))["version"] == "7.0.15"


def test_redis_over_tls_is_verified(serve: t.Any, certificates: t.Any) -> None:
    server = Redis(context=certificates.context("127.0.0.1"))

    found = check_redis(broker(serve(server), tls=True, ca_certificate=certificates.ca_pem))

    assert found["version"] == "7.0.15"


@pytest.mark.parametrize(
    ("server", "changes", "field", "words"),
    [
        (Redis(), {"password": "nope"}, "password", "refuses the password"),
        (Redis(), {"password": ""}, "password", "wants a password"),
        (Redis(password=""), {}, "password", "has no password"),
        (Redis(), {"database": "99"}, "database", "no database 99"),
        (Redis(says="DENIED Redis is running in protected mode"), {}, "host", "protected mode"),
        (Redis(says="LOADING Redis is loading the dataset in memory"), {}, "host", "not ready"),
        (Redis(says="ERR max number of clients reached"), {}, "host", "no free connection"),
        (Redis(says="NOPERM this user has no permissions"), {}, "user", "a broker needs"),
        (Redis(info="redis_mode:cluster\r\n"), {}, "host", "Redis Cluster"),
        (Redis(info="role:slave\r\n"), {}, "host", "read-only replica"),
    ],
)
def test_what_keeps_celery_from_using_redis_is_named(
    serve: t.Any, server: Redis, changes: dict[str, t.Any], field: str, words: str
) -> None:
    error = redis_refusal(serve(server), **changes)

    assert (error.field, words in error.problem) == (field, True), error.problem


def test_a_redis_that_evicts_is_a_warning(serve: t.Any) -> None:
    found = check_redis(broker(serve(Redis(info=INFO.replace("noeviction", "allkeys-lru")))))

    assert "allkeys-lru" in found["warnings"][0]


def test_tls_to_a_plain_redis_is_told_within_the_timeout(serve: t.Any) -> None:
    def plain(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"-ERR unknown command\r\n")

    assert redis_refusal(serve(plain), tls=True).field == "tls"


def test_plain_to_a_tls_redis_hints_at_tls(serve: t.Any, certificates: t.Any) -> None:
    error = redis_refusal(serve(Redis(context=certificates.context("127.0.0.1"))))

    assert "TLS" in error.fix


class RabbitMQ:
    """A server for one connection."""

    def __init__(self, password: str = PASSWORD, hosts: t.Sequence[str] = ("/",), mechanisms: str = "PLAIN") -> None:
        self.password, self.hosts, self.mechanisms = password, hosts, mechanisms

    def __call__(self, connection: socket.socket) -> None:
        self.connection = connection
        assert self.read(8) == b"AMQP\x00\x00\x09\x01"
        properties = self.short("capabilities") + b"F" + self.long(self.short("basic.nack") + b"t\x01")
        properties += self.short("version") + b"S" + self.long(b"3.12.1")
        self.send(10, b"\x00\x09" + self.long(properties) + self.long(self.mechanisms.encode()) + self.long(b"en_US"))
        try:
            self.log_in()
        except ConnectionError:
            assert self.mechanisms != "PLAIN"

    def log_in(self) -> None:
        body = self.receive(11)
        (size,) = struct.unpack_from("!I", body)
        assert b"authentication_failure_close" in body[4 : 4 + size]
        rest = body[4 + size :]
        assert rest[:6] == b"\x05PLAIN"
        (size,) = struct.unpack_from("!I", rest, 6)
        assert rest[10 + size :] == b"\x05en_US"
        if rest[10 : 10 + size] != b"\0celery\0" + self.password.encode():
            self.close(403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.")
            return
        tune = struct.pack("!HIH", 2047, 131072, 60)
        self.send(30, tune)
        assert self.receive(31) == tune
        body = self.receive(40)
        name = body[1 : 1 + body[0]].decode()
        assert body[1 + body[0] :] == b"\x00\x00"
        if name not in self.hosts:
            self.close(530, f"NOT_ALLOWED - vhost {name} not found")
            return
        if name == "closed":
            self.close(530, "NOT_ALLOWED - access to vhost 'closed' refused for user 'celery'")
            return
        self.send(41, b"\x00")
        assert self.receive(50).startswith(b"\x00\xc8")

    def close(self, code: int, text: str) -> None:
        self.send(50, struct.pack("!H", code) + self.short(text) + struct.pack("!HH", 0, 0))
        assert self.receive(51) == b""

    def receive(self, method: int) -> bytes:
        kind, channel, size = struct.unpack("!BHI", self.read(7))
        payload = self.read(size)
        assert (kind, channel, self.read(1)) == (1, 0, b"\xce")
        assert struct.unpack_from("!HH", payload) == (10, method)
        return payload[4:]

    def send(self, method: int, arguments: bytes) -> None:
        payload = struct.pack("!HH", 10, method) + arguments
        self.connection.sendall(struct.pack("!BHI", 1, 0, len(payload)) + payload + b"\xce")

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = self.connection.recv(count - len(data))
            if not chunk:
                raise ConnectionError("the client hung up")
            data += chunk
        return data

    @staticmethod
    def short(text: str) -> bytes:
        return bytes([len(text)]) + text.encode()

    @staticmethod
    def long(data: bytes) -> bytes:
        return struct.pack("!I", len(data)) + data


def rabbit(port: int, **changes: t.Any) -> Endpoint:
    """The RabbitMQ at a port."""
    return broker(port, protocol="rabbitmq", **{"user": "celery", **changes})


def test_rabbitmq_opens_the_virtual_host_and_tells_its_version(serve: t.Any) -> None:
    found = check_rabbitmq(rabbit(serve(RabbitMQ(hosts=["/", "airflow"])), database="airflow"))

    assert found == {"version": "3.12.1", "warnings": []}


@pytest.mark.parametrize(
    ("server", "changes", "field", "words"),
    [
        (RabbitMQ(), {"password": "nope"}, "password", "refuses user celery"),
        (RabbitMQ(), {"database": "none"}, "virtual_host", "no virtual host none"),
        (RabbitMQ(hosts=["closed"]), {"database": "closed"}, "user", "may not use virtual host closed"),
        (RabbitMQ(mechanisms="EXTERNAL"), {}, "user", "EXTERNAL"),
    ],
)
def test_what_keeps_celery_from_using_rabbitmq_is_named(
    serve: t.Any, server: RabbitMQ, changes: dict[str, t.Any], field: str, words: str
) -> None:
    with pytest.raises(CheckFailed) as caught:
        check_rabbitmq(rabbit(serve(server), **changes))

    assert (caught.value.field, words in caught.value.problem) == (field, True), caught.value.problem


@pytest.mark.parametrize("greeting", [b"AMQP\x03\x01\x00\x00", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_another_protocol_is_no_rabbitmq(serve: t.Any, greeting: bytes) -> None:
    def other(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(greeting)

    with pytest.raises(CheckFailed) as caught:
        check_rabbitmq(rabbit(serve(other)))

    assert caught.value.field == "port"
