"""Airflow as its users see it: the REST API through any host of the swarm."""

from __future__ import annotations

import datetime
import http.client
import json
import typing as t
import urllib.parse

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

    def call(self, method: str, path: str, body: t.Any = None, via: t.Sequence[str] = MANAGERS) -> t.Any:
        """The answer's document.

        Raises:
            Unavailable: no host answers, or the answer is no document.
        """
        said = []
        for host in via:
            try:
                if not self._token:
                    self._token = self._ask(host, "POST", "/auth/token", self._login)[1]["access_token"]
                status, document = self._ask(host, method, path, body)
                if status == 401:
                    self._token = ""
                    said.append(f"{host}: 401")
                elif status < 300:
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

    def __init__(self, airflow: Airflow, tasks: int, seconds: int) -> None:
        self.airflow, self.tasks, self.seconds = airflow, tasks, seconds
        conf = {"tasks": tasks, "seconds": seconds}
        made = airflow.keep_asking("POST", f"/api/v2/dags/{DAG}/dagRuns", {"logical_date": None, "conf": conf})
        self.id = made["dag_run_id"]
        self.path = f"/api/v2/dags/{DAG}/dagRuns/{urllib.parse.quote(self.id, safe='')}"

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
            return found if len(found) >= count else Waiting(f"{len(found)} running: {self.summary()}")

        return wait_for(f"{count} running tasks of {self.id}", enough, seconds)

    def await_success(self, seconds: float = 900) -> None:
        """Wait until the run ended well; fail when it ended otherwise."""

        def ended() -> t.Any:
            state = self.state()
            return state if state in ENDED else Waiting(f"{state}: {self.summary()}")

        state = wait_for(f"the end of {self.id}", ended, seconds, pause=2)
        assert state == "success", f"{self.id} ended with {state}: {self.summary()}"

    def summary(self) -> str:
        """States of all instances in one line."""
        found = self.airflow.keep_asking("GET", f"{self.path}/taskInstances?limit=500")["task_instances"]
        return ", ".join(f"{e['task_id']}[{e['map_index']}] {e['state']} try {e['try_number']}" for e in found)

    def tries(self, index: int) -> list[dict[str, t.Any]]:
        """All attempts of one instance of ``work``."""
        path = f"{self.path}/taskInstances/work/{index}/tries"
        return self.airflow.keep_asking("GET", path)["task_instances"]

    def lines(self, index: int, attempt: int) -> int:
        """How many of the lines that an attempt printed can be read."""
        path = f"{self.path}/taskInstances/work/logs/{attempt}?map_index={index}&full_content=true"
        document = self.airflow.keep_asking("GET", path)
        return json.dumps(document).count(f"of {self.seconds}")

    def lost_lines(self) -> tuple[int, int]:
        """Log lines that cannot be read: of attempts that ended well, and of interrupted ones (by their times)."""
        finished = interrupted = 0
        for entry in self.instances():
            for attempt in self.tries(entry["map_index"]):
                read = self.lines(entry["map_index"], attempt["try_number"])
                if attempt["state"] == "success":
                    finished += max(0, self.seconds - read)
                else:
                    interrupted += max(0, min(self.seconds, _seconds(attempt)) - read)
        return finished, interrupted


def _seconds(attempt: dict[str, t.Any]) -> int:
    """Seconds between an attempt's start and its end, which for a lost one is when it was noticed."""
    if not attempt["start_date"] or not attempt["end_date"]:
        return 0
    began, ended = (datetime.datetime.fromisoformat(attempt[key]) for key in ("start_date", "end_date"))
    return int((ended - began).total_seconds())
