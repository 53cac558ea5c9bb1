"""Requests to the double, byte by byte as the test wants them."""

from __future__ import annotations

import http.client
import json
import typing as t
from urllib.parse import urlencode, urlsplit

from splunk_double import SplunkDouble

TOKEN, ACK_TOKEN, OFF_TOKEN, OPEN_TOKEN = "token-tasks", "token-ack", "token-off", "token-open"
CHANNEL = "0f3c2a1e-7d4b-4c55-9a1d-3b0e8d6f2c10"
#: What a double of these tests is told.
OPTIONS: dict[str, t.Any] = {
    "indexes": ["main", "airflow", "secret"],
    "tokens": [
        {"token": TOKEN, "name": "tasks", "indexes": ["airflow", "main"], "index": "airflow"},
        {"token": ACK_TOKEN, "name": "ack", "ack": True},
        {"token": OFF_TOKEN, "name": "off", "enabled": False},
        {"token": OPEN_TOKEN, "name": "open", "query_string": True},
    ],
    "readers": [
        {"name": "ui", "token": "reader-token", "indexes": ["airflow", "main"]},
        {"name": "person", "user": "anna", "password": "let-me-in:1", "indexes": ["secret"]},
        {"name": "nobody", "token": "powerless", "may_search": False},
    ],
}


class Reply(t.NamedTuple):
    """Status, body and headers."""

    status: int
    body: bytes
    headers: t.Mapping[str, str]

    @property
    def json(self) -> t.Any:
        """The body."""
        return json.loads(self.body)


def ask(
    url: str, path: str, body: bytes | str | None = None, *, method: str = "", timeout: float = 5, **headers: str
) -> Reply:
    """One request on a connection of its own; ``_`` in a header's name is a dash."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=timeout)
    try:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body.encode() if isinstance(body, str) else body
        connection.request(method or ("GET" if body is None else "POST"), path, data, given)
        answer = connection.getresponse()
        return Reply(answer.status, answer.read(), dict(answer.getheaders()))
    finally:
        connection.close()


def send(double: SplunkDouble, body: bytes | str, path: str = "", token: str = TOKEN, **headers: str) -> Reply:
    """Data for the collector."""
    return ask(double.hec_url, f"/services/collector{path}", body, Authorization=f"Splunk {token}", **headers)


def find(double: SplunkDouble, search: str, login: str = "Bearer reader-token", **arguments: str) -> Reply:
    """A search."""
    form = {"search": search, "output_mode": "json", "preview": "0", **arguments}
    return ask(double.search_url, "/services/search/v2/jobs/export", urlencode(form), Authorization=login)


def results(reply: Reply) -> list[dict[str, t.Any]]:
    """The results in an answer."""
    assert reply.status == 200, reply.body
    lines = [json.loads(line) for line in reply.body.splitlines()]
    assert [line.get("lastrow", False) for line in lines] == [False] * (len(lines) - 1) + [True]
    return [line["result"] for line in lines if "result" in line]


def raws(reply: Reply) -> list[str]:
    """The raw text of each result."""
    return [result["_raw"] for result in results(reply)]
