# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the answers of Splunk's HTTP Event Collector mean to the person who has to repair it.

PRIVATE to the collection. Pure.

Sources: Splunk's manual "Troubleshoot HTTP Event Collector" for the codes; codes 23 and 26 to 28 and the size limit of
Splunk Cloud as measured in github.com/ross/logit, docs/plans/splunk-relay.md.
"""

from __future__ import annotations

import typing as t

#: Codes of a collector that is there and cannot take anything for now; the same request may work later.
TEMPORARY = frozenset((8, 9, 18, 19, 20, 23, 26, 27))
HEALTHY, SUCCESS, NO_DATA, WRONG_INDEX = 17, 0, 5, 7

_WHERE = "in Splunk under Settings > Data inputs > HTTP Event Collector"
_BETWEEN = "look at what stands between this host and Splunk: a proxy, a load balancer or a gateway"
_CHANGED = (
    "the check's own event is in order, so something changes it on the way, or this is no Splunk",
    f"{_BETWEEN}; it must pass bodies on as they are",
)


class Meaning(t.NamedTuple):
    """What a code says.

    Attributes:
        field: what to change: ``url``, ``token`` or ``index``.
        problem: a sentence that follows the collector's address.
        fix: what to do.
    """

    field: str
    problem: str
    fix: str


MEANINGS: t.Mapping[int, Meaning] = {
    1: Meaning("token", "the token is disabled", f"enable it {_WHERE}, or give another token"),
    2: Meaning(
        "token",
        "Splunk got no token, although one was sent",
        f"{_BETWEEN}; it must pass on the header Authorization",
    ),
    3: Meaning(
        "token",
        "Splunk does not understand the header Authorization",
        f"give the token's value alone, as it stands {_WHERE}; if it is right, {_BETWEEN}",
    ),
    4: Meaning(
        "token",
        "Splunk does not know this token",
        f"copy its value from {_WHERE[3:]}; where several Splunk instances take events, it must be on each of them",
    ),
    5: Meaning("url", "Splunk got an empty request, although an event was sent", f"{_BETWEEN}; it must keep bodies"),
    6: Meaning("url", f"Splunk does not understand the event: {_CHANGED[0]}", _CHANGED[1]),
    7: Meaning("index", "", ""),  # told by wrong_index(), which knows the index
    8: Meaning(
        "url",
        "Splunk has an internal error",
        "look into splunkd.log there, component HttpInputDataHandler, and try again",
    ),
    9: Meaning(
        "url",
        "Splunk is busy: its queues are full",
        "look there at full disks and blocked queues (Monitoring Console > Indexing), then try again",
    ),
    10: Meaning(
        "token",
        "the token has indexer acknowledgement, and Splunk got no channel, although one was sent",
        f"{_BETWEEN}; it must pass on the header X-Splunk-Request-Channel. "
        "Or turn indexer acknowledgement off for this token",
    ),
    11: Meaning(
        "url",
        "Splunk does not take the channel, although it is a GUID",
        f"{_BETWEEN}; it must not change the header X-Splunk-Request-Channel",
    ),
    12: Meaning("url", f"Splunk finds no event in the request: {_CHANGED[0]}", _CHANGED[1]),
    13: Meaning("url", f"Splunk finds a blank event in the request: {_CHANGED[0]}", _CHANGED[1]),
    14: Meaning(
        "token",
        "indexer acknowledgement is on where the event was taken, and off where it was asked about",
        f"set it alike on every Splunk instance behind this address, {_WHERE}, and keep a client on one of them",
    ),
    15: Meaning("url", f"Splunk does not take the event's fields: {_CHANGED[0]}", _CHANGED[1]),
    16: Meaning(
        "token",
        "Splunk got the token in the address instead of in the header Authorization, and does not allow that",
        f"{_BETWEEN}; it must pass on the header Authorization",
    ),
    18: Meaning(
        "url",
        "Splunk is ill: its queues are full",
        "look there at full disks and blocked queues (Monitoring Console > Indexing), then try again",
    ),
    19: Meaning(
        "url",
        "Splunk is ill: its acknowledgement service does not answer",
        "restart the collector there; if it comes back, turn indexer acknowledgement off for this token",
    ),
    20: Meaning(
        "url",
        "Splunk is ill: its queues are full and its acknowledgement service does not answer",
        "look there at full disks and blocked queues (Monitoring Console > Indexing), then try again",
    ),
    23: Meaning("url", "Splunk is shutting down", "wait until it is up again, or give an address that leads to others"),
    26: Meaning(
        "url", "Splunk takes no more requests for now", "raise its limits for HEC, or send less, and try again"
    ),
    27: Meaning(
        "url", "Splunk takes no more requests for now", "raise its limits for HEC, or send less, and try again"
    ),
    28: Meaning(
        "token",
        "the token has indexer acknowledgement, and Splunk got no channel, although one was sent",
        f"{_BETWEEN}; it must pass on X-Splunk-Request-Channel and keep a client on one indexer. "
        "Or turn indexer acknowledgement off for this token",
    ),
}


_FOREIGN = Meaning(
    "url",
    "something that is not Splunk's collector refuses the request",
    f"{_BETWEEN}; it must let this host through. Port 8089 is Splunk's management port, events go to 8088",
)
_EMPTY = Meaning(
    "url",
    "what stands in front of Splunk answers, and finds no Splunk behind it",
    "look at Splunk, and at the health check in front of it, which has to ask for /services/collector/health",
)
_STATUSES: t.Mapping[int, Meaning] = {
    401: _FOREIGN,
    403: _FOREIGN,
    407: Meaning("proxy", "a proxy wants a login", "give the proxy with user and password"),
    413: Meaning("url", "even this small event is too large for it", f"{_BETWEEN}; raise its limit"),
    502: _EMPTY,
    503: _EMPTY,
    504: _EMPTY,
}


def explain_code(code: int, text: str, index: str) -> Meaning:
    """What a code of the collector means.

    Args:
        code: any code but 0 and 17.
        text: the collector's own words.
        index: where the event was to go; empty means the token's default index.
    """
    if code == WRONG_INDEX:
        return wrong_index(index)
    return MEANINGS.get(code) or Meaning(
        "url",
        f"Splunk answers with a code that this check does not know: {code}, {text}",
        "look it up in Splunk's manual, under Troubleshoot HTTP Event Collector",
    )


def wrong_index(index: str) -> Meaning:
    """Code 7."""
    if not index:
        return Meaning(
            "index",
            "the token may not write into its own default index",
            f"set the token's default index to one of its allowed indexes {_WHERE}, or name an allowed index here",
        )
    return Meaning(
        "index",
        f"the token may not write into the index {index}",
        f"add {index} to the token's allowed indexes {_WHERE}, or name an index here that is allowed",
    )


def explain_status(status: int, headers: t.Mapping[str, str], where: str) -> Meaning:
    """What an answer means that has none of the collector's codes.

    Args:
        status: the HTTP status.
        headers: with small letters.
        where: the path that was asked for.
    """
    if status in (301, 302, 303, 307, 308):
        target = headers.get("location", "").partition("?")[0] or "nowhere"
        return Meaning("url", f"it redirects {where} to {target}", "give the address that it leads to in the end")
    if status == 429:
        wait = headers.get("retry-after", "")
        said = f", and says to wait {wait} s" if wait.isdigit() else ""
        return Meaning("url", f"it takes no more requests for now (429){said}", "wait, or raise the limit there")
    known = _STATUSES.get(status)
    if known:
        return known._replace(problem=f"{known.problem} ({status})")
    if status >= 500:
        return Meaning(
            "url", f"it fails with {status}", "look into splunkd.log there, and at what stands in front of it"
        )
    return Meaning(
        "url",
        f"it is no HTTP Event Collector: it answers {status} to {where}",
        "give scheme, host and port of the collector, without a path unless something in front of Splunk adds one. "
        "Events go to 8088, at Splunk Cloud to 443 of http-inputs-STACK.splunkcloud.com; 8000 is Splunk Web and 8089 "
        "the management port",
    )
