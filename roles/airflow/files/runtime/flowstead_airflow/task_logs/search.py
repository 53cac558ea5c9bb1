# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of a task back from Splunk, by the export endpoint of its search API.

What a user names (a run's ID, a DAG's) is part of a source's path and so of the search. Splunk's quotes do not help:
``*`` cannot be escaped at all, and values compare without regard to case. So no letter outside a small set ever gets
into a search: each is a wildcard there, and what comes back is compared exactly, here.
Source: Splunk's Search Reference, command search; REST API Reference, search/v2/jobs/export.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
import typing as t
from dataclasses import dataclass
from datetime import datetime, timezone
from urllib.parse import urlencode

from flowstead_airflow.task_logs.hec import Connection
from flowstead_airflow.task_logs.settings import Endpoint

_PATH = "/services/search/v2/jobs/export"
_UNSAFE = re.compile(r"[^A-Za-z0-9_./=:+~@-]+")
#: Bytes of one result. Longer lines are cut when they are sent.
_RESULT_LIMIT = 8 * 2**20
#: What a person has to do, by HTTP status.
_FIX = {
    401: "search.token_file holds no valid token",
    403: "the token's role needs the capability 'search'",
    404: "search.url is not Splunk's management port, usually 8089",
}


class SearchError(Exception):
    """Splunk did not answer, or refused; the text is for whoever wanted to read."""


@dataclass(frozen=True)
class Wanted:
    """What to look for.

    Attributes:
        index: where.
        environment: lines of another one are not shown.
        source: exact path; with ``triggers`` the paths of triggerers' files that belong to it instead.
        earliest, latest: bounds of the lines' times; None leaves a side open.
    """

    index: str
    environment: str
    source: str
    triggers: bool = False
    earliest: datetime | None = None
    latest: datetime | None = None

    def spl(self) -> str:
        """The search. All lines of a file sort as they stand in it."""
        source = _UNSAFE.sub("*", self.source) + (".trigger*" if self.triggers else "")
        return (
            f'search index="{self.index}" source="{source}" environment::{self.environment}'
            " | sort 0 num(segment), num(offset) | fields _raw, source, segment, offset"
        )

    def matches(self, source: t.Any) -> bool:
        """Whether a result is one of these, exactly."""
        if self.triggers:
            return isinstance(source, str) and source.startswith(self.source + ".trigger")
        return bool(source == self.source)


class Search:
    """Splunk's search side.

    Args:
        endpoint: where it is.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def lines(self, wanted: Wanted) -> t.Iterator[str]:
        """Lines in order, without those that came twice; never more than one in memory.

        Raises:
            SearchError: before the first line, and also between lines when the answer breaks off.
        """
        link = Connection(self._endpoint)
        try:
            yield from _without_repetition(self._results(link, wanted), wanted)
        except ssl.SSLCertVerificationError as error:
            raise SearchError(f"{self._endpoint.url}: {error.verify_message}; see search.ca_file") from error
        except (OSError, http.client.HTTPException) as error:
            raise SearchError(f"{self._endpoint.url}: {error or type(error).__name__}") from error
        finally:
            link.close()

    def _results(self, link: Connection, wanted: Wanted) -> t.Iterator[dict[str, t.Any]]:
        form = {"search": wanted.spl(), "output_mode": "json", "preview": "0"}
        for name, bound in (("earliest_time", wanted.earliest), ("latest_time", wanted.latest)):
            if bound:
                form[name] = f"{bound.astimezone(timezone.utc).timestamp():.3f}"
        headers = {
            "Authorization": f"Bearer {link.token.value()}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        response = link.send(_PATH, urlencode(form).encode(), headers)
        if response.status != 200:
            raise SearchError(_refusal(response.status, response.read(_RESULT_LIMIT)))
        while True:
            line = response.readline(_RESULT_LIMIT)
            if not line:
                return
            if line.strip():
                yield _result(line)


def _result(line: bytes) -> dict[str, t.Any]:
    """One line of the answer.

    Raises:
        SearchError: it is no JSON object, or an error that came after the answer had begun.
    """
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise SearchError("the answer broke off, or is not what Splunk answers")
    for message in found.get("messages") or ():
        if isinstance(message, dict) and message.get("type") in ("FATAL", "ERROR"):
            raise SearchError(str(message.get("text"))[:500])
    return found


def _without_repetition(results: t.Iterator[dict[str, t.Any]], wanted: Wanted) -> t.Iterator[str]:
    last: tuple[t.Any, ...] | None = None
    for found in results:
        result = found.get("result")
        if found.get("preview") or not isinstance(result, dict) or not wanted.matches(result.get("source")):
            continue
        this = (result["source"], result.get("segment"), result.get("offset"), result.get("_raw"))
        if this != last:
            yield str(result.get("_raw", ""))
        last = this


def _refusal(status: int, content: bytes) -> str:
    try:
        texts = [str(message["text"]) for message in json.loads(content)["messages"]]
    except (ValueError, KeyError, TypeError):
        texts = []
    text = "; ".join(texts)[:500] or content[:200].decode("utf-8", "replace").strip()
    fix = f" ({_FIX[status]})" if status in _FIX else ""
    return f"Splunk refused the search with HTTP {status}: {text}{fix}"
