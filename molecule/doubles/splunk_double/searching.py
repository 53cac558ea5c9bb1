"""The search side: ``POST /services/search/v2/jobs/export``, results as a stream of JSON lines."""

from __future__ import annotations

import base64
import datetime
import json
import re
import time
import typing as t
from urllib.parse import parse_qsl

from . import answers, spl
from .answers import Answer
from .hec import Denied, Request
from .settings import Reader, Settings
from .store import Store

_PATH = "/services/search/v2/jobs/export"
#: What the real handler takes and is of no effect here.
_IGNORED = frozenset(("adhoc_search_level", "auto_cancel", "max_time", "search_mode", "timeout", "exec_mode", "count"))
_KNOWN = frozenset(("search", "output_mode", "earliest_time", "latest_time", "preview"))
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_FALSE = ("0", "f", "false")
#: Results that a search gives at most; limits.conf, maxresultrows and friends.
_MOST = 500_000

Found = tuple[int, float, int, tuple[str, ...]]


class Searcher:
    """Judges one search and answers it line by line."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store

    def answer(self, request: Request) -> Answer | t.Iterator[bytes]:
        """Refuse, or give the lines of the answer."""
        if request.path.rstrip("/") != _PATH:
            return answers.message(404, "ERROR", "Not Found")
        try:
            reader = self._reader(request.headers.get("authorization", ""))
            if request.method != "POST":
                return answers.message(405, "ERROR", "Method Not Allowed")
            arguments = _arguments(request)
            search = spl.parse(arguments["search"])
            window = _window(arguments, time.time())
        except Denied as denied:
            return denied.answer
        except spl.SearchError as error:
            return answers.message(400, "FATAL", str(error))
        return self._lines(search, reader, window, preview=arguments.get("preview", "1").lower() not in _FALSE)

    def _reader(self, given: str) -> Reader:
        kind, _blank, value = given.partition(" ")
        for reader in self.settings.readers:
            login = base64.b64encode(f"{reader.user}:{reader.password}".encode()).decode()
            if (kind == "Bearer" and reader.token and value == reader.token) or (
                kind == "Basic" and reader.user and value == login
            ):
                if not reader.may_search:
                    text = "insufficient permission to access this resource"
                    raise Denied(answers.message(403, "WARN", text))
                return reader
        text = "call not properly authenticated" if kind != "Basic" else "Unauthorized"
        raise Denied(answers.message(401, "WARN" if kind != "Basic" else "ERROR", text))

    def _lines(
        self, search: spl.Search, reader: Reader, window: tuple[float, float], *, preview: bool
    ) -> t.Iterator[bytes]:
        found = self._find(search, reader, window)
        keys = [key.field for command in search.commands for key in command.keys]
        for command in search.commands:
            if command.name == "sort":
                found = _sorted(found, command, keys)
            elif command.name == "head":
                found = found[: command.limit]
        if preview and found and any(command.name == "sort" for command in search.commands):
            # A search that has to wait for its end is shown as it grows, unless the caller says preview=0.
            yield from self._results(found[:10], search, preview=True)
        yield from self._results(found, search, preview=False)

    def _results(self, found: list[Found], search: spl.Search, *, preview: bool) -> t.Iterator[bytes]:
        if not found:
            yield b'{"preview":false,"offset":0,"lastrow":true}\n'
        for number, entry in enumerate(self.store.at(one[0] for one in found)):
            line: dict[str, t.Any] = {"preview": preview, "offset": number}
            if number == len(found) - 1:
                line["lastrow"] = True
            line["result"] = _shown(_as_result(entry), search)
            yield json.dumps(line, separators=(",", ":")).encode() + b"\n"

    def _find(self, search: spl.Search, reader: Reader, window: tuple[float, float]) -> list[Found]:
        """Position, time, serial and sort values of what matches, the newest first."""
        keys = [key.field for command in search.commands for key in command.keys]
        readable = {index for index in self.settings.indexes if index in reader.indexes}
        # Without a delay everything is there, also when the machine's clock was set back meanwhile.
        newest = time.time() - self.settings.index_seconds if self.settings.index_seconds else float("inf")
        found: list[Found] = []
        sources = [term for term in search.terms if term.field == "source"]
        places = self.store.of(lambda source: all(term.matches(source) for term in sources))
        for position, entry in zip(places, self.store.at(places)):
            if entry["index"] not in readable or entry["indextime"] > newest:
                continue
            if not window[0] <= entry["time"] < window[1] or not self._matches(search, entry):
                continue
            if keys:
                result = _as_result(entry)
                values = tuple(str(entry["time"]) if key == "_time" else _first(result.get(key, "")) for key in keys)
            else:
                values = ()
            found.append((position, entry["time"], entry["serial"], values))
        found.sort(key=lambda one: (-one[1], -one[2]))
        return found[:_MOST]

    def _matches(self, search: spl.Search, entry: dict[str, t.Any]) -> bool:
        return all(self._term(term, entry) for term in search.terms)

    def _term(self, term: spl.Term, entry: dict[str, t.Any]) -> bool:
        if term.field in ("index", "host", "source", "sourcetype"):
            return term.matches(entry[term.field])
        if term.field in entry["fields"]:
            values = _texts(entry["fields"][term.field])
            if not any(term.matches(value) for value in values):
                return False
            known = term.indexed or term.field in self.settings.indexed_fields
            return known or any(value in entry["raw"] for value in values)
        return not term.indexed and any(term.matches(value) for value in _extracted(entry["raw"], term.field))


def _arguments(request: Request) -> dict[str, str]:
    pairs = parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
    arguments = {**request.query, **dict(pairs)}
    for name in arguments:
        if name not in _KNOWN and name not in _IGNORED:
            raise Denied(answers.message(400, "ERROR", f'Argument "{name}" is not supported by this handler.'))
    if not arguments.get("search", "").strip():
        raise Denied(answers.message(400, "FATAL", "Empty search."))
    if arguments.get("output_mode") != "json":
        raise Denied(answers.message(400, "FATAL", "this double wants output_mode=json"))
    return arguments


def _window(arguments: t.Mapping[str, str], now: float) -> tuple[float, float]:
    earliest = _moment(arguments.get("earliest_time", ""), "earliest_time", now, 0.0)
    latest = _moment(arguments.get("latest_time", ""), "latest_time", now, float("inf"))
    if earliest >= latest:
        raise Denied(answers.message(400, "FATAL", "Invalid earliest_time: it is not before latest_time."))
    return earliest, latest


def _moment(text: str, name: str, now: float, otherwise: float) -> float:
    """A time: seconds since 1970, ``now``, ``-15m``, or ISO 8601 with a time zone."""
    if not text:
        return otherwise
    if text in ("now", "now()"):
        return now
    relative = re.fullmatch(r"([+-])(\d+)([smhdw])", text)
    if relative:
        seconds = int(relative.group(2)) * _UNITS[relative.group(3)]
        return now + (seconds if relative.group(1) == "+" else -seconds)
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    try:
        moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Denied(answers.message(400, "FATAL", f"Invalid {name}."))
    return moment.timestamp()


def _sorted(found: list[Found], command: spl.Command, keys: list[str]) -> list[Found]:
    """Sorted stably, so that equal ones stay the newest first, as they come from the index."""
    for key in reversed(command.keys):
        place = keys.index(key.field)
        numbers = key.kind == "num" or (key.kind == "auto" and all(_is_number(one[3][place]) for one in found))
        # Bound here, because the function is used before the loop goes on.
        found = sorted(found, key=_sort_value(place, numbers), reverse=key.descending)
    return found[: command.limit] if command.limit else found


def _sort_value(place: int, numbers: bool) -> t.Callable[[Found], t.Any]:
    if not numbers:
        return lambda one: one[3][place]
    return lambda one: float(one[3][place]) if _is_number(one[3][place]) else float("-inf")


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", text) is not None


def _as_result(entry: dict[str, t.Any]) -> dict[str, t.Any]:
    """All values are texts, as Splunk gives them."""
    when = datetime.datetime.fromtimestamp(entry["time"], datetime.timezone.utc)
    return {
        "_raw": entry["raw"],
        "_time": when.isoformat(timespec="milliseconds"),
        "_indextime": str(int(entry["indextime"])),
        "host": entry["host"],
        "index": entry["index"],
        "source": entry["source"],
        "sourcetype": entry["sourcetype"],
        **{name: _shorten(_texts(value)) for name, value in entry["fields"].items()},
    }


def _shown(result: dict[str, t.Any], search: spl.Search) -> dict[str, t.Any]:
    for command in search.commands:
        if command.name != "fields":
            continue
        if command.remove:
            result = {name: value for name, value in result.items() if name not in command.fields}
        else:
            # _raw and _time stay unless they are removed by name.
            wanted = {*command.fields, "_raw", "_time"}
            result = {name: value for name, value in result.items() if name in wanted}
    return result


def _extracted(raw: str, name: str) -> list[str]:
    """What field discovery finds in a raw event: the keys of a JSON object, or name=value."""
    try:
        given = json.loads(raw)
    except ValueError:
        given = None
    if isinstance(given, dict):
        return _texts(given[name]) if name in given else []
    return re.findall(rf'(?:^|[\s,]){re.escape(name)}="?([^\s,"]+)', raw)


def _texts(value: t.Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [one if isinstance(one, str) else json.dumps(one) for one in values]


def _shorten(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _first(value: str | list[str]) -> str:
    return value if isinstance(value, str) else value[0]
