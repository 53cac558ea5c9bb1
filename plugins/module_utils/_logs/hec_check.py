# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that Splunk's HTTP Event Collector takes events, and that they can be found again.

PRIVATE to the collection.
"""

from __future__ import annotations

import json
import threading
import time
import typing as t
import uuid
from dataclasses import asdict, dataclass, field

from .._preflight.problems import CheckFailed, Problem
from . import hec_codes
from .collector import Collector, mistakes
from .http import Answer, Door
from .splunk_search import Login, find_recent

#: Where the check's events come from, in Splunk's words.
SOURCE, SOURCETYPE = "flowstead:hec_check", "flowstead:check"
_HEALTH, _EVENT, _ACK = "/services/collector/health", "/services/collector/event", "/services/collector/ack"
_PAUSE = 1.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass
class Found:
    """What is known of a collector.

    Attributes:
        healthy: it says so itself.
        accepted: it took the event. In check mode nothing is sent, and it says whether the token is good.
        acknowledged: the event is on Splunk's disk; None where the token has no acknowledgement.
        found: the event was found again; None where there was no search.
        index: where it was found.
        seconds: from sending until it was found.
    """

    name: str
    address: str = ""
    healthy: bool = False
    accepted: bool = False
    acknowledged: bool | None = None
    found: bool | None = None
    index: str = ""
    seconds: float | None = None
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, t.Any]:
        """For a module's result."""
        return asdict(self)


class Check:
    """The check of one collector.

    Args:
        write: send an event. Without it an empty request is sent, which tells the token and writes nothing.
        host: who checks.
    """

    def __init__(self, collector: Collector, host: str, *, write: bool = True) -> None:
        self.collector = collector
        self.write = write
        self.found = Found(collector.name)
        self.problems: list[Problem] = []
        self.channel = str(uuid.uuid4())
        self.canary = str(uuid.uuid4())
        self.host = host
        self._sent = 0.0

    def run(self) -> None:
        """Look at everything; what is wrong is in ``problems``."""
        wrong = mistakes(self.collector)
        self.problems += [self.collector.problem(error) for error in wrong]
        fields = {error.field for error in wrong}
        if not fields & {"url", "token", "index"}:
            self.found.address = self.collector.door().endpoint.address
            self._step(self._collect)
        if self.collector.search_url and not any(name.startswith("search_") or name == "index" for name in fields):
            self._step(self._search)
        self._warn()

    def _step(self, step: t.Callable[[], None]) -> None:
        try:
            step()
        except CheckFailed as error:
            self.problems.append(self.collector.problem(error))

    def _collect(self) -> None:
        door = self.collector.door()
        answer = door.ask("GET", _HEALTH, {})
        code = _code(answer)
        if code in hec_codes.TEMPORARY or code is None or answer.status >= 500:
            raise self._refused(answer, _HEALTH)
        # Old versions want a token here as well; whether it is good, the next request tells.
        self.found.healthy = code == hec_codes.HEALTHY
        headers = {"Authorization": f"Splunk {self.collector.token}", "X-Splunk-Request-Channel": self.channel}
        self._sent = time.monotonic()
        answer = door.ask("POST", _EVENT, headers, self._event() if self.write else b"")
        if _code(answer) != (hec_codes.SUCCESS if self.write else hec_codes.NO_DATA):
            raise self._refused(answer, _EVENT)
        self.found.accepted = True
        number = answer.json().get("ackId")
        if self.write and number is not None:
            self._acknowledge(door, headers, number)

    def _event(self) -> bytes:
        event = {
            "host": self.host,
            "source": SOURCE,
            "sourcetype": SOURCETYPE,
            "event": {"message": f"hec_check on {self.host} asks whether events arrive", "canary": self.canary},
        }
        if self.collector.index:
            event["index"] = self.collector.index
        return json.dumps(event).encode()

    def _acknowledge(self, door: Door, headers: t.Mapping[str, str], number: t.Any) -> None:
        deadline = self._sent + self.collector.ack_timeout
        while True:
            answer = door.ask("POST", _ACK, headers, json.dumps({"acks": [number]}).encode())
            acks = answer.json().get("acks")
            if not isinstance(acks, dict):
                raise self._refused(answer, _ACK)
            self.found.acknowledged = acks.get(str(number)) is True
            if self.found.acknowledged:
                return
            if time.monotonic() >= deadline:
                raise CheckFailed(
                    "url",
                    f"{self.found.address} took the event and did not acknowledge it within "
                    f"{self.collector.ack_timeout:g} s",
                    "look in Splunk at full disks and blocked queues (Monitoring Console > Indexing). Behind a load "
                    "balancer, requests and their acknowledgements have to reach the same instance",
                )
            time.sleep(_PAUSE)

    def _search(self) -> None:
        collector = self.collector
        door = collector.door(search=True)
        login = Login(collector.search_token, collector.search_user, collector.search_password)
        deadline = time.monotonic() + collector.search_timeout
        while True:
            events = find_recent(door, login, collector.index, SOURCE)
            if not (self.write and self.found.accepted):
                return  # the login is good; there is nothing to be found
            hit = next((event for event in events if self.canary in event.raw), None)
            self.found.found = hit is not None
            if hit:
                self.found.index = hit.index
                self.found.seconds = round(time.monotonic() - self._sent, 3)
                return
            if time.monotonic() >= deadline:
                raise self._lost()
            time.sleep(_PAUSE)

    def _lost(self) -> CheckFailed:
        where = f"in the index {self.collector.index}" if self.collector.index else "in any index that may be read"
        return CheckFailed(
            "index",
            f"{self.found.address} took the event, and it cannot be found {where} within "
            f"{self.collector.search_timeout:g} s",
            "look in Splunk whether the index exists (a token without a list of allowed indexes accepts any name, and "
            "the events are lost), whether the role of the search login may read it (Settings > Roles > Indexes), and "
            "whether search_url is a search head of the same Splunk; a slow one needs a longer search_timeout",
        )

    def _refused(self, answer: Answer, path: str) -> CheckFailed:
        code = _code(answer)
        if code is None:
            meaning = hec_codes.explain_status(answer.status, answer.headers, path)
        else:
            meaning = hec_codes.explain_code(code, str(answer.json().get("text", ""))[:200], self.collector.index)
        told = f" (HTTP {answer.status}, code {code})" if code is not None else ""
        return CheckFailed(meaning.field, f"{self.found.address}: {meaning.problem}{told}", meaning.fix)

    def _warn(self) -> None:
        collector = self.collector
        doors = [collector.door()] + ([collector.door(search=True)] if collector.search_url else [])
        for door in doors:
            told = any(problem.value == door.url for problem in self.problems)
            if not told and not door.encrypted and door.endpoint.host not in _LOOPBACK:
                self.found.warnings.append(
                    f"{collector.variable}.{door.option}: the token and every line travel without encryption; "
                    "write https://"
                )
        if not collector.validate_certs:
            self.found.warnings.append(
                f"{collector.variable}.validate_certs: anybody on the way can pose as Splunk and read the token; "
                "set ca_certificate instead"
            )
        if self.found.accepted and self.write and not collector.search_url:
            self.found.warnings.append(
                f"{collector.variable}: Splunk took an event, and nobody looked whether it was kept. A token without "
                "a list of allowed indexes takes events for an index that does not exist; set search_url and a login"
            )


