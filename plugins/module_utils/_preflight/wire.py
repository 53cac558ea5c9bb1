# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections for host checks: TCP and TLS with an explanation for every way to fail.

PRIVATE to the collection.
"""

from __future__ import annotations

import errno
import socket
import ssl
import typing as t
from dataclasses import dataclass, field

from .problems import CheckFailed


@dataclass(frozen=True)
class Endpoint:
    """A service outside of the platform, as an inventory describes it.

    Attributes:
        name: how a person calls it, for example ``metadata database``.
        variable: the inventory variable that describes it.
        protocol: ``postgresql``, ``redis``, ``rabbitmq``, ``registry``, ``nfs``, ``tcp``, ``hec`` or ``splunk``.
        database: name of the database, number of the Redis database, or virtual host.
        sslmode: libpq's ``disable``, ``require``, ``verify-ca`` or ``verify-full``; PostgreSQL only.
        tls: whether the connection is encrypted; every other protocol.
        ca_certificate: PEM text; empty means the authorities the host trusts.
        path: the exported directory; NFS only.
        version: ``4.1`` or ``4.2``; NFS only.
        reserved_port: come from a port below 1024; NFS only.
        timeout: seconds that one step of the conversation may take.
        proxy: address of a forward proxy, ``http://[user:password@]host:port``; registries only.
        no_proxy: hosts and networks that are reached without it.
        variables: field to the variable that sets it, where that is not ``<variable>.<field>``.
    """

    name: str
    variable: str
    protocol: str
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    database: str = ""
    tls: bool = False
    sslmode: str = "verify-full"
    ca_certificate: str = ""
    path: str = "/"
    version: str = "4.1"
    reserved_port: bool = False
    timeout: float = 5.0
    proxy: str = field(default="", repr=False)
    no_proxy: t.Sequence[str] = ()
    variables: t.Mapping[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """``host:port`` as a person writes it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Wire:
    """A byte stream that reads exactly as much as asked for.

    Args:
        connection: a connected socket with a timeout.
        endpoint: what is at the other end.
    """

    def __init__(self, connection: socket.socket, endpoint: Endpoint) -> None:
        self.connection = connection
        self.endpoint = endpoint
        self._buffer = b""

    def send(self, data: bytes) -> None:
        """Send everything.

        Raises:
            CheckFailed: when the other side is gone or does not take it in time.
        """
        try:
            self.connection.sendall(data)
        except OSError as error:
            raise self.broken(error) from error

    def read(self, count: int) -> bytes:
        """Exactly ``count`` bytes.

        Raises:
            CheckFailed: when the other side closes, or is silent for too long.
        """
        while len(self._buffer) < count:
            self._fill()
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def read_line(self) -> bytes:
        """One line without its ``\\r\\n``.

        Raises:
            CheckFailed: as for read().
        """
        while b"\r\n" not in self._buffer:
            self._fill()
        line, _end, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Encrypt from here on.

        Raises:
            CheckFailed: when the handshake fails, or the certificate is not to be trusted.
        """
        try:
            self.connection = context.wrap_socket(self.connection, server_hostname=self.endpoint.host)
        except ssl.SSLCertVerificationError as error:
            raise _untrusted(error, self.endpoint) from error
        except ssl.SSLError as error:
            raise _no_tls(error, self.endpoint) from error
        except OSError as error:
            raise self.broken(error) from error

    def close(self) -> None:
        """Close without ceremony."""
        self.connection.close()

    def _fill(self) -> None:
        try:
            chunk = self.connection.recv(65536)
        except OSError as error:
            raise self.broken(error) from error
        if not chunk:
            raise self.broken(None)
        if len(self._buffer) > 1 << 20:
            raise _foreign(self.endpoint)
        self._buffer += chunk

    def broken(self, error: OSError | None) -> CheckFailed:
        """What to say when the connection fails after it stood; None when the other side closed it."""
        if isinstance(error, socket.timeout):
            return CheckFailed(
                "port",
                f"{self.endpoint.address} accepts the connection but does not answer as "
                f"{_SPOKEN[self.endpoint.protocol]} within {self.endpoint.timeout:g} s",
                f"check that {self.endpoint.address} is {_SPOKEN[self.endpoint.protocol]} itself, that it is healthy, "
                "and whether this port expects TLS",
            )
        reason = f" ({error})" if error else ""
        return CheckFailed(
            "port",
            f"{self.endpoint.address} closes the connection{reason}",
            f"check that this is the port of {_SPOKEN[self.endpoint.protocol]}, whether it expects TLS, and its log",
        )


_SPOKEN = {
    "postgresql": "PostgreSQL",
    "redis": "Redis",
    "rabbitmq": "RabbitMQ",
    "registry": "an image registry",
    "nfs": "an NFS server",
    "hec": "Splunk's HTTP Event Collector",
    "splunk": "Splunk's management port",
    "tcp": "the service",
}
#: Where the kernel's own NFS client takes its ports from (sunrpc.min_resvport to sunrpc.max_resvport).
_RESERVED_PORTS = range(1023, 664, -1)


def connect(endpoint: Endpoint, reserved_port: bool = False) -> Wire:
    """Open a TCP connection.

    Args:
        reserved_port: come from a port below 1024, which only root can.

    Raises:
        CheckFailed: the name does not resolve, or nothing answers at the address.
    """
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise CheckFailed(
            "host",
            f"the name {endpoint.host} does not resolve on this host ({error})",
            "correct the name, or the host's DNS (/etc/resolv.conf) or /etc/hosts",
        ) from error
    failure: OSError | None = None
    for family, kind, protocol, _canonical, address in found:
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(endpoint.timeout)
        try:
            if reserved_port:
                _bind_reserved(connection)
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
            continue
        return Wire(connection, endpoint)
    raise _unreachable(failure, endpoint)


def _bind_reserved(connection: socket.socket) -> None:
    for port in _RESERVED_PORTS:
        try:
            connection.bind(("", port))
            return
        except PermissionError:
            return  # not root: a server that insists says so
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise


def tls_context(endpoint: Endpoint, verify: bool = True, check_name: bool = True) -> ssl.SSLContext:
    """A client context for an endpoint.

    Args:
        verify: the certificate must come from a trusted authority.
        check_name: the certificate must also carry the endpoint's host name.

    Raises:
        CheckFailed: the CA certificate is not PEM.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = verify and check_name
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    if not verify:
        return context
    if not endpoint.ca_certificate:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(cadata=endpoint.ca_certificate)
    except (ssl.SSLError, ValueError) as error:
        raise CheckFailed(
            "ca_certificate",
            f"it is not a PEM certificate ({error})",
            "give the whole text from '-----BEGIN CERTIFICATE-----' to '-----END CERTIFICATE-----'",
        ) from error
    return context


