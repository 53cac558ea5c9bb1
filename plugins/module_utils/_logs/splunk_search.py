# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Splunk's search side: find an event that was just sent.

PRIVATE to the collection.

Source: Splunk's REST API Reference, "search/v2/jobs/export" (Splunk 9.0.1 and newer).
"""

from __future__ import annotations

import base64
import json
import re
import typing as t
from dataclasses import dataclass
from urllib.parse import urlencode

from .._preflight.problems import CheckFailed
from .http import Answer, Door

_PATH = "/services/search/v2/jobs/export"
#: Enough for the events of all hosts that check at the same time.
_MOST = 1000
_INDEX = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Login(t.NamedTuple):
    """By token, or by user and password."""

    token: str
    user: str
    password: str

    @property
    def field(self) -> str:
        """The option to look at when it is refused."""
        return "search_token" if self.token else "search_password"

    @property
    def header(self) -> str:
        """For Authorization."""
        if self.token:
            return f"Bearer {self.token}"
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")


@dataclass(frozen=True)
class Event:
    """An event that was found."""

    index: str
    raw: str


def index_problem(index: str) -> str:
    """What is wrong with the name of an index; empty when nothing is. It is also what makes it safe in a search."""
    if not index or _INDEX.fullmatch(index):
        return ""
    return "no index can have this name: it has small letters, digits, _ and -, and begins with a letter or a digit"


def find_recent(door: Door, login: Login, index: str, source: str) -> list[Event]:
    """The events of ``source`` of the last 15 minutes of Splunk's own clock, the newest first.

    Args:
        index: empty means every index that the login may read.
        source: a name without quotes, backslashes and asterisks.

    Raises:
        CheckFailed: the search was not made; with the field to change.
    """
    form = {
        "search": f'search index="{index or "*"}" source="{source}" | head {_MOST}',
        "output_mode": "json",
        "earliest_time": "-15m",
        "preview": "false",
    }
    headers = {"Authorization": login.header, "Content-Type": "application/x-www-form-urlencoded"}
    answer = door.ask("POST", _PATH, headers, urlencode(form).encode())
    if answer.status != 200:
        raise _refused(door, login, answer)
    return list(_events(answer.body))


def _events(body: bytes) -> t.Iterator[Event]:
    for line in body.splitlines():
        try:
            result = json.loads(line)["result"]
            yield Event(str(result.get("index", "")), str(result["_raw"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # the end of a cut answer, a message, or the line of a search without results


def _refused(door: Door, login: Login, answer: Answer) -> CheckFailed:
    address = door.endpoint.address
    said = _said(answer)
    if answer.status == 401:
        what = "token" if login.token else f"password of user {login.user}"
        return CheckFailed(
            login.field,
            f"{address} refuses the {what} (401{said})",
            "give one that is valid: tokens expire, and are made in Splunk under Settings > Tokens"
            if login.token
            else "set the right user and password; where Splunk uses single sign-on, give search_token instead",
        )
    if answer.status == 403:
        return CheckFailed(
            login.field,
            f"the login for {address} may not search (403{said})",
            "give its role the capability search in Splunk, under Settings > Roles",
        )
    if answer.status in (404, 405):
        return CheckFailed(
            "search_url",
            f"{address} knows no search export ({answer.status} to {door.prefix}{_PATH})",
            "give the address of a search head's management port, https://splunk.example.com:8089, of Splunk 9.0.1 or "
            "newer; 8000 is Splunk Web and 8088 the collector",
        )
    if answer.status in (429, 503):
        return CheckFailed(
            "search_url",
            f"{address} makes no more searches for now ({answer.status}{said})",
            "wait, or raise the role's limit of concurrent searches in Splunk, under Settings > Roles",
        )
    return CheckFailed(
        "search_url",
        f"{address} does not search: it answers {answer.status}{said}",
        "look into splunkd.log there, and at what stands in front of it",
    )


def _said(answer: Answer) -> str:
    """Splunk's own words, when there are any."""
    try:
        return f", {str(answer.json()['messages'][0]['text'])[:200]}"
    except (KeyError, IndexError, TypeError):
        return ""
