"""What died is delivered, what is old goes, and nothing is removed in silence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flowstead_airflow.task_logs import __main__ as program
from flowstead_airflow.task_logs.delivery import Delivery
from flowstead_airflow.task_logs.sweeper import Sweeper
from task_logs_place import ATTEMPT, Place

RUNTIME = Path(__file__).resolve().parents[5] / "roles/airflow/files/runtime"
DAY = 86400


#: Ages count from one moment: a clock that is set while tests run must not change which file is older.
NOW = time.time()


def age(path: Path, seconds: float) -> None:
    then = NOW - seconds
    os.utime(path, (then, then))


def attempt(number: int) -> str:
    return ATTEMPT.replace("attempt=1", f"attempt={number}")


SUPERVISOR = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from flowstead_airflow.task_logs.sender import Sender
from flowstead_airflow.task_logs.settings import Endpoint, TaskLogSettings
logs, url, token, relative, count = Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), sys.argv[5], int(sys.argv[6])
given = TaskLogSettings(environment="test", stack="airflow", node="node1", hec=Endpoint(url, token, timeout=5),
                        index="airflow", batch_seconds=0.05)
sender = Sender(given, logs)
path = logs / relative
path.parent.mkdir(parents=True, exist_ok=True)
class Logger: _file = path.open("ab")
for number in range(count):
    sender.processor(Logger, "info", {})
    Logger._file.write(b'{"timestamp":"2026-11-26T10:00:00Z","event":"%d"}\\n' % number)
    Logger._file.flush()
    if number == count // 2: time.sleep(0.3)
print("written", flush=True)
time.sleep(60)
"""


def supervisor(place: Place, relative: str, count: int) -> subprocess.Popen[bytes]:
    arguments = [str(RUNTIME), str(place.logs), place.splunk.hec_url, str(place.token), relative, str(count)]
    process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, *arguments], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    return process


def test_after_kill_9_a_sweep_delivers_every_line(place: Place) -> None:
    process = supervisor(place, ATTEMPT, 5000)
    process.kill()
    process.wait()
    before = len(place.found())
    report = Sweeper(place.given, place.logs).sweep()
    found = place.found()
    assert list(dict.fromkeys(found)) == [str(number) for number in range(5000)]
    print(f"\n5,000 lines, kill -9: {before} were in Splunk, {report.lines} by the sweep, {len(found) - 5000} twice")
    assert report.waiting == 0
    assert Sweeper(place.given, place.logs).sweep().requests == 0


def test_a_living_supervisor_is_left_alone(place: Place) -> None:
    place.splunk.set_mode("busy")
    process = supervisor(place, ATTEMPT, 100)
    try:
        # The sweeper's own requests would be counted as its own also now.
        report = Sweeper(place.given, place.logs).sweep()
        assert (report.busy, report.requests, report.removed, report.waiting) == (1, 0, 0, 0)
        place.splunk.set_mode("up")
    finally:
        process.kill()
        process.wait()
    Sweeper(place.given, place.logs).sweep()
    assert list(dict.fromkeys(place.found())) == [str(number) for number in range(100)]


def test_a_file_without_a_mark_is_delivered_from_its_begin(place: Place) -> None:
    place.write(ATTEMPT, "one", "two")
    report = Sweeper(place.given, place.logs).sweep()
    assert (place.found(), report.lines, report.waiting) == (["one", "two"], 2, 0)


def test_what_splunk_does_not_take_waits_for_the_next_sweep(place: Place) -> None:
    for number in range(1, 6):
        place.write(attempt(number), "line")
    place.splunk.set_mode("busy")
    sweeper = Sweeper(place.given, place.logs)
    report = sweeper.sweep()
    assert (report.waiting, report.requests) == (5, 1), "a Splunk that is away is asked once in a sweep"
    assert any("Server is busy" in problem for problem in report.problems)
    place.splunk.set_mode("up")
    assert sweeper.sweep().lines == 5


def test_delivered_files_go_when_they_are_old_with_their_marks_and_empty_directories(place: Place) -> None:
    old, young = place.write(attempt(1), "old"), place.write(f"x/{attempt(2)}", "young")
    sweeper = Sweeper(place.given, place.logs)
    sweeper.sweep()
    age(old, 15 * DAY)
    age(young, 13 * DAY)
    report = sweeper.sweep()
    assert (report.removed, old.exists(), young.exists()) == (1, False, True)
    later = Sweeper(place.given, place.logs, clock=lambda: time.time() + 7200)
    later.sweep()
    assert not (place.logs / "dag_id=sales").exists()
    assert young.exists()
    marks = [path.name for path in (place.logs / ".flowstead/marks").rglob("*.mark")]
    assert marks == ["attempt=2.log.mark"]


