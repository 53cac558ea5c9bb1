"""Behaviour of the login to PostgreSQL, against a server that checks every byte."""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import ssl
import struct
import typing as t
from dataclasses import replace

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.postgresql import check_postgresql
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.problems import CheckFailed
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.scram import ScramClient, saslprep
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.wire import Endpoint

PASSWORD = "p4ss, w=rd"


class PostgreSQL:
    """A server for one connection. ``row`` is what the query for facts returns."""

    def __init__(
        self,
        auth: str = "scram",
        context: ssl.SSLContext | None = None,
        error: str = "",
        row: t.Sequence[str] = ("150018", "UTF8", "200", "t", "f"),
        lies: str = "",
    ) -> None:
        self.auth, self.context, self.error, self.row, self.lies = auth, context, error, row, lies
        self.encrypted = False

    def __call__(self, connection: socket.socket) -> None:
        self.connection = connection
        (length,) = struct.unpack("!I", self.read(4))
        body = self.read(length - 4)
        if body == struct.pack("!I", 80877103):
            if self.context is None:
                connection.sendall(b"N")
                return
            connection.sendall(b"S")
            self.connection = self.context.wrap_socket(connection, server_side=True)
            self.encrypted = True
            (length,) = struct.unpack("!I", self.read(4))
            body = self.read(length - 4)
        assert body[:4] == struct.pack("!I", 196608), "the protocol is 3.0"
        assert body.endswith(b"\0\0")
        words = body[4:-2].split(b"\0")
        settings = dict(zip(words[::2], words[1::2]))
        assert settings[b"user"] == b"airflow"
        assert settings[b"database"] == b"airflow"
        if self.error:
            self.send(b"E", b"".join(field.encode() + b"\0" for field in ("SFATAL", f"C{self.error}", "Mno")) + b"\0")
            return
        if not getattr(self, f"auth_{self.auth}")():
            self.send(b"E", b"SFATAL\0C28P01\0Mpassword authentication failed\0\0")
            return
        self.send(b"R", struct.pack("!I", 0))
        self.send(b"S", b"server_version\x0015.18\0")
        self.send(b"K", struct.pack("!II", 1, 2))
        self.send(b"Z", b"I")
        kind, query = self.message()
        assert kind == b"Q"
        assert query.startswith(b"SELECT current_setting('server_version_num')")
        columns = b"".join(struct.pack("!i", len(value)) + value.encode() for value in self.row)
        self.send(b"T", struct.pack("!H", 0))
        self.send(b"D", struct.pack("!H", len(self.row)) + columns)
        self.send(b"C", b"SELECT 1\0")
        self.send(b"Z", b"I")
        assert self.message() == (b"X", b"")

    def auth_trust(self) -> bool:
        return True

    def auth_cleartext(self) -> bool:
        self.send(b"R", struct.pack("!I", 3))
        return self.message() == (b"p", PASSWORD.encode() + b"\0")

    def auth_md5(self) -> bool:
        self.send(b"R", struct.pack("!I", 5) + b"salt")
        inner = hashlib.md5(PASSWORD.encode() + b"airflow").hexdigest()  # noqa: S324 - PostgreSQL's own method
        wanted = "md5" + hashlib.md5(inner.encode() + b"salt").hexdigest()  # noqa: S324
        return self.message() == (b"p", wanted.encode() + b"\0")

    def auth_gss(self) -> bool:
        self.send(b"R", struct.pack("!I", 7))
        return True

    def auth_scram(self) -> bool:
        """Written from RFC 5802, apart from the client."""
        self.send(b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")
        kind, first = self.message()
        assert kind == b"p"
        mechanism, _zero, rest = first.partition(b"\0")
        assert mechanism == b"SCRAM-SHA-256"
        assert struct.unpack("!I", rest[:4])[0] == len(rest) - 4
        client_first = rest[4:].decode()
        assert client_first.startswith("n,,n=,r=")
        nonce = client_first.partition("r=")[2] + "server"
        salt = b"0123456789abcdef"
        server_first = f"r={nonce},s={base64.b64encode(salt).decode()},i=4096"
        self.send(b"R", struct.pack("!I", 11) + server_first.encode())
        kind, final = self.message()
        assert kind == b"p"
        without_proof, _comma, proof = final.decode().rpartition(",p=")
        assert without_proof == f"c={base64.b64encode(b'n,,').decode()},r={nonce}"
        salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, 4096)
        stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
        text = f"{client_first[3:]},{server_first},{without_proof}".encode()
        signature = hmac.digest(stored, text, "sha256")
        key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature))
        if hashlib.sha256(key).digest() != stored:
            return False
        mine = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), text, "sha256")
        if self.lies == "silent":
            return True
        if self.lies:
            mine = bytes(32)
        self.send(b"R", struct.pack("!I", 12) + b"v=" + base64.b64encode(mine))
        return True

    def message(self) -> tuple[bytes, bytes]:
        kind, length = struct.unpack("!cI", self.read(5))
        return kind, self.read(length - 4)

    def send(self, kind: bytes, payload: bytes) -> None:
        self.connection.sendall(kind + struct.pack("!I", len(payload) + 4) + payload)

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = self.connection.recv(count - len(data))
            if not chunk:
                raise ConnectionError("the client hung up")
            data += chunk
        return data


def endpoint(port: int, **changes: t.Any) -> Endpoint:
    """The metadata database at a port, without TLS unless asked for."""
    base = Endpoint(
        name="metadata database",
        variable="airflow_database",
        protocol="postgresql",
        host="127.0.0.1",
        port=port,
        user="airflow",
        password=PASSWORD,
        database="airflow",
        sslmode="disable",
        timeout=3,
    )
    return replace(base, **changes)


