"""The double of Splunk can be unwell in the ways that Splunk is, and forgets nothing that it accepted."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from certificates import Certificates
from splunk_client import OPTIONS, TOKEN, ask, find, raws, send
from splunk_double import Settings, SettingsError, SplunkDouble, Token, from_dict, read_events

DOUBLES = Path(__file__).resolve().parents[3] / "molecule" / "doubles"
GOOD = '{"event":"good"}'


def exchange(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/services/collector/health")
    connection.getresponse().read()


def test_down_refuses_connections_cuts_those_that_stand_and_up_has_the_old_port(splunk: SplunkDouble) -> None:
    where = urlsplit(splunk.hec_url)
    standing = http.client.HTTPConnection(where.hostname or "", where.port, timeout=5)
    exchange(standing)
    exchange(standing)

    splunk.set_mode("down")
    with pytest.raises(ConnectionRefusedError):
        send(splunk, GOOD)
    standing.auto_open = 0
    with pytest.raises((http.client.HTTPException, OSError)):
        exchange(standing)
    standing.close()

    splunk.set_mode("up")
    assert urlsplit(splunk.hec_url).port == where.port
    assert send(splunk, GOOD).json["code"] == 0


def test_hang_accepts_and_never_answers_until_it_ends(splunk: SplunkDouble) -> None:
    splunk.set_mode("hang")
    with pytest.raises(TimeoutError):
        ask(splunk.hec_url, "/services/collector/health", timeout=0.2)
    splunk.set_mode("up")
    assert send(splunk, GOOD).json["code"] == 0
    assert splunk.count() == 1


def test_slow_indexes_at_once_and_answers_late(splunk: SplunkDouble) -> None:
    splunk.set_mode("slow", delay=0.6)
    with pytest.raises(TimeoutError):
        ask(splunk.hec_url, "/services/collector", GOOD, timeout=0.2, Authorization=f"Splunk {TOKEN}")
    assert splunk.count() == 1


def test_busy_and_unhealthy_index_nothing(splunk: SplunkDouble) -> None:
    splunk.set_mode("busy")
    reply = send(splunk, GOOD)
    assert (reply.status, reply.json["code"]) == (503, 9)
    assert ask(splunk.hec_url, "/services/collector/health").json["code"] == 17
    for code in (18, 19, 20):
        splunk.set_mode("unhealthy", code=code)
        health = ask(splunk.hec_url, "/services/collector/health")
        assert (health.status, health.json["code"]) == (503, code)
        assert send(splunk, GOOD).json["code"] == 9
    assert splunk.count() == 0
    splunk.set_mode("up")
    assert ask(splunk.hec_url, "/services/collector/health").json["code"] == 17


def test_the_search_side_has_modes_of_its_own(splunk: SplunkDouble) -> None:
    splunk.set_mode("down", side="search")
    assert send(splunk, GOOD).json["code"] == 0
    with pytest.raises(ConnectionRefusedError):
        find(splunk, "search index=airflow")
    splunk.set_mode("up", side="search")
    assert raws(find(splunk, "search index=airflow")) == ["good"]


def test_tokens_can_be_changed_while_it_runs(splunk: SplunkDouble) -> None:
    splunk.set_tokens([Token("new", index="airflow")])
    assert send(splunk, GOOD).json["code"] == 4
    assert send(splunk, GOOD, token="new").json["code"] == 0


def test_the_admin_endpoint_does_the_same_over_http(splunk: SplunkDouble) -> None:
    def tell(path: str, **value: object) -> t.Any:
        return ask(splunk.admin_url, path, json.dumps(value)).json

    assert tell("/mode", mode="busy")["hec"]["mode"] == "busy"
    assert send(splunk, GOOD).json["code"] == 9
    tell("/mode", mode="up")
    tell("/poison", marker="BAD", code=6)
    assert send(splunk, '{"event":"BAD"}').json["code"] == 6
    tell("/answers", codes=[8])
    assert send(splunk, GOOD).json["code"] == 8
    tell("/tokens", tokens=[{"token": "new", "index": "main"}])
    assert send(splunk, GOOD, token="new").json["code"] == 0
    assert ask(splunk.admin_url, "/count?index=main").json == {"count": 1}
    assert [one["code"] for one in ask(splunk.admin_url, "/requests").json] == [9, 6, 8, 0]
    assert tell("/clear")["events"] == 0
    assert "there is no such thing" in tell("/mode", mode="sideways")["error"]
    assert "colour" in tell("/tokens", tokens=[{"token": "x", "colour": "red"}])["error"]
    assert ask(splunk.admin_url, "/nowhere").status == 404


def test_many_senders_at_once_lose_nothing(splunk: SplunkDouble) -> None:
    def work() -> None:
        for _number in range(20):
            assert send(splunk, GOOD * 5).status == 200

    threads = [threading.Thread(target=work) for _number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event["serial"] for event in splunk.events] == list(range(1, 501))


def test_tls_is_spoken_with_the_given_certificate(certificates: Certificates) -> None:
    pem = certificates.pem("127.0.0.1")
    with SplunkDouble(from_dict({**OPTIONS, "certificate": str(pem)})) as double:
        where = urlsplit(double.hec_url)
        assert where.scheme == "https"
        context = ssl.create_default_context(cadata=certificates.ca_pem)
        connection = http.client.HTTPSConnection("127.0.0.1", where.port or 0, context=context, timeout=5)
        connection.request("GET", "/services/collector/health")
        assert connection.getresponse().status == 200
        connection.close()
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(f"http://127.0.0.1:{where.port}", "/services/collector/health")
        with pytest.raises(ssl.SSLCertVerificationError):
            http.client.HTTPSConnection("127.0.0.1", where.port or 0, timeout=5).request("GET", "/")


def test_hang_does_not_even_finish_the_handshake(certificates: Certificates) -> None:
    with SplunkDouble(from_dict({**OPTIONS, "certificate": str(certificates.pem("127.0.0.1"))})) as double:
        double.set_mode("hang")
        context = ssl.create_default_context(cadata=certificates.ca_pem)
        with (
            socket.create_connection(("127.0.0.1", double.hec.port), timeout=0.2) as plain,
            pytest.raises(TimeoutError),
        ):
            context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_mistakes_in_the_settings_are_told() -> None:
    with pytest.raises(SettingsError, match=r"index nowhere does not exist.*give token"):
        from_dict({"tokens": [{"token": "x", "index": "nowhere"}], "readers": [{"name": "r"}]})
    with pytest.raises(SettingsError, match="unknown key colour"):
        from_dict({"colour": "red"})
    with pytest.raises(SettingsError, match="default index main is not allowed"):
        Settings(indexes=["main", "a"], tokens=[Token("x", indexes=["a"])])
    with pytest.raises(SettingsError, match="a token occurs twice"):
        Settings(tokens=[Token("x"), Token("x", name="other")])


@pytest.fixture
def program(tmp_path: Path) -> t.Iterator[t.Callable[[], tuple[subprocess.Popen[str], t.Any]]]:
    """Start the double as a program; gives the process and its state."""
    started: list[subprocess.Popen[str]] = []
    config = tmp_path / "splunk.json"
    config.write_text(json.dumps({**OPTIONS, "events_file": str(tmp_path / "events.jsonl")}))

    def start() -> tuple[subprocess.Popen[str], t.Any]:
        process = subprocess.Popen(
            [sys.executable, "-m", "splunk_double", "--config", str(config)],
            env={**os.environ, "PYTHONPATH": str(DOUBLES)},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout
        return process, json.loads(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_events_outlive_a_killed_program_which_goes_on_counting(
    program: t.Callable[[], tuple[subprocess.Popen[str], t.Any]],
) -> None:
    process, state = program()
    path, url = state["events_file"], state["hec"]["url"]
    assert ask(url, "/services/collector", GOOD * 3, Authorization=f"Splunk {TOKEN}").status == 200
    process.kill()
    process.wait()
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"serial":4,"ra')  # as when it dies in the middle of a line
    assert len(read_events(path)) == 3

    process, state = program()
    assert state["events"] == 3
    assert ask(state["hec"]["url"], "/services/collector", GOOD, Authorization=f"Splunk {TOKEN}").status == 200
    assert [event["serial"] for event in read_events(path)] == [1, 2, 3, 4]
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert (process.wait(5), time.monotonic() - began < 3) == (0, True)
