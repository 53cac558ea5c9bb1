# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Airflow knows of DAG bundles: DAGs, import errors, and the releases that unfinished runs need.

PRIVATE to the collection.

Source for paths, parameters and paging: Apache Airflow 3.3.2, ``airflow/api_fastapi/core_api/routes/public``, files
``dags.py``, ``dag_versions.py``, ``import_error.py``, ``dag_run.py`` and ``task_instances.py``.
"""

from __future__ import annotations

import re
import typing as t
from datetime import datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote

from .client import AirflowClient, AirflowError, AirflowMisconfigured

#: ``[api] maximum_page_limit`` may make pages smaller, so only the answer says how many came.
PAGE = 100
RUN_STATES = ("queued", "running")
#: States in which a task may still need its code. A task without a state has not been scheduled.
TASK_STATES = (
    "running",
    "queued",
    "scheduled",
    "restarting",
    "deferred",
    "up_for_retry",
    "up_for_reschedule",
    "awaiting_input",
)
_FRACTION = re.compile(r"\.(\d+)")

Item = dict[str, t.Any]


class Dag(t.NamedTuple):
    """A DAG as Airflow has stored it.

    Attributes:
        file: path below the bundle.
        parsed: end of its last parsing, in seconds since 1970; 0 when never.
        parse_seconds: how long that took.
        file_token: for ``AirflowClient.parse_file``.
    """

    dag_id: str
    bundle: str
    version: str | None
    file: str
    stale: bool
    paused: bool
    parsed: float
    parse_seconds: float
    file_token: str

    @property
    def parse_began(self) -> float:
        """When its last parsing began, in seconds since 1970."""
        return self.parsed - self.parse_seconds

    def result(self) -> Item:
        """What a caller gets to see."""
        return {
            "dag_id": self.dag_id,
            "bundle": self.bundle,
            "bundle_version": self.version,
            "file": self.file,
            "stale": self.stale,
            "paused": self.paused,
        }


class ImportProblem(t.NamedTuple):
    """A DAG file that Airflow could not read. ``line`` is None when the stack trace names no line of the file."""

    bundle: str
    file: str
    timestamp: str
    line: int | None
    error: str

    def result(self) -> Item:
        """What a caller gets to see."""
        return self._asdict()


class Run(t.NamedTuple):
    """An unfinished run.

    Attributes:
        version: the release it is pinned to; None when it follows the bundle.
        versions: every release that it or its tasks refer to.
    """

    dag_id: str
    run_id: str
    state: str
    bundle: str
    version: str | None
    versions: tuple[str, ...]

    def result(self) -> Item:
        """What a caller gets to see."""
        return {
            "dag_id": self.dag_id,
            "run_id": self.run_id,
            "state": self.state,
            "bundle": self.bundle,
            "bundle_version": self.version,
            "bundle_versions": list(self.versions),
        }


class Bundles:
    """Reads of one Airflow. The user has to be allowed to read every DAG, or runs and DAGs would be missing."""

    def __init__(self, client: AirflowClient) -> None:
        self.client = client

    def dags(self, bundle: str = "") -> list[Dag]:
        """The DAGs of a bundle, or of all, those that are stale included."""
        query: Item = {"exclude_stale": "false", "order_by": "dag_id"}
        if bundle:
            query["bundle_name"] = bundle
        return [_dag(item) for item in self._by_offset("/api/v2/dags", "dags", query)]

    def import_errors(self, bundle: str = "") -> list[ImportProblem]:
        """Files that could not be read.

        Airflow 3.3.2 leaves out a file that never held a DAG when any bundle has a DAG in a file of the same path, so
        an empty list proves nothing alone.
        """
        query: Item = {"order_by": "id"}
        if bundle:
            query["bundle_name"] = bundle
        return [_import_problem(item) for item in self._by_offset("/api/v2/importErrors", "import_errors", query)]

    def stored_version(self, dag_id: str) -> str | None:
        """The release whose form of a DAG new runs get; None when there is none.

        It is not always that of ``Dag.version``: Airflow writes the form of a DAG, and with it this version, only every
        ``[core] min_serialized_dag_update_interval`` seconds.
        """
        query = {"order_by": "-version_number", "limit": 1}
        try:
            found = self.client.get(f"/api/v2/dags/{quote(dag_id, safe='')}/dagVersions", query)["dag_versions"]
        except AirflowError as error:
            if error.status == 404:  # not stored at all
                return None
            raise
        return found[0]["bundle_version"] if found else None

    def unfinished_runs(self, bundles: t.Mapping[str, str]) -> list[Run]:
        """Runs that are queued or running, and those that ended with tasks that have not.

        Args:
            bundles: DAG ID to bundle, for runs that name none.
        """
        query: Item = {"state": list(RUN_STATES), "order_by": "id"}
        found = {(item["dag_id"], item["dag_run_id"]): item for item in self._by_cursor(_RUNS, "dag_runs", query)}
        versions: dict[tuple[str, str], set[str]] = {}
        query = {"state": list(TASK_STATES), "order_by": "id"}
        for task in self._by_cursor(f"{_RUNS}/~/taskInstances", "task_instances", query):
            key = (task["dag_id"], task["dag_run_id"])
            version = (task.get("dag_version") or {}).get("bundle_version")
            versions.setdefault(key, set()).update([version] if version else [])
        for key in versions.keys() - found.keys():
            item = self._run(*key)
            if item is not None:
                found[key] = item
        return [_run(item, versions.get(key, set()), bundles) for key, item in sorted(found.items())]

    def now(self) -> float:
        """The server's clock at its last answer, in seconds since 1970; 0 when it has not told."""
        return parsedate_to_datetime(self.client.date).timestamp() if self.client.date else 0.0

    def _run(self, dag_id: str, run_id: str) -> Item | None:
        try:
            return t.cast(Item, self.client.get(f"{_below(dag_id)}/{quote(run_id, safe='')}"))
        except AirflowError as error:
            if error.status == 404:  # deleted meanwhile
                return None
            raise

    def _by_offset(self, path: str, key: str, query: t.Mapping[str, t.Any]) -> list[Item]:
        found: list[Item] = []
        while True:
            answer = self.client.get(path, {**query, "limit": PAGE, "offset": len(found)})
            found += answer[key]
            if not answer[key] or len(found) >= answer["total_entries"]:
                return found

    def _by_cursor(self, path: str, key: str, query: t.Mapping[str, t.Any]) -> t.Iterator[Item]:
        """Page by page. By offsets, a run that ends meanwhile would shift another one out of sight."""
        cursor = ""
        while cursor is not None:
            answer = self.client.get(path, {**query, "limit": PAGE, "cursor": cursor})
            if "next_cursor" not in answer:
                raise AirflowMisconfigured(
                    f"Airflow at {self.client.url} does not page {path} by cursor",
                    "Use Airflow 3.3.2 or newer, or leave out runs in gather",
                )
            yield from answer[key]
            cursor = answer["next_cursor"]