def check_tcp(endpoint: Endpoint) -> dict[str, t.Any]:
    """Connect, with TLS when asked for, and nothing more.

    Raises:
        CheckFailed: with the reason.
    """
    wire = connect(endpoint)
    try:
        if endpoint.tls:
            wire.start_tls(tls_context(endpoint))
    finally:
        wire.close()
    return {}


def _unreachable(error: OSError | None, endpoint: Endpoint) -> CheckFailed:
    where = endpoint.address
    if isinstance(error, ConnectionRefusedError):
        return CheckFailed(
            "port",
            f"{where} refuses the connection: the host is there, but nothing listens on that port",
            "start the service, correct the port, or let it listen on the address this host reaches it by",
        )
    if isinstance(error, socket.timeout) or (error and error.errno == errno.ETIMEDOUT):
        return CheckFailed(
            "host",
            f"{where} does not answer within {endpoint.timeout:g} s",
            "this is usually a firewall or security group that drops packets: open the port for this host, "
            "or correct host and port",
        )
    if error and error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL):
        return CheckFailed(
            "host",
            f"this host has no route to {where} ({error.strerror})",
            "correct the address, or the routes and VPN of this host",
        )
    return CheckFailed("host", f"{where} cannot be reached ({error})", "correct host and port, or the network")


def _untrusted(error: ssl.SSLCertVerificationError, endpoint: Endpoint) -> CheckFailed:
    code = error.verify_code
    reason = error.verify_message
    if code in (62, 64):
        return CheckFailed(
            "host",
            f"the certificate of {endpoint.address} is for another name ({reason})",
            "use the name that the certificate carries, or give the server a certificate for this name",
        )
    if code in (9, 10):
        return CheckFailed(
            "host",
            f"the certificate of {endpoint.address} is outside of its dates ({reason})",
            "renew the server's certificate, and check the clock of this host",
        )
    given = "the given CA certificate" if endpoint.ca_certificate else "any authority this host trusts"
    return CheckFailed(
        "ca_certificate",
        f"the certificate of {endpoint.address} does not come from {given} ({reason})",
        "set ca_certificate to the PEM of the authority that signed the server's certificate",
    )


def _no_tls(error: ssl.SSLError, endpoint: Endpoint) -> CheckFailed:
    reason = error.reason or str(error)
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST") or isinstance(error, ssl.SSLEOFError):
        return CheckFailed(
            "tls",
            f"{endpoint.address} does not speak TLS ({reason})",
            "use the server's TLS port, turn TLS on there, or set tls to false if the network is trusted",
        )
    return CheckFailed(
        "tls",
        f"the TLS handshake with {endpoint.address} fails ({reason})",
        "the server must offer TLS 1.2 or newer and must not ask for a client certificate",
    )


def _foreign(endpoint: Endpoint) -> CheckFailed:
    return CheckFailed(
        "port",
        f"{endpoint.address} does not answer as {_SPOKEN[endpoint.protocol]}",
        "correct host and port: another service listens there",
    )


foreign = _foreign