def check_all(collectors: t.Sequence[Collector], host: str, *, write: bool = True) -> list[Check]:
    """Check every collector at the same time; in the order of ``collectors``."""
    checks = [Check(collector, host, write=write) for collector in collectors]
    # A name lookup cannot be interrupted; such a thread must not keep the module alive.
    threads = [threading.Thread(target=_run, args=(check,), daemon=True) for check in checks]
    for thread in threads:
        thread.start()
    for thread, check in zip(threads, checks):
        limit = check.collector.timeout * 6 + check.collector.ack_timeout + check.collector.search_timeout
        thread.join(limit)
        if thread.is_alive():
            error = CheckFailed("url", f"no answer within {limit:g} s", "look at the host's DNS and network")
            check.problems = [*check.problems, check.collector.problem(error)]
    return checks


def _run(check: Check) -> None:
    try:
        check.run()
    except Exception as error:  # a server may answer anything; the other checks still have to be told
        failed = CheckFailed(
            # Not the error's text: it may quote what was sent.
            "url",
            f"it answers in a way this check does not understand ({type(error).__name__})",
            "check that it leads to Splunk",
        )
        check.problems.append(check.collector.problem(failed))


def _code(answer: Answer) -> int | None:
    """The collector's code; None when the answer is not the collector's. splunkd's own 404 also has a ``code``."""
    code = answer.json().get("code")
    return code if isinstance(code, int) and not isinstance(code, bool) and code < 100 else None
