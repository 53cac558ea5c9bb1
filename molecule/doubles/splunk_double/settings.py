"""What a double is told: tokens, readers, limits. Mistakes in it are told all at once."""

from __future__ import annotations

import json
import typing as t
from dataclasses import MISSING, dataclass, field, fields


class SettingsError(Exception):
    """What is wrong with the settings, for a person."""


@dataclass
class Token:
    """A token of the collector.

    Attributes:
        name: how requests are counted; the token itself is in no output.
        indexes: those it may write. Empty means any, and then a wrong one is no error: the event is accepted and lost,
            as in Splunk (github.com/splunk/splunk-connect-for-syslog, issue 548).
        index: the default index; it must be allowed.
        ack: indexer acknowledgement; then every request needs a channel.
        query_string: whether ``?token=`` is allowed.
    """

    token: str
    name: str = "default"
    enabled: bool = True
    indexes: list[str] = field(default_factory=list)
    index: str = "main"
    ack: bool = False
    query_string: bool = False


@dataclass
class Reader:
    """Who may search: by bearer ``token``, or by ``user`` and ``password``.

    Attributes:
        indexes: those it may read; any other one gives no results and no error, as in Splunk.
        may_search: has the capability ``search``; without it, 403.
    """

    name: str = "reader"
    token: str = ""
    user: str = ""
    password: str = ""
    indexes: list[str] = field(default_factory=list)
    may_search: bool = True


@dataclass
class Settings:
    """Everything a double is told.

    Attributes:
        indexes: those that exist.
        tokens: of the collector.
        readers: of the search side.
        address: what the collector and the search side listen on.
        hec_port: 0 takes a free one; the same for the others.
        admin_port: on loopback only, plain HTTP; -1 means none.
        certificate: PEM file with the server's certificate and its chain; empty means plain HTTP.
        key: PEM file with its key; empty means that it is in ``certificate``.
        events_file: JSON lines of every indexed event; empty means a temporary file that goes with the double.
        max_content_length: bytes of a request, packed and unpacked. 1,000,000 is what Splunk had for years; 10.4.3
            has 838,860,800.
        ack_seconds: from the answer until an acknowledgement is true.
        index_seconds: from the answer until an event can be found.
        indexed_fields: fields that fields.conf of the search head calls indexed. Any other indexed field is found with
            ``field::value``; with ``field=value`` only where the value also stands in the raw event (fields.conf.spec,
            INDEXED_VALUE).
        connections: at the same time; more are closed at once.
    """

    indexes: list[str] = field(default_factory=lambda: ["main"])
    tokens: list[Token] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    address: str = "127.0.0.1"
    hec_port: int = 0
    search_port: int = 0
    admin_port: int = 0
    certificate: str = ""
    key: str = ""
    events_file: str = ""
    max_content_length: int = 1_000_000
    ack_seconds: float = 0.0
    index_seconds: float = 0.0
    indexed_fields: list[str] = field(default_factory=list)
    connections: int = 512

    def __post_init__(self) -> None:
        problems = _problems(self)
        if problems:
            raise SettingsError("; ".join(problems))


def from_file(path: str) -> Settings:
    """Settings from a JSON file; ``-`` reads standard input.

    Raises:
        SettingsError: the file is no JSON, or has keys that do not exist.
    """
    try:
        with open(0 if path == "-" else path, encoding="utf-8") as file:
            given = json.load(file)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from error
    return from_dict(given)


def from_dict(given: t.Any) -> Settings:
    """Settings from what JSON gave.

    Raises:
        SettingsError: with every mistake.
    """
    if not isinstance(given, dict):
        raise SettingsError("the settings are no JSON object")
    values = dict(given)
    values["tokens"] = [make(Token, one, "tokens") for one in given.get("tokens", [])]
    values["readers"] = [make(Reader, one, "readers") for one in given.get("readers", [])]
    return t.cast("Settings", make(Settings, values, "the settings"))


def make(kind: t.Any, given: t.Any, where: str) -> t.Any:
    """A dataclass of a dict; unknown and missing keys are refused.

    Raises:
        SettingsError: with their names.
    """
    if not isinstance(given, dict):
        raise SettingsError(f"{where}: {given!r} is no JSON object")
    known = fields(kind)
    unknown = sorted(set(given) - {one.name for one in known})
    missing = [
        one.name for one in known if one.default is MISSING and one.default_factory is MISSING and one.name not in given
    ]
    if unknown or missing:
        told = [f"unknown key {name}" for name in unknown] + [f"{name} is missing" for name in missing]
        raise SettingsError(f"{where}: {', '.join(told)}")
    return kind(**given)


def _problems(settings: Settings) -> list[str]:
    problems: list[str] = []
    for token in settings.tokens:
        for index in [*token.indexes, token.index]:
            if index not in settings.indexes:
                problems.append(f"token {token.name}: index {index} does not exist")
        if token.indexes and token.index not in token.indexes:
            problems.append(f"token {token.name}: its default index {token.index} is not allowed")
    for values, what in (
        ([token.token for token in settings.tokens], "token"),
        ([token.name for token in settings.tokens], "name of a token"),
        ([reader.token for reader in settings.readers if reader.token], "token of a reader"),
    ):
        if len(values) != len(set(values)):
            problems.append(f"a {what} occurs twice")
    problems += [
        f"reader {reader.name}: give token, or user and password"
        for reader in settings.readers
        if not reader.token and not (reader.user and reader.password)
    ]
    return problems
