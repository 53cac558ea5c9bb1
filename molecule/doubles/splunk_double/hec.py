"""The collector: judges one request."""

from __future__ import annotations

import base64
import binascii
import json
import re
import threading
import time
import typing as t
import zlib
from collections import OrderedDict
from dataclasses import dataclass

from . import answers
from .answers import Answer
from .batch import Arrival, Event, Refused, parse_events, parse_lines
from .settings import Settings, Token
from .store import Store

_GUID = re.compile(r"[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")
_EVENT = ("", "/event", "/event/1.0")
_RAW = ("/raw", "/raw/1.0")
_HEALTH = ("/health", "/health/1.0")
_PREFIX = "/services/collector"
#: Bounds of what is remembered of acknowledgements.
_CHANNELS, _PENDING = 256, 10_000


@dataclass
class Request:
    """One request. ``query`` has the first value of each parameter; names of headers are lower case."""

    method: str
    path: str
    query: t.Mapping[str, str]
    headers: t.Mapping[str, str]
    body: bytes = b""
    peer: str = ""


class Denied(Exception):
    """The request gets this answer and nothing else."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer.code))
        self.answer = answer


class Collector:
    """The HTTP Event Collector.

    Attributes:
        poison: a text in an event, and the code that the event is refused with.
        forced: codes that the next requests with data get, one each, before anything is looked at.
        busy: every request with data gets 503, code 9, and nothing is indexed.
        health: code of the answer to ``/health``; 17 is healthy.
    """

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.poison: dict[str, int] = {}
        self.forced: list[int] = []
        self.busy = False
        self.health = 17
        self._acks = Acks(settings)

    def too_large(self, length: int) -> Answer | None:
        """What a request of so many bytes gets before it is read."""
        limit = self.settings.max_content_length
        if length <= limit:
            return None
        return answers.page(
            413, f"Content-Length of {length} too large (maximum is {limit})", "HTTP Request was too large."
        )

    def answer(self, request: Request) -> Answer:
        """Judge one request."""
        path = request.path[len(_PREFIX) :].rstrip("/") if request.path.startswith(_PREFIX) else None
        if path is None or path not in (*_EVENT, *_RAW, *_HEALTH, "/ack"):
            return answers.not_found()
        allowed = ("GET", "HEAD", "OPTIONS") if path in _HEALTH else ("POST", "OPTIONS")
        if request.method == "OPTIONS":
            return Answer(200, b"", headers={"Allow": ",".join(allowed)})
        if request.method not in allowed:
            return answers.plain(405, "The requested URL was not found on this server.", Allow=",".join(allowed))
        # Measured on 10.4.3: /health looks at no token.
        return answers.hec(self.health) if path in _HEALTH else self._with_token(path, request)

    def _with_token(self, path: str, request: Request) -> Answer:
        try:
            token = self._token(request)
            if path == "/ack":
                return self._poll(request, token)
            return self._take(request, token, raw=path in _RAW)
        except Denied as denied:
            return denied.answer

    def token_name(self, request: Request) -> str:
        """Name of the request's token, for the record of requests; empty when it has none that is known."""
        try:
            return self._token(request).name
        except Denied:
            return ""

    def _take(self, request: Request, token: Token, *, raw: bool) -> Answer:
        channel = self._channel(request, token)
        if self.forced:
            code = self.forced.pop(0)
            return answers.refused(code, 0, 0) if code in answers.ABOUT_AN_EVENT else answers.hec(code)
        if self.busy:
            return answers.hec(9, **{"invalid-event-number": 0})
        text = self._body(request)
        if not text.strip():
            return answers.hec(5)
        events: list[Event] = []
        refusal: Refused | None = None
        arrival = Arrival(token, self.settings, request.headers.get("host", ""), time.time(), self.poison)
        try:
            # Kept one by one: what stands before a bad event is indexed, what stands after it is not.
            for event in parse_lines(text, request.query, arrival) if raw else parse_events(text, arrival):
                events.append(event)
        except Refused as error:
            refusal = error
        self.store.add(events, token=token.name, channel=channel)
        if refusal:
            return answers.refused(refusal.code, len(events), len(events))
        more = {"ackId": self._acks.issue(token, channel)} if token.ack else {}
        return answers.hec(0, len(events), **more)

    def _poll(self, request: Request, token: Token) -> Answer:
        if not token.ack:
            return answers.hec(14)
        channel = self._channel(request, token)
        try:
            wanted = json.loads(request.body or b"null")
            numbers = wanted["acks"]
            if set(wanted) != {"acks"} or not all(type(one) is int for one in numbers):
                raise TypeError("acks is no list of whole numbers")
        except (ValueError, KeyError, TypeError):
            return answers.hec(6)
        body = json.dumps({"acks": {str(one): self._acks.done(token, channel, one) for one in numbers}})
        return Answer(200, body.encode())

    def _token(self, request: Request) -> Token:
        given = request.headers.get("authorization", "")
        by_query = "token" in request.query and not given
        if by_query:
            value = request.query["token"]
        elif not given.strip():
            raise Denied(answers.hec(2))
        else:
            value = _credential(given)
        for token in self.settings.tokens:
            if token.token != value:
                continue
            if by_query and not token.query_string:
                raise Denied(answers.hec(16))
            if not token.enabled:
                raise Denied(answers.hec(1))
            return token
        raise Denied(answers.hec(16 if by_query else 4))

    def _channel(self, request: Request, token: Token) -> str:
        """The channel; a token with acknowledgement needs one (measured on 10.4.3, also for /raw)."""
        channel = request.headers.get("x-splunk-request-channel") or request.query.get("channel", "")
        if not channel and token.ack:
            raise Denied(answers.hec(10))
        if channel and not _GUID.fullmatch(channel):
            raise Denied(answers.hec(11))
        return channel.lower()

    def _body(self, request: Request) -> str:
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        body = request.body
        if encoding == "gzip":
            body = self._unpacked(body)
        elif encoding != "identity":
            raise Denied(answers.page(415, "Unsupported Media Type", f"Content-Encoding {encoding} is not supported."))
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            raise Denied(answers.refused(6, 0, 0)) from error

    def _unpacked(self, body: bytes) -> bytes:
        limit = self.settings.max_content_length
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            data = unpacker.decompress(body, limit + 1)
        except zlib.error as error:
            raise Denied(answers.refused(6, 0, 0)) from error
        too_large = self.too_large(len(data))
        if too_large:
            raise Denied(too_large)
        if not unpacker.eof or unpacker.unused_data:
            raise Denied(answers.refused(6, 0, 0))
        return data


class Acks:
    """Acknowledgements: numbers count from 0 for each channel, and a number is forgotten once it was told as done."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._next: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._pending: OrderedDict[tuple[str, str, int], float] = OrderedDict()

    def issue(self, token: Token, channel: str) -> int:
        """A number for a request that was just indexed."""
        with self._lock:
            number = self._next.pop((token.name, channel), 0)
            self._next[token.name, channel] = number + 1
            self._pending[token.name, channel, number] = time.monotonic() + self._settings.ack_seconds
            while len(self._next) > _CHANNELS:
                self._next.popitem(last=False)
            while len(self._pending) > _PENDING:
                self._pending.popitem(last=False)
            return number

    def done(self, token: Token, channel: str, number: int) -> bool:
        """Whether a request is on disk; true only once."""
        with self._lock:
            key = (token.name, channel, number)
            if self._pending.get(key, float("inf")) > time.monotonic():
                return False
            del self._pending[key]
            return True


def _credential(given: str) -> str:
    kind, _blank, value = given.strip().partition(" ")
    value = value.strip()
    if kind == "Splunk" and value and " " not in value:
        return value
    if kind == "Basic":
        try:
            _user, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            colon = password = ""
        if colon and password:
            return password
    raise Denied(answers.hec(3))
