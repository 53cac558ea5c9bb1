"""The double as a whole, and its admin endpoint."""

from __future__ import annotations

import json
import ssl
import typing as t
from urllib.parse import parse_qsl

from . import store
from .answers import CODES, Answer
from .hec import Collector, Request
from .searching import Searcher
from .server import Side, json_answer
from .settings import Settings, SettingsError, Token, make

_HEC_MODES = ("up", "down", "hang", "slow", "busy", "unhealthy")


class SplunkDouble:
    """A Splunk that listens on its ports from the moment it is made.

    Args:
        settings: what it is told; or name its fields: ``SplunkDouble(tokens=[Token("secret")])``.

    Attributes:
        hec_url: base URL of the collector, without a path.
        search_url: base URL of the search side, without a path.
        admin_url: base URL of the admin endpoint; empty without one.
    """

    def __init__(self, settings: Settings | None = None, **options: t.Any) -> None:
        self.settings = settings or Settings(**options)
        self._store = store.Store(self.settings.events_file)
        self.collector = Collector(self.settings, self._store)
        self.searcher = Searcher(self.settings, self._store)
        context = _context(self.settings)
        address, most = self.settings.address, self.settings.connections
        self.hec = Side(
            "hec",
            address,
            self.settings.hec_port,
            self.collector.answer,
            context=context,
            too_large=self.collector.too_large,
            record=self._record,
            connections=most,
        )
        self.search = Side(
            "search",
            address,
            self.settings.search_port,
            self.searcher.answer,
            context=context,
            record=_search_of,
            connections=most,
        )
        self.admin: Side | None = None
        if self.settings.admin_port >= 0:
            self.admin = Side("admin", "127.0.0.1", self.settings.admin_port, Admin(self).answer)

    def __enter__(self) -> SplunkDouble:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End it; a temporary file of events goes with it."""
        for side in (self.hec, self.search, self.admin):
            if side:
                side.close()
        self._store.close()

    @property
    def hec_url(self) -> str:
        """Base URL of the collector."""
        return self.hec.url

    @property
    def search_url(self) -> str:
        """Base URL of the search side."""
        return self.search.url

    @property
    def admin_url(self) -> str:
        """Base URL of the admin endpoint."""
        return self.admin.url if self.admin else ""

    @property
    def events(self) -> list[dict[str, t.Any]]:
        """Every indexed event, in the order of arrival: serial, indextime, time, index, host, source, sourcetype, raw,
        fields, token (its name), channel."""
        return store.read_events(self._store.path)

    @property
    def requests(self) -> list[dict[str, t.Any]]:
        """The last 1,000 requests to the collector."""
        return list(self.hec.requests)

    @property
    def searches(self) -> list[dict[str, t.Any]]:
        """The last 1,000 requests to the search side, with the text of the search."""
        return list(self.search.requests)

    def count(self, **where: str) -> int:
        """How many events were indexed, with these values of index, host, source, sourcetype, raw or token."""
        if not where:
            return self._store.count
        found = (json.loads(line) for _position, line in self._store.read())
        return sum(all(event[name] == value for name, value in where.items()) for event in found)

    def set_mode(self, mode: str, side: str = "hec", *, delay: float = 5.0, code: int = 18) -> None:
        """Let a side be ``up``, ``down``, ``hang`` or ``slow`` (see Side), or the collector ``busy`` or ``unhealthy``.

        Args:
            side: ``hec`` or ``search``.
            delay: seconds; mode ``slow`` only.
            code: what ``/health`` answers, 18 to 20; mode ``unhealthy`` only. Data gets 503, code 9.

        Raises:
            ValueError: one of them does not exist.
        """
        if side == "search":
            self.search.set_mode(mode, delay)
            return
        if side != "hec" or mode not in _HEC_MODES or code not in (18, 19, 20):
            raise ValueError(f"side {side!r}, mode {mode!r}, code {code!r}: there is no such thing")
        self.collector.busy = mode in ("busy", "unhealthy")
        self.collector.health = code if mode == "unhealthy" else 17
        self.hec.set_mode("up" if self.collector.busy else mode, delay)

    def poison(self, marker: str, code: int = 7) -> None:
        """Refuse every event whose raw text has ``marker``, with code 6, 7, 12, 13 or 15; code 0 forgets the marker."""
        if code not in (0, 6, 7, 12, 13, 15) or not marker:
            raise ValueError(f"marker {marker!r}, code {code!r}: give a text, and one of 0, 6, 7, 12, 13, 15")
        if code:
            self.collector.poison[marker] = code
        else:
            self.collector.poison.pop(marker, None)

    def answer_next(self, *codes: int) -> None:
        """Give the next requests with data these codes, one each, and index nothing of them."""
        wrong = [code for code in codes if code not in CODES]
        if wrong:
            raise ValueError(f"there is no code {wrong[0]}")
        self.collector.forced.extend(codes)

    def set_tokens(self, tokens: t.Sequence[Token]) -> None:
        """Other tokens from now on, as after a rotation.

        Raises:
            SettingsError: they do not fit the other settings.
        """
        Settings(indexes=self.settings.indexes, tokens=list(tokens))
        self.settings.tokens = list(tokens)

    def clear(self) -> None:
        """Forget all events and requests."""
        self._store.clear()
        for side in (self.hec, self.search):
            side.requests.clear()
            side.answered.clear()

    def state(self) -> dict[str, t.Any]:
        """What it is and what it did, without secrets."""
        mode = "unhealthy" if self.collector.health != 17 else "busy" if self.collector.busy else self.hec.mode
        return {
            "hec": {"url": self.hec_url, "mode": mode, "answers": dict(self.hec.answered)},
            "search": {"url": self.search_url, "mode": self.search.mode, "answers": dict(self.search.answered)},
            "admin": {"url": self.admin_url},
            "events": self._store.count,
            "events_file": self._store.path,
            "poison": dict(self.collector.poison),
            "forced": list(self.collector.forced),
        }

    def _record(self, request: Request) -> dict[str, t.Any]:
        return {
            "token": self.collector.token_name(request),
            "channel": request.headers.get("x-splunk-request-channel") or request.query.get("channel", ""),
        }


class Admin:
    """Plain HTTP on loopback.

    ``GET``: ``/state``, ``/count?index=..&source=..``, ``/requests``, ``/searches``. ``POST`` with a JSON object:
    ``/mode`` {mode, side, delay, code}, ``/poison`` {marker, code}, ``/answers`` {codes}, ``/tokens`` {tokens},
    ``/clear`` {}.
    """

    def __init__(self, double: SplunkDouble) -> None:
        self._double = double

    def answer(self, request: Request) -> Answer:
        """One request."""
        double = self._double
        reads: dict[str, t.Callable[[], t.Any]] = {
            "/state": double.state,
            "/count": lambda: {"count": double.count(**request.query)},
            "/requests": lambda: double.requests,
            "/searches": lambda: double.searches,
        }
        writes: dict[str, t.Callable[..., None]] = {
            "/mode": double.set_mode,
            "/poison": double.poison,
            "/answers": lambda codes: double.answer_next(*codes),
            "/tokens": lambda tokens: double.set_tokens([make(Token, one, "tokens") for one in tokens]),
            "/clear": double.clear,
        }
        try:
            if request.method == "GET" and request.path in reads:
                return json_answer(reads[request.path]())
            if request.method == "POST" and request.path in writes:
                writes[request.path](**json.loads(request.body or b"{}"))
                return json_answer(double.state())
        except (ValueError, TypeError, KeyError, SettingsError) as error:
            return json_answer({"error": f"{type(error).__name__}: {error}"}, 400)
        return json_answer({"error": (self.__class__.__doc__ or "").strip()}, 404)


def _search_of(request: Request) -> dict[str, t.Any]:
    return {"search": dict(parse_qsl(request.body.decode("utf-8", "replace"))).get("search", "")[:4096]}


def _context(settings: Settings) -> ssl.SSLContext | None:
    if not settings.certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.certificate, settings.key or None)
    return context
