"""A registry and its token service on loopback, as strict as the specifications."""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import threading
import typing as t
from urllib.parse import parse_qs, urlsplit

USER, PASSWORD, TOKEN = "deploy", "let-me-in:1", "token-for-deploy"
LOGIN = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


Answer = tuple[int, dict[str, str], bytes]


class Registry:
    """``challenge`` is the WWW-Authenticate header; empty lets everybody in. ``fixed`` answers everything alike."""

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        challenge: str = 'Basic realm="registry"',
        fixed: Answer | None = None,
    ) -> None:
        self.challenge = challenge
        self.fixed = fixed
        self.asked: list[str] = []
        self.server = _Server(("127.0.0.1", 0), _handler(self))
        if context:
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = int(self.server.server_address[1])
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)

    def answer(self, target: str, login: str) -> Answer:
        """One request, judged."""
        self.asked.append(target)
        if self.fixed:
            return self.fixed
        url = urlsplit(target)
        doors = {"/v2/": self._enter, "/token": self._give_token}
        return doors[url.path](parse_qs(url.query), login) if url.path in doors else (404, {}, b"not found")

    def _enter(self, _query: t.Mapping[str, list[str]], login: str) -> Answer:
        wanted = f"Bearer {TOKEN}" if self.challenge.startswith("Bearer") else LOGIN
        if not self.challenge or login == wanted:
            return 200, {}, b"{}"
        return 401, {"WWW-Authenticate": self.challenge}, _errors("UNAUTHORIZED", "authentication required")

    def _give_token(self, query: t.Mapping[str, list[str]], login: str) -> Answer:
        if query.get("service") != ["registry.test"]:
            return 400, {}, b"no such service"
        if login != LOGIN or query.get("account") != [USER]:
            return 401, {}, _errors("UNAUTHORIZED", "incorrect username or password")
        return 200, {}, json.dumps({"token": TOKEN}).encode()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        """A client may hang up, and may refuse our certificate."""


def _errors(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


def _handler(registry: Registry) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = registry.answer(self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: t.Any) -> None:
            """Silent."""

    return Handler
