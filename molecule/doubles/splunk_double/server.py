"""One listening side of the double: connections, TLS, and the ways in which a service is not well."""

from __future__ import annotations

import http.server
import json
import socket
import socketserver
import ssl
import threading
import time
import typing as t
from collections import Counter, deque
from urllib.parse import parse_qsl, urlsplit

from . import answers
from .answers import Answer
from .hec import Request

Responder = t.Callable[[Request], "Answer | t.Iterator[bytes]"]
#: Bytes of a refused request that are read and thrown away, so that its sender can read the answer.
_DRAINED = 64 << 20
_HANDSHAKE, _IDLE = 15.0, 60.0
MODES = ("up", "down", "hang", "slow")


class Side:
    """A port with a mode.

    - ``up``: answers.
    - ``down``: connections are refused, those that stand are cut.
    - ``hang``: connections are accepted and nothing is ever answered, not even the TLS handshake; a request on a
      connection that stood before is taken and not looked at.
    - ``slow``: the request takes effect at once and is answered after ``delay`` seconds, so that a caller who gives up
      and tries again sends it twice.

    Args:
        respond: gives the answer to a request.
        too_large: the answer to a request of so many bytes, or None.
        record: what else is worth keeping of a request, besides what every one has.
    """

    def __init__(
        self,
        name: str,
        address: str,
        port: int,
        respond: Responder,
        *,
        context: ssl.SSLContext | None = None,
        too_large: t.Callable[[int], Answer | None] = lambda _length: None,
        record: t.Callable[[Request], dict[str, t.Any]] = lambda _request: {},
        connections: int = 512,
    ) -> None:
        self.name, self.address, self.port = name, address, port
        self.respond, self.too_large, self.record = respond, too_large, record
        self.context = context
        self.delay = 0.0
        self.mode = "up"
        #: The last requests, without tokens and bodies.
        self.requests: deque[dict[str, t.Any]] = deque(maxlen=1000)
        #: How many requests got which answer: the collector's code, else the HTTP status.
        self.answered: Counter[str] = Counter()
        self.open: set[socket.socket] = set()
        self.slots = threading.BoundedSemaphore(connections)
        self.changed = threading.Condition()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._listen()

    @property
    def url(self) -> str:
        """Scheme, host and port, without a path."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.address, self.address)  # noqa: S104
        return f"{'https' if self.context else 'http'}://{host}:{self.port}"

    def set_mode(self, mode: str, delay: float = 0.0) -> None:
        """Change the mode; see the class.

        Raises:
            ValueError: there is no such mode.
        """
        if mode not in MODES:
            raise ValueError(f"mode {mode!r}: use one of {', '.join(MODES)}")
        with self.changed:
            self.mode, self.delay = mode, delay
            self.changed.notify_all()
        if mode == "down":
            self.close()
        elif self._server is None:
            self._listen()

    def close(self) -> None:
        """Refuse connections, and cut those that stand."""
        server, self._server = self._server, None
        if server is None or self._thread is None:
            return
        server.shutdown()
        server.server_close()
        self._thread.join(5)
        with self.changed:
            self.mode = "down"
            self.changed.notify_all()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it ended by itself

    def hangs(self) -> bool:
        """Wait as long as the mode is ``hang``; whether it was."""
        with self.changed:
            if self.mode != "hang":
                return False
            self.changed.wait_for(lambda: self.mode != "hang")
            return True

    def _listen(self) -> None:
        self._server = _Server(self)
        self.port = int(self._server.server_address[1])
        # How often it looks whether it has to end. At 50 times a second that was 8 % of a lab host's processor.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, side: Side) -> None:
        self.side = side
        self.address_family = socket.AF_INET6 if ":" in side.address else socket.AF_INET
        super().__init__((side.address, side.port), _handler(side))

    def process_request_thread(self, request: t.Any, client_address: t.Any) -> None:
        """A connection, in its own thread."""
        side = self.side
        if not side.slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        side.open.add(request)
        plain = request
        try:
            if side.hangs():
                return
            if side.context:
                request.settimeout(_HANDSHAKE)
                request = side.context.wrap_socket(request, server_side=True)
                side.open.add(request)
            request.settimeout(_IDLE)
            self.finish_request(request, client_address)
        except (OSError, ValueError):
            side.answered["broken"] += 1  # the other end went away, or does not trust or speak TLS
        finally:
            self.shutdown_request(request)
            side.open.discard(plain)
            side.open.discard(request)
            side.slots.release()


def _handler(side: Side) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(_Handler):
        pass

    Handler.side = side
    return Handler


class _Handler(http.server.BaseHTTPRequestHandler):
    side: Side
    protocol_version = "HTTP/1.1"
    # Head and body of an answer are two writes; together with delayed acknowledgements that costs 40 ms each.
    disable_nagle_algorithm = True
    server_version, sys_version = "Splunkd", ""

    def log_message(self, format: str, *args: t.Any) -> None:
        """Say nothing: a log that nobody rotates has no bound."""

    def handle_any(self) -> None:
        """Every method."""
        side = self.side
        began = time.time()
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdigit():
            self.close_connection = True
            self._send(answers.page(411, "Length Required", "Send a Content-Length."))
            return
        refused = side.too_large(int(length))
        if refused:
            self._drain(int(length))
            request = self._request(b"")
        else:
            request = self._request(self.rfile.read(int(length)))
        if side.hangs():
            self.close_connection = True
            return
        answer = refused or side.respond(request)
        if side.mode == "slow":
            time.sleep(side.delay)
        status, code, events = (
            (answer.status, answer.code, answer.events) if isinstance(answer, Answer) else (200, -1, 0)
        )
        side.answered[str(code if code >= 0 else status)] += 1
        side.requests.append(
            {
                "time": round(began, 3),
                "method": request.method,
                "path": request.path,
                "status": status,
                "code": code,
                "bytes": int(length),
                "events": events,
                "gzip": request.headers.get("content-encoding", "") == "gzip",
                "peer": request.peer,
                **side.record(request),
            }
        )
        if isinstance(answer, Answer):
            self._send(answer)
        else:
            self._stream(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = handle_any

    def _request(self, body: bytes) -> Request:
        url = urlsplit(self.path)
        query: dict[str, str] = {}
        for name, value in parse_qsl(url.query, keep_blank_values=True):
            query.setdefault(name, value)
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request(self.command, url.path, query, headers, body, str(self.client_address[0]))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _stream(self, lines: t.Iterator[bytes]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")

    def _drain(self, length: int) -> None:
        self.close_connection = True
        length = min(length, _DRAINED)
        while length > 0:
            read = len(self.rfile.read(min(length, 65536)))
            if not read:
                return
            length -= read


def json_answer(value: t.Any, status: int = 200) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, json.dumps(value).encode() + b"\n")
