"""Certificates for servers on loopback, of an authority that nobody else trusts."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import typing as t
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Certificates:
    """An authority, and what it signs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority_key = ec.generate_private_key(ec.SECP256R1())
        self.authority = _certificate("Test CA", self.authority_key, self.authority_key, None)
        self.ca_pem = self.authority.public_bytes(serialization.Encoding.PEM).decode()

    def pem(self, *names: str, days: int = 1) -> Path:
        """A file with a certificate for ``names`` that ends in ``days``, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate("server", key, self.authority_key, self.authority, names=names, days=days)
        path = self.directory / f"{names[0]}{days}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
        return path

    def context(self, *names: str, days: int = 1) -> ssl.SSLContext:
        """A server's context with such a certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem(*names, days=days))
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
        # Python 3.13 takes no certificate without these.
        .add_extension(_usage(authority=issuer is None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if names:
        alternatives = [_alternative(one) for one in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _usage(authority: bool) -> x509.KeyUsage:
    nothing = dict.fromkeys(("content_commitment", "data_encipherment", "encipher_only", "decipher_only"), False)
    both = {"key_encipherment": False, "key_agreement": not authority, "digital_signature": True}
    return x509.KeyUsage(**nothing, **both, key_cert_sign=authority, crl_sign=authority)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
