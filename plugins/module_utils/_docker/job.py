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

from . import waiting
from .diagnose import demultiplex, diagnose
from .engine import Engine, EngineError, EngineUnreachable
from .images import Auth, auth_header
from .job_spec import KIND_LABEL, NAME_LABEL, OF_STACK_LABEL, UNTIL_LABEL
from .objects import STACK_LABEL
from .waiting import FAILED, Limits, Memory, Verdict

#: Seconds between two looks, and until the log of a finished job has to be complete.
PAUSE_SECONDS = 0.5
LOG_SECONDS = 15.0
#: Seconds after its time is up until another run calls a job forgotten.
FORGOTTEN_SECONDS = 120
Item = dict[str, t.Any]


class NoSuchService(Exception):
    """The service to run a job like is not there; the text names what there is."""


class JobFailed(Exception):
    """A job did not end well.

    Attributes:
        failure: one entry as ``diagnose.diagnose`` makes it.
    """

    def __init__(self, failure: Item) -> None:
        super().__init__(failure["message"])
        self.failure = failure


class Outcome(t.NamedTuple):
    """A job that ended well: the node's host name, seconds from creation to the end, and what it printed.

    Nothing is masked in ``stdout``: stars could damage a document. Mask what is shown of it.
    """

    node: str
    seconds: float
    stdout: list[str]


def find(engine: Engine, stack: str, service: str) -> Item:
    """The live service of a stack.

    Raises:
        NoSuchService: with the names that the stack has.
    """
    found = engine.get("/services", {"filters": {"label": [f"{STACK_LABEL}={stack}"]}}) or []
    names = {str(item["Spec"]["Name"]): item for item in found}
    wanted = f"{stack}_{service}"
    if wanted not in names:
        there = ", ".join(sorted(name[len(stack) + 1 :] for name in names)) or "no service at all"
        raise NoSuchService(f"Stack {stack} has no service {service}; it has {there}. Deploy it, or name another one.")
    return t.cast(Item, names[wanted])


def sweep(engine: Engine, kind: str, stack: str, now: float) -> list[str]:
    """Remove jobs that a killed run has left behind; returns their names. Jobs that still have time stay."""
    filters = {"label": [f"{KIND_LABEL}={kind}", f"{OF_STACK_LABEL}={stack}"]}
    removed = []
    for item in engine.get("/services", {"filters": filters}) or []:
        until = str(item["Spec"]["Labels"].get(UNTIL_LABEL, ""))
        if until.isdigit() and int(until) + FORGOTTEN_SECONDS < now:
            _delete(engine, item["ID"])
            removed.append(item["Spec"]["Name"])
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

    def run(self, complete: t.Callable[[list[str]], bool] = bool) -> Outcome:
        """Create the job, wait for its end, read what it printed, and remove it in any case.

        Args:
            complete: whether the lines on its standard output are all that is waited for. Logs may come a little
                later than the end.

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
        while True:
            service = self._service()
            if service is None:
                raise JobFailed(self._gone())
            tasks = self._tasks(service)
            verdict, memory = waiting.judge(
                service, tasks, touched=True, memory=memory, limits=self.limits, now=self.now()
            )
            if verdict.state == waiting.CONVERGED:
                return service
            if verdict.state != FAILED and self.now() - began >= self.timeout:
                text = f"not finished after {self.timeout:g} s ({verdict.text})"
                verdict = Verdict(FAILED, text, "timeout")
            if verdict.state == FAILED:
                nodes = self.engine.get("/nodes") or []
                raise JobFailed(
                    diagnose(self.engine, service, verdict, name=self.spec["Name"], nodes=nodes, mask=self.mask)
                )
            self.sleep(PAUSE_SECONDS)

    def _service(self) -> Item | None:
        filters = {"label": [f"{NAME_LABEL}={self.spec['Name']}"]}
        found = self.engine.get("/services", {"status": "true", "filters": filters}) or []
        return found[0] if found else None

    def _tasks(self, service: Item) -> list[Item]:
        return self.engine.get("/tasks", {"filters": {"service": [service["ID"]]}}) or []

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
        ran = {task.get("NodeID") for task in self._tasks(service)}
        names = [
            (node.get("Description") or {}).get("Hostname", node["ID"])
            for node in self.engine.get("/nodes") or []
            if node["ID"] in ran
        ]
        return str(names[0]) if names else ""

    def _output(self, service: Item, complete: t.Callable[[list[str]], bool]) -> list[str]:
        deadline = self.now() + LOG_SECONDS
        while True:
            stream = self.engine.get_raw(f"/services/{service['ID']}/logs", {"stdout": "1"})
            lines = demultiplex(stream)
            if complete(lines) or self.now() >= deadline:
                return lines
            self.sleep(PAUSE_SECONDS)

    def _remove(self) -> None:
        self.engine.close()  # whatever interrupted the job may have interrupted a request
        try:
            # By its label: when the answer to the creation was lost, nobody knows the ID.
            service = self._service()
            if service is not None:
                _delete(self.engine, service["ID"])
        except (EngineError, EngineUnreachable) as error:
            # The outcome of the job is worth more than this; the caller warns, and a later run sweeps.
            self.left_behind = f"{error} Remove it: docker service rm {self.spec['Name']}"


def _delete(engine: Engine, identifier: str) -> None:
    try:
        engine.delete(f"/services/{identifier}")
    except EngineError as error:
        if error.status != 404:  # gone already
            raise


@contextlib.contextmanager
def _ended_by_signals() -> t.Iterator[None]:
    """A signal that ends the module lets it clean up first."""

    def stop(number: int, _frame: t.Any) -> None:
        raise SystemExit(128 + number)

    kept = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(ValueError):  # not in the main thread
            kept[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
