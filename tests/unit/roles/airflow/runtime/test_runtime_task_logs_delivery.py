"""Settings, events, marks and delivery of one file."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import queue
import subprocess
import sys
import threading
import tracemalloc
import typing as t
from pathlib import Path

import pytest
from certificates import Certificates
from flowstead_airflow.task_logs import events, hec, marks, paths
from flowstead_airflow.task_logs.delivery import Delivery, Undelivered, all_of
from flowstead_airflow.task_logs.settings import Endpoint, TaskLogSettingsError, load, parse
from task_logs_place import ATTEMPT, Place

from _lab import gateway  # isort: skip
from splunk_double import SplunkDouble, Token  # isort: skip

RUNTIME = Path(__file__).resolve().parents[5] / "roles/airflow/files/runtime"
GOOD: dict[str, t.Any] = {
    "environment": "prod",
    "hec": {"url": "https://splunk:8088", "token_file": "/run/secrets/hec"},
    "indexes": {"default": "airflow", "by_bundle": {"sales": "sales_logs"}},
}


def deliver(place: Place, relative: str = ATTEMPT, delivery: Delivery | None = None, bundle: str = "") -> Delivery:
    delivery = delivery or Delivery(place.given, place.logs)
    file = delivery.open(relative, bundle)
    assert file is not None
    try:
        for _batch in all_of(delivery, file):
            pass
    finally:
        file.close()
    return delivery


@pytest.fixture(name="proxy")
def _proxy(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[list[str]]:
    """A forward proxy that the environment names; first lines of the requests that it got."""
    asked: list[str] = []

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Seen, and put back for the proxy to read.
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.partition(b"\r\n")[0].decode())
        again = asyncio.StreamReader()
        again.feed_data(head)
        both = asyncio.create_task(_pour(reader, again))
        await gateway._client(again, writer)
        both.cancel()

    ready: queue.Queue[tuple[int, t.Callable[[], None]]] = queue.Queue()

    async def serve() -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        async with await asyncio.start_server(client, "127.0.0.1", 0) as server:
            ready.put((server.sockets[0].getsockname()[1], lambda: loop.call_soon_threadsafe(ended.set)))
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    port, stop = ready.get(timeout=30)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    yield asked
    stop()
    thread.join()


async def _pour(reader: asyncio.StreamReader, into: asyncio.StreamReader) -> None:
    while data := await reader.read(1 << 16):
        into.feed_data(data)
    into.feed_eof()


def test_a_proxy_in_the_environment_is_the_way_to_splunk(
    place: Place, proxy: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "api-server")
    place.write(ATTEMPT, "one")
    deliver(place)
    assert place.found() == ["one"]
    assert proxy == [f"POST {place.given.hec.url}/services/collector/event HTTP/1.1"]


def test_a_tunnel_through_the_proxy_ends_at_splunks_own_certificate(
    tmp_path: Path, certificates: Certificates, proxy: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "")
    authority, stranger = tmp_path / "ca.pem", tmp_path / "other.pem"
    authority.write_text(certificates.ca_pem)
    stranger.write_text(Certificates(tmp_path).ca_pem)
    tokens = [Token("secret", indexes=["airflow"], index="airflow")]
    with SplunkDouble(indexes=["airflow"], tokens=tokens, certificate=str(certificates.pem("localhost"))) as splunk:
        place = Place(tmp_path, splunk)
        address = splunk.hec_url.replace("127.0.0.1", "localhost")
        assert address.startswith("https://localhost:")
        good = place.change(hec=Endpoint(address, place.token, ca_file=authority), index_by_bundle={})
        place.write(ATTEMPT, "one")
        wrong = Delivery(dataclasses.replace(good, hec=Endpoint(address, place.token, ca_file=stranger)), place.logs)
        with pytest.raises(Undelivered, match=r"hec\.ca_file"):
            deliver(place, delivery=wrong)
        deliver(place)
        assert place.found() == ["one"]
    assert [line.rpartition(" ")[0] for line in proxy] == [f"CONNECT {address.removeprefix('https://')}"] * 2


@pytest.mark.parametrize("exception", ["127.0.0.1", "127.0.0.0/8"])
def test_what_needs_no_proxy_is_reached_directly(
    place: Place, proxy: list[str], monkeypatch: pytest.MonkeyPatch, exception: str
) -> None:
    monkeypatch.setenv("no_proxy", f"api-server,{exception}")
    place.write(ATTEMPT, "one")
    deliver(place)
    assert (place.found(), proxy) == (["one"], [])


def test_settings_take_defaults_and_know_the_index_of_a_bundle() -> None:
    made = parse(GOOD, "node1")
    assert (made.index_of("sales"), made.index_of("other"), made.index_of("")) == ("sales_logs", "airflow", "airflow")
    assert (made.batch_seconds, made.batch_bytes, made.search, made.archive) == (0.5, 960000, None, "")


def test_all_problems_of_the_settings_are_told_at_once() -> None:
    with pytest.raises(TaskLogSettingsError) as caught:
        parse(
            {
                "enviroment": "prod",
                "hec": {"url": "https://user:pw@splunk:8088?token=x", "batch_bytes": 5_000_000, "verify": "yes"},
                "indexes": {"default": 'a" OR index=*', "by_bundle": {"sales": 7}},
                "search": {"url": "splunk:8089", "token_file": "relative"},
                "archive": {"url": "ftp://x"},
                "local": {"days": -1},
            },
            "node1",
        )
    text = str(caught.value)
    for part in (
        "environment is missing",
        "enviroment is not known",
        "hec.url must hold no user",
        "hec.token_file is missing",
        "hec.batch_bytes is 5000000",
        "hec.verify is 'yes'",
        "indexes.default is",
        "indexes.by_bundle.sales is 7",
        "search.url has to be",
        "search.token_file is 'relative'",
        "archive.url has to be s3://",
        "local.days is -1",
    ):
        assert part in text, text
    assert "pw" not in text


@pytest.mark.parametrize("content", [[], None, "text", 3])
def test_settings_that_are_no_object_are_refused(content: t.Any) -> None:
    with pytest.raises(TaskLogSettingsError):
        parse(content, "node1")


def test_settings_name_their_file_when_it_is_missing_or_no_json(tmp_path: Path) -> None:
    with pytest.raises(TaskLogSettingsError, match="FLOWSTEAD_TASK_LOGS is not set"):
        load({})
    with pytest.raises(TaskLogSettingsError, match="cannot be read: No such file"):
        load({"FLOWSTEAD_TASK_LOGS": str(tmp_path / "absent")})
    (tmp_path / "bad").write_text("{")
    with pytest.raises(TaskLogSettingsError, match="is no JSON"):
        load({"FLOWSTEAD_TASK_LOGS": str(tmp_path / "bad")})
    (tmp_path / "good").write_text(json.dumps(GOOD))
    assert load({"FLOWSTEAD_TASK_LOGS": str(tmp_path / "good"), "FLOWSTEAD_NODE": "n7"}).node == "n7"


@pytest.mark.parametrize(
    ("relative", "expected"),
    [
        (
            "dag_id=a/run_id=scheduled__2026-11-26T00:00:00+00:00/task_id=t.u/map_index=3/attempt=12.log",
            ("task", "a", "scheduled__2026-11-26T00:00:00+00:00", "t.u", 3, 12),
        ),
        ("dag_id=a/run_id=x/y/task_id=t/attempt=1.log", ("task", "a", "x/y", "t", -1, 1)),
        ("dag_id=a/run_id=r/task_id=t/attempt=2.log.trigger.15.log", ("triggerer", "a", "r", "t", -1, 2)),
    ],
)
def test_a_path_says_whose_log_it_is(relative: str, expected: tuple[t.Any, ...]) -> None:
    names = ("component", "dag_id", "run_id", "task_id", "map_index", "try_number")
    assert paths.describe(relative) == dict(zip(names, expected))


def test_other_paths_have_a_component() -> None:
    assert paths.describe("dag_processor/2026-11-26/sales/team/dag.py.log") == {
        "component": "dag_processor",
        "bundle": "sales",
    }
    assert paths.describe("scheduler.log") == {"component": "airflow"}


def test_events_carry_the_line_unchanged_with_its_place_and_time(place: Place) -> None:
    place.write(ATTEMPT, "first", "zweite Zeile: ä\u2028 \U0001f600")
    deliver(place, bundle="sales")
    path = place.logs / ATTEMPT
    lines = path.read_bytes().splitlines()
    one, two = place.splunk.events
    assert [one["raw"].encode(), two["raw"].encode()] == lines
    assert (two["source"], two["host"], two["index"]) == (ATTEMPT, "node1", "airflow_sales")
    assert two["sourcetype"] == "airflow:task"
    assert two["fields"] == {
        "component": "task",
        "dag_id": "sales",
        "run_id": "manual__2026-11-26",
        "task_id": "load",
        "map_index": -1,
        "try_number": 1,
        "bundle": "sales",
        "environment": "test",
        "stack": "airflow",
        "segment": int(one["time"] * 1e6),
        "offset": len(lines[0]) + 1,
    }
    assert two["time"] - one["time"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"timestamp":"2026-11-26T10:00:00Z","x":1}', 1795687200.0),
        ('{"timestamp":"2026-11-26T10:00:00.5+01:00"}', 1795683600.5),
        ('{"timestamp":"2026-11-26T10:00:00.250000"}', 1795687200.25),
        ('{"timestamp":"soon"}', 0.0),
        ('{"event":"x"}', 0.0),
        ("", 0.0),
    ],
)
def test_times_are_read_with_and_without_a_zone(line: str, expected: float) -> None:
    if sys.version_info < (3, 11) and ".5+" in line:
        pytest.skip("Python 3.10 wants three or six digits")
    assert events.moment(line) == expected


def test_blank_lines_long_lines_torn_lines_and_bad_bytes_all_arrive_somehow(place: Place) -> None:
    path = place.write(ATTEMPT, "first")
    with path.open("ab") as file:
        file.write(b"\n  \n" + b"x" * 3_000_000 + b"\n" + b"\xff\xfe\n" + place.line("middle", 5) + b"\n" + b'{"torn')
    place.change(batch_bytes=4096)
    delivery = deliver(place)
    raws = [event["raw"] for event in place.splunk.events]
    assert len(raws) == 5
    assert raws[1].startswith("x" * events.LINE_LIMIT)
    assert raws[1].endswith("[cut here: the line has 3000000 bytes]")
    assert (raws[2], raws[4]) == ("\ufffd\ufffd", '{"torn')
    assert (delivery.counters.lines, delivery.counters.cut) == (5, 1)


def test_a_line_without_its_end_waits_unless_it_is_the_last_there_will_be(place: Place) -> None:
    path = place.write(ATTEMPT, "first")
    with path.open("ab") as file:
        file.write(b'{"torn')
    delivery = Delivery(place.given, place.logs)
    file_ = delivery.open(ATTEMPT)
    assert file_ is not None
    assert list(all_of(delivery, file_, final=False)) == [None]
    assert place.found() == ["first"]
    assert list(all_of(delivery, file_, final=True)) == [None]
    assert place.splunk.events[1]["raw"] == '{"torn'
    file_.close()


#: Lines that look like what is between two lines in an event, and other traps.
TRAPS = (
    '}\\n{"timestamp":"2026-11-26T10:00:00.000000Z","event":"x"}',
    '{"timestamp":"2026-11-26T10:00:00.000000Z","event":"a\\\\n{\\"timestamp\\":\\"2026-11-26T10:00:00."}',
    '{"timestamp":"2026-11-26T10:00:00.12345Z","event":"five digits"}',
    '{"timestamp":"2026-11-26T10:00:00.1234567Z","event":"seven digits"}',
    '{"timestamp":"2026-11-26T10:00:00.12٣456Z","event":"a digit that is none"}',
    '{"timestamp":"2026-11-26T10:00:00.123456+01:00","event":"another zone"}',
    '{"timestamp":"2026-11-26T10:00:00Z","event":"no fraction"}',
    '{"timestamp":"2026-11-26T10:00:01.000001Z","event":"the next second"}',
    '{"timestamp":"2026-13-26T10:00:00.000001Z","event":"no such month"}',
    '{"timestamp":"2026-11-26T10:00:00.ZZZZZZZ","event":"x"}',
    '{"timestamp":"2026-11-26T10:00:00.12a456Z","event":"a letter"}',
    '{"timestamp":"2026-11-26T10:00:00.12Z3456","event":"the zone within"}',
    '{"timestamp":"2026-11-26T10:00:00.123456Z","event":"no bracket"',
    '{"timestamp":"2026-11-26T10:00:00.',
    "ends with a bracket }",
    "ends with a backslash \\",
    '{"event":"no time"}',
    "\r",
    "",
    "   ",
    "x",
)


@pytest.mark.parametrize("trap", [*TRAPS, None])
@pytest.mark.parametrize("place_of_trap", [0, 7, -1])
def test_lines_made_into_events_together_become_what_they_become_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str | None, place_of_trap: int
) -> None:
    lines = [f'{{"timestamp":"2026-11-26T10:00:00.{n:06}Z","event":"{text}"}}' for n, text in enumerate("aä}\\€" * 3)]
    if trap is not None:
        lines.insert(place_of_trap % (len(lines) + 1), trap)
    (tmp_path / "log").write_text("\n".join((*lines, "")), encoding="utf-8", newline="")

    def events_of() -> tuple[bytes, list[int]]:
        fields: dict[str, str | int] = {"dag_id": "a"}
        encoder = events.Encoder(source="s", host="h", index="i", sourcetype="t", fields=fields, segment=7)
        descriptor = os.open(tmp_path / "log", os.O_RDONLY)
        batch = encoder.read(descriptor, 0, 1 << 20)
        os.close(descriptor)
        return batch.text(), batch.offsets

    together = events_of()
    monkeypatch.setattr(events.Encoder, "_alike", lambda *_: False)
    one_by_one = events_of()
    assert together == one_by_one
    made = [json.loads(event) for event in together[0].splitlines()]
    assert [event["event"] for event in made] == [line for line in lines if line.strip()]


def test_usual_lines_are_made_into_events_together(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(events.Encoder, "_event")
    texts = [f"ä {number}" for number in range(5000)]
    path = place.logs / ATTEMPT
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(place.line(text, number / 1e6) for number, text in enumerate(texts)))
    deliver(place)
    assert place.found() == texts
    assert place.splunk.events[4999]["time"] == pytest.approx(1795687200.004999)


def test_a_batch_takes_less_memory_than_the_events_in_it(place: Place) -> None:
    line = place.line("a line of usual length, as tasks write them")
    path = place.logs / ATTEMPT
    path.parent.mkdir(parents=True)
    path.write_bytes(line * 10_000)
    file = Delivery(place.given, place.logs).open(ATTEMPT)
    assert file is not None
    encoder = Delivery(place.given, place.logs)._encoder(file)
    tracemalloc.start()
    batch = encoder.read(file.descriptor, 0, place.given.batch_bytes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    file.close()
    assert batch.full
    assert 0.8 * place.given.batch_bytes < len(batch.text()) <= place.given.batch_bytes
    print(
        f"\na batch of {batch.count} lines, {len(batch.text())} bytes: {peak} bytes of memory, {len(batch.packed)} sent"
    )
    assert peak < place.given.batch_bytes


@pytest.mark.parametrize("size", [4096, 10_000, 262_144, 960_000])
def test_every_line_arrives_once_whatever_the_size_of_a_batch(place: Place, size: int) -> None:
    texts = [f"{number} " + "y" * (number * 37 % 5000) for number in range(400)]
    place.write(ATTEMPT, *texts)
    place.change(batch_bytes=size)
    delivery = deliver(place)
    assert place.found() == texts
    assert all(request["status"] == 200 for request in place.splunk.requests)
    assert delivery.counters.requests == len(place.splunk.requests)


def test_delivery_goes_on_from_the_mark_and_sends_nothing_twice(place: Place) -> None:
    place.write(ATTEMPT, "one", "two")
    deliver(place)
    place.write(ATTEMPT, "three")
    deliver(place)
    deliver(place)
    assert place.found() == ["one", "two", "three"]


def test_another_file_of_the_same_name_begins_at_its_begin(place: Place) -> None:
    place.write(ATTEMPT, "one", "two", "three")
    deliver(place)
    place.write(ATTEMPT, "other", "lines", "altogether", "and", "more", "of", "them", mode="wb")
    deliver(place)
    assert place.found()[3:] == ["other", "lines", "altogether", "and", "more", "of", "them"]


def test_a_file_that_lost_its_end_with_the_power_is_not_sent_again(place: Place) -> None:
    path = place.write(ATTEMPT, "one", "two")
    deliver(place)
    os.truncate(path, len(place.line("one")))
    deliver(place)
    assert place.found() == ["one", "two"]
    place.write(ATTEMPT, "after")
    deliver(place)
    assert place.found() == ["one", "two", "after"]


def test_a_damaged_mark_sends_again_rather_than_not_at_all(place: Place) -> None:
    place.write(ATTEMPT, "one")
    delivery = deliver(place)
    delivery.mark_of(ATTEMPT).write_bytes(b"\0" * 100)
    deliver(place)
    assert place.found() == ["one", "one"]


@pytest.mark.parametrize("code", [6, 7, 12, 13, 15])
def test_a_poison_event_is_put_aside_and_all_others_arrive(place: Place, code: int) -> None:
    texts = [f"line {number}" for number in range(50)]
    texts[20] = texts[33] = "POISON"
    place.splunk.poison("POISON", code)
    place.write(ATTEMPT, *texts)
    delivery = deliver(place)
    assert list(dict.fromkeys(place.found())) == [text for text in texts if text != "POISON"]
    (letters,) = (delivery.spool / "refused").iterdir()
    entries = [json.loads(line) for line in letters.read_text().splitlines()]
    assert [entry["source"] for entry in entries] == [ATTEMPT, ATTEMPT]
    assert f"code {code}" in entries[0]["answer"]
    assert "POISON" in entries[0]["event"]["event"]
    assert delivery.counters.refused == 2
    deliver(place)
    assert delivery.counters.refused == 2


def test_a_poison_event_is_found_by_halves_when_the_answer_does_not_name_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.splunk.poison("POISON", 6)
    judge = hec.judge

    def vague(status: int, content: bytes) -> hec.Answer:
        answer = judge(status, content)
        return hec.Answer(answer.fate, answer.text, answer.code)

    monkeypatch.setattr(hec, "judge", vague)
    texts = [*map(str, range(20)), "POISON", *map(str, range(20, 30))]
    place.write(ATTEMPT, *texts)
    delivery = deliver(place)
    assert sorted(set(place.found()), key=int) == [str(number) for number in range(30)]
    assert delivery.counters.refused == 1


def test_a_wrong_index_keeps_the_lines_until_a_person_has_put_it_right(place: Place) -> None:
    place.change(index="forbidden")
    place.write(ATTEMPT, "one", "two")
    with pytest.raises(Undelivered, match=r"code 7.*allow this index"):
        deliver(place)
    place.change(index="airflow")
    deliver(place)
    assert place.found() == ["one", "two"]


@pytest.mark.parametrize("code", [1, 2, 3, 4, 8, 9, 10, 11, 14, 16, 18, 19, 20])
def test_no_code_about_the_whole_request_costs_a_line(place: Place, code: int) -> None:
    place.write(ATTEMPT, "one", "two")
    place.splunk.answer_next(code)
    with pytest.raises(Undelivered, match=f"code {code}"):
        deliver(place)
    assert deliver(place).counters.refused == 0
    assert place.found() == ["one", "two"]


def test_a_rotated_token_is_read_again(place: Place) -> None:
    from splunk_double import Token  # noqa: PLC0415 - its path is set by conftest

    place.write(ATTEMPT, "one")
    delivery = deliver(place)
    place.splunk.set_tokens([Token("fresh", indexes=["airflow"], index="airflow")])
    place.write(ATTEMPT, "two")
    with pytest.raises(Undelivered, match="token that Splunk does not know"):
        deliver(place, delivery=delivery)
    aside = place.token.with_name("new")
    aside.write_text("fresh")
    aside.replace(place.token)
    deliver(place, delivery=delivery)
    assert place.found() == ["one", "two"]


def test_a_missing_token_is_named_and_never_the_value(place: Place) -> None:
    place.write(ATTEMPT, "one")
    place.token.unlink()
    with pytest.raises(Undelivered, match="the token cannot be read: No such file"):
        deliver(place)
    place.token.write_text("sécret\n")
    with pytest.raises(Undelivered, match="holds no token") as caught:
        deliver(place)
    assert "cret" not in str(caught.value).replace("secrets", "")


def test_one_connection_carries_many_requests_and_is_renewed_when_splunk_closed_it(place: Place) -> None:
    place.change(batch_bytes=4096)
    place.write(ATTEMPT, *(f"line {number}" for number in range(100)))
    delivery = deliver(place)
    assert delivery.counters.requests > 5
    place.splunk.set_mode("down")
    place.write(ATTEMPT, "late")
    with pytest.raises(Undelivered):
        deliver(place, delivery=delivery)
    place.splunk.set_mode("up")
    deliver(place, delivery=delivery)
    assert place.found()[-1] == "late"
    assert len(place.found()) == 101


def test_too_large_a_request_is_cut_in_pieces(place: Place) -> None:
    place.splunk.settings.max_content_length = 3000
    texts = [f"line {number} " + os.urandom(40).hex() for number in range(200)]
    place.write(ATTEMPT, *texts)
    deliver(place)
    assert place.found() == texts


@pytest.mark.parametrize(
    ("status", "body", "fate"),
    [
        (502, b"<html>Bad Gateway</html>", hec.Fate.AWAY),
        (429, b"", hec.Fate.AWAY),
        (404, b"<html>nginx</html>", hec.Fate.REFUSED),
        (400, b"plain HTTP request to HTTPS port", hec.Fate.REFUSED),
        (200, b"<html>a captive portal</html>", hec.Fate.REFUSED),
        (200, b'{"text":"HEC is healthy","code":17}', hec.Fate.REFUSED),
        (200, b"[]", hec.Fate.REFUSED),
        (400, b'{"text":"Invalid data format","code":6,"invalid-event-number":"x"}', hec.Fate.POISON),
    ],
)
def test_answers_that_are_not_splunks_never_count_as_accepted(status: int, body: bytes, fate: hec.Fate) -> None:
    assert hec.judge(status, body).fate is fate


def test_a_mark_is_claimed_by_one_process_and_freed_by_its_death(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "mark"
    script = (
        f"import sys, time; sys.path.insert(0, {str(RUNTIME)!r})\n"
        "from pathlib import Path\nfrom flowstead_airflow.task_logs.marks import Mark\n"
        f"mark = Mark.claim(Path({str(path)!r})); mark.sent = 7; mark.store()\n"
        "import os\n"
        "if os.fork() == 0: time.sleep(30)\n"  # a child does not inherit the lock
        "print('held', flush=True)\n"
        "time.sleep(30)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, process_group=0) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            assert marks.Mark.claim(path) is None
            assert marks.peek(path)["sent"] == 7
            process.kill()
            process.wait()
            mark = marks.Mark.claim(path)
            assert mark is not None
            assert mark.sent == 7
            assert marks.Mark.claim(path) is None
            mark.release(remove=True)
            assert not path.exists()
        finally:
            os.killpg(process.pid, 9)


def test_refused_events_stay_within_their_bound(place: Place) -> None:
    from flowstead_airflow.task_logs.letters import DeadLetters  # noqa: PLC0415

    directory = place.logs / "refused"
    letters = DeadLetters(directory, 1000)
    directory.mkdir()
    (directory / "2020-01-01.jsonl").write_text("x" * 990)
    letters.add("a.log", 0, b'{"event": "x"}', hec.Answer(hec.Fate.POISON, "no"))
    assert [path.name.startswith("2020") for path in directory.iterdir()] == [False]
