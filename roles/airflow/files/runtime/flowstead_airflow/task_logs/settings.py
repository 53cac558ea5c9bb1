# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of task logs: one JSON file, named by :data:`VARIABLE`, the same on all nodes.

::

    {"environment": "prod", "stack": "airflow",
     "hec": {"url": "https://splunk:8088", "token_file": "/run/secrets/hec_token", "ca_file": "/run/configs/ca.pem",
             "verify": true, "timeout_seconds": 10, "sourcetype": "airflow:task",
             "batch_bytes": 960000, "batch_seconds": 0.5, "flush_seconds": 5},
     "indexes": {"default": "airflow", "by_bundle": {"sales": "airflow_sales"}},
     "search": {"url": "https://splunk:8089", "token_file": "/run/secrets/search_token", "ca_file": "...",
                "verify": true, "timeout_seconds": 30},
     "archive": {"url": "s3://bucket/prefix", "connection": "logs"},
     "spool": {"directory": "/opt/airflow/logs/.flowstead", "mb": 256},
     "local": {"days": 14, "mb": 10240}}

``environment``, ``hec.url``, ``hec.token_file`` and ``indexes.default`` are required. Without ``search`` the UI reads
from the archive and from the workers. The node's name comes from :data:`NODE`, else from the host.
"""

from __future__ import annotations

import json
import os
import re
import socket
import typing as t
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from flowstead_airflow import settings

VARIABLE = "FLOWSTEAD_TASK_LOGS"
NODE = "FLOWSTEAD_NODE"
#: Bytes of a request before it is packed. Splunk Cloud takes 1 MB; source: its HEC documentation, "max_content_length".
REQUEST_LIMIT = 1_000_000
#: Source: Splunk's indexes.conf.spec, "Names of indexes".
_INDEX = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}")
#: Letters that need no quotes in a search.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class TaskLogSettingsError(Exception):
    """The settings are wrong; the text names every problem."""


@dataclass(frozen=True)
class Endpoint:
    """One of Splunk's two doors.

    Attributes:
        url: ``http(s)://host[:port][/prefix]``.
        token_file: read again when it changes, so that the token can be rotated.
        ca_file: PEM file; the system's authorities when None.
        verify: whether the server's certificate is checked.
        timeout: seconds for connecting and for each wait within an answer.
    """

    url: str
    token_file: Path
    ca_file: Path | None = None
    verify: bool = True
    timeout: float = 10.0


@dataclass(frozen=True)
class TaskLogSettings:
    """Everything that task logs are told.

    Attributes:
        sourcetype: of all events.
        batch_bytes: of events in one request before it is packed. The sender holds them packed.
        batch_seconds: from a line until it is sent.
        flush_seconds: a task's supervisor waits so long at its end for Splunk.
        index: for files whose bundle has no other, or is not known.
        index_by_bundle: bundle to index.
        archive: ``s3://`` or ``gs://``, without the slash at its end; empty means none.
        connection: Airflow's connection for the archive; empty means the cloud's own credentials.
        spool: directory of marks, refused events and staging; on the file system of the logs.
        spool_bytes: bound of the refused events.
        days: a delivered local file is kept so long after its last line.
        local_bytes: bound of all local log files.
    """

    environment: str
    stack: str
    node: str
    hec: Endpoint
    index: str
    search: Endpoint | None = None
    sourcetype: str = "airflow:task"
    batch_bytes: int = 960_000
    batch_seconds: float = 0.5
    flush_seconds: float = 5.0
    index_by_bundle: t.Mapping[str, str] = field(default_factory=dict)
    archive: str = ""
    connection: str = ""
    spool: Path | None = None
    spool_bytes: int = 256 * 2**20
    days: float = 14.0
    local_bytes: int = 10 * 2**30

    def index_of(self, bundle: str) -> str:
        """The index for lines of a bundle; "" when it is not known."""
        return self.index_by_bundle.get(bundle, self.index)


@dataclass(frozen=True)
class BucketSettings:
    """What the sweeper needs to know where a bucket is the only sink.

    Attributes:
        archive: s3://bucket/prefix or gs://bucket/prefix.
        connection: Airflow's connection for it; empty for the host's own role.
        days: emptied files are kept so long.
        local_bytes: of all log files.
    """

    archive: str
    connection: str = ""
    days: float = 14.0
    local_bytes: int = 10 * 2**30


def load(environ: t.Mapping[str, str] | None = None) -> TaskLogSettings:
    """The settings from the file that :data:`VARIABLE` names.

    Raises:
        TaskLogSettingsError: when something is wrong with it; with all problems, and never with a secret.
    """
    return _load(environ, parse)


def load_bucket(environ: t.Mapping[str, str] | None = None) -> BucketSettings:
    """As :func:`load`, where a bucket is the only sink."""
    return _load(environ, lambda content, _node: parse_bucket(content))


_Made = t.TypeVar("_Made")


def _load(environ: t.Mapping[str, str] | None, parser: t.Callable[[t.Any, str], _Made]) -> _Made:
    try:
        path = settings.text(VARIABLE, None, environ)
        node = settings.text(NODE, socket.gethostname(), environ)
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except settings.SettingMissing as error:
        raise TaskLogSettingsError(str(error)) from None
    except OSError as error:
        raise TaskLogSettingsError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise TaskLogSettingsError(f"{path} is no JSON: {error}") from None
    try:
        return parser(content, node)
    except TaskLogSettingsError as error:
        raise TaskLogSettingsError(f"{path}: {error}") from None


def parse_bucket(content: t.Any) -> BucketSettings:
    """The settings from the file's content, which has ``archive`` and ``local`` as :func:`parse` knows them.

    Raises:
        TaskLogSettingsError: with all problems at once.
    """
    problems: list[str] = []
    top = _Part(content, "", problems)
    archive, local = top.part("archive", required=True), top.part("local")
    made = BucketSettings(
        archive=_archive(archive),
        connection=archive.text("connection", "", pattern=_NAME, hint="a connection's ID"),
        days=local.number("days", 14, 0, 3650),
        local_bytes=int(local.number("mb", 10240, 1, 2**30) * 2**20),
    )
    for part in (top, archive, local):
        part.refuse_others()
    if problems:
        raise TaskLogSettingsError("; ".join(problems))
    return made


def parse(content: t.Any, node: str) -> TaskLogSettings:
    """The settings from the file's content.

    Raises:
        TaskLogSettingsError: with all problems at once.
    """
    problems: list[str] = []
    top = _Part(content, "", problems)
    hec = top.part("hec", required=True)
    indexes = top.part("indexes", required=True)
    search, archive, spool, local = (top.part(name) for name in ("search", "archive", "spool", "local"))
    made = TaskLogSettings(
        environment=top.text("environment", pattern=_NAME, hint="letters, digits, _ . and -"),
        stack=top.text("stack", "airflow", pattern=_NAME, hint="letters, digits, _ . and -"),
        node=node,
        hec=_endpoint(hec, 10.0),
        sourcetype=hec.text("sourcetype", "airflow:task"),
        batch_bytes=int(hec.number("batch_bytes", 960_000, 4096, REQUEST_LIMIT)),
        batch_seconds=hec.number("batch_seconds", 0.5, 0.05, 60),
        flush_seconds=hec.number("flush_seconds", 5, 0, 300),
        index=indexes.text("default", pattern=_INDEX, hint="a name of an index: a-z, 0-9, _ and -"),
        index_by_bundle=indexes.names("by_bundle", _INDEX, "a name of an index: a-z, 0-9, _ and -"),
        search=_endpoint(search, 30.0) if search.given else None,
        archive=_archive(archive),
        connection=archive.text("connection", "", pattern=_NAME, hint="a connection's ID"),
        spool=spool.path("directory"),
        spool_bytes=int(spool.number("mb", 256, 1, 2**20) * 2**20),
        days=local.number("days", 14, 0, 3650),
        local_bytes=int(local.number("mb", 10240, 1, 2**30) * 2**20),
    )
    for part in (top, hec, indexes, search, archive, spool, local):
        part.refuse_others()
    if problems:
        raise TaskLogSettingsError("; ".join(problems))
    return made


def _endpoint(part: _Part, timeout: float) -> Endpoint:
    url = part.text("url") if part.given else ""
    if url:
        part.check("url", _url_problem(url))
    token_file = part.path("token_file", required=part.given)
    return Endpoint(
        url=url.rstrip("/"),
        token_file=token_file or Path(),
        ca_file=part.path("ca_file"),
        verify=part.boolean("verify", True),
        timeout=part.number("timeout_seconds", timeout, 0.1, 600),
    )


def _url_problem(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is no URL: {error}"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "has to be http(s)://host[:port]"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "must hold no user, password, ? or #; the token belongs into token_file"
    return ""


def _archive(part: _Part) -> str:
    if not part.given:
        return ""
    url = part.text("url")
    parts = urlsplit(url)
    if url and (parts.scheme not in ("s3", "gs") or not parts.netloc):
        part.check("url", "has to be s3://bucket/prefix or gs://bucket/prefix")
    return url.rstrip("/")


class _Part:
    """One object of the file; what is wrong in it goes to ``problems``."""

    def __init__(self, content: t.Any, name: str, problems: list[str]) -> None:
        self.given = content is not None
        self._name = name
        self._problems = problems
        self._known: set[str] = set()
        if self.given and not isinstance(content, dict):
            problems.append(f"{name or 'the content'} is no object")
            content = None
        self._content: dict[str, t.Any] = content or {}

    def check(self, key: str, problem: str) -> None:
        if problem:
            self._problems.append(f"{self._name}{'.' if self._name else ''}{key} {problem}")

    def part(self, key: str, required: bool = False) -> _Part:
        value = self._take(key)
        if required and value is None:
            self.check(key, "is missing")
        return _Part(value, key, self._problems)

    def text(self, key: str, default: str | None = None, pattern: re.Pattern[str] | None = None, hint: str = "") -> str:
        value = self._take(key)
        if value is None:
            if default is None and (self.given or not self._name):
                self.check(key, "is missing")
            return default or ""
        if not isinstance(value, str) or not value.strip():
            self.check(key, f"is {value!r}, which is no text")
            return ""
        if pattern and not pattern.fullmatch(value):
            self.check(key, f"is {value!r}; it may hold {hint}")
        return value

    def path(self, key: str, required: bool = False) -> Path | None:
        value = self.text(key, None if required else "")
        if value and not value.startswith("/"):
            self.check(key, f"is {value!r}, which is no absolute path")
        return Path(value) if value else None

    def boolean(self, key: str, default: bool) -> bool:
        value = self._take(key)
        if value is not None and not isinstance(value, bool):
            self.check(key, f"is {value!r}, which is neither true nor false")
        return default if value is None else bool(value)

    def number(self, key: str, default: float, least: float, most: float) -> float:
        value = self._take(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            self.check(key, f"is {value!r}; it has to be a number from {least:g} to {most:g}")
            return default
        return value

    def names(self, key: str, pattern: re.Pattern[str], hint: str) -> dict[str, str]:
        value = self._take(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.check(key, "is no object")
            return {}
        for name, entry in value.items():
            if not isinstance(entry, str) or not pattern.fullmatch(entry):
                self.check(f"{key}.{name}", f"is {entry!r}; it may hold {hint}")
        return {name: str(entry) for name, entry in value.items()}

    def refuse_others(self) -> None:
        for key in sorted(set(self._content) - self._known):
            self.check(key, f"is not known; known are {', '.join(sorted(self._known))}")

    def _take(self, key: str) -> t.Any:
        self._known.add(key)
        return self._content.get(key)


def spool_of(settings_: TaskLogSettings, logs: Path) -> Path:
    """The spool's directory; below the logs unless the settings name another.

    Its name begins with a dot: Airflow's log server and UI show what begins like a log file beside it.
    """
    return settings_.spool or spool_below(logs)


def spool_below(logs: Path) -> Path:
    """Where the spool is unless the settings name another place."""
    return logs / ".flowstead"


def base_log_folder(environ: t.Mapping[str, str] | None = None) -> Path:
    """``[logging] base_log_folder`` without importing Airflow: its variable, else below its home."""
    environ = os.environ if environ is None else environ
    home = settings.text("AIRFLOW_HOME", "~/airflow", environ)
    return Path(settings.text("AIRFLOW__LOGGING__BASE_LOG_FOLDER", f"{home}/logs", environ)).expanduser()
