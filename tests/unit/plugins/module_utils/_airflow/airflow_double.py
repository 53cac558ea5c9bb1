"""A small Airflow 3.3 over HTTP: strict about paths, bodies and logins, and scripted about what tasks do."""

from __future__ import annotations

import json
import re
import threading
import typing as t
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

BASE = "/af"
HEALTHY = {
    "metadatabase": {"status": "healthy"},
    "scheduler": {"status": "healthy", "latest_scheduler_heartbeat": None},
    "triggerer": {"status": None, "latest_triggerer_heartbeat": None},
    "dag_processor": {"status": "healthy", "latest_dag_processor_heartbeat": None},
}


class Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, detail: t.Any) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


@dataclass
class Dag:
    """A DAG and what its next run does."""

    queue: str
    is_paused: bool = False
    is_stale: bool = False
    has_import_errors: bool = False
    #: State of run and task at each look; the last one stays.
    states: list[tuple[str, str | None]] = field(
        default_factory=lambda: [
            ("queued", None),
            ("running", "queued"),
            ("running", "running"),
            ("success", "success"),
        ]
    )
    answer: dict[str, t.Any] = field(default_factory=dict)
    xcom_as_text: bool = False
    #: How many reads of the log find nothing yet.
    log_delay: int = 0
    log: str = "flowstead canary {nonce}"
    runs: dict[str, dict[str, t.Any]] = field(default_factory=dict)
    looks: int = 0


