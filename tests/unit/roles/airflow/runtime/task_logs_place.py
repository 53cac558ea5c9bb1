"""A log folder and settings for tests of task logs against the strict double of Splunk."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import typing as t
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[5] / "molecule" / name) for name in ("doubles", "lab")]

from flowstead_airflow.task_logs.settings import Endpoint, TaskLogSettings
from splunk_double import SplunkDouble

#: Path of an attempt's file below the log folder.
ATTEMPT = "dag_id=sales/run_id=manual__2026-11-26/task_id=load/attempt=1.log"


class Place:
    """A log folder, Splunk, and settings for both.

    Attributes:
        logs: the log folder.
        given: the settings; :meth:`change` makes others.
    """

    def __init__(self, root: Path, splunk: SplunkDouble) -> None:
        self.splunk = splunk
        self.logs = root / "logs"
        self.logs.mkdir()
        self.token = root / "hec_token"
        self.token.write_text("secret\n")
        reader = root / "search_token"
        reader.write_text("reading\n")
        self.given = TaskLogSettings(
            environment="test",
            stack="airflow",
            node="node1",
            hec=Endpoint(splunk.hec_url, self.token, timeout=5),
            search=Endpoint(splunk.search_url, reader, timeout=20),
            index="airflow",
            index_by_bundle={"sales": "airflow_sales"},
            batch_seconds=0.05,
            days=14,
        )

    def change(self, **values: t.Any) -> TaskLogSettings:
        self.given = dataclasses.replace(self.given, **values)
        return self.given

    def line(self, text: str, second: float = 0.0) -> bytes:
        when = f"2026-11-26T10:{int(second) // 60:02}:{int(second) % 60:02}.{int(second % 1 * 1e6):06}Z"
        return json.dumps({"timestamp": when, "level": "info", "event": text}, separators=(",", ":")).encode() + b"\n"

    def write(self, relative: str, *texts: str, mode: str = "ab") -> Path:
        path = self.logs / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode) as file:
            for number, text in enumerate(texts):
                file.write(self.line(text, number))
        return path

    def found(self) -> list[str]:
        """Texts of the lines that Splunk has, in the order of arrival."""
        return [json.loads(event["raw"])["event"] for event in self.splunk.events]


class Stock:
    """As S3RemoteLogIO: appends to the object, then removes the local directory; a log line and no more on failure."""

    bucket: t.ClassVar[dict[str, str]] = {}
    fails = False

    def __init__(self, remote_base: str, base_log_folder: Path, delete_local_copy: bool) -> None:
        assert delete_local_copy
        self.base, self.folder = remote_base, base_log_folder

    def upload(self, path: str, _ti: t.Any = None) -> None:
        local = self.folder / path
        if not Stock.fails:
            self.bucket[path] = self.bucket.get(path, "") + local.read_text()
            shutil.rmtree(local.parent)

    def read(self, path: str, _ti: t.Any) -> tuple[list[str], list[str] | None]:
        return ([f"{self.base}/{path}"], [self.bucket[path]]) if path in self.bucket else ([], None)
