# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request to Splunk's HTTP Event Collector, and what its answer means for the lines in it.

Standard library only, but for a proxy. A connection stays open between requests.
Source of the codes: Splunk's manual, "Troubleshoot HTTP Event Collector".
"""

from __future__ import annotations

import enum
import http.client
import json
import os
import socket
import ssl
import typing as t
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from flowstead_airflow.task_logs.settings import Endpoint

_PATH = "/services/collector/event"
#: Codes that pass by themselves.
_BUSY = frozenset((8, 9, 18, 19, 20))
#: Codes about one event of a request.
_ABOUT_AN_EVENT = frozenset((5, 6, 7, 12, 13, 15))
#: Incorrect index. All events of a file have the same, so the first one stands for all.
WRONG_INDEX = 7
#: What a person has to do, by code.
_FIX = {
    1: "enable the token",
    2: "hec.token_file holds no token",
    3: "hec.token_file holds no token",
    4: "hec.token_file holds a token that Splunk does not know",
    7: "allow this index for the token, or create it",
    10: "turn indexer acknowledgement off for the token",
    11: "turn indexer acknowledgement off for the token",
    14: "turn indexer acknowledgement off for the token",
}
#: Bytes of an answer that are read.
_ANSWER_LIMIT = 64 * 1024


class Fate(enum.Enum):
    """What becomes of a request's events."""

    ACCEPTED = "accepted"
    #: Splunk is away or busy; the same request may work later.
    AWAY = "away"
    #: Splunk will refuse each such request until a person does something.
    REFUSED = "refused"
    #: One event, or several, cannot be taken for what they are.
    POISON = "poison"
    #: The request is too large.
    LARGE = "large"


@dataclass(frozen=True)
class Answer:
    """Splunk's answer.

    Attributes:
        text: for a person; holds no token.
        event: position of the event that it names, from 0; None when it names none.
    """

    fate: Fate
    text: str
    code: int = -1
    event: int | None = None


class TokenFile:
    """A secret in a file, read again when the file is another one or was changed."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._path = endpoint.token_file
        self._state: tuple[int, int, int] | None = None
        self._value = ""

    def value(self) -> str:
        """The secret.

        Raises:
            OSError: when the file cannot be read or is empty.
        """
        found = os.stat(self._path)
        state = (found.st_ino, found.st_mtime_ns, found.st_size)
        if state != self._state:
            self._value = self._path.read_text(encoding="utf-8").strip()
            self._state = state
        if not self._value or not self._value.isascii() or not self._value.isprintable():
            raise OSError(f"{self._path} holds no token")
        return self._value


class Connection:
    """A connection to one of Splunk's doors that is made when needed and kept."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._link: http.client.HTTPConnection | None = None
        # Here and not in the thread that sends: a fork in the middle of an import would leave its lock to the child.
        self._proxy = urlsplit(_proxy(endpoint.url))
        self._origin = ""
        self._closed = False
        self.token = TokenFile(endpoint)

    def send(self, path: str, body: bytes, headers: t.Mapping[str, str]) -> http.client.HTTPResponse:
        """POST; the answer is not read yet.

        Raises:
            OSError, http.client.HTTPException: there is no answer.
        """
        link = self._link or self._connect()
        self._link = link
        prefix = urlsplit(self._endpoint.url).path.rstrip("/")
        link.request("POST", self._origin + prefix + path, body, dict(headers))
        return link.getresponse()

    def close(self) -> None:
        """Close it; the next request opens another."""
        link, self._link = self._link, None
        if link:
            link.close()

    def abort(self) -> None:
        """Wake whoever waits for an answer, from another thread; that one gets an error."""
        link = self._link
        found = link.sock if link else None
        if found:
            with suppress(OSError):  # it is closed already
                found.shutdown(socket.SHUT_RDWR)

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self._endpoint.url)
        host, port, seconds = parts.hostname or "", parts.port, self._endpoint.timeout
        proxy = self._proxy
        if parts.scheme == "http":
            # A proxy is told the whole address, and no more than that in the clear.
            self._origin = f"http://{parts.netloc}" if proxy.hostname else ""
            return http.client.HTTPConnection(
                proxy.hostname or host, proxy.port if proxy.hostname else port, timeout=seconds
            )
        context = ssl.create_default_context(cafile=self._endpoint.ca_file and str(self._endpoint.ca_file))
        if not self._endpoint.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if not proxy.hostname:
            return http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
        link = http.client.HTTPSConnection(proxy.hostname, proxy.port or 80, timeout=seconds, context=context)
        link.set_tunnel(host, port)
        return link


