"""The double of Splunk's HTTP Event Collector refuses what Splunk refuses, with Splunk's answers."""

from __future__ import annotations

import gzip
import json
import typing as t

import pytest
from splunk_client import ACK_TOKEN, CHANNEL, OFF_TOKEN, OPEN_TOKEN, TOKEN, ask, send
from splunk_double import SplunkDouble
from splunk_double.answers import CODES

GOOD = '{"event":"good"}'


def test_every_code_can_be_had_with_its_status_and_its_text(splunk: SplunkDouble) -> None:
    for code, (status, text) in CODES.items():
        splunk.answer_next(code)
        reply = send(splunk, GOOD)
        assert (reply.status, reply.json["code"], reply.json["text"]) == (status, code, text)
    assert sorted(CODES) == list(range(21))
    assert splunk.events == []


def test_concatenated_objects_are_indexed_one_by_one_with_what_they_carry(splunk: SplunkDouble) -> None:
    first = {
        "time": 1700000000.1234567,
        "host": "worker-1",
        "source": "dag/run/task/1.log",
        "sourcetype": "airflow:task",
        "index": "main",
        "event": "line ünï",
        "fields": {"try": 1, "tags": ["a", "b"]},
    }
    reply = send(splunk, json.dumps(first) + '\n{"event":{"a": 1}}{"event":0}', "/event/1.0")

    assert (reply.status, reply.body) == (200, b'{"text":"Success","code":0}')
    one, two, three = splunk.events
    expected = {**first, "time": 1700000000.123456, "raw": "line ünï", "token": "tasks", "channel": "", "serial": 1}
    del expected["event"]
    assert {**one, "indextime": 0} == {**expected, "indextime": 0}
    assert (two["raw"], two["index"], two["source"], two["sourcetype"]) == (
        '{"a":1}',
        "airflow",
        "http:tasks",
        "httpevent",
    )
    assert three["raw"] == "0"


@pytest.mark.parametrize(
    ("time", "stored"),
    [(1700000000, 1700000000.0), ("1700000000.5", 1700000000.5), (1700000000123, 1700000000.123)],
)
def test_times_are_read_by_their_magnitude(splunk: SplunkDouble, time: object, stored: float) -> None:
    assert send(splunk, json.dumps({"time": time, "event": "x"})).status == 200
    assert splunk.events[0]["time"] == pytest.approx(stored, abs=1e-6)


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ('{"event":"x"', 6),
        ('{"event":"x"},{"event":"y"}', 6),
        ('[{"event":"x"}]', 6),
        ('"x"', 6),
        ('{"event":"x","event":"y"}', 6),
        ('{"event":NaN}', 6),
        ('{"event":"x","colour":"red"}', 6),
        ('{"event":null}', 6),
        ('{"event":false}', 6),
        ('{"event":"x","time":"yesterday"}', 6),
        ('{"event":"x","time":true}', 6),
        ('{"event":"x","time":-1}', 6),
        ('{"event":"x","host":7}', 6),
        ('{"event":"x","index":"secret"}', 7),
        ('{"fields":{"a":1}}', 12),
        ("{}", 12),
        ('{"event":""}', 13),
        ('{"event":" \\n"}', 13),
        ('{"event":"x","fields":{"a":{"b":1}}}', 15),
        ('{"event":"x","fields":{"a":null}}', 15),
        ('{"event":"x","fields":[]}', 15),
    ],
)
def test_what_stands_before_a_bad_event_is_indexed_and_what_stands_behind_it_is_not(
    splunk: SplunkDouble, bad: str, code: int
) -> None:
    reply = send(splunk, f'{GOOD} {bad} {{"event":"behind"}}')

    assert (reply.status, reply.json["code"]) == (400, code)
    indexed = [event["raw"] for event in splunk.events]
    if bad.startswith('{"event":"x"},'):  # the comma is what is bad
        assert (indexed, reply.json["invalid-event-number"]) == (["good", "x"], 2)
    else:
        assert indexed == ["good"]
        # Code 7 names the event after the bad one; measured on 10.4.3.
        assert reply.json["invalid-event-number"] == (2 if code == 7 else 1)


@pytest.mark.parametrize(
    ("headers", "query", "code"),
    [
        ({}, "", 2),
        ({"Authorization": TOKEN}, "", 3),
        ({"Authorization": f"Bearer {TOKEN}"}, "", 3),
        ({"Authorization": "Splunk"}, "", 3),
        ({"Authorization": "Basic !"}, "", 3),
        ({"Authorization": "Splunk wrong"}, "", 4),
        ({"Authorization": f"Splunk {OFF_TOKEN}"}, "", 1),
        ({"Authorization": "Basic eDp0b2tlbi10YXNrcw=="}, "", 0),
        ({}, f"?token={TOKEN}", 16),
        ({}, f"?token={OPEN_TOKEN}", 0),
    ],
)
def test_a_token_is_asked_for_and_looked_at(
    splunk: SplunkDouble, headers: dict[str, str], query: str, code: int
) -> None:
    reply = ask(splunk.hec_url, f"/services/collector/event{query}", GOOD, **headers)
    assert (reply.json["code"], reply.status) == (code, CODES[code][0])
    assert len(splunk.events) == (code == 0)


