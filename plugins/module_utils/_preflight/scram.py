# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's side of SCRAM-SHA-256.

PRIVATE to the collection.

Sources: RFC 5802 (messages and keys), RFC 7677 (SHA-256), RFC 4013 (SASLprep).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import stringprep
import unicodedata


class ScramError(Exception):
    """The server broke the exchange, or does not know the password itself."""


class ScramClient:
    """One login.

    Args:
        password: the password.
        nonce: only for tests; printable ASCII without a comma.
    """

    def __init__(self, password: str, nonce: str = "") -> None:
        self._password = saslprep(password).encode()
        self._nonce = nonce or base64.b64encode(secrets.token_bytes(18)).decode()
        self._first_bare = ""
        self._server_signature = b""
        self.finished = False

    def first(self, user: str = "") -> bytes:
        """The client-first message; PostgreSQL takes the user from its own startup message."""
        self._first_bare = f"n={user},r={self._nonce}"
        return f"n,,{self._first_bare}".encode()

    def final(self, server_first: bytes) -> bytes:
        """The client-final message for the server's challenge.

        Raises:
            ScramError: the challenge is malformed, or answers somebody else's login.
        """
        try:
            challenge = _attributes(server_first)
            nonce, salt = challenge["r"], base64.b64decode(challenge["s"], validate=True)
            iterations = int(challenge["i"])
        except (KeyError, ValueError) as error:
            raise ScramError("its challenge is malformed") from error
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ScramError("its challenge is for another login")
        if not 1 <= iterations <= 10_000_000:
            raise ScramError(f"its iteration count is {iterations}")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, iterations)
        client_key = _hmac(salted, b"Client Key")
        without_proof = f"c=biws,r={nonce}"
        authentication = ",".join((self._first_bare, server_first.decode(), without_proof)).encode()
        signature = _hmac(hashlib.sha256(client_key).digest(), authentication)
        proof = bytes(left ^ right for left, right in zip(client_key, signature))
        self._server_signature = _hmac(_hmac(salted, b"Server Key"), authentication)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, server_final: bytes) -> None:
        """Check that the server knows the password too.

        Raises:
            ScramError: it does not.
        """
        given = _attributes(server_final).get("v", "")
        if not hmac.compare_digest(given.encode(), base64.b64encode(self._server_signature)):
            raise ScramError("its signature is wrong")
        self.finished = True


def saslprep(text: str) -> str:
    """A password as SASLprep normalises it; left as it is where PostgreSQL leaves it, too.

    PostgreSQL uses the raw bytes of a password that SASLprep refuses.
    """
    if text.isascii():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char)
    )
    normal = unicodedata.normalize("NFKC", mapped)
    refused = (
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
        stringprep.in_table_a1,
    )
    if any(table(char) for char in normal for table in refused):
        return text
    return normal


def _attributes(message: bytes) -> dict[str, str]:
    parts = message.decode("ascii", "replace").split(",")
    return {part[0]: part[2:] for part in parts if part[1:2] == "="}


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()
