"""Airflow as its users see it: the REST API through any host of the swarm."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import typing as t
import urllib.parse

from cluster import Cluster
from lab_hosts import MANAGERS, Hosts, Waiting, wait_for

DAG = "probe"
PORT = 8080
#: States of a run in which nothing happens any more.
ENDED = ("success", "failed")


class Unavailable(Exception):
    """No host answers."""


class Airflow:
    """A small client that asks one host after the other until one answers."""

    def __init__(self, hosts: Hosts, username: str, password: str) -> None:
        self._hosts = hosts
        self._login = {"username": username, "password": password}
        self._token = ""
        self._answered = MANAGERS[0]

    def call(self, method: str, path: str, body: t.Any = None, via: t.Sequence[str] = MANAGERS) -> t.Any:
        """The answer's document; which host of ``via`` answered last is asked first.

        Raises:
            Unavailable: no host answers, or the answer is no document.
        """
        said = []
        for host in sorted(via, key=lambda host: host != self._answered):
            try:
                if not self._token:
                    self._token = self._ask(host, "POST", "/auth/token", self._login)[1]["access_token"]
                status, document = self._ask(host, method, path, body)
                if status == 401:
                    self._token = ""
                    said.append(f"{host}: 401")
                elif status < 300:
                    self._answered = host
                    return document
                else:
                    said.append(f"{host}: {status} {json.dumps(document)[:300]}")
            except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
                said.append(f"{host}: {error!r}")
        raise Unavailable("; ".join(said))

    def _ask(self, host: str, method: str, path: str, body: t.Any) -> tuple[int, t.Any]:
        connection = http.client.HTTPConnection(host, PORT, timeout=30)
        connection.sock = self._hosts.connect(host, PORT)
        connection.sock.settimeout(30)
        try:
            headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
            if self._token:
                headers["Authorization"] = f"Bearer {self._token}"
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def answers(self, host: str) -> bool:
        """Whether Airflow answers through this host's port."""
        try:
            self.call("GET", "/api/v2/version", via=(host,))
        except Unavailable:
            return False
        return True

    def keep_asking(self, method: str, path: str, body: t.Any = None, seconds: float = 300) -> t.Any:
        """As :meth:`call`, again and again while nobody answers; the document, wrapped in a list."""

        def ask() -> t.Any:
            try:
                return [self.call(method, path, body)]
            except Unavailable as error:
                return Waiting(str(error))

        return wait_for(f"an answer to {method} {path}", ask, seconds, pause=2)[0]


