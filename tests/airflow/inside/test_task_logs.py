"""Task logs to the double of Splunk from Airflow's own supervisor, and back through Airflow's own reader."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from conftest import HOME, RUNTIME

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "molecule" / "doubles"))

from splunk_double import Reader, SplunkDouble, Token
from worker import LINES, Worker


def splunk_worker(root: Path, splunk: SplunkDouble, run: str) -> Worker:
    """A worker whose logs go to Splunk, as the platform configures it."""
    for name in ("hec", "search"):
        (root / name).write_text(f"{name}-token")
    given = {
        "environment": "test",
        "hec": {
            "url": splunk.hec_url,
            "token_file": str(root / "hec"),
            "batch_seconds": 0.2,
            "timeout_seconds": 5,
        },
        "search": {"url": splunk.search_url, "token_file": str(root / "search")},
        "indexes": {"default": "airflow", "by_bundle": {"sales": "airflow_sales"}},
    }
    (root / "task_logs.json").write_text(json.dumps(given))
    environ = {
        "FLOWSTEAD_TASK_LOGS": str(root / "task_logs.json"),
        "FLOWSTEAD_NODE": "node1",
        # Of its own, not derived from the base; below it, or nobody follows these files.
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(root / "logs" / "dag_processor"),
        "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS": "flowstead_airflow.task_logs.logging_config.LOGGING_CONFIG",
    }
    return Worker(root, run, environ)


@pytest.fixture(name="splunk", scope="module")
def _splunk() -> t.Iterator[SplunkDouble]:
    indexes = ["airflow", "airflow_sales"]
    with SplunkDouble(
        indexes=indexes,
        tokens=[Token("hec-token", indexes=indexes, index="airflow")],
        readers=[Reader(token="search-token", indexes=indexes)],
    ) as splunk:
        yield splunk


@pytest.fixture(name="worker", scope="module")
def _worker(splunk: SplunkDouble, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Worker]:
    worker = splunk_worker(tmp_path_factory.mktemp("worker"), splunk, "1")
    yield worker
    worker.end()


def until(condition: t.Callable[[], t.Any], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def sent(splunk: SplunkDouble, worker: Worker, task: str) -> list[dict[str, t.Any]]:
    source = worker.path(task).relative_to(worker.logs).as_posix()
    return [event for event in splunk.events if event["source"] == source]


def lines_of(splunk: SplunkDouble, worker: Worker, task: str) -> list[str]:
    return [event["raw"] for event in sent(splunk, worker, task)]


def test_the_image_has_the_quick_gzip_and_it_packs_what_every_gzip_unpacks(tmp_path: Path) -> None:
    import gzip  # noqa: PLC0415

    from flowstead_airflow.task_logs import events  # noqa: PLC0415

    assert events.compressobj.__module__ == "isal.isal_zlib"
    path = tmp_path / "log"
    path.write_text("".join(f'{{"timestamp":"2026-11-26T10:00:00.{n:06}Z","event":"line {n}"}}\n' for n in range(9000)))
    encoder = events.Encoder(source="s", host="h", index="i", sourcetype="t", fields={"dag_id": "d"}, segment=7)
    with path.open("rb") as log:
        batch = encoder.read(log.fileno(), 0, 10_000_000)
    sent = [json.loads(line) for line in gzip.decompress(batch.packed).splitlines()]
    assert [entry["event"] for entry in sent] == path.read_text().splitlines()
    assert batch.text() == gzip.decompress(batch.packed)
    assert [json.loads(line)["fields"]["offset"] for line in batch.part(5, 7).text().splitlines()] == batch.offsets[5:7]


def test_lines_reach_splunk_while_the_task_runs_and_come_back_in_airflows_reader(
    splunk: SplunkDouble, worker: Worker
) -> None:
    worker.tell("run", "wait")
    until(lambda: any("begun" in line for line in lines_of(splunk, worker, "wait")), "no line while the task runs")
    assert not worker.release.exists()
    worker.release.touch()
    ran = worker.answer()
    assert (ran["state"], ran["threads"]) == ("success", [])
    lines = worker.path("wait").read_text().splitlines()
    assert lines_of(splunk, worker, "wait") == lines
    event = sent(splunk, worker, "wait")[0]
    assert (event["index"], event["host"]) == ("airflow_sales", "node1")
    expected = {"dag_id": "chatty", "run_id": "manual__1", "task_id": "wait", "map_index": -1, "try_number": 1}
    expected |= {"bundle": "sales", "environment": "test", "component": "task"}
    assert event["fields"].items() >= expected.items()
    # Another host: without the file, everything comes from Splunk.
    worker.path("wait").rename(worker.logs / "kept")
    read = worker.do("read", "wait")
    # Airflow's reader sorts by time, and a printed line gets its time from the supervisor.
    assert sorted(read["lines"]) == sorted(json.loads(line)["event"] for line in lines)
    assert read["sources"][0].startswith("Splunk, index airflow_sales: dag_id=chatty/")


def test_a_splunk_that_refuses_to_search_is_told_in_the_log_pane_and_hides_nothing(
    splunk: SplunkDouble, worker: Worker
) -> None:
    shutil.copy(worker.logs / "kept", worker.path("wait"))
    splunk.settings.readers[0].may_search = False
    read = worker.do("read", "wait")
    splunk.settings.readers[0].may_search = True
    assert "needs the capability 'search'" in read["sources"][0]
    assert "ended" in read["lines"]


@pytest.mark.parametrize(
    "command",
    [("trigger", "again", "triggerer", "trigger fired"), ("parse", "dag.py", "dag_processor", "parsed")],
)
def test_logs_of_triggers_and_of_the_dag_processor_arrive_too(
    splunk: SplunkDouble, worker: Worker, command: tuple[str, str, str, str]
) -> None:
    verb, name, component, text = command
    path = worker.do(verb, name)["path"]
    until(lambda: any(event["source"] == path for event in splunk.events), f"nothing of {path}")
    (event,) = [event for event in splunk.events if event["source"] == path]
    assert event["fields"]["component"] == component
    assert json.loads(event["raw"])["event"] == text


def test_a_task_takes_its_time_whatever_splunk_does_and_the_sweeper_delivers_the_rest(
    splunk: SplunkDouble, worker: Worker
) -> None:
    seconds: dict[str, float] = {}
    ended = []
    for mode, tasks in (("up", ("quick",)), ("hang", three("hanging")), ("down", three("away"))):
        splunk.set_mode(mode)
        for task in tasks:  # other work on the machine may slow one of them, and Splunk would slow all
            ran = worker.do("run", task)
            assert (ran["state"], ran["threads"]) == ("success", [])
            text = worker.path(task).read_text()
            seconds[mode] = float(text.split('"event":"seconds ')[1].split('"')[0])
            seconds[f"{mode}, with the supervisor's end"] = round(ran["seconds"], 2)
            ended.append(task)
            if seconds[mode] < 2 * seconds["up"] + 0.5:
                break
    splunk.set_mode("up")
    print(f"\nseconds for {LINES} lines with Splunk: {seconds}")
    assert len(lines_of(splunk, worker, "quick")) == len(worker.path("quick").read_text().splitlines())
    assert seconds["hang"] < 2 * seconds["up"] + 0.5
    assert seconds["down"] < 2 * seconds["up"] + 0.5
    report = sweep(worker)
    assert report["waiting"] == 0
    for task in ended:
        assert list(dict.fromkeys(lines_of(splunk, worker, task))) == worker.path(task).read_text().splitlines()


def three(name: str) -> list[str]:
    """Tasks that do the same."""
    return [f"{name}-{number}" for number in (1, 2, 3)]


def sweep(worker: Worker) -> dict[str, t.Any]:
    command = [sys.executable, "-m", "flowstead_airflow.task_logs", "sweep", "--once"]
    ran = subprocess.run(command, env=worker.environ, check=False, capture_output=True, text=True, cwd=HOME)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return t.cast("dict[str, t.Any]", json.loads(ran.stdout))


def test_kill_9_of_supervisor_and_task_loses_no_line(splunk: SplunkDouble, tmp_path: Path) -> None:
    worker = splunk_worker(tmp_path, splunk, "2")
    try:
        worker.tell("run", "endless")
        until(lambda: len(sent(splunk, worker, "endless")) > 2000, "no lines while the task runs")
    finally:
        worker.end()  # SIGKILL to the whole session
    written = worker.path("endless").read_bytes()
    before = len(sent(splunk, worker, "endless"))
    report = sweep(worker)
    found = lines_of(splunk, worker, "endless")
    numbers = [json.loads(line)["event"] for line in dict.fromkeys(found) if '"line ' in line]
    assert numbers == [f"line {number}" for number in range(len(numbers))]
    assert len(set(found)) == len(set(written.decode().splitlines())), "every line of the file, each exactly"
    print(f"\nkill -9: {len(set(found))} lines; in Splunk before the sweep {before}, by the sweep {report['lines']}")
    assert sweep(worker)["requests"] == 0


class Bucket:
    """As S3Hook, with a bucket in memory."""

    objects: t.ClassVar[dict[str, bytes]] = {}
    broken = False

    def __init__(self, aws_conn_id: str, transfer_config_args: t.Any) -> None:
        assert aws_conn_id == "cloud"
        assert transfer_config_args

    @staticmethod
    def parse_s3_url(s3url: str) -> tuple[str, str]:
        bucket, _slash, key = s3url.removeprefix("s3://").partition("/")
        return bucket, key

    def check_for_key(self, url: str) -> bool:
        return self.parse_s3_url(url)[1] in self.objects

    def read_key(self, url: str) -> str:
        return self.objects[self.parse_s3_url(url)[1]].decode()

    def list_keys(self, bucket_name: str, prefix: str) -> list[str]:
        assert bucket_name == "bucket"
        return sorted(key for key in self.objects if key.startswith(prefix))

    def get_conn(self) -> Bucket:
        return self

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        assert Bucket == "bucket"
        if self.broken:
            raise OSError("no route to the bucket")
        self.objects[Key] = Body


def test_airflows_own_s3_class_is_the_archive_and_never_touches_the_log_file(
    splunk: SplunkDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.amazon.aws.log import s3_task_handler  # noqa: PLC0415
    from flowstead_airflow.task_logs.remote import SplunkRemoteLogIO  # noqa: PLC0415
    from flowstead_airflow.task_logs.settings import parse  # noqa: PLC0415
    from flowstead_airflow.task_logs.sweeper import Sweeper  # noqa: PLC0415

    monkeypatch.setattr(s3_task_handler, "S3Hook", Bucket)
    monkeypatch.delenv("AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID", raising=False)
    (tmp_path / "token").write_text("hec-token")
    content = {
        "environment": "test",
        "hec": {"url": splunk.hec_url, "token_file": str(tmp_path / "token")},
        "indexes": {"default": "airflow"},
        "archive": {"url": "s3://bucket/logs", "connection": "cloud"},
    }
    given = parse(content, "node1")
    logs = tmp_path / "logs"
    relative = "dag_id=a/run_id=r/task_id=t/attempt=1.log"
    path = logs / relative
    path.parent.mkdir(parents=True)
    remote = SplunkRemoteLogIO(given, logs)
    path.write_text('{"event":"before the deferral"}\n')
    remote.upload(relative)
    with path.open("a") as file:
        file.write('{"event":"after it"}\n')
    monkeypatch.setattr(Bucket, "broken", True)
    remote.upload(relative)
    assert Bucket.objects[f"logs/{relative}"].count(b"event") == 1
    monkeypatch.setattr(Bucket, "broken", False)
    report = Sweeper(given, logs).sweep()
    assert (report.waiting, report.archived) == (0, len('{"event":"after it"}\n'))
    assert path.read_bytes() == Bucket.objects[f"logs/{relative}"]
    sources, streams = remote.stream(relative, None)
    assert sources == [f"s3://bucket/logs/{relative}"]
    assert [line for line in streams[0] if line] == path.read_text().splitlines()


def test_wrong_settings_end_a_command_with_all_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"hec": {"url": "splunk"}}')
    environ = {
        **os.environ,
        "PYTHONPATH": str(RUNTIME),
        "FLOWSTEAD_TASK_LOGS": str(tmp_path / "bad.json"),
        "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS": "flowstead_airflow.task_logs.logging_config.LOGGING_CONFIG",
    }
    command = [sys.executable, "-c", "import airflow.settings; airflow.settings.initialize()"]
    ran = subprocess.run(command, env=environ, check=False, capture_output=True, text=True)
    assert ran.returncode != 0
    for problem in ("environment is missing", "hec.url has to be", "indexes is missing"):
        assert problem in ran.stderr
