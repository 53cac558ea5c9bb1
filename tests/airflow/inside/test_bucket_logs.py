"""Task logs in a bucket by Airflow's own S3 class, set up by the variables that the platform gives its components."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from s3_server import S3Server
from splunk_double import SplunkDouble
from told import Commands, Told
from worker import LINES, Worker

BUCKET, PREFIX = "logs.example.com", "airflow"
URL = f"s3://{BUCKET}/{PREFIX}"


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3") / "server", BUCKET, PREFIX)
    yield server
    server.close()


def test_a_tasks_log_is_in_the_bucket_at_its_end_and_comes_back_without_the_file(
    server: S3Server, tmp_path: Path
) -> None:
    worker = Worker(tmp_path, "s3", Told(tmp_path, server, server.key).environ("worker", "api-server"))
    try:
        assert worker.do("run", "quick")["state"] == "success"
        key = f"{PREFIX}/{worker.path('quick').relative_to(worker.logs)}"
        lines = [json.loads(line)["event"] for line in server.objects()[key].splitlines()]
        assert [line for line in lines if line.startswith("line ")] == [f"line {number}" for number in range(LINES)]
        assert worker.path("quick").read_text() == "", "Airflow's class empties what it has uploaded"
        assert server.encryption(key) == "AES256"
        worker.path("quick").unlink()  # another host
        read = worker.do("read", "quick")
        assert any(f"s3://{BUCKET}/{key}" in source for source in read["sources"])
        assert len([line for line in read["lines"] if line.startswith("line ")]) == LINES
    finally:
        worker.end()


def test_beside_splunk_a_bucket_that_refuses_costs_nothing_and_the_sweeper_fills_it_later(
    server: S3Server, splunk: SplunkDouble, tmp_path: Path
) -> None:
    before = server.objects()
    told = Told(tmp_path, server, server.key, splunk)
    told.give(server.stranger)
    worker = Worker(tmp_path, "denied", told.environ("worker", "api-server"))
    try:
        assert worker.do("run", "quick")["state"] == "success"
    finally:
        worker.end()
    written = worker.path("quick").read_text()
    assert written.count('"event":"line ') == LINES
    assert [event["raw"] for event in splunk.events] == written.splitlines()
    assert server.objects() == before
    environ = {**worker.environ, **told.environ("log-sweeper")}
    command = [sys.executable, "-m", "flowstead_airflow.task_logs", "sweep", "--once", "--logs", str(worker.logs)]
    denied = subprocess.run(command, env=environ, check=False, capture_output=True, text=True)
    assert denied.returncode == 1
    assert server.objects() == before
    told.give(server.key)  # a person has put it right
    done = subprocess.run(command, env=environ, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    key = f"{PREFIX}/{worker.path('quick').relative_to(worker.logs)}"
    assert server.objects()[key] == worker.path("quick").read_text() == written
    assert len(splunk.events) == len(written.splitlines()), "Splunk gets nothing twice"


def test_kill_9_of_supervisor_and_task_leaves_the_log_to_the_sweeper_and_a_living_one_keeps_it(
    server: S3Server, tmp_path: Path
) -> None:
    told = Told(tmp_path, server, server.key)
    worker = Worker(tmp_path, "killed", told.environ("worker"))
    environ = {**worker.environ, **told.environ("log-sweeper")}
    command = [
        *(sys.executable, "-m", "flowstead_airflow.task_logs", "sweep-bucket", "--once"),
        *("--logs", str(worker.logs)),
    ]

    def sweep() -> dict[str, t.Any]:
        os.utime(path, (path.stat().st_mtime - 3600,) * 2)  # it has been quiet for an hour
        done = subprocess.run(command, env=environ, check=False, capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stderr
        return t.cast("dict[str, t.Any]", json.loads(done.stdout.splitlines()[-1]))

    try:
        worker.tell("run", "wait")
        path = worker.path("wait")
        deadline = time.monotonic() + 120
        while not path.exists() or "begun" not in path.read_text():
            assert time.monotonic() < deadline, "the task did not print"
            time.sleep(0.2)
        key = f"{PREFIX}/{path.relative_to(worker.logs)}"
        report = sweep()
        assert (report["busy"], report["archived"], key in server.objects()) == (1, 0, False)
    finally:
        worker.end()
    written = path.read_text()
    report = sweep()
    assert (report["archived"], report["waiting"]) == (len(written.encode()), 0), report
    assert server.objects()[key] == written
    assert server.encryption(key) == "AES256"
    assert path.read_text() == ""


def test_the_job_that_tries_the_bucket_names_what_is_wrong_and_leaves_nothing(server: S3Server, tmp_path: Path) -> None:
    told = Told(tmp_path, server, server.key)
    connections = tmp_path / "connections.json"
    with Commands(told.environ("logs-bucket")) as command:
        before = server.objects().keys()
        status, said = command("try-bucket", URL)
        assert (status, "takes objects and shows them" in said) == (0, True), said
        left = server.objects().keys() - before
        assert ("could not be deleted" in said) == bool(left), "this user may not delete, which is no reason to stop"
        before = server.objects().keys()
        for key, bucket, words in (
            (server.stranger, BUCKET, "s3:PutObject"),
            ({**server.key, "aws_secret_access_key": "wrong-secret"}, BUCKET, "s3.secret_access_key"),
            ({**server.key, "aws_access_key_id": "AKIAUNKNOWN"}, BUCKET, "s3.access_key_id"),
            (server.key, "no-such-bucket", "could not look"),
        ):
            told.give(key)
            status, said = command("try-bucket", f"s3://{bucket}/{PREFIX}")
            assert (status, words in said) == (1, True), said
            assert key["aws_secret_access_key"] not in said
        given = connections.read_text()
        for change, words in (
            ((f', "verify": "{server.authority}"', ""), "s3.ca_certificate"),
            ((f":{server.port}", ":1"), "s3.endpoint_url"),
        ):
            connections.write_text(given.replace(*change))
            assert connections.read_text() != given
            status, said = command("try-bucket", URL)
            assert (status, words in said) == (1, True), said
        assert server.objects().keys() == before