def refusal(port: int, **changes: t.Any) -> CheckFailed:
    """The problem that a check of this endpoint finds."""
    with pytest.raises(CheckFailed) as caught:
        check_postgresql(endpoint(port, **changes))
    return caught.value


@pytest.mark.parametrize("auth", ["trust", "cleartext", "md5", "scram"])
def test_every_login_method_of_postgresql_works_and_tells_version_and_connections(serve: t.Any, auth: str) -> None:
    found = check_postgresql(endpoint(serve(PostgreSQL(auth))))

    assert found == {"version": "15.18", "max_connections": 200, "warnings": []}


@pytest.mark.parametrize("auth", ["cleartext", "md5", "scram"])
def test_a_wrong_password_is_reported_as_such_and_not_repeated(serve: t.Any, auth: str) -> None:
    error = refusal(serve(PostgreSQL(auth)), password="wrong-secret")

    assert error.field == "password"
    assert "user airflow" in error.problem
    assert "wrong-secret" not in error.problem + error.fix + repr(endpoint(1, password="wrong-secret"))


@pytest.mark.parametrize(
    ("code", "field", "words"),
    [
        ("28000", "user", "pg_hba.conf"),
        ("3D000", "name", "CREATE DATABASE"),
        ("53300", "host", "max_connections"),
        ("42501", "user", "GRANT CONNECT"),
        ("57P03", "host", "wait"),
        ("XX000", "host", "log"),
    ],
)
def test_each_refusal_names_the_field_to_change_and_what_to_do(serve: t.Any, code: str, field: str, words: str) -> None:
    error = refusal(serve(PostgreSQL(error=code)))

    assert error.field == field
    assert words in error.fix


@pytest.mark.parametrize(("lies", "words"), [("guess", "signature is wrong"), ("silent", "did not prove")])
def test_a_server_that_does_not_know_the_password_itself_is_not_trusted(serve: t.Any, lies: str, words: str) -> None:
    assert words in refusal(serve(PostgreSQL(lies=lies))).problem


def test_a_login_method_without_a_password_is_reported(serve: t.Any) -> None:
    error = refusal(serve(PostgreSQL("gss")))

    assert error.field == "user"
    assert "code 7" in error.problem


def test_a_server_without_tls_is_refused_when_tls_is_asked_for(serve: t.Any) -> None:
    assert refusal(serve(PostgreSQL()), sslmode="require").field == "sslmode"


@pytest.mark.parametrize("sslmode", ["require", "verify-ca", "verify-full"])
def test_tls_with_the_right_authority_and_name_is_accepted(serve: t.Any, certificates: t.Any, sslmode: str) -> None:
    server = PostgreSQL(context=certificates.context("127.0.0.1"))

    check_postgresql(endpoint(serve(server), sslmode=sslmode, ca_certificate=certificates.ca_pem))

    assert server.encrypted


def test_require_without_an_authority_takes_any_certificate(serve: t.Any, certificates: t.Any) -> None:
    server = PostgreSQL(context=certificates.context("other.example"))

    assert check_postgresql(endpoint(serve(server), sslmode="require"))["version"] == "15.18"


def test_verify_ca_takes_another_name_and_verify_full_does_not(serve: t.Any, certificates: t.Any) -> None:
    context = certificates.context("other.example")
    settings = {"ca_certificate": certificates.ca_pem}

    check_postgresql(endpoint(serve(PostgreSQL(context=context)), sslmode="verify-ca", **settings))
    error = refusal(serve(PostgreSQL(context=context)), sslmode="verify-full", **settings)

    assert error.field == "host"
    assert "another name" in error.problem


def test_a_certificate_of_an_unknown_authority_asks_for_its_pem(serve: t.Any, certificates: t.Any) -> None:
    server = PostgreSQL(context=certificates.context("127.0.0.1"))

    assert refusal(serve(server), sslmode="verify-full").field == "ca_certificate"


def test_a_ca_certificate_that_is_no_pem_is_reported(serve: t.Any, certificates: t.Any) -> None:
    server = PostgreSQL(context=certificates.context("127.0.0.1"))

    error = refusal(serve(server), sslmode="verify-full", ca_certificate="no pem")

    assert (error.field, "BEGIN CERTIFICATE" in error.fix) == ("ca_certificate", True)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("130005", "UTF8", "100", "t", "f"), "PostgreSQL 13.5"),
        (("160001", "UTF8", "100", "f", "f"), "may not create tables"),
        (("160001", "UTF8", "100", "t", "t"), "read-only standby"),
    ],
)
def test_a_database_that_airflow_cannot_use_is_refused(serve: t.Any, row: t.Sequence[str], words: str) -> None:
    assert words in refusal(serve(PostgreSQL(row=row))).problem


def test_another_encoding_is_a_warning(serve: t.Any) -> None:
    found = check_postgresql(endpoint(serve(PostgreSQL(row=("160001", "LATIN1", "100", "t", "f")))))

    assert "LATIN1" in found["warnings"][0]


def test_a_server_that_speaks_something_else_is_recognised(serve: t.Any) -> None:
    error = refusal(serve(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")))

    assert (error.field, "does not answer as PostgreSQL" in error.problem) == ("port", True)


def test_the_client_follows_the_example_of_rfc_7677() -> None:
    client = ScramClient("pencil", nonce="rOprNGfwEbeRWgbNEkqO")

    assert client.first("user") == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    final = client.final(
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    )
    assert final == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    client.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert client.finished


def test_passwords_are_normalised_as_postgresql_does() -> None:
    assert saslprep("I\u00adX") == "IX"
    assert saslprep("\u2168") == "IX"
    assert saslprep("\u00e9\u0007") == "\u00e9\u0007"  # refused by SASLprep: taken as it is
