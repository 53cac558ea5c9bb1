"""An Airflow that has DAG bundles, and a DAG processor that is moved by hand. Strict about parameters and pages.

Rules are those of Airflow 3.3.2: a page is never longer than the server allows, a run's cursor survives when other
runs end, a file token is good only while the file has DAGs, and two requests for one file are a conflict.
"""

from __future__ import annotations

import itertools
import typing as t
from datetime import datetime, timedelta, timezone

from airflow_double import Airflow, Refusal

BEGIN = datetime(2026, 11, 26, 14, 0, tzinfo=timezone.utc)
TASK_STATES = {
    "removed", "scheduled", "queued", "running", "success", "restarting", "failed", "up_for_retry",
    "up_for_reschedule", "upstream_failed", "skipped", "deferred", "awaiting_input", "none",
}  # fmt: skip


def stamp(seconds: float) -> str:
    """A time as pydantic writes it."""
    text = (BEGIN + timedelta(seconds=seconds)).isoformat()
    return text.replace("+00:00", "Z")


class BundleAirflow(Airflow):
    """The server. ``dag``, ``error`` and ``run_of`` put things in."""

    def __init__(self) -> None:
        super().__init__({})
        self.page_limit = 100
        self.rows: dict[str, dict[str, t.Any]] = {}
        self.errors: dict[tuple[str, str], dict[str, t.Any]] = {}
        self.all_runs: list[dict[str, t.Any]] = []
        self.all_tasks: list[dict[str, t.Any]] = []
        #: DAGs whose form is stored late, with the release it is of.
        self.stored: dict[str, str] = {}
        self.parse_requests: list[str] = []
        self.pages = 0
        #: Called after each page of runs.
        self.after_page: t.Callable[[], None] = lambda: None
        self.knows_cursors = True
        self._ids = itertools.count(1)

    def add(self, dag_id: str, bundle: str, version: str | None = "r1", **changes: t.Any) -> dict[str, t.Any]:
        """A DAG; ``parsed`` is the second at which its parsing ended."""
        parsed, duration = changes.pop("parsed", 0.0), changes.pop("duration", 0.5)
        row = {
            "dag_id": dag_id,
            "bundle_name": bundle,
            "bundle_version": version,
            "relative_fileloc": f"{dag_id}.py",
            "is_stale": False,
            "is_paused": False,
            "last_parsed_time": stamp(parsed),
            "last_parse_duration": duration,
            "file_token": f"token-{dag_id}.py",
            **changes,
        }
        self.rows[dag_id] = row
        return row

    def parse(self, dag_id: str, version: str, ended: float, duration: float = 0.5) -> None:
        """The DAG processor stores a parsing."""
        self.rows[dag_id].update(
            bundle_version=version, last_parsed_time=stamp(ended), last_parse_duration=duration, is_stale=False
        )

    def error(self, bundle: str, file: str, seconds: float, trace: str = "Traceback\nValueError: no") -> None:
        """An import error, or the same one again."""
        entry = self.errors.setdefault((bundle, file), {"import_error_id": next(self._ids)})
        entry.update(bundle_name=bundle, filename=file, timestamp=stamp(seconds), stack_trace=trace)

    def add_run(self, dag_id: str, run_id: str, state: str, version: str | None, **changes: t.Any) -> None:
        """A run."""
        stored = [{"bundle_name": self.rows[dag_id]["bundle_name"], "bundle_version": version}]
        self.all_runs.append(
            {
                "id": next(self._ids),
                "dag_id": dag_id,
                "dag_run_id": run_id,
                "state": state,
                "bundle_version": version,
                "dag_versions": stored,
                **changes,
            }
        )

    def add_task(self, dag_id: str, run_id: str, state: str, version: str | None) -> None:
        """A task of a run."""
        stored = {"bundle_version": version} if version else None
        task = {"id": next(self._ids), "dag_id": dag_id, "dag_run_id": run_id, "state": state, "dag_version": stored}
        self.all_tasks.append(task)

    def below_dags(self, method: str, path: str, query: dict[str, str], body: t.Any) -> tuple[int, t.Any]:
        """Only what this collection asks of bundles."""
        assert method == "GET"
        assert body is None
        if path == "/api/v2/dags":
            return 200, self.list_dags(query)
        if path == "/api/v2/dags/~/dagRuns":
            return 200, self.cursor_page("dag_runs", self.all_runs, {"queued", "running", "success", "failed"}, query)
        if path == "/api/v2/dags/~/dagRuns/~/taskInstances":
            return 200, self.cursor_page("task_instances", self.all_tasks, TASK_STATES, query)
        parts = path.split("/")
        if parts[-1] == "dagVersions":
            assert query == {"order_by": "-version_number", "limit": "1"}
            if parts[4] not in self.rows:
                raise Refusal(404, f"The Dag with ID: `{parts[4]}` was not found")
            version = self.stored.get(parts[4], self.rows[parts[4]]["bundle_version"])
            return 200, {"dag_versions": [{"dag_id": parts[4], "bundle_version": version}], "total_entries": 2}
        if len(parts) == 7 and parts[5] == "dagRuns":
            for run in self.all_runs:
                if (run["dag_id"], run["dag_run_id"]) == (parts[4], parts[6]):
                    return 200, run
            raise Refusal(404, "The DagRun was not found")
        assert len(parts) == 5, path
        if parts[4] not in self.rows:
            raise Refusal(404, f"The Dag with ID: `{parts[4]}` was not found")
        return 200, self.rows[parts[4]]

    def route(self, method: str, path: str, query: dict[str, t.Any], headers: t.Any, body: t.Any) -> tuple[int, t.Any]:
        """Import errors and requests to parse, behind the login of the double below."""
        if path == "/api/v2/importErrors" or path.startswith("/api/v2/parseDagFile/"):
            if headers.get("Authorization", "") != f"Bearer {self.valid_token}":
                raise Refusal(401, "Not authenticated")
            if method == "PUT":
                return self.ask(path.rpartition("/")[2])
            assert set(query) <= {"bundle_name", "order_by", "limit", "offset"}
            assert query["order_by"] == "id"
            found = [error for key, error in self.errors.items() if query.get("bundle_name", key[0]) == key[0]]
            return 200, self.offset_page("import_errors", found, query)
        return super().route(method, path, query, headers, body)

    def ask(self, token: str) -> tuple[int, t.Any]:
        """PUT parseDagFile."""
        if token not in {row["file_token"] for row in self.rows.values()}:
            raise Refusal(404, "File not found")
        if token in self.parse_requests:
            raise Refusal(409, "Unique constraint violation")
        self.parse_requests.append(token)
        return 201, None

    def list_dags(self, query: dict[str, str]) -> dict[str, t.Any]:
        """GET dags; stale ones only for those who ask."""
        assert set(query) <= {"bundle_name", "order_by", "limit", "offset", "exclude_stale"}
        assert query["order_by"] == "dag_id"
        found = [
            row
            for _dag_id, row in sorted(self.rows.items())
            if query.get("bundle_name", row["bundle_name"]) == row["bundle_name"]
            and (query.get("exclude_stale") == "false" or not row["is_stale"])
        ]
        return self.offset_page("dags", found, query)

    def offset_page(self, key: str, found: list[t.Any], query: dict[str, str]) -> dict[str, t.Any]:
        """A page by offset."""
        self.pages += 1
        offset = int(query["offset"])
        page = found[offset : offset + min(int(query["limit"]), self.page_limit)]
        return {key: page, "total_entries": len(found)}

    def cursor_page(
        self, key: str, everything: list[dict[str, t.Any]], states: set[str], query: dict[str, t.Any]
    ) -> dict[str, t.Any]:
        """A page by cursor: what comes after the last one that was seen."""
        self.pages += 1
        wanted = self.states(query)
        if not wanted <= states:
            raise Refusal(422, "Invalid value for state.")
        assert query["order_by"] == "id"
        assert "offset" not in query
        after = int(query["cursor"] or 0)
        found = [item for item in everything if item["state"] in wanted and item["id"] > after]
        size = min(int(query["limit"]), self.page_limit)
        page = [dict(item) for item in found[:size]]
        self.after_page()
        answer: dict[str, t.Any] = {key: page, "total_entries": len(found)}
        if self.knows_cursors:
            answer["next_cursor"] = str(page[-1]["id"]) if len(found) > size else None
        return answer

    def states(self, query: dict[str, t.Any]) -> set[str]:
        """All values of the parameter; the double below keeps only the first of each."""
        del query
        return set(self.last_query.get("state", []))
