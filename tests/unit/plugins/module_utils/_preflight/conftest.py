"""Servers on loopback that speak just enough, and refuse what the real ones refuse."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Handler = t.Callable[[socket.socket], None]


class Certificates:
    """An authority, a certificate for ``localhost`` and 127.0.0.1, and one for somebody else."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority_key = ec.generate_private_key(ec.SECP256R1())
        self.authority = _certificate("Test CA", self.authority_key, self.authority_key, None)
        self.ca_pem = self.authority.public_bytes(serialization.Encoding.PEM).decode()

    def context(self, *names: str, days: int = 1) -> ssl.SSLContext:
        """A server's context with a certificate for ``names`` that ends in ``days``."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate("server", key, self.authority_key, self.authority, names=names, days=days)
        path = self.directory / f"{names[0]}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    *,
    names: t.Sequence[str] = (),
    days: int = 1,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if names:
        alternatives = [_alternative(one) for one in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for one test run."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def serve() -> t.Iterator[t.Callable[[Handler], int]]:
    """Start a handler for one connection; returns the port. A handler that objects fails the test."""
    objections: list[BaseException] = []
    threads: list[threading.Thread] = []
    listeners: list[socket.socket] = []

    def start(handler: Handler) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(5)
        listeners.append(listener)

        def accept() -> None:
            try:
                connection, _address = listener.accept()
                connection.settimeout(5)
                with connection:
                    handler(connection)
            except (ConnectionError, ssl.SSLError):
                return  # the client may hang up, and may refuse our certificate
            except BaseException as error:
                objections.append(error)

        thread = threading.Thread(target=accept, daemon=True)
        threads.append(thread)
        thread.start()
        return int(listener.getsockname()[1])

    yield start
    for thread in threads:
        thread.join(10)
    for listener in listeners:
        listener.close()
    assert objections == []


@pytest.fixture
def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
