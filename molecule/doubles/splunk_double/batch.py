"""The body of a request to ``/services/collector/event`` and ``/raw``: what is in it, and what is wrong with it.

Strict on purpose. Where Splunk 10.4.3 is lenient this refuses, so that a test sees what would get lost there without
a word: an unknown key ends the batch there with 200 and drops the rest, an object with ``fields`` and no ``event`` is
skipped with 200, a JSON array is taken apart.
"""

from __future__ import annotations

import json
import math
import typing as t
from dataclasses import dataclass, field

from .settings import Settings, Token

_KEYS = frozenset(("time", "host", "source", "sourcetype", "index", "event", "fields"))
_BLANK = " \t\r\n"


@dataclass
class Event:
    """One event as it is indexed. ``time`` is in seconds since 1970."""

    time: float
    index: str
    host: str
    source: str
    sourcetype: str
    raw: str
    fields: dict[str, t.Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Arrival:
    """How a body arrived.

    Attributes:
        host: what an event without ``host`` gets.
        now: seconds since 1970; what an event without ``time`` gets.
        poison: a text that makes an event bad, and the code it is refused with.
    """

    token: Token
    settings: Settings
    host: str = ""
    now: float = 0.0
    poison: t.Mapping[str, int] = field(default_factory=dict)


class Refused(Exception):
    """The event that is up next is refused with ``code``."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


def parse_events(text: str, arrival: Arrival) -> t.Iterator[Event]:
    """The events of a body, one after the other.

    Args:
        text: concatenated JSON objects, with white space between them or without.

    Raises:
        Refused: at the first bad one; those before it were given.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_number)
    position = _skip(text, 0)
    while position < len(text):
        if text[position] != "{":
            raise Refused(6)
        try:
            given, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise Refused(6) from error
        position = _skip(text, position)
        yield _event(given, arrival)


def parse_lines(text: str, envelope: t.Mapping[str, str], arrival: Arrival) -> list[Event]:
    """One event for each line that is not blank.

    Splunk merges lines without a timestamp into one event unless props.conf says otherwise; this does not.
    """
    index = _index(envelope.get("index") or arrival.token.index, arrival)
    return [
        Event(
            time=_time(envelope["time"]) if "time" in envelope else arrival.now,
            index=index,
            host=envelope.get("host", ""),
            source=envelope.get("source") or f"http:{arrival.token.name}",
            sourcetype=envelope.get("sourcetype") or "httpevent",
            raw=line,
        )
        for line in text.replace("\r\n", "\n").split("\n")
        if line.strip()
    ]


def _event(given: dict[str, t.Any], arrival: Arrival) -> Event:
    if set(given) - _KEYS:
        raise Refused(6)
    raw = _raw(given)
    for marker, code in arrival.poison.items():
        if marker in raw:
            raise Refused(code)
    return Event(
        time=_time(given["time"]) if "time" in given else arrival.now,
        index=_index(_text(given, "index", arrival.token.index), arrival),
        host=_text(given, "host", arrival.host),
        source=_text(given, "source", f"http:{arrival.token.name}"),
        sourcetype=_text(given, "sourcetype", "httpevent"),
        raw=raw,
        fields=_fields(given.get("fields", {})),
    )


def _raw(given: dict[str, t.Any]) -> str:
    """``event`` as it is indexed. Measured: {} and [] and 0 are events, null and false are not."""
    if "event" not in given:
        raise Refused(12)
    event = given["event"]
    if isinstance(event, str):
        if not event.strip():
            raise Refused(13)
        return event
    if event is None or isinstance(event, bool):
        raise Refused(6)
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False)


def _time(given: t.Any) -> float:
    """Seconds since 1970, to the microsecond; whole numbers of 13 and 19 digits are milliseconds and nanoseconds."""
    if isinstance(given, bool) or not isinstance(given, (int, float, str)):
        raise Refused(6)
    try:
        value = float(given)
    except (ValueError, OverflowError) as error:
        raise Refused(6) from error
    if not math.isfinite(value) or value < 0 or (isinstance(given, str) and given != given.strip()):
        raise Refused(6)
    if value >= 1e17:
        value /= 1e9
    elif value >= 1e11:
        value /= 1e3
    return math.floor(value * 1e6 + 1e-3) / 1e6


def _index(wanted: str, arrival: Arrival) -> str:
    allowed = arrival.token.indexes
    if allowed and wanted not in allowed:
        raise Refused(7)
    # A token without a list may name any index; what does not exist is accepted and lost.
    return wanted if wanted in arrival.settings.indexes else ""


def _text(given: dict[str, t.Any], key: str, otherwise: str) -> str:
    value = given.get(key, otherwise)
    if not isinstance(value, str):
        raise Refused(6)
    return value or otherwise


def _fields(given: t.Any) -> dict[str, t.Any]:
    if not isinstance(given, dict):
        raise Refused(15)
    for name, value in given.items():
        flat = value if isinstance(value, list) else [value]
        if not name or not all(isinstance(one, (str, int, float, bool)) for one in flat):
            raise Refused(15)
    return given


def _once(pairs: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key occurs twice")
    return made


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in _BLANK:
        position += 1
    return position
