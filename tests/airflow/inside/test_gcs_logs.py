"""Task logs in a bucket by Airflow's own GCS class, set up by the variables that the platform gives its components.

In an environment of its own, because the image has no provider for Google Cloud: test_inside.py says which.
"""

from __future__ import annotations

import json
import os
import time
import typing as t
from pathlib import Path

import pytest
from gcs_double import NEEDED, GcsDouble
from splunk_double import SplunkDouble
from told import Commands, Told
from worker import LINES, Worker

BUCKET, PREFIX = "logs.example.com", "airflow"
URL = f"gs://{BUCKET}/{PREFIX}"
#: The emulator's program, in an environment of its own: test_inside.py says where.
PROGRAM = "FLOWSTEAD_TEST_GCS_SERVER"
STOCK = "airflow.providers.google.cloud.log.gcs_task_handler"


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[GcsDouble]:
    server = GcsDouble(tmp_path_factory.mktemp("gcs") / "log", BUCKET, PREFIX, emulator=[os.environ[PROGRAM]])
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _found(server: GcsDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's library goes to this server, and no further."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
    monkeypatch.setenv("NO_GCE_CHECK", "true")


def sweep(command: Commands, verb: str, logs: Path) -> dict[str, t.Any]:
    """What one sweep tells, and its exit status."""
    status, said = command(verb, "--once", "--logs", str(logs))
    (line,) = [line for line in said.splitlines() if line.startswith("{")]
    return {**json.loads(line), "status": status}


class Alone(t.NamedTuple):
    """A worker whose only sink is the bucket, by the identity of its host."""

    worker: Worker
    sweeper: Commands
    identity: Path


@pytest.fixture(name="alone", scope="module")
def _alone(server: GcsDouble, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Alone]:
    root = tmp_path_factory.mktemp("alone")
    identity = root / "identity.json"
    identity.write_text(json.dumps(server.key))
    told = Told(root, server, None)
    google = {"STORAGE_EMULATOR_HOST": server.url, "GOOGLE_APPLICATION_CREDENTIALS": str(identity)}
    with Commands({**told.environ("log-sweeper"), **google}, STOCK) as sweeper:
        worker = Worker(root, "gcs", {**told.environ("worker", "api-server"), **google})
        yield Alone(worker, sweeper, identity)
        worker.end()


def test_a_tasks_log_is_in_the_bucket_at_its_end_and_comes_back_without_the_file(
    server: GcsDouble, alone: Alone
) -> None:
    worker = alone.worker
    assert worker.do("run", "quick")["state"] == "success"
    key = f"{PREFIX}/{worker.path('quick').relative_to(worker.logs)}"
    lines = [json.loads(line)["event"] for line in server.objects()[key].splitlines()]
    assert [line for line in lines if line.startswith("line ")] == [f"line {number}" for number in range(LINES)]
    assert worker.path("quick").read_text() == "", "Airflow's class empties what it has uploaded"
    worker.path("quick").unlink()  # another host
    read = worker.do("read", "quick")
    assert any(f"gs://{BUCKET}/{key}" in source for source in read["sources"])
    assert len([line for line in read["lines"] if line.startswith("line ")]) == LINES


def test_kill_9_leaves_the_log_to_the_sweeper_which_appends_it_once(server: GcsDouble, alone: Alone) -> None:
    worker, sweeper, identity = alone
    path = worker.path("wait")
    key = f"{PREFIX}/{path.relative_to(worker.logs)}"

    def sweep_later() -> dict[str, t.Any]:
        os.utime(path, (path.stat().st_mtime - 3600,) * 2)  # it has been quiet for an hour
        return sweep(sweeper, "sweep-bucket", worker.logs)

    worker.tell("run", "wait")
    deadline = time.monotonic() + 120
    while not path.exists() or "begun" not in path.read_text():
        assert time.monotonic() < deadline, "the task did not print"
        time.sleep(0.2)
    report = sweep_later()
    assert (report["busy"], report["archived"], key in server.objects()) == (1, 0, False)
    identity.write_text(json.dumps(server.stranger))
    worker.end()
    written = path.read_text()
    deadline = time.monotonic() + 60
    while (report := sweep_later())["busy"]:
        assert time.monotonic() < deadline, "the task did not die"
    assert (report["status"], report["waiting"], report["archived"]) == (1, 1, 0), "this identity may do nothing"
    assert any("storage.objects" in problem for problem in report["problems"]), report
    assert path.read_text() == written
    identity.write_text(json.dumps(server.key))  # a person has put it right
    server.put(key, "what the attempt printed before it was deferred")
    report = sweep_later()
    assert (report["status"], report["archived"], report["waiting"]) == (0, len(written.encode()), 0), report
    assert server.objects()[key] == f"what the attempt printed before it was deferred\n{written}"
    assert path.read_text() == ""
    path.write_text(written)  # as if the sweeper had died before it emptied the file
    report = sweep_later()
    assert (report["status"], report["archived"], path.read_text()) == (0, 0, ""), report
    assert server.objects()[key].count("begun") == 1


def test_beside_splunk_a_bucket_that_refuses_costs_nothing_and_the_sweeper_fills_it_later(
    server: GcsDouble, splunk: SplunkDouble, tmp_path: Path
) -> None:
    before = server.objects()
    told = Told(tmp_path, server, server.stranger, splunk)
    sweeper = Commands(told.environ("log-sweeper"), STOCK)
    worker = Worker(tmp_path, "denied", told.environ("worker", "api-server"))
    path = worker.path("quick")
    key = f"{PREFIX}/{path.relative_to(worker.logs)}"
    try:
        assert worker.do("run", "quick")["state"] == "success"
        written = path.read_text()
        assert written.count('"event":"line ') == LINES
        assert [event["raw"] for event in splunk.events] == written.splitlines()
        assert server.objects() == before
        assert sweep(sweeper, "sweep", worker.logs)["status"] == 1
        assert server.objects() == before
        told.give(server.key)  # a person has put it right
        report = sweep(sweeper, "sweep", worker.logs)
        assert report["status"] == 0, report
        assert server.objects()[key] == path.read_text() == written
        assert len(splunk.events) == len(written.splitlines()), "Splunk gets nothing twice"
        path.unlink()  # another host; Splunk is not searched here, so the lines are the bucket's
        read = worker.do("read", "quick")
        assert any(f"gs://{BUCKET}/{key}" in source for source in read["sources"])
        assert [line for line in read["lines"] if line.startswith("line ")] == [f"line {one}" for one in range(LINES)]
    finally:
        worker.end()
        sweeper.end()


def test_the_job_that_tries_the_bucket_names_what_is_wrong_and_leaves_nothing(
    server: GcsDouble, tmp_path: Path
) -> None:
    told = Told(tmp_path, server, server.key)
    connections = tmp_path / "connections.json"
    identity = tmp_path / "identity.json"
    more = {"GOOGLE_APPLICATION_CREDENTIALS": str(identity)}  # for the key that is not given at the end
    with Commands({**told.environ("logs-bucket"), **more}) as command:
        before = server.objects()
        status, said = command("try-bucket", URL)
        assert (status, said.splitlines()[-1]) == (0, f"task logs: {URL} takes objects and shows them"), said
        assert "deleted" not in said
        assert server.objects() == before
        wrong = [
            (server.account(f"no-{what}", NEEDED - {what}), BUCKET, f"could not {step}: it is not allowed", permission)
            for what, step, permission in (
                ("list", "look", "storage.objects.list"),
                ("create", "write", "storage.objects.create"),
                ("delete", "replace", "storage.objects.delete"),
                ("get", "read", "storage.objects.get"),
            )
        ]
        others = {**server.key, "private_key": server.stranger["private_key"]}
        unknown = {**server.key, "client_email": "nobody@data.iam.gserviceaccount.com"}
        wrong += [
            (others, BUCKET, "gcs.key", "Invalid JWT Signature"),
            (unknown, BUCKET, "gcs.key", "account not found"),
            ({**server.key, "private_key": "no-PEM"}, BUCKET, "could not sign in", "gcs.key"),
            (server.key, "no-such-bucket", "could not look: there is no such bucket", "gcs.url"),
            ({**server.key, "token_uri": "http://127.0.0.1:1/token"}, BUCKET, "nobody answers there", "firewalls"),
        ]
        for key, bucket, *words in wrong:
            told.give(key)
            status, said = command("try-bucket", f"gs://{bucket}/{PREFIX}")
            assert status == 1, said
            assert all(word in said for word in words), said
            assert key["private_key"] not in said
        given = json.loads(connections.read_text())
        given["flowstead_logs"]["extra"] = {"project": "data"}
        connections.write_text(json.dumps(given))
        status, said = command("try-bucket", URL)
        assert (status, "there are no credentials" in said, "workload identity" in said) == (1, True, True), said
        identity.write_text(json.dumps(server.key))
        assert command("try-bucket", URL)[0] == 0
        kept = {key: text for key, text in server.objects().items() if ".flowstead-try-" not in key}
        assert kept == before