class Run:
    """One run of the DAG ``probe``."""

    def __init__(self, airflow: Airflow, tasks: int, seconds: int, lines: int = 1) -> None:
        """Start it; each task prints so many lines a second."""
        self.airflow, self.tasks, self.seconds = airflow, tasks, seconds
        conf = {"tasks": tasks, "seconds": seconds, "lines": lines}
        made = airflow.keep_asking("POST", f"/api/v2/dags/{DAG}/dagRuns", {"logical_date": None, "conf": conf})
        self.id = made["dag_run_id"]
        self.path = f"/api/v2/dags/{DAG}/dagRuns/{urllib.parse.quote(self.id, safe='')}"
        self._ended = False

    def end(self, cluster: Cluster) -> None:
        """Let its tasks end after the second in which they are: what they were needed for is over."""
        self._ended = True
        cluster.end_tasks(self.id)

    def lasted(self, index: int) -> int:
        """Seconds of an instance of ``work`` that has ended well."""
        if not self._ended:
            return self.seconds
        path = f"{self.path}/taskInstances/work/xcomEntries/return_value?map_index={index}"
        return int(self.airflow.keep_asking("GET", path)["value"])

    def state(self) -> str:
        """The run's state."""
        return self.airflow.keep_asking("GET", self.path)["state"]

    def instances(self) -> list[dict[str, t.Any]]:
        """The task instances of ``work``."""
        found = self.airflow.keep_asking("GET", f"{self.path}/taskInstances?limit=500")["task_instances"]
        return [entry for entry in found if entry["task_id"] == "work"]

    def running(self) -> list[dict[str, t.Any]]:
        """Instances of ``work`` that run."""
        return [entry for entry in self.instances() if entry["state"] == "running"]

    def await_running(self, count: int, seconds: float = 300) -> list[dict[str, t.Any]]:
        """Wait until so many instances of ``work`` run."""

        def enough() -> t.Any:
            found = self.running()
            return found if len(found) >= count else Waiting(f"{len(found)}")

        return self._wait(f"{count} running tasks", enough, seconds)

    def await_success(self, seconds: float = 900) -> None:
        """Wait until the run ended well; fail when it ended otherwise."""

        def ended() -> t.Any:
            state = self.state()
            return state if state in ENDED else Waiting(state)

        state = self._wait("the end", ended, seconds)
        assert state == "success", f"{self.id} ended with {state}: {self.summary()}"

    def _wait(self, what: str, condition: t.Callable[[], t.Any], seconds: float) -> t.Any:
        """As :func:`wait_for`; when it was in vain, with the states of all instances."""
        try:
            return wait_for(f"{what} of {self.id}", condition, seconds, pause=2)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.summary()}") from error

    def summary(self) -> str:
        """States of all instances in one line."""
        found = self.airflow.keep_asking("GET", f"{self.path}/taskInstances?limit=500")["task_instances"]
        return ", ".join(f"{e['task_id']}[{e['map_index']}] {e['state']} try {e['try_number']}" for e in found)

    def tries(self, index: int) -> list[dict[str, t.Any]]:
        """All attempts of one instance of ``work``."""
        path = f"{self.path}/taskInstances/work/{index}/tries"
        return self.airflow.keep_asking("GET", path)["task_instances"]

    def lines(self, index: int, attempt: int) -> list[datetime.datetime]:
        """When each of the lines was printed that can be read of an attempt."""
        path = f"{self.path}/taskInstances/work/logs/{attempt}?map_index={index}&full_content=true"
        content = self.airflow.keep_asking("GET", path)["content"]
        mine = [entry for entry in content if isinstance(entry, dict) and f"of {self.seconds}" in entry["event"]]
        return [datetime.datetime.fromisoformat(entry["timestamp"]) for entry in mine]

    def lost_lines(
        self, faults: t.Sequence[float] = (), printed: t.Callable[[int, int], int] | None = None
    ) -> tuple[int, int]:
        """Log lines that cannot be read: of attempts that ended well, and of interrupted ones.

        A task prints a line each second, so its first line's time says how many it had printed when it was interrupted.

        Args:
            faults: when hosts died or were cut off, in seconds since 1970. An attempt counts up to the last of them
                before Airflow gave it up, which may be long after it ended; without any, up to then.
            printed: how many lines an interrupted attempt has printed, by its number and the task's, if that is known.
        """
        finished = interrupted = 0
        for entry in self.instances():
            index = entry["map_index"]
            for attempt in self.tries(index):
                read = self.lines(index, attempt["try_number"])
                if attempt["state"] == "success":
                    finished += max(0, self.lasted(index) - len(read))
                else:
                    known = printed(index, attempt["try_number"]) if printed else _printed(attempt, read, faults)
                    interrupted += max(0, min(self.seconds, known) - len(read))
        return finished, interrupted

    def printed(self, index: int, attempt: int, faults: t.Sequence[float] = ()) -> int:
        """How many lines an interrupted attempt has printed, or one more; ``faults`` as for :meth:`lost_lines`."""
        (found,) = (one for one in self.tries(index) if one["try_number"] == attempt)
        return min(self.seconds, _printed(found, self.lines(index, attempt), faults))

    def interrupted(self) -> int:
        """How many attempts did not end well."""
        return sum(
            attempt["state"] != "success" for entry in self.instances() for attempt in self.tries(entry["map_index"])
        )

    def never_begun(self) -> int:
        """How many tries of all its tasks no worker has begun with: numbers of tries of which Airflow has no record."""
        found = self.airflow.keep_asking("GET", f"{self.path}/taskInstances?limit=500")["task_instances"]
        missing = 0
        for entry in found:
            mapped = f"/{entry['map_index']}" if entry["map_index"] >= 0 else ""
            path = f"{self.path}/taskInstances/{entry['task_id']}{mapped}/tries"
            missing += entry["try_number"] - len(self.airflow.keep_asking("GET", path)["task_instances"])
        return missing

    def await_lines(
        self,
        faults: t.Sequence[float] = (),
        printed: t.Callable[[int, int], int] | None = None,
        *,
        interrupted: int = 0,
        seconds: float = 180,
    ) -> tuple[int, int]:
        """Wait until no line of a finished attempt is lost, and of interrupted ones no more than so many.

        What hosts that were away still have may take a moment to arrive. Returns what is lost at the end.
        """
        lost = (0, 0)

        def arrived() -> t.Any:
            nonlocal lost
            lost = self.lost_lines(faults, printed)
            return True if lost[0] == 0 and lost[1] <= interrupted else Waiting(lost)

        with contextlib.suppress(AssertionError):  # the caller's to judge
            wait_for(f"the lines of {self.id}", arrived, seconds, pause=3)
        return lost


def _printed(attempt: dict[str, t.Any], read: t.Sequence[datetime.datetime], faults: t.Sequence[float]) -> int:
    """Lines that an interrupted attempt has printed, at most."""
    began, ended = (
        attempt[key] and datetime.datetime.fromisoformat(attempt[key]) for key in ("start_date", "end_date")
    )
    if not began or not ended:
        return 0
    times = [datetime.datetime.fromtimestamp(fault, datetime.timezone.utc) for fault in faults]
    ended = max((one for one in times if began < one < ended), default=ended)
    first = min(read, default=began)
    return max(0, int((ended - first).total_seconds()) + 1)
