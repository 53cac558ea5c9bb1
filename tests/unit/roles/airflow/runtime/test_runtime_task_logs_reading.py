"""Lines back from Splunk, and the class that Airflow asks."""

from __future__ import annotations

import dataclasses
import json
import socket
import types
import typing as t
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path

import pytest
from flowstead_airflow.task_logs.delivery import Delivery, all_of
from flowstead_airflow.task_logs.events import Encoder
from flowstead_airflow.task_logs.remote import SplunkRemoteLogIO
from flowstead_airflow.task_logs.search import Search, SearchError, Wanted
from flowstead_airflow.task_logs.settings import Endpoint, TaskLogSettings
from task_logs_place import ATTEMPT, Place, Stock

BEGIN = datetime(2026, 11, 26, 10, tzinfo=timezone.utc)
TRIGGER = f"{ATTEMPT}.trigger.7.log"


def ti(**values: t.Any) -> t.Any:
    given = {
        "state": "success",
        "try_number": 1,
        "hostname": "gone.invalid",
        "queued_dttm": BEGIN,
        "start_date": BEGIN,
        "end_date": BEGIN + timedelta(hours=1),
        "dag_version": types.SimpleNamespace(bundle_name="other"),
        "triggerer_job": None,
    }
    return types.SimpleNamespace(**{**given, **values})


def put(place: Place, relative: str, *texts: str, bundle: str = "", **settings: t.Any) -> None:
    """Deliver a file, and remove it from this host."""
    place.write(relative, *texts)
    delivery = Delivery(dataclasses.replace(place.given, **settings), place.logs)
    file = delivery.open(relative, bundle)
    assert file is not None
    for _batch in all_of(delivery, file):
        pass
    (place.logs / relative).unlink()
    file.close(remove_mark=True)


def wanted(**values: t.Any) -> Wanted:
    return Wanted(**{"index": "airflow", "environment": "test", "source": ATTEMPT, **values})


def texts(lines: t.Iterable[str]) -> list[str]:
    return [json.loads(line)["event"] for line in lines]


@pytest.fixture(name="search")
def _search(place: Place) -> Search:
    assert place.given.search
    return Search(place.given.search)


@pytest.fixture(name="remote")
def _remote(place: Place) -> t.Iterator[SplunkRemoteLogIO]:
    remote = SplunkRemoteLogIO(place.given, place.logs, (1, 1))
    yield remote
    remote.sender.stop()


def test_lines_come_back_in_the_files_order_also_within_one_moment(place: Place, search: Search) -> None:
    put(place, ATTEMPT, *(f"line {number}" for number in range(2000)))
    assert texts(search.lines(wanted())) == [f"line {number}" for number in range(2000)]


def test_a_batch_that_came_twice_is_shown_once(place: Place, search: Search) -> None:
    put(place, ATTEMPT, "one", "one", "two")
    put(place, ATTEMPT, "one", "one", "two")
    assert len(place.splunk.events) == 6
    assert texts(search.lines(wanted())) == ["one", "one", "two"]


def test_files_of_one_attempt_on_two_hosts_follow_each_other(place: Place, search: Search) -> None:
    second = place.logs / ATTEMPT
    second.parent.mkdir(parents=True)
    second.write_bytes(place.line("resumed", 100) + place.line("done", 101))
    delivery = Delivery(dataclasses.replace(place.given, node="node2"), place.logs)
    file = delivery.open(ATTEMPT)
    assert file is not None
    list(all_of(delivery, file))
    second.unlink()
    file.close(remove_mark=True)
    put(place, ATTEMPT, "begun", "deferred")
    assert texts(search.lines(wanted())) == ["begun", "deferred", "resumed", "done"]


