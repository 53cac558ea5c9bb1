"""Files of dead supervisors where a bucket is the only sink: delivered once, and never under a living process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flowstead_airflow.task_logs.orphans import Orphans
from flowstead_airflow.task_logs.settings import BucketSettings, TaskLogSettingsError, parse_bucket
from task_logs_place import ATTEMPT, Stock

NOW = time.time()
DAY = 86400.0


@pytest.fixture(name="orphans")
def _orphans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Orphans:
    Stock.bucket.clear()
    Stock.fails = False
    monkeypatch.setattr("flowstead_airflow.task_logs.archive._s3", Stock)
    monkeypatch.delenv("AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID", raising=False)
    return Orphans(BucketSettings("s3://bucket/logs", "cloud", days=1, local_bytes=1000), tmp_path, lambda: NOW)


def write(logs: Path, text: str, relative: str = ATTEMPT, age: float = 120) -> Path:
    """A log file whose last line is so many seconds old."""
    path = logs / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(text)
    os.utime(path, (NOW - age, NOW - age))
    return path


def test_a_file_that_nobody_has_open_is_uploaded_and_emptied(orphans: Orphans, tmp_path: Path):
    path = write(tmp_path, "one\ntwo\n")
    report = orphans.sweep()
    assert (report.files, report.archived, report.waiting, report.busy) == (1, 8, 0, 0)
    assert Stock.bucket == {ATTEMPT: "one\ntwo\n"}
    assert path.read_text() == ""
    assert orphans.sweep().archived == 0
    assert Stock.bucket == {ATTEMPT: "one\ntwo\n"}


def test_an_attempt_that_goes_on_is_appended(orphans: Orphans, tmp_path: Path):
    write(tmp_path, "before the deferral\n")
    orphans.sweep()
    write(tmp_path, "after it\n")
    orphans.sweep()
    assert Stock.bucket == {ATTEMPT: "before the deferral\nafter it\n"}


def test_a_class_that_raises_while_it_reads_ends_no_sweep(
    orphans: Orphans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_asked: object) -> None:
        raise RuntimeError("403 Forbidden")  # Google's errors are no OSError

    path = write(tmp_path, "one\n")
    write(tmp_path, "two\n", ATTEMPT.replace("attempt=1", "attempt=2"))
    monkeypatch.setattr(Stock, "read", refuse)
    report = orphans.sweep()
    assert (report.files, report.waiting, report.archived) == (2, 2, 0)
    assert all("403 Forbidden" in problem for problem in report.problems)
    assert path.read_text() == "one\n"


HOLDER = "import sys\nfile = open(sys.argv[1], sys.argv[2])\nprint('open', flush=True)\nsys.stdin.read()\n"


@pytest.mark.parametrize("mode", ["a", "r"])
def test_a_file_that_another_process_has_open_is_left_alone_until_that_ends(
    orphans: Orphans, tmp_path: Path, mode: str
):
    path = write(tmp_path, "quiet for hours\n", age=7200)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "open\n"
        report = orphans.sweep()
        assert (report.busy, report.archived, Stock.bucket) == (1, 0, {})
        holder.kill()
    assert orphans.sweep().archived > 0
    assert path.read_text() == ""


def test_a_file_that_has_just_been_written_waits(orphans: Orphans, tmp_path: Path):
    write(tmp_path, "line\n", age=5)
    report = orphans.sweep()
    assert (report.busy, Stock.bucket) == (1, {})


def test_what_was_uploaded_right_before_the_death_is_not_uploaded_again(orphans: Orphans, tmp_path: Path):
    Stock.bucket[ATTEMPT] = "an earlier part\nline\n"
    path = write(tmp_path, "line\n")
    assert orphans.sweep().archived == 0
    assert Stock.bucket == {ATTEMPT: "an earlier part\nline\n"}
    assert path.read_text() == ""


def test_a_bucket_that_refuses_leaves_the_file_for_the_next_sweep(orphans: Orphans, tmp_path: Path):
    path = write(tmp_path, "line\n")
    Stock.fails = True
    report = orphans.sweep()
    assert (report.waiting, path.read_text()) == (1, "line\n")
    assert "s3://bucket/logs" in report.problems[0]
    Stock.fails = False
    assert orphans.sweep().waiting == 0
    assert Stock.bucket == {ATTEMPT: "line\n"}


def test_triggers_files_go_there_too_and_those_that_airflow_keeps_here_stay(orphans: Orphans, tmp_path: Path):
    trigger = f"{ATTEMPT}.trigger.7.log"
    write(tmp_path, "waits\n", trigger)
    parsed = write(tmp_path, "parsed\n", "dag_processor/2026-11-27/sales/report.py.log")
    orphans.sweep()
    assert Stock.bucket == {trigger: "waits\n"}
    assert parsed.read_text() == "parsed\n"


def test_a_delivered_file_is_removed_when_it_is_old_and_one_that_is_not_stays(orphans: Orphans, tmp_path: Path):
    second = ATTEMPT.replace("attempt=1", "attempt=2")
    delivered = write(tmp_path, "", age=2 * DAY)
    undelivered = write(tmp_path, "line\n", second, age=2 * DAY)
    Stock.fails = True
    assert orphans.sweep().removed == 1
    assert not delivered.exists()
    assert undelivered.read_text() == "line\n"


def test_without_room_the_oldest_goes_and_that_is_said(orphans: Orphans, tmp_path: Path):
    second = ATTEMPT.replace("attempt=1", "attempt=2")
    old = write(tmp_path, "x" * 600, age=3000)
    young = write(tmp_path, "y" * 600, second, age=300)
    Stock.fails = True
    report = orphans.sweep()
    assert (report.lost, report.lost_bytes) == (1, 600)
    assert not old.exists()
    assert young.exists()
    noted = json.loads((tmp_path / ".flowstead/lost.jsonl").read_text())
    assert (noted["file"], noted["bytes"]) == (ATTEMPT, 600)
    assert any("the bucket does not have" in problem for problem in report.problems)


def test_settings_name_everything_that_is_wrong():
    made = parse_bucket({"archive": {"url": "s3://bucket/logs/", "connection": "x"}, "local": {"days": 3, "mb": 5}})
    assert made == BucketSettings("s3://bucket/logs", "x", 3, 5 * 2**20)
    with pytest.raises(TaskLogSettingsError) as caught:
        parse_bucket({"archive": {"url": "ftp://x"}, "local": {"days": -1}, "hec": {}})
    for words in ("archive.url has to be s3://", "local.days is -1", "hec is not known"):
        assert words in str(caught.value)
    with pytest.raises(TaskLogSettingsError, match="archive is missing"):
        parse_bucket({})
