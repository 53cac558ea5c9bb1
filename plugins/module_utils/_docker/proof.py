# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until every container of this host that mounts a bundle sees one release.

PRIVATE to the collection.
"""

from __future__ import annotations

import queue
import threading
import time
import typing as t
from dataclasses import dataclass, field

from . import mount_view
from .engine import Engine, EngineError
from .mount_view import Gone, View
from .objects import STACK_LABEL

SERVICE_LABEL = "com.docker.swarm.service.name"
#: Seconds between two looks.
PAUSE_SECONDS = 0.2
#: Seconds that the first look may take when the time is shorter than that.
SHORTEST_LOOK = 2.0
#: A container that saw the release only after so many seconds is told.
LATE_SECONDS = 15.0

Item = dict[str, t.Any]


class NoAnswer(Exception):
    """A read through a mount does not return: the server of the share is away."""


class Wanted(t.NamedTuple):
    """What every container has to see. ``path`` is the bundle's root in containers; ``hash`` may be shortened."""

    path: str
    release: str
    hash: str


@dataclass
class Witness:
    """One container.

    Attributes:
        first: what it saw at the first look, while that was not the release.
        seconds: from the beginning until it saw the release; None while it has not.
    """

    id: str
    name: str
    service: str
    pid: int = 0
    view: View = field(default_factory=View)
    first: View | None = None
    seconds: float | None = None

    def result(self) -> Item:
        """What a caller gets to see."""
        return {
            "id": self.id[:12],
            "name": self.name,
            "service": self.service,
            "release": self.view.release,
            "hash": self.view.hash,
            "problem": self.view.problem,
            "seconds": self.seconds,
        }


class Prover:
    """All containers of this host.

    Args:
        engine: this host's engine.
        stack: name of the stack.
        wanted: what they have to see.
        content: also read every file and compare it with the manifest.
        timeout: seconds for everything.
        proc: where processes are; for tests.
        now: monotonic clock in seconds; for tests.
        sleep: waits for seconds; for tests.
    """

    def __init__(
        self,
        engine: Engine,
        stack: str,
        wanted: Wanted,
        *,
        content: bool,
        timeout: float,
        proc: str = "/proc",
        now: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self.engine = engine
        self.stack = stack
        self.wanted = wanted
        self.content = content
        self.timeout = timeout
        self.proc = proc
        self.now = now
        self.sleep = sleep
        self.witnesses: dict[str, Witness] = {}

    def run(self) -> bool:
        """True when all see it; False when the time is up first. ``witnesses`` tells who sees what.

        Raises:
            NoAnswer: a read does not return.
            PermissionError: this user may not look into containers.
            EngineError, EngineUnreachable: as the engine client raises them.
        """
        began = self.now()
        deadline = began + self.timeout
        while True:
            self._find()
            for witness in list(self.witnesses.values()):
                if witness.seconds is None:
                    self._ask(witness, began, deadline)
            if all(witness.seconds is not None for witness in self.witnesses.values()):
                return True
            if self.now() >= deadline:
                return False
            self.sleep(PAUSE_SECONDS)

    def _find(self) -> None:
        """Containers come and go while the stack moves; those that are gone need see nothing."""
        filters = {"label": [f"{STACK_LABEL}={self.stack}"], "status": ["running"]}
        running = {}
        for item in self.engine.get("/containers/json", {"filters": filters}) or []:
            if any(mount.get("Destination") == self.wanted.path for mount in item.get("Mounts") or []):
                name = (item.get("Names") or ["/"])[0].lstrip("/")
                service = (item.get("Labels") or {}).get(SERVICE_LABEL, "")
                known = self.witnesses.get(item["Id"])
                running[item["Id"]] = known or Witness(item["Id"], name, service)
        self.witnesses = running

    def _ask(self, witness: Witness, began: float, deadline: float) -> None:
        if not witness.pid:
            witness.pid = self._pid(witness.id)
        if not witness.pid:
            del self.witnesses[witness.id]
            return
        root = f"{self.proc}/{witness.pid}/root"
        patience = max(deadline - self.now(), SHORTEST_LOOK)
        try:
            witness.view = _in_time(lambda: self._look(root), patience, witness.name)
        except Gone:
            witness.pid = 0
            witness.view = View(problem="its process ended; its state is read again")
            return
        if self._fits(witness.view):
            witness.seconds = round(self.now() - began, 3)
        elif witness.first is None:
            witness.first = witness.view

    def _look(self, root: str) -> View:
        view = mount_view.look(root, self.wanted.path)
        if self.content and self._fits(view):
            differences = mount_view.differences(root, self.wanted.path, view)
            if differences:
                return view._replace(problem="files are not what the manifest says: " + ", ".join(differences))
        return view

    def _fits(self, view: View) -> bool:
        same = view.release == self.wanted.release and view.hash.startswith(self.wanted.hash)
        return same and not view.problem

    def _pid(self, identifier: str) -> int:
        try:
            state = self.engine.get(f"/containers/{identifier}/json")["State"]
        except EngineError as error:
            if error.status == 404:
                return 0
            raise
        return int(state.get("Pid") or 0)


def explain(witnesses: t.Iterable[Witness], wanted: Wanted, host: str) -> str:
    """Which container sees what, for those that do not see the release."""
    lines = [f"Not every container on {host} sees release {wanted.release} at {wanted.path}:"]
    for witness in witnesses:
        if witness.seconds is not None:
            continue
        lines.append(f"  - {witness.name} ({witness.service or 'no service'}) sees: {_seen(witness.view, wanted)}")
    lines.append(
        "A host that lags keeps names of an NFS mount for as long as its options say (acdirmax, lookupcache): raise "
        "timeout or mount as role flowstead.airflow.dag_share does. Compare with the host's own view: findmnt, and "
        "readlink of current. A container that sees another directory has to be started again."
    )
    return "\n".join(lines)


def late(witnesses: t.Iterable[Witness], wanted: Wanted, host: str) -> list[str]:
    """Which container saw the release, and took long; one line each."""
    return [
        f"{witness.name} ({witness.service or 'no service'}) on {host} saw release {wanted.release} only after "
        f"{witness.seconds:.0f} s; at the first look it saw: {_seen(witness.first or View(), wanted)}. Until then new "
        "runs on this host may have begun on the release before."
        for witness in witnesses
        if witness.seconds is not None and witness.seconds >= LATE_SECONDS
    ]


def _seen(view: View, wanted: Wanted) -> str:
    if view.problem:
        return view.problem
    if view.release != wanted.release:
        return f"release {view.release}" if view.release else "nothing"
    return f"the release with hash {view.hash[:12]} instead of {wanted.hash[:12]}"


def _in_time(read: t.Callable[[], View], seconds: float, name: str) -> View:
    """A read of a hard NFS mount waits for its server for ever; this does not.

    The thread is left alone then: it ends with the module.
    """
    answers: queue.Queue[View | Exception] = queue.Queue()

    def work() -> None:
        try:
            answers.put(read())
        except Exception as error:  # handed over below
            answers.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise NoAnswer(
            f"Reading through the mount of {name} does not return within {seconds:.0f} s: the server of the share is "
            "away or hangs. Bring it back; a hard mount then goes on by itself."
        ) from None
    if isinstance(answer, Exception):
        raise answer
    return answer