class Airflow:
    """The server; ``requests`` holds method and path of everything asked for."""

    def __init__(self, dags: dict[str, Dag]) -> None:
        self.dags = dags
        self.requests: list[str] = []
        #: Every value of every parameter of the last request.
        self.last_query: dict[str, list[str]] = {}
        #: What the double could not accept; the fixture fails the test for it.
        self.objections: list[Exception] = []
        self.password = "right"
        self.tokens = 0
        self.valid_token = ""
        #: Statuses that the next requests are answered with, instead of what they asked for.
        self.outage: list[int] = []
        self.redirect = ""
        self.import_errors: list[dict[str, t.Any]] = []
        double = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            def log_message(self, *_arguments: t.Any) -> None:
                """Say nothing."""

            def answer(self) -> None:
                """Whatever the method."""
                try:
                    answer = double.handle(self.command, self.path, self.headers, self.body())
                except Exception as error:
                    double.objections.append(error)
                    raise
                status, headers, document = answer
                payload = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def body(self) -> t.Any:
                """The JSON sent along."""
                length = int(self.headers.get("Content-Length") or 0)
                return json.loads(self.rfile.read(length)) if length else None

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        """The base URL, with a path."""
        return f"http://127.0.0.1:{self.server.server_port}{BASE}"

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def handle(self, method: str, target: str, headers: t.Any, body: t.Any) -> tuple[int, dict[str, str], t.Any]:
        """Status, headers and document for a request."""
        parts = urlsplit(target)
        self.last_query = parse_qs(parts.query, keep_blank_values=True)
        path, query = parts.path, {name: values[0] for name, values in self.last_query.items()}
        self.requests.append(f"{method} {path}")
        if self.outage:
            return self.outage.pop(0), {}, b"<html>no</html>"
        if self.redirect:
            return 301, {"Location": self.redirect}, b""
        if not path.startswith(f"{BASE}/"):
            return 404, {"Content-Type": "text/html"}, b"<!DOCTYPE html><title>Airflow 404</title>"
        try:
            status, document = self.route(method, path[len(BASE) :], query, headers, body)
        except Refusal as refusal:
            return refusal.status, {}, {"detail": refusal.detail}
        return status, {}, document

    def route(self, method: str, path: str, query: dict[str, str], headers: t.Any, body: t.Any) -> tuple[int, t.Any]:
        """The routes this collection uses, and no other."""
        if (method, path) == ("POST", "/auth/token"):
            return self.log_in(body)
        open_to_all = {"GET /api/v2/version": {"version": "3.3.2"}, "GET /api/v2/monitor/health": HEALTHY}
        if f"{method} {path}" in open_to_all:
            return 200, open_to_all[f"{method} {path}"]
        given = headers.get("Authorization", "")
        if given != f"Bearer {self.valid_token}":
            raise Refusal(401, "Token Expired" if given else "Not authenticated")
        if (method, path) == ("GET", "/api/v2/importErrors"):
            return 200, {"import_errors": self.import_errors, "total_entries": len(self.import_errors)}
        if (method, path) == ("PUT", "/api/v2/parseDagFile/token"):
            for dag in self.dags.values():
                dag.is_stale = False
            return 201, None
        return self.below_dags(method, path, query, body)

    def below_dags(self, method: str, path: str, query: dict[str, str], body: t.Any) -> tuple[int, t.Any]:
        """Everything under /api/v2/dags."""
        found = re.fullmatch(r"/api/v2/dags/([^/]+)(?:/dagRuns(?:/([^/]+)(?:/(taskInstances.*))?)?)?", path)
        assert found, f"Airflow has no {method} {path}"
        dag_id, run_id, rest = (unquote(part) if part else "" for part in found.groups())
        dag = self.dags.get(dag_id)
        if dag is None or (run_id and run_id not in dag.runs):
            raise Refusal(404, f"`{run_id or dag_id}` was not found")
        if rest:
            assert method == "GET"
            return self.tasks(dag, dag.runs[run_id], rest, query)
        if run_id:
            return self.run(method, dag, run_id, query, body)
        one = self.collection if path.endswith("/dagRuns") else self.dag
        return one(method, dag_id, dag, query, body)

    def log_in(self, body: t.Any) -> tuple[int, t.Any]:
        """POST /auth/token of the FAB auth manager."""
        if not body or not body.get("username") or not body.get("password"):
            raise Refusal(400, "Username and password must be provided")
        if body != {"username": "admin", "password": self.password}:
            raise Refusal(401, "Invalid credentials")
        self.tokens += 1
        self.valid_token = f"token-{self.tokens}"
        return 201, {"access_token": self.valid_token}

    def dag(self, method: str, dag_id: str, dag: Dag, query: dict[str, str], body: t.Any) -> tuple[int, t.Any]:
        """One DAG."""
        if method == "PATCH":
            assert (query, body) == ({"update_mask": "is_paused"}, {"is_paused": False})
            dag.is_paused = False
        else:
            assert method == "GET"
        shown = {name: getattr(dag, name) for name in ("is_paused", "is_stale", "has_import_errors")}
        return 200, {"dag_id": dag_id, "file_token": "token", **shown}

    def collection(self, method: str, dag_id: str, dag: Dag, query: dict[str, str], body: t.Any) -> tuple[int, t.Any]:
        """The runs of a DAG."""
        if method == "GET":
            assert query == {"order_by": "-id", "limit": "100"}
            newest = list(reversed(dag.runs.values()))
            return 200, {"dag_runs": newest, "total_entries": len(newest)}
        assert method == "POST"
        if set(body) != {"dag_run_id", "logical_date", "conf"}:
            raise Refusal(422, [{"type": "missing", "loc": ["body", "logical_date"]}])
        assert body["logical_date"] is None
        if dag.is_stale:
            raise Refusal(404, f"Dag with dag_id: '{dag_id}' not found")
        if dag.has_import_errors:
            raise Refusal(400, f"Dag with dag_id: '{dag_id}' has import errors and cannot be triggered")
        assert not dag.is_paused, "a paused DAG would wait for ever"
        run_id = body["dag_run_id"]
        if run_id in dag.runs:
            raise Refusal(409, "The DagRun exists")
        dag.looks = 0
        dag.runs[run_id] = {"dag_run_id": run_id, "state": "queued", "conf": body["conf"]}
        return 200, dag.runs[run_id]

    def run(self, method: str, dag: Dag, run_id: str, query: dict[str, str], body: t.Any) -> tuple[int, t.Any]:
        """One run."""
        run = dag.runs[run_id]
        if method == "DELETE":
            if run["state"] == "running":
                raise Refusal(409, "cannot be deleted in running state")
            del dag.runs[run_id]
            return 204, b""
        if method == "PATCH":
            assert (query, body) == ({"update_mask": "state"}, {"state": "failed"})
            run["state"] = "failed"
            return 200, run
        assert method == "GET"
        run["state"], run["task"] = dag.states[min(dag.looks, len(dag.states) - 1)]
        dag.looks += 1
        return 200, {name: value for name, value in run.items() if name != "task"}

    def tasks(self, dag: Dag, run: dict[str, t.Any], rest: str, query: dict[str, str]) -> tuple[int, t.Any]:
        """What hangs below a run."""
        nonce = run["conf"]["nonce"]
        if rest == "taskInstances":
            started = run["task"] not in (None, "queued")
            task = {
                "task_id": "sing",
                "state": run["task"],
                "queue": dag.queue,
                "hostname": "worker-1" if started else "",
                "try_number": 1 if started else 0,
            }
            return 200, {"task_instances": [task], "total_entries": 1}
        if rest == "taskInstances/sing/xcomEntries/return_value":
            if run["state"] != "success":
                raise Refusal(404, "XCom entry with key: `return_value` not found")
            value = {"nonce": nonce, "queue": dag.queue, "worker": "w1", "queues": dag.queue, **dag.answer}
            return 200, {"key": "return_value", "value": json.dumps(value) if dag.xcom_as_text else value}
        assert rest == "taskInstances/sing/logs/1", rest
        assert query == {"full_content": "true"}
        lines = [{"event": "::group::Log message source details"}]
        if dag.log_delay:
            dag.log_delay -= 1
            lines.append({"event": "Could not read served logs: connection refused"})
        else:
            lines.append({"timestamp": None, "event": dag.log.format(nonce=nonce), "level": "info"})
        return 200, {"content": lines, "continuation_token": None}
