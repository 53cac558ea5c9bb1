# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A one-off job of the swarm: created, waited for, read, and gone afterwards.

PRIVATE to the collection. ``job_spec`` says what a job is.

Source: Engine API 1.41, ``POST /services/create``, ``GET /services/{id}/logs``.
"""

from __future__ import annotations

import contextlib
import signal
import time
import typing as t

from . import job_end, job_output, waiting
from .diagnose import diagnose
from .engine import Engine, EngineError, EngineUnreachable
from .images import Auth, auth_header
from .job_spec import KIND_LABEL, NAME_LABEL, OF_STACK_LABEL, UNTIL_LABEL
from .objects import STACK_LABEL
from .patience import patient
from .schema import did_you_mean
from .streams import Printed
from .waiting import FAILED, Limits, Memory, Verdict

#: Seconds between two looks at a job that has just begun; a long one is looked at less often.
PAUSE_SECONDS = 0.5
LONGEST_PAUSES = 6.0
#: Seconds after its time is up until another run calls a job forgotten.
FORGOTTEN_SECONDS = 120
Item = dict[str, t.Any]


class NoSuchService(Exception):
    """The service to run a job like is not there; the text names what there is."""


class JobFailed(Exception):
    """A job did not end well.

    Attributes:
        failure: one entry as ``diagnose.diagnose`` makes it.
        printed: what it had printed by then, unmasked.
        seconds: from its creation.
    """

    def __init__(self, failure: Item, printed: Printed, seconds: float) -> None:
        super().__init__(failure["message"])
        self.failure = failure
        self.printed = printed
        self.seconds = seconds


class Outcome(t.NamedTuple):
    """A job that ended well: the node's host name, seconds from creation to the end, and what it printed.

    Nothing is masked in it: stars could damage a document. Mask what is shown of it.
    """

    node: str
    seconds: float
    printed: Printed

    @property
    def stdout(self) -> list[str]:
        """Lines of its standard output."""
        return self.printed.stdout


def find(engine: Engine, stack: str, service: str) -> Item:
    """The live service of a stack.

    Raises:
        NoSuchService: with the names that there are.
    """
    stacks: dict[str, dict[str, Item]] = {}
    for item in engine.get("/services") or []:
        name = (item["Spec"].get("Labels") or {}).get(STACK_LABEL)
        if name:
            stacks.setdefault(name, {})[str(item["Spec"]["Name"])[len(name) + 1 :]] = item
    if stack not in stacks:
        there = ", ".join(sorted(stacks)) or "no stack"
        raise NoSuchService(f"Stack {stack} has no service at all; the swarm has {there}. {_close(stack, stacks)}")
    if service not in stacks[stack]:
        there = ", ".join(sorted(stacks[stack]))
        raise NoSuchService(f"Stack {stack} has no service {service}; it has {there}. {_close(service, stacks[stack])}")
    return stacks[stack][service]


def _close(wrong: str, known: t.Iterable[str]) -> str:
    hint = did_you_mean(wrong, known)
    return f"D{hint[1:]}" if hint.startswith("did") else "Deploy it, or name another one."


def sweep(engine: Engine, kind: str, stack: str, now: float) -> list[str]:
    """Remove jobs that a killed run has left behind; returns their names. Jobs that still have time stay."""
    filters = {"label": [f"{KIND_LABEL}={kind}", f"{OF_STACK_LABEL}={stack}"]}
    removed = []
    for item in engine.get("/services", {"filters": filters}) or []:
        until = str(item["Spec"]["Labels"].get(UNTIL_LABEL, ""))
        if until.isdigit() and int(until) + FORGOTTEN_SECONDS < now:
            name = str(item["Spec"]["Name"])
            job_end.finish(lambda name=name: _named(engine, name), engine)  # type: ignore[misc]
            removed.append(name)
    return removed


class Job:
    """One job, from creation to removal.

    Args:
        engine: a manager.
        spec: as ``job_spec.clone`` makes it.
        timeout: seconds until the end.
        pending_timeout: seconds in which a node has to be found.
        auth: logins of registries, for a node that has to pull the image.
        mask: hides secrets in what the job printed.
        now: monotonic clock in seconds; for tests.
        sleep: waits for seconds; for tests.

    Attributes:
        left_behind: why the job could not be removed; empty when it is gone.
    """

    def __init__(
        self,
        engine: Engine,
        spec: Item,
        timeout: float,
        *,
        pending_timeout: float = 60.0,
        auth: Auth | None = None,
        mask: t.Callable[[str], str] = str,
        now: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self.engine = engine
        self.spec = spec
        self.timeout = timeout
        self.limits = Limits(task_failures=1, pending_timeout=pending_timeout)
        self.auth = auth or {}
        self.mask = mask
        self.now = now
        self.sleep = sleep
        self.left_behind = ""

    def run(self, complete: t.Callable[[list[str]], bool] | None = None) -> Outcome:
        """Create the job, wait for its end, read what it printed, and remove it in any case.

        Args:
            complete: whether the lines on its standard output are all that is waited for. Without it they are
                complete when two looks find the same.

        Raises:
            JobFailed: it could not start, ended with an exit code, or took too long.
            EngineError, EngineUnreachable: as the engine client raises them.
        """
        began = self.now()
        with _ended_by_signals():
            try:
                self._create()
                service = self._wait(began)
                seconds = round(self.now() - began, 1)
                return Outcome(self._node(service), seconds, self._output(service, complete))
            finally:
                self._remove()

    def _create(self) -> None:
        image = self.spec["TaskTemplate"]["ContainerSpec"]["Image"]
        self.engine.post("/services/create", self.spec, headers=auth_header(image.partition("@")[0], self.auth))

    def _wait(self, began: float) -> Item:
        memory = Memory()
        looking = patient(self._look, now=self.now)
        while True:
            look = looking()
            took = self.now() - began
            if look is not None:
                if look.service is None:
                    raise self._failed(self._gone(), None, took)
                verdict, memory = waiting.judge(
                    look.service, look.tasks, touched=True, memory=memory, limits=self.limits, now=self.now()
                )
                if verdict.state == waiting.CONVERGED:
                    return look.service
                if look.lost:
                    raise self._failed(self._cut_off(look.lost), None, took)
                if verdict.state != FAILED and took >= self.timeout:
                    text = f"not finished after {self.timeout:g} s ({verdict.text})"
                    verdict = Verdict(FAILED, text, "timeout")
                if verdict.state == FAILED:
                    raise self._failed(self._diagnose(look.service, verdict), look.service, took)
            self.sleep(PAUSE_SECONDS * min(LONGEST_PAUSES, 1 + took / 30))

    def _look(self) -> _Look:
        service = self._service()
        tasks = self._tasks(service) if service else []
        there = {task.get("NodeID") for task in tasks if task["Status"]["State"] == "running"}
        nodes = (self.engine.get("/nodes") or []) if there else []
        lost = [_hostname(node) for node in nodes if node["ID"] in there and node["Status"]["State"] == "down"]
        return _Look(service, tasks, lost[0] if lost else "")

    def _service(self) -> Item | None:
        return _named(self.engine, self.spec["Name"])

    def _tasks(self, service: Item) -> list[Item]:
        return self.engine.get("/tasks", {"filters": {"service": [service["ID"]]}}) or []

    def _diagnose(self, service: Item, verdict: Verdict) -> Item:
        nodes = self.engine.get("/nodes") or []
        return diagnose(self.engine, service, verdict, name=self.spec["Name"], nodes=nodes, mask=self.mask)

    def _failed(self, failure: Item, service: Item | None, seconds: float) -> JobFailed:
        """With all that it printed, when there is a sign that it printed anything."""
        printed = self._output(service, None) if service and failure["log"] else Printed([], [])
        return JobFailed(failure, printed, round(seconds, 1))

    def _cut_off(self, node: str) -> Item:
        return {
            **self._gone(),
            "cause": "node_down",
            "node": node,
            "message": "the node went down, or was cut off, while the job ran there; whether it ended is not known",
            "advice": "Look whether its work was done, before you run it again. "
            "When the node is back, it stops what still runs there.",
        }

    def _gone(self) -> Item:
        return {
            "service": self.spec["Name"],
            "cause": "moved",
            "node": "",
            "exit_code": None,
            "message": "somebody removed the job while it ran",
            "log": [],
            "advice": "Find out who removes services from this swarm, and run again.",
        }

    def _node(self, service: Item) -> str:
        try:
            ran = {task.get("NodeID") for task in self._tasks(service)}
            names = [_hostname(node) for node in self.engine.get("/nodes") or [] if node["ID"] in ran]
        except (EngineError, EngineUnreachable):  # the job has ended well, wherever it was
            names = []
        return names[0] if names else ""

    def _output(self, service: Item, complete: t.Callable[[list[str]], bool] | None) -> Printed:
        return job_output.read(self.engine, service["ID"], complete, now=self.now, sleep=self.sleep)

    def _remove(self) -> None:
        self.engine.close()  # whatever interrupted the job may have interrupted a request
        began = self.now()

        def look() -> bool:
            # By its label: when the answer to the creation was lost, nobody knows the ID.
            service = self._service()
            return service is None or job_end.step(
                self.engine, service, last=self.now() - began >= job_end.STOP_SECONDS
            )

        looking = patient(look, now=self.now)
        try:
            while not looking():
                self.sleep(job_end.PAUSE_SECONDS)
        except (EngineError, EngineUnreachable) as error:
            # The outcome of the job is worth more than this; the caller warns, and a later run sweeps.
            self.left_behind = f"{error} Remove it: docker service rm {self.spec['Name']}"


class _Look(t.NamedTuple):
    """One look at a job: none when it is gone, its tasks, and the node that went down under it."""

    service: Item | None
    tasks: list[Item]
    lost: str


def _named(engine: Engine, name: str) -> Item | None:
    found = engine.get("/services", {"status": "true", "filters": {"label": [f"{NAME_LABEL}={name}"]}}) or []
    return found[0] if found else None


def _hostname(node: Item) -> str:
    return str((node.get("Description") or {}).get("Hostname", node["ID"]))


@contextlib.contextmanager
def _ended_by_signals() -> t.Iterator[None]:
    """A signal that ends the module lets it clean up first; those that follow do not disturb that."""

    def stop(number: int, _frame: t.Any) -> None:
        for ending in kept:
            signal.signal(ending, signal.SIG_IGN)
        raise SystemExit(128 + number)

    kept: dict[int, t.Any] = {}
    for ending in (signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(ValueError):  # not in the main thread
            kept[ending] = signal.signal(ending, stop)
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
