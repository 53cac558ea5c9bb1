"""Google Cloud Storage, as far as task logs need it: an emulator, and before it a gate that asks who comes.

The emulator keeps buckets and objects and compares checksums, but lets everybody do everything. The gate gives tokens
for keys of service accounts, looks at each request's permission, and answers as Google does where Airflow's class
depends on it: an object that is not there is a 404 with "No such object" for those who may list, and a 403 for others;
and who replaces an object needs the permission to delete it. It has no TLS, because Google's emulators have none:
STORAGE_EMULATOR_HOST, by which Google's library finds them, is an address.

    gcs_double.py serve SETTINGS         a server for a host of the lab, with gcp-storage-emulator's own libraries
    gcs_double.py show SETTINGS PREFIX   objects below a prefix, as JSON: key -> content

SETTINGS is JSON: ``url`` (by which others reach it), ``behind`` (port of the emulator, on loopback), ``bucket``,
``prefix``, and ``keys``, a file that it makes: key files of the service accounts, by name.

Sources: "Using OAuth 2.0 for server to server applications", "IAM permissions for JSON methods" (objects.insert,
objects.get) and "HTTP status and error codes for JSON" of Google Cloud.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import typing as t
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

#: The emulator, where it is in the same environment.
EMULATOR = (sys.executable, "-m", "gcp_storage_emulator")
#: What Airflow's class does there.
NEEDED = frozenset({"list", "get", "create", "delete"})
_SCOPES = ("devstorage.read_write", "devstorage.full_control", "cloud-platform")
#: Of assertions, whatever the key file says about where to send them.
_AUDIENCE = "https://oauth2.googleapis.com/token"
_PATH = re.compile(r"/(?:(upload|download)/)?storage/v1/b/([^/]+)/o(?:/(.+))?")
_Key = dict[str, str]


class Refused(Exception):
    """An answer that is not the emulator's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class GcsDouble:
    """The server, with one bucket and service accounts.

    Args:
        log: a file for what the emulator and the gate say.
        bucket, prefix: where logs go.
        emulator: the command that is the emulator's program.
        url: by which others reach it; without it, it is on loopback and has a port of its own.
        behind: port of the emulator on loopback; 0 takes a free one.
        keys: the key files of its accounts, kept for the next start; made when it is not there.
    """

    authority = None

    def __init__(
        self,
        log: Path,
        bucket: str,
        prefix: str,
        *,
        emulator: t.Sequence[str] = EMULATOR,
        url: str = "",
        behind: int = 0,
        keys: Path | None = None,
    ) -> None:
        self.bucket, self._prefix = bucket, prefix
        self._may: dict[str, frozenset[str]] = {}
        self._public: dict[str, t.Any] = {}
        self._tokens: dict[str, str] = {}
        self._behind = behind or _free_port()
        self._log = log.open("w+")
        command = [*emulator, "start", "--in-memory", "--host", "127.0.0.1", "--port", str(self._behind)]
        self._process = subprocess.Popen(
            [*command, "--default-bucket", bucket], stdout=self._log, stderr=subprocess.STDOUT
        )
        address = ("0.0.0.0", urlsplit(url).port or 80) if url else ("127.0.0.1", 0)  # noqa: S104 - on a host of the lab
        self._gate = ThreadingHTTPServer(address, _handler(self))
        self.url = url or f"http://127.0.0.1:{self._gate.server_port}"
        threading.Thread(target=self._gate.serve_forever, daemon=True).start()
        try:
            self._await()
        except BaseException:
            self.close()
            raise
        known = json.loads(keys.read_text()) if keys and keys.exists() else {}
        self.key = self.account("airflow", NEEDED, known.get("airflow"))
        self.stranger = self.account("stranger", frozenset(), known.get("stranger"))
        if keys:
            _write_secret(keys, json.dumps({"airflow": self.key, "stranger": self.stranger}))

    def account(self, name: str, may: t.Collection[str], known: _Key | None = None) -> _Key:
        """A service account that may do this with the bucket's objects; its key file, which may be an earlier one."""
        email = f"{name}@data.iam.gserviceaccount.com"
        if known:
            private: t.Any = serialization.load_pem_private_key(known["private_key"].encode(), None)
        else:
            private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._public[email], self._may[email] = private.public_key(), frozenset(may)
        if known:
            return known
        form = serialization.PrivateFormat.PKCS8
        pem = private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        return {
            "type": "service_account",
            "project_id": "data",
            "private_key_id": secrets.token_hex(20),
            "private_key": pem.decode(),
            "client_email": email,
            "token_uri": f"{self.url}/token",
        }

    def sink(self, key: _Key | None) -> dict[str, t.Any]:
        """The bucket as a sink in the platform's variables; without a key, hosts have an identity of their own."""
        return {"gcs": {"url": f"gs://{self.bucket}/{self._prefix}", **({"key": json.dumps(key)} if key else {})}}

    def objects(self) -> dict[str, str]:
        """Every object, by key."""
        return objects(self.bucket, self._behind)

    def put(self, key: str, text: str) -> None:
        """An object that was there before."""
        path = f"/upload{self._place('')}?uploadType=media&name={quote(key, safe='')}"
        status = self.forward("POST", path, text.encode(), {"Content-Type": "text/plain"})[0]
        if status != 200:
            raise OSError(f"{key}: the emulator says {status}")

    def close(self) -> None:
        """End it."""
        self._gate.shutdown()
        self._gate.server_close()
        self._process.terminate()
        self._process.wait(30)
        self._log.close()

    def token(self, body: bytes) -> dict[str, t.Any]:
        """An access token for a signed assertion.

        Raises:
            Refused: nobody, or somebody else, has signed it.
        """
        assertion = parse_qs(body.decode()).get("assertion", [""])[0]
        try:
            email = jwt.decode(assertion, options={"verify_signature": False})["iss"]
            if email not in self._public:
                raise Refused(400, "Invalid grant: account not found")
            told = jwt.decode(assertion, self._public[email], algorithms=["RS256"], audience=_AUDIENCE)
        except jwt.InvalidTokenError as error:
            raise Refused(400, "Invalid JWT Signature.") from error
        if not any(scope.endswith(_SCOPES) for scope in told.get("scope", "").split()):
            raise Refused(400, "Invalid OAuth scope or ID token audience provided.")
        token = secrets.token_urlsafe(32)
        self._tokens[token] = email
        return {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}

    def check(self, method: str, target: str, headers: t.Mapping[str, str], body: bytes) -> None:
        """Whether Google would do this.

        Raises:
            Refused: it would not.
        """
        email = self._tokens.get((headers.get("Authorization") or "").removeprefix("Bearer "))
        if email is None:
            raise Refused(401, "Invalid Credentials")
        parts = urlsplit(target)
        found = _PATH.fullmatch(parts.path)
        if not found:
            raise Refused(501, f"{method} {parts.path} is not known here")
        action, bucket, name = found[1], unquote(found[2]), unquote(found[3] or "")
        if bucket != self.bucket:
            raise Refused(404, "The specified bucket does not exist.")
        if action == "upload":
            needed = {"POST": "create"}.get(method)
            name = _uploaded(parts.query, body)
        else:
            needed = {"GET": "get", "DELETE": "delete"}.get(method) if name else {"GET": "list"}.get(method)
        if needed is None:
            raise Refused(501, f"{method} {parts.path} is not known here")
        self._permit(email, needed)
        exists = bool(name) and self.forward("GET", self._place(name))[0] == 200
        if needed == "create" and exists:
            self._permit(email, "delete")
        if needed in ("get", "delete") and not exists:
            self._permit(email, "list")
            raise Refused(404, f"No such object: {bucket}/{name}")

    def forward(
        self, method: str, target: str, body: bytes | None = None, headers: t.Mapping[str, str] | None = None
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """The emulator's answer."""
        return ask(self._behind, method, target, body, headers)

    def _permit(self, email: str, what: str) -> None:
        if what not in self._may[email]:
            permission = f"storage.objects.{what}"
            where = "bucket" if what == "list" else "object"
            raise Refused(
                403,
                f"{email} does not have {permission} access to the Google Cloud Storage {where}. Permission "
                f"'{permission}' denied on resource (or it may not exist).",
            )

    def _place(self, key: str) -> str:
        return place(self.bucket, key)

    def _await(self) -> None:
        deadline = time.monotonic() + 120
        while True:
            try:
                self.forward("GET", "/")
            except ConnectionError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    said = Path(self._log.name).read_text()
                    raise OSError(f"the emulator has ended, or does not listen: {said}") from None
                time.sleep(0.1)
            else:
                return


def ask(
    port: int,
    method: str,
    target: str,
    body: bytes | None = None,
    headers: t.Mapping[str, str] | None = None,
) -> tuple[int, list[tuple[str, str]], bytes]:
    """What an emulator on this host answers: status, headers, content."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, target, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()
    finally:
        connection.close()


def place(bucket: str, key: str) -> str:
    """The path of an object, or of all objects."""
    return f"/storage/v1/b/{bucket}/o" + (f"/{quote(key, safe='')}" if key else "")


def objects(bucket: str, port: int, prefix: str = "") -> dict[str, str]:
    """The objects that an emulator on this host has below a prefix, by key."""
    _status, _headers, body = ask(port, "GET", f"{place(bucket, '')}?prefix={quote(prefix, safe='')}")
    keys = [entry["name"] for entry in json.loads(body).get("items", [])]
    return {key: ask(port, "GET", f"{place(bucket, key)}?alt=media")[2].decode() for key in keys}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _write_secret(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)


def _uploaded(query: str, body: bytes) -> str:
    """The name of the object that an upload makes."""
    asked = parse_qs(query)
    if asked.get("uploadType") == ["multipart"]:
        return str(json.loads(body.split(b"\r\n\r\n", 1)[1].split(b"\r\n--", 1)[0])["name"])
    if asked.get("uploadType") == ["media"]:
        return asked["name"][0]
    raise Refused(501, f"an upload of the type {asked.get('uploadType')} is not known here")


def _handler(server: GcsDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                if self.path == "/token":
                    self._answer(200, json.dumps(server.token(body)).encode())
                    return
                server.check(self.command, self.path, self.headers, body)
                passed = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
                status, headers, content = server.forward(self.command, self.path, body or None, passed)
                self._answer(status, content, headers)
            except Refused as error:
                told: dict[str, t.Any] = {"error": {"code": error.status, "message": str(error)}}
                if self.path == "/token":
                    told = {"error": "invalid_grant", "error_description": str(error)}
                self._answer(error.status, json.dumps(told).encode())

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _do

        def _answer(self, status: int, content: bytes, headers: t.Iterable[tuple[str, str]] = ()) -> None:
            self.send_response(status)
            kept = {name: value for name, value in headers if name.lower() not in ("server", "date", "content-length")}
            for name, value in {"Content-Type": "application/json", **kept}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: t.Any) -> None:
            server._log.write(f"{format % args}\n")

    return Handler


def main(arguments: t.Sequence[str]) -> int:
    """The program."""
    verb, settings = arguments[0], json.loads(Path(arguments[1]).read_text())
    if verb == "show":
        print(json.dumps(objects(settings["bucket"], settings["behind"], arguments[2])))
        return 0
    double = GcsDouble(
        Path(settings["keys"]).with_name("gcs.log"),
        settings["bucket"],
        settings["prefix"],
        url=settings["url"],
        behind=settings["behind"],
        keys=Path(settings["keys"]),
    )
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    if notify := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.connect(notify.replace("@", "\0", 1))
            link.sendall(b"READY=1")
    ended.wait()
    double.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