@pytest.mark.parametrize(
    "run_id",
    [
        '" OR index=* source="*',
        "x | delete",
        "x\\",
        'x\\" | outputlookup y',
        "[search index=*]",
        "`macro`",
        "a*b",
        "ünïcode \U0001f600",
        "two\nlines",
        "scheduled__2026-11-26T00:00:00+00:00",
        "",
    ],
)
def test_a_run_id_of_any_kind_finds_its_own_lines_and_no_others(place: Place, search: Search, run_id: str) -> None:
    for other in (run_id, run_id.upper() + "_", "another", "aXXb"):
        encoder = Encoder(
            source=f"run_id={other}/attempt=1.log",
            host="n",
            index="airflow",
            sourcetype="s",
            fields={"environment": "test"},
            segment=1,
        )
        path = place.write("x.log", f"of {other}", mode="wb")
        delivery = Delivery(place.given, place.logs)
        with path.open("rb") as file:
            assert delivery.hec.post(encoder.read(file.fileno(), 0, 4096).packed).code == 0
    found = texts(search.lines(wanted(source=f"run_id={run_id}/attempt=1.log")))
    assert found == [f"of {run_id}"]


def test_lines_of_another_environment_and_another_case_are_not_shown(place: Place, search: Search) -> None:
    put(place, ATTEMPT, "ours")
    put(place, ATTEMPT, "theirs", environment="prod")
    put(place, ATTEMPT.replace("sales", "SALES"), "loud")
    assert texts(search.lines(wanted())) == ["ours"]


def test_times_bound_the_search(place: Place, search: Search) -> None:
    put(place, ATTEMPT, "in time")
    assert texts(search.lines(wanted(earliest=BEGIN, latest=BEGIN + timedelta(minutes=1)))) == ["in time"]
    assert texts(search.lines(wanted(earliest=BEGIN + timedelta(minutes=1)))) == []


def test_reading_begins_with_the_first_lines_and_stops_when_nobody_reads_on(place: Place, search: Search) -> None:
    put(place, ATTEMPT, *(f"line {number}" for number in range(3000)))
    lines = search.lines(wanted())
    assert texts(islice(lines, 3)) == ["line 0", "line 1", "line 2"]
    t.cast("t.Generator[str, None, None]", lines).close()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"url": "http://127.0.0.1:1"}, "refused"),
        ({"token_file": Path("/nonexistent")}, "No such file"),
        ({"ca_file": Path("/nonexistent"), "url": "https://127.0.0.1:1"}, "No such file"),
    ],
)
def test_a_splunk_that_cannot_be_asked_is_an_error_with_its_reason(
    place: Place, change: dict[str, t.Any], expected: str
) -> None:
    assert place.given.search
    with pytest.raises(SearchError, match=expected):
        list(Search(dataclasses.replace(place.given.search, **change)).lines(wanted()))


def test_a_refused_search_says_what_to_do(place: Place, search: Search) -> None:
    place.splunk.settings.readers[0].may_search = False
    with pytest.raises(SearchError, match=r"HTTP 403.*capability 'search'"):
        list(search.lines(wanted()))
    place.splunk.settings.readers.clear()
    with pytest.raises(SearchError, match=r"HTTP 401.*search\.token_file"):
        list(search.lines(wanted()))
    assert place.given.search
    wrong = dataclasses.replace(place.given.search, url=place.splunk.hec_url)
    with pytest.raises(SearchError, match=r"HTTP 404.*8089"):
        list(Search(wrong).lines(wanted()))


def test_a_finished_attempt_is_read_with_its_triggers(place: Place, remote: SplunkRemoteLogIO) -> None:
    put(place, ATTEMPT, "begun", "done")
    put(place, TRIGGER, "fired")
    put(place, ATTEMPT.replace("attempt=1", "attempt=11"), "another attempt")
    sources, streams = remote.stream(ATTEMPT, ti())
    assert [texts(stream) for stream in streams] == [["begun", "done"], ["fired"]]
    assert sources == [f"Splunk, index airflow: {ATTEMPT}", f"Splunk, index airflow: {TRIGGER[:-6]}*"]
    messages, whole = remote.read(ATTEMPT, ti())
    assert messages == sources
    assert whole is not None
    assert texts(whole[0].split("\n")) == ["begun", "done"]


def test_lines_are_found_in_the_bundles_index_and_else_in_the_default_one(
    place: Place, remote: SplunkRemoteLogIO
) -> None:
    put(place, ATTEMPT, "known", bundle="sales")
    put(place, TRIGGER, "not known")
    sales = ti(dag_version=types.SimpleNamespace(bundle_name="sales"))
    assert [texts(one) for one in remote.stream(ATTEMPT, sales)[1]] == [["known"], ["not known"]]
    assert [texts(one) for one in remote.stream(ATTEMPT, ti(dag_version=None))[1]] == [["known"], ["not known"]]


