"""What the HTTP Event Collector answers: code, HTTP status, text.

Sources: Splunk's manual "Troubleshoot HTTP Event Collector" with its table of codes, and what was measured on Splunk
Enterprise 10.4.3 and on Splunk Cloud 10.5 (github.com/ross/logit, tools/splunk-interop/README.md, "What the run
showed"). What is known from neither says so where it stands.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field

#: Code to HTTP status and text.
CODES: t.Mapping[int, tuple[int, str]] = {
    0: (200, "Success"),
    1: (403, "Token disabled"),
    2: (401, "Token is required"),
    3: (401, "Invalid authorization"),
    4: (403, "Invalid token"),
    5: (400, "No data"),
    6: (400, "Invalid data format"),
    7: (400, "Incorrect index"),
    8: (500, "Internal server error"),
    9: (503, "Server is busy"),
    10: (400, "Data channel is missing"),
    11: (400, "Invalid data channel"),
    12: (400, "Event field is required"),
    13: (400, "Event field cannot be blank"),
    14: (400, "ACK is disabled"),
    15: (400, "Error in handling indexed fields"),
    16: (400, "Query string authorization is not enabled"),
    17: (200, "HEC is healthy"),
    18: (503, "HEC is unhealthy, queues are full"),
    19: (503, "HEC is unhealthy, ack service unavailable"),
    20: (503, "HEC is unhealthy, queues are full, ack service unavailable"),
}
#: Codes that are about one event of a batch and name it.
ABOUT_AN_EVENT = (6, 7, 12, 13, 15)


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. ``code`` is -1 where it is not one of the collector's."""

    status: int
    body: bytes
    content_type: str = "application/json; charset=UTF-8"
    headers: t.Mapping[str, str] = field(default_factory=dict)
    code: int = -1
    events: int = 0


def hec(code: int, events: int = 0, **more: object) -> Answer:
    """The answer with this code; ``more`` are further keys of its body."""
    status, text = CODES[code]
    return Answer(status, _json({"text": text, "code": code, **more}), code=code, events=events)


def refused(code: int, position: int, indexed: int) -> Answer:
    """The answer to a batch whose event at ``position``, counted from 0, is refused with ``code``.

    Measured on 10.4.3: codes 6, 12, 13 and 15 count from 0, code 7 names the event after the bad one.
    """
    return hec(code, indexed, **{"invalid-event-number": position + 1 if code == 7 else position})


def plain(status: int, text: str, **headers: str) -> Answer:
    """What splunkd answers outside of the collector's codes, for example to an unknown path."""
    return Answer(status, _json({"text": text, "code": status}), headers=headers)


def not_found() -> Answer:
    """To an unknown path."""
    return plain(404, "The requested URL was not found on this server.")


def page(status: int, title: str, text: str) -> Answer:
    """An HTML page, as splunkd's web server answers before the collector sees the request."""
    body = (
        '<!doctype html><html><head><meta http-equiv="content-type" content="text/html; charset=UTF-8">'
        f"<title>{status} {title}</title></head><body><h1>{title}</h1><p>{text}</p></body></html>\r\n"
    )
    return Answer(status, body.encode(), "text/html; charset=UTF-8")


def message(status: int, kind: str, text: str) -> Answer:
    """What the search side answers when it refuses."""
    return Answer(status, _json({"messages": [{"type": kind, "text": text}]}))


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