_RUNS = "/api/v2/dags/~/dagRuns"


def parse_time(text: str | None) -> float:
    """Seconds since 1970 of a time as Airflow writes it (ISO 8601); 0 for none."""
    if not text:
        return 0.0
    # Python 3.9 knows no Z, and fractions of 3 or 6 digits only.
    full = _FRACTION.sub(lambda match: "." + match.group(1)[:6].ljust(6, "0"), text.replace("Z", "+00:00"))
    return datetime.fromisoformat(full).timestamp()


def _below(dag_id: str) -> str:
    return f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns"


def _dag(item: t.Mapping[str, t.Any]) -> Dag:
    return Dag(
        item["dag_id"],
        item.get("bundle_name") or "",
        item.get("bundle_version"),
        item.get("relative_fileloc") or "",
        bool(item["is_stale"]),
        bool(item["is_paused"]),
        parse_time(item.get("last_parsed_time")),
        float(item.get("last_parse_duration") or 0),
        item["file_token"],
    )


def _import_problem(item: t.Mapping[str, t.Any]) -> ImportProblem:
    file, trace = str(item["filename"]), str(item.get("stack_trace") or "").strip()
    lines = re.findall(rf'File "(?:[^"]*/)?{re.escape(file)}", line (\d+)', trace)
    return ImportProblem(
        str(item.get("bundle_name") or ""),
        file,
        item["timestamp"],
        int(lines[-1]) if lines else None,
        trace.splitlines()[-1].strip() if trace else "",
    )


def _run(item: t.Mapping[str, t.Any], versions: set[str], bundles: t.Mapping[str, str]) -> Run:
    pinned = item.get("bundle_version")
    stored = item.get("dag_versions") or []
    names = [version["bundle_name"] for version in stored if version.get("bundle_name")]
    every = versions | {version["bundle_version"] for version in stored if version.get("bundle_version")}
    return Run(
        item["dag_id"],
        item["dag_run_id"],
        item["state"],
        names[-1] if names else bundles.get(item["dag_id"], ""),
        pinned,
        tuple(sorted(every | ({pinned} if pinned else set()))),
    )
