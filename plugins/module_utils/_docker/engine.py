# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker Engine API over its unix socket, with the standard library only.

PRIVATE to the collection.

Source for paths and answers: Docker Engine API reference, version 1.41 and later.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
import typing as t
from urllib.parse import quote, urlencode

#: The first API version with ``ServiceStatus`` and job modes (Docker Engine 20.10).
MINIMUM_API = (1, 41)
#: The newest API version this client was written against.
MAXIMUM_API = (1, 52)


class EngineError(Exception):
    """An answer of the engine that is not a success.

    Attributes:
        status: HTTP status, for example 404.
        message: the engine's own words.
        request: method and path, for example ``POST /services/create``.
    """

    def __init__(self, status: int, message: str, request: str) -> None:
        super().__init__(f"Docker answered {status} to {request}: {message}")
        self.status = status
        self.message = message
        self.request = request

    @property
    def out_of_sequence(self) -> bool:
        """True when somebody else wrote the object since we read it."""
        return "out of sequence" in self.message


class EngineUnreachable(Exception):
    """Nothing answers on the socket: Docker is not installed, not running, or not ours to use."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self.timeout)
        try:
            connection.connect(self._path)
        except BaseException:
            connection.close()
            raise
        self.sock = connection


class Engine:
    """One keep-alive connection to one Docker Engine.

    Args:
        socket_path: path of the unix socket.
        timeout: seconds that one request may take.

    Attributes:
        calls: requests sent so far, as ``METHOD /path`` without the API version.
        seconds: time spent waiting for answers.
    """

    def __init__(self, socket_path: str = "/var/run/docker.sock", timeout: float = 60.0) -> None:
        self.socket_path = socket_path
        self.timeout = timeout
        self.calls: list[str] = []
        self.seconds = 0.0
        self._connection: _UnixConnection | None = None
        self._version: str | None = None

    @property
    def api_version(self) -> str:
        """The negotiated API version, for example ``1.41``.

        Raises:
            EngineError: with status 505 when the engine is too old.
        """
        if self._version is None:
            answer = self._json("GET", "/version")
            offered = _parse_version(answer["ApiVersion"])
            if offered < MINIMUM_API:
                raise EngineError(
                    505,
                    f"its API is {answer['ApiVersion']}, and at least "
                    f"{_format_version(MINIMUM_API)} (Docker Engine 20.10) is needed",
                    "GET /version",
                )
            self._version = _format_version(min(offered, MAXIMUM_API))
        return self._version

    @property
    def api(self) -> tuple[int, int]:
        """The negotiated API version as two numbers, to compare with."""
        return _parse_version(self.api_version)

    def get(
        self,
        path: str,
        query: t.Mapping[str, t.Any] | None = None,
        headers: t.Mapping[str, str] | None = None,
    ) -> t.Any:
        """GET a JSON document. ``query`` values that are not strings are sent as JSON."""
        return self._json("GET", self._url(path, query), None, headers)

    def get_raw(self, path: str, query: t.Mapping[str, t.Any] | None = None) -> bytes:
        """GET a body as it is, for example a log stream."""
        return self._request("GET", self._url(path, query))[1]

    def post(
        self,
        path: str,
        body: t.Any = None,
        query: t.Mapping[str, t.Any] | None = None,
        headers: t.Mapping[str, str] | None = None,
    ) -> t.Any:
        """POST a JSON document; returns the decoded answer, or None for an empty one."""
        return self._json("POST", self._url(path, query), body, headers)

    def delete(self, path: str, query: t.Mapping[str, t.Any] | None = None) -> None:
        """DELETE an object."""
        self._request("DELETE", self._url(path, query))

    def close(self) -> None:
        """Close the connection; the next request opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _url(self, path: str, query: t.Mapping[str, t.Any] | None) -> str:
        url = f"/v{self.api_version}{quote(path, safe='/:@')}"
        if query:
            url += "?" + urlencode(
                {key: value if isinstance(value, str) else json.dumps(value) for key, value in query.items()}
            )
        return url

    def _json(self, method: str, url: str, body: t.Any = None, headers: t.Mapping[str, str] | None = None) -> t.Any:
        _status, payload = self._request(method, url, body, headers)
        return json.loads(payload) if payload.strip() else None

    def _request(
        self, method: str, url: str, body: t.Any = None, headers: t.Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        label = f"{method} {_without_version(url)}"
        payload = None if body is None else json.dumps(body).encode()
        sent = {"Host": "docker"}
        if payload is not None:
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        self.calls.append(label)
        began = time.monotonic()
        try:
            if self._connection is None:
                self._connection = _UnixConnection(self.socket_path, self.timeout)
            self._connection.request(method, url, body=payload, headers=sent)
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise EngineUnreachable(
                f"Docker does not answer on {self.socket_path} ({label}): {error}. "
                "Check that the engine runs on this host and that this user may use its socket."
            ) from error
        finally:
            self.seconds += time.monotonic() - began
        if response.status >= 400:
            raise EngineError(response.status, _message(answer), label)
        return response.status, answer


def _message(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["message"])
    except (ValueError, KeyError, TypeError):
        return answer.decode(errors="replace").strip()


def _without_version(url: str) -> str:
    path = url.partition("?")[0]
    if path.startswith("/v1."):
        return "/" + path.split("/", 2)[2]
    return path


def _parse_version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def _format_version(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