def test_a_task_instance_of_another_attempt_does_not_bound_the_times(place: Place, remote: SplunkRemoteLogIO) -> None:
    put(place, ATTEMPT, "old")
    late = ti(try_number=2, queued_dttm=BEGIN + timedelta(days=3), start_date=BEGIN + timedelta(days=3), end_date=None)
    assert [texts(one) for one in remote.stream(ATTEMPT, late)[1]] == [["old"]]


@pytest.mark.parametrize("mode", ["down", "hang"])
def test_a_splunk_that_is_away_gives_a_message_and_leaves_the_rest_to_airflow(place: Place, mode: str) -> None:
    assert place.given.search
    place.change(search=dataclasses.replace(place.given.search, timeout=0.5))
    place.splunk.set_mode(mode, "search")
    sources, streams = SplunkRemoteLogIO(place.given, place.logs).stream(ATTEMPT, ti())
    assert streams == []
    assert len(sources) == 1
    assert "Splunk did not give the lines" in sources[0]
    place.splunk.set_mode("up", "search")


def test_an_answer_that_breaks_off_says_so_after_the_lines_that_came(place: Place) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    raw = json.dumps({"timestamp": BEGIN.isoformat(), "event": "one"})
    line = json.dumps({"result": {"source": ATTEMPT, "_raw": raw, "segment": "1", "offset": "0"}}).encode() + b"\n"

    def answer() -> None:
        link, _peer = server.accept()
        link.recv(65536)
        link.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + line + b'{"resu')
        link.close()

    import threading  # noqa: PLC0415

    thread = threading.Thread(target=answer)
    thread.start()
    token = place.given.hec.token_file
    place.change(search=Endpoint(f"http://127.0.0.1:{server.getsockname()[1]}", token, timeout=20))
    remote = SplunkRemoteLogIO(place.given, place.logs)
    _sources, streams = remote._from_splunk(ATTEMPT, ti(), False)[::-1]
    found = texts(streams[0])  # type: ignore[arg-type]
    assert found[0] == "one"
    assert "broke off" in found[1]
    thread.join()
    server.close()


def test_no_lines_yet_is_a_message_too(place: Place, remote: SplunkRemoteLogIO) -> None:
    sources, streams = remote.stream(ATTEMPT, ti())
    assert (len(sources), streams) == (1, [])
    assert "no lines of this attempt in airflow" in sources[0]


def test_a_running_task_is_left_to_its_worker_while_that_one_answers(place: Place) -> None:
    put(place, ATTEMPT, "line")
    put(place, TRIGGER, "fired")
    with socket.create_server(("127.0.0.1", 0)) as server:
        remote = SplunkRemoteLogIO(place.given, place.logs, (server.getsockname()[1], 1))
        running = ti(state="running", hostname="127.0.0.1", end_date=None)
        assert [texts(one) for one in remote.stream(ATTEMPT, running)[1]] == [["fired"]]
    assert [texts(one) for one in remote.stream(ATTEMPT, running)[1]] == [["line"], ["fired"]]


def test_a_deferred_task_has_its_first_lines_from_splunk_and_the_others_from_the_triggerer(place: Place) -> None:
    put(place, ATTEMPT, "deferred")
    put(place, TRIGGER, "waiting")
    with socket.create_server(("127.0.0.1", 0)) as server:
        remote = SplunkRemoteLogIO(place.given, place.logs, (1, server.getsockname()[1]))
        job = types.SimpleNamespace(hostname="127.0.0.1")
        deferred = ti(state="deferred", triggerer_job=job, end_date=None)
        assert [texts(one) for one in remote.stream(ATTEMPT, deferred)[1]] == [["deferred"]]
    assert len(remote.stream(ATTEMPT, deferred)[1]) == 2


def test_a_running_task_on_this_host_is_read_from_its_file(place: Place, remote: SplunkRemoteLogIO) -> None:
    place.write(ATTEMPT, "line")
    assert remote.stream(ATTEMPT, ti(state="running")) == ([], [])