def _proxy(url: str) -> str:
    """The forward proxy that the environment names for this address, as ``requests`` reads it; or empty."""
    if not any(name in os.environ for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")):
        return ""
    from requests.utils import get_environ_proxies  # noqa: PLC0415 - not loaded where there is no proxy

    return str(get_environ_proxies(url).get(urlsplit(url).scheme, ""))


class Hec:
    """The event collector.

    Args:
        endpoint: where it is.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._connection = Connection(endpoint)
        self._url = endpoint.url
        self.abort = self._connection.abort
        self.close = self._connection.close

    def post(self, body: bytes) -> Answer:
        """Send events, packed by gzip; never raises."""
        fresh = self._connection._link is None
        answer = self._post(body)
        if answer is None and not fresh:
            # Whoever keeps connections open meets one that the other side has closed meanwhile.
            answer = self._post(body)
        return answer or Answer(Fate.AWAY, f"{self._url}: the connection was closed without an answer")

    def _post(self, body: bytes) -> Answer | None:
        try:
            headers = {
                "Authorization": f"Splunk {self._connection.token.value()}",
                "Content-Type": "application/json",
                "Content-Encoding": "gzip",
            }
        except OSError as error:
            return Answer(Fate.REFUSED, f"the token cannot be read: {error.strerror or error}")
        try:
            response = self._connection.send(_PATH, body, headers)
            content = response.read(_ANSWER_LIMIT)
            if not response.isclosed() or response.will_close:
                self._connection.close()
        except ssl.SSLCertVerificationError as error:
            self._connection.close()
            return Answer(Fate.REFUSED, f"{self._url}: {error.verify_message}; set hec.ca_file to the right authority")
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self._connection.close()
            return None
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return Answer(Fate.AWAY, f"{self._url}: {error or type(error).__name__}")
        return judge(response.status, content)


def judge(status: int, content: bytes) -> Answer:
    """What an answer means.

    Args:
        status: HTTP status.
        content: JSON of the collector, or anything that a proxy before it says.
    """
    try:
        found = json.loads(content)
        code, text = int(found["code"]), str(found.get("text", ""))
        event = found.get("invalid-event-number")
        if code == WRONG_INDEX and isinstance(event, int):
            event -= 1  # Splunk 10.4.3 counts the events of this code from 1, of all others from 0
    except (ValueError, KeyError, TypeError):
        found, code, event, text = {}, -1, None, content[:200].decode("utf-8", "replace").strip()
    said = f"HTTP {status}, code {code}: {text}" if code >= 0 else f"HTTP {status}: {text}"
    if code in _FIX:
        said += f" ({_FIX[code]})"
    if status == 200 and code == 0:
        return Answer(Fate.ACCEPTED, said, code)
    if code in _BUSY or status == 429 or status >= 500:
        return Answer(Fate.AWAY, said, code)
    if status == 413:
        return Answer(Fate.LARGE, said, code)
    if status == 400 and code in _ABOUT_AN_EVENT and not (code == WRONG_INDEX and event == 0):
        return Answer(Fate.POISON, said, code, event if isinstance(event, int) and event >= 0 else None)
    return Answer(Fate.REFUSED, said, code)