def test_a_wrong_index_with_a_token_without_a_list_is_accepted_and_lost(splunk: SplunkDouble) -> None:
    assert send(splunk, '{"event":"x","index":"nowhere"}', token=OPEN_TOKEN).json["code"] == 0
    assert splunk.events == []


@pytest.mark.parametrize("body", ["", " \n"])
def test_a_body_without_an_event_is_code_5(splunk: SplunkDouble, body: str) -> None:
    assert send(splunk, body).json == {"text": "No data", "code": 5}


def test_gzip_is_unpacked_and_broken_gzip_refused(splunk: SplunkDouble) -> None:
    packed = gzip.compress(GOOD.encode())
    assert send(splunk, packed, Content_Encoding="gzip").json["code"] == 0
    for broken in (packed[:-4], b"no gzip", GOOD.encode(), packed + b"x"):
        assert send(splunk, broken, Content_Encoding="gzip").json["code"] == 6
    assert send(splunk, packed).json["code"] == 6
    assert send(splunk, packed, Content_Encoding="deflate").status == 415
    assert len(splunk.events) == 1


def test_a_body_above_the_limit_is_413_packed_or_unpacked_and_indexes_nothing(splunk: SplunkDouble) -> None:
    large = b"[%s]" % (b"x" * 1_000_000)
    for body, headers in ((large, {}), (gzip.compress(large), {"Content_Encoding": "gzip"})):
        reply = send(splunk, body, **headers)
        assert (reply.status, b"too large (maximum is 1000000)" in reply.body) == (413, True)
        assert reply.headers["Content-Type"].startswith("text/html")
    assert splunk.events == []


def test_raw_makes_an_event_of_each_line_with_the_querys_envelope(splunk: SplunkDouble) -> None:
    query = "?source=a&sourcetype=b&host=c&index=main&time=1700000000"
    assert send(splunk, "one\r\n\ntwo\n", f"/raw/1.0{query}").json["code"] == 0
    assert [(event["raw"], event["source"], event["time"]) for event in splunk.events] == [
        ("one", "a", 1700000000.0),
        ("two", "a", 1700000000.0),
    ]
    assert send(splunk, "one", "/raw?index=secret").json["code"] == 7


def test_a_token_with_acknowledgement_needs_a_channel_and_tells_an_id_as_done_once(splunk: SplunkDouble) -> None:
    def post(channel: str = CHANNEL) -> t.Any:
        return send(splunk, GOOD, token=ACK_TOKEN, X_Splunk_Request_Channel=channel).json

    def poll(channel: str, *ids: int) -> t.Any:
        return send(splunk, json.dumps({"acks": ids}), f"/ack?channel={channel}", token=ACK_TOKEN).json

    other = CHANNEL.replace("0f", "1f")
    assert send(splunk, GOOD, token=ACK_TOKEN).json["code"] == 10
    assert post("no-guid")["code"] == 11
    assert [post()["ackId"], post()["ackId"], post(other)["ackId"]] == [0, 1, 0]
    assert poll(CHANNEL, 0, 1, 5) == {"acks": {"0": True, "1": True, "5": False}}
    assert poll(CHANNEL, 0) == {"acks": {"0": False}}
    assert poll(other, 0, 1) == {"acks": {"0": True, "1": False}}
    assert send(splunk, '{"acks":[0]}', "/ack").json["code"] == 14
    assert send(splunk, '{"acks":"0"}', f"/ack?channel={CHANNEL}", token=ACK_TOKEN).json["code"] == 6


def test_an_acknowledgement_can_take_time(splunk: SplunkDouble) -> None:
    splunk.settings.ack_seconds = 60
    assert send(splunk, GOOD, f"?channel={CHANNEL}", token=ACK_TOKEN).json["ackId"] == 0
    assert send(splunk, '{"acks":[0]}', f"/ack?channel={CHANNEL}", token=ACK_TOKEN).json == {"acks": {"0": False}}


def test_health_options_and_unknown_paths_are_answered_without_a_token(splunk: SplunkDouble) -> None:
    assert ask(splunk.hec_url, "/services/collector/health/1.0").json == {"text": "HEC is healthy", "code": 17}
    options = ask(splunk.hec_url, "/services/collector/event/1.0", method="OPTIONS")
    assert (options.status, options.headers["Allow"], options.body) == (200, "POST,OPTIONS", b"")
    assert ask(splunk.hec_url, "/services/collector/event").status == 405
    assert ask(splunk.hec_url, "/").json["code"] == 404


def test_a_poisoned_event_is_refused_with_the_code_that_was_asked_for(splunk: SplunkDouble) -> None:
    splunk.poison("POISON", 12)
    reply = send(splunk, f'{GOOD}{{"event":"a POISON line"}}')
    assert (reply.json["code"], reply.json["invalid-event-number"], splunk.count()) == (12, 1, 1)
    splunk.poison("POISON", 0)
    assert send(splunk, '{"event":"a POISON line"}').json["code"] == 0


def test_requests_are_remembered_without_tokens_and_bodies(splunk: SplunkDouble) -> None:
    send(splunk, GOOD)
    (request,) = splunk.requests
    assert (request["code"], request["events"], request["bytes"], request["token"]) == (0, 1, len(GOOD), "tasks")
    assert TOKEN not in json.dumps([splunk.requests, splunk.state()])