def test_an_old_file_that_is_not_delivered_stays(place: Place) -> None:
    path = place.write(ATTEMPT, "line")
    age(path, 100 * DAY)
    place.splunk.set_mode("down")
    report = Sweeper(place.given, place.logs).sweep()
    assert (report.waiting, report.removed, report.lost, path.exists()) == (1, 0, 0, True)


def test_want_of_room_takes_delivered_files_first_and_tells_of_every_loss(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [place.write(attempt(number), "x" * 1000) for number in range(1, 5)]
    delivery = Delivery(place.given, place.logs)
    for number in (3, 4):
        file = delivery.open(attempt(number))
        assert file is not None
        delivery.step(file)
        file.close()
    for number, path in enumerate(paths):
        age(path, DAY - number)
    place.splunk.set_mode("down")
    size = paths[0].stat().st_size
    report = Sweeper(place.change(local_bytes=2 * size), place.logs).sweep()
    assert [path.exists() for path in paths] == [True, True, False, False]
    assert (report.removed, report.lost) == (2, 0)
    report = Sweeper(place.change(local_bytes=size), place.logs).sweep()
    assert [path.exists() for path in paths] == [False, True, False, False]
    assert (report.lost, report.lost_bytes) == (1, size)
    assert "LOST" in caplog.text
    (entry,) = (place.logs / ".flowstead/lost.jsonl").read_text().splitlines()
    assert json.loads(entry)["bytes"] == size


def test_a_young_file_is_not_removed_for_want_of_room(place: Place) -> None:
    path = place.write(ATTEMPT, "x" * 1000)
    report = Sweeper(place.change(local_bytes=10), place.logs).sweep()
    assert path.exists()
    assert any("more than local.mb allows" in problem for problem in report.problems)


def test_links_and_other_files_are_not_touched(place: Place) -> None:
    place.write("dag_processor/2026-11-26/sales/dag.py.log", "parsed")
    (place.logs / "dag_processor/latest").symlink_to("2026-11-26")
    (place.logs / "notes.txt").write_text("mine")
    (place.logs / "link.log").symlink_to("/etc/hostname")
    report = Sweeper(place.given, place.logs).sweep()
    assert (report.files, place.found()) == (1, ["parsed"])
    assert (place.logs / "notes.txt").exists()


def test_two_sweepers_do_not_work_at_the_same_time(place: Place) -> None:
    place.write(ATTEMPT, "line")
    script = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'a'); fcntl.lockf(file, fcntl.LOCK_EX);"
        "print('held', flush=True); time.sleep(30)"
    )
    (place.logs / ".flowstead").mkdir()
    lock = str(place.logs / ".flowstead/sweeper.lock")
    with subprocess.Popen([sys.executable, "-c", script, lock], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        report = Sweeper(place.given, place.logs).sweep()
        process.kill()
    assert report.skipped
    assert place.found() == []


def test_the_program_reports_in_json_and_by_its_status(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = {
        "environment": "test",
        "hec": {"url": place.splunk.hec_url, "token_file": str(place.token)},
        "indexes": {"default": "airflow"},
    }
    settings = tmp_path / "task_logs.json"
    settings.write_text(json.dumps(content))
    monkeypatch.setenv("FLOWSTEAD_TASK_LOGS", str(settings))
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(place.logs))
    place.write(ATTEMPT, "line")
    place.splunk.set_mode("busy")
    assert program.main(["sweep"]) == 1
    place.splunk.set_mode("up")
    assert program.main(["sweep", "--once"]) == 0
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [report["lines"] for report in reports] == [0, 1]
    settings.write_text("{}")
    assert program.main(["sweep"]) == 2
    assert "environment is missing" in capsys.readouterr().err


def test_the_program_sweeps_again_and_again_until_it_is_told_to_end(place: Place, tmp_path: Path) -> None:
    content = {
        "environment": "test",
        "hec": {"url": place.splunk.hec_url, "token_file": str(place.token)},
        "indexes": {"default": "airflow"},
    }
    (tmp_path / "task_logs.json").write_text(json.dumps(content))
    environ = {**os.environ, "FLOWSTEAD_TASK_LOGS": str(tmp_path / "task_logs.json"), "PYTHONPATH": str(RUNTIME)}
    command = [sys.executable, "-m", "flowstead_airflow.task_logs", "sweep", "--every", "0.1"]
    command += ["--logs", str(place.logs)]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 20
        for number in (1, 2):
            place.write(attempt(number), "line")
            while len(place.found()) < number:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        process.terminate()
        assert process.wait(10) == 0
