"""The part of Splunk's search language that is spoken here; anything else is refused.

    search index="x" source="y" [field="value" | field::"value" ...] [| sort ...] [| fields ...] [| head N]

What a value means is Splunk's, and full of traps on purpose (Search Reference, command ``search``): a value compares
without regard to case, ``*`` in it stands for anything, also between quotes, and cannot be escaped; ``\\"`` is a quote
and ``\\\\`` a backslash, a backslash before anything else is itself. ``sort`` keeps 10,000 results unless it is told
another number, 0 for all.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_BARE = re.compile(r"[A-Za-z0-9_.:/@+*-]+")
_SORT_KEY = re.compile(r"([+-]?)\s*(?:(num|str|auto)\(\s*([A-Za-z_][\w.]*)\s*\)|([A-Za-z_][\w.]*))")


class SearchError(Exception):
    """Why a search is refused, as the text of a FATAL message."""


@dataclass(frozen=True)
class Term:
    """One comparison. ``indexed`` is ``field::value``."""

    field: str
    value: str
    indexed: bool = False

    def matches(self, value: str) -> bool:
        """Whether a field's value is meant: without regard to case, with ``*`` for anything."""
        parts = [re.escape(part) for part in self.value.split("*")]
        return re.fullmatch(".*".join(parts), value, re.IGNORECASE | re.DOTALL) is not None


@dataclass(frozen=True)
class SortKey:
    """A field to sort by; ``kind`` is num, str or auto."""

    field: str
    descending: bool = False
    kind: str = "auto"


@dataclass
class Command:
    """``sort``, ``fields`` or ``head``."""

    name: str
    limit: int = 0
    keys: list[SortKey] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    remove: bool = False


@dataclass
class Search:
    """A search that was understood."""

    terms: list[Term]
    commands: list[Command]

    def value_of(self, name: str) -> list[str]:
        """The values that a field is compared with."""
        return [term.value for term in self.terms if term.field == name]


def parse(text: str) -> Search:
    """Understand a search.

    Raises:
        SearchError: it is not of the part that is spoken here.
    """
    first, *others = _pipes(text.strip())
    word, _blank, rest = first.strip().partition(" ")
    if word != "search":
        raise SearchError(f"Unknown search command '{word}'.")
    search = Search(_terms(rest), [_command(other) for other in others])
    if not search.value_of("index"):
        raise SearchError("Error in 'search' command: this double wants index=.")
    return search


def _pipes(text: str) -> list[str]:
    """Cut at the pipes outside of quotes."""
    parts, quoted, position, begin = [], False, 0, 0
    while position < len(text):
        letter = text[position]
        if letter == "\\" and quoted:
            position += 1
        elif letter == '"':
            quoted = not quoted
        elif letter == "|" and not quoted:
            parts.append(text[begin:position])
            begin = position + 1
        position += 1
    if quoted:
        raise SearchError("Unbalanced quotes.")
    return [*parts, text[begin:]]


def _terms(text: str) -> list[Term]:
    terms: list[Term] = []
    position = _blank(text, 0)
    while position < len(text):
        name = _NAME.match(text, position)
        if not name:
            raise _unparsed(text[position:])
        position = name.end()
        if text.startswith("::", position):
            indexed, position = True, position + 2
        else:
            position = _blank(text, position)
            if not text.startswith("=", position):
                raise _unparsed(text[name.start() :])
            indexed, position = False, _blank(text, position + 1)
        value, position = _value(text, position)
        terms.append(Term(name.group(), value, indexed))
        if position < len(text) and not text[position].isspace():
            raise _unparsed(text[position:])
        position = _blank(text, position)
    return terms


def _value(text: str, position: int) -> tuple[str, int]:
    if not text.startswith('"', position):
        bare = _BARE.match(text, position)
        if not bare:
            raise _unparsed(text[position:] or "a value is missing")
        return bare.group(), bare.end()
    letters: list[str] = []
    position += 1
    while text[position] != '"':  # _pipes() saw to it that it ends
        if text[position] == "\\" and text[position + 1] in '"\\':
            position += 1
        letters.append(text[position])
        position += 1
    return "".join(letters), position + 1


def _command(text: str) -> Command:
    name, _space, rest = text.strip().partition(" ")
    makers: dict[str, t.Callable[[str], Command]] = {"sort": _sort, "fields": _fields, "head": _head}
    if name not in makers:
        raise SearchError(f"Unknown search command '{name}'.")
    return makers[name](rest.strip())


def _sort(text: str) -> Command:
    limit = 10_000
    number = re.match(r"(?:limit=)?(\d+)(?:\s+|$)", text)
    if number:
        limit, text = int(number.group(1)), text[number.end() :]
    keys = []
    text = re.sub(r"([+-])\s+", r"\1", text)
    for part in re.split(r"\s*,\s*|\s+(?=[+-]?\s*[A-Za-z_])", text):
        key = _SORT_KEY.fullmatch(part)
        if not key:
            raise SearchError(f"Error in 'sort' command: Invalid argument: '{part}'.")
        keys.append(SortKey(key.group(3) or key.group(4), key.group(1) == "-", key.group(2) or "auto"))
    return Command("sort", limit=limit, keys=keys)


def _fields(text: str) -> Command:
    remove = text.startswith("-")
    names = re.split(r"[\s,]+", text.lstrip("+- ").strip())
    wrong = [name for name in names if not _NAME.fullmatch(name)]
    if wrong:
        raise SearchError(f"Error in 'fields' command: Invalid argument: '{wrong[0]}'.")
    return Command("fields", fields=names, remove=remove)


def _head(text: str) -> Command:
    if text and not re.fullmatch(r"(limit=)?\d+", text):
        raise SearchError(f"Error in 'head' command: Invalid argument: '{text}'.")
    return Command("head", limit=int(text.replace("limit=", "") or 10))


def _blank(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _unparsed(rest: str) -> SearchError:
    return SearchError(f"Error in 'search' command: Unable to parse the search: not spoken here at '{rest[:60]}'.")