@pytest.mark.parametrize("path", ["../outside.log", "/etc/passwd", "absent.log", "."])
def test_upload_touches_nothing_outside_of_the_log_folder(remote: SplunkRemoteLogIO, path: str) -> None:
    remote.upload(path)


def test_a_triggers_file_that_is_not_delivered_is_set_aside_before_it_is_begun_anew(place: Place) -> None:
    remote = SplunkRemoteLogIO(place.given, place.logs)
    (process,) = remote.processors
    path = place.write(TRIGGER)

    def trigger(*lines: str) -> None:
        with path.open("wb") as file:  # as Airflow's TriggerLoggingFactory
            for line in lines:
                process(types.SimpleNamespace(_file=file), "info", {})
                file.write(place.line(line, len(line)))
                file.flush()
            remote.upload(TRIGGER)

    place.splunk.set_mode("down")
    trigger("first", "one more")
    place.splunk.set_mode("up")
    trigger("the second time")
    remote.sender.stop()
    from flowstead_airflow.task_logs.sweeper import Sweeper  # noqa: PLC0415

    assert Sweeper(place.given, place.logs).sweep().waiting == 0
    assert sorted(place.found()) == ["first", "one more", "the second time"]
    assert {event["source"] for event in place.splunk.events} == {TRIGGER}


def test_a_triggers_file_that_is_delivered_stays_where_it_is(place: Place, remote: SplunkRemoteLogIO) -> None:
    put(place, TRIGGER, "delivered")
    path = place.write(TRIGGER)
    remote.upload(TRIGGER)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@pytest.fixture(name="archived")
def _archived(place: Place, monkeypatch: pytest.MonkeyPatch) -> TaskLogSettings:
    Stock.bucket.clear()
    Stock.fails = False
    monkeypatch.setattr("flowstead_airflow.task_logs.archive._s3", Stock)
    monkeypatch.delenv("AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID", raising=False)
    return place.change(archive="s3://bucket/logs", connection="cloud")


def test_the_archive_gets_each_part_of_a_file_once_and_the_file_stays(place: Place, archived: TaskLogSettings) -> None:
    remote = SplunkRemoteLogIO(archived, place.logs)
    path = place.write(ATTEMPT, "before the deferral")
    remote.upload(ATTEMPT, ti())
    place.write(ATTEMPT, "after it")
    remote.upload(ATTEMPT, ti())
    remote.upload(path, ti())
    assert Stock.bucket == {ATTEMPT: path.read_text()}
    assert texts(path.read_text().splitlines()) == ["before the deferral", "after it"]


def test_the_archive_is_read_when_splunk_has_or_gives_nothing(place: Place, archived: TaskLogSettings) -> None:
    remote = SplunkRemoteLogIO(archived, place.logs)
    place.write(ATTEMPT, "line", "last")
    remote.upload(ATTEMPT, ti())
    for mode in ("up", "down"):
        place.splunk.set_mode(mode, "search")
        sources, streams = remote.stream(ATTEMPT, ti())
        assert sources[-1] == f"s3://bucket/logs/{ATTEMPT}"
        assert texts(line for line in streams[0] if line) == ["line", "last"]
        assert isinstance(streams[0], types.GeneratorType)
    place.splunk.set_mode("up", "search")


def test_a_failed_archive_is_caught_up_by_the_sweeper(place: Place, archived: TaskLogSettings) -> None:
    from flowstead_airflow.task_logs.sweeper import Sweeper  # noqa: PLC0415

    remote = SplunkRemoteLogIO(archived, place.logs)
    path = place.write(ATTEMPT, "line")
    Stock.fails = True
    remote.upload(ATTEMPT, ti())
    assert Sweeper(archived, place.logs).sweep().waiting == 1
    Stock.fails = False
    report = Sweeper(archived, place.logs).sweep()
    assert (report.waiting, report.archived) == (0, path.stat().st_size)
    assert Stock.bucket == {ATTEMPT: path.read_text()}
    assert place.found() == ["line"]
    assert not list((place.logs / ".flowstead/archive").iterdir())
