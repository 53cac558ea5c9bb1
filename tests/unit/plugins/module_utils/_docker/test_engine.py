"""The Engine API client against a socket that answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from fake_engine import FakeEngine


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    with FakeEngine(tmp_path) as engine:
        yield engine


def test_the_version_is_asked_once_and_every_call_is_counted_without_it(fake: FakeEngine) -> None:
    engine = Engine(fake.socket)

    engine.get("/nodes")
    engine.get("/services", {"status": "true"})

    assert engine.calls == ["GET /version", "GET /nodes", "GET /services"]
    assert engine.api_version == "1.41"
    assert engine.api == (1, 41)
    assert engine.seconds > 0


@pytest.mark.parametrize(("offered", "spoken"), [("1.41", "1.41"), ("1.52", "1.52"), ("1.99", "1.52")])
def test_the_newest_version_that_both_know_is_spoken(fake: FakeEngine, offered: str, spoken: str) -> None:
    fake.get = lambda _path, _query: {"ApiVersion": offered}  # type: ignore[method-assign]

    assert Engine(fake.socket).api_version == spoken


def test_an_engine_that_is_too_old_is_refused_with_both_versions(fake: FakeEngine) -> None:
    fake.get = lambda _path, _query: {"ApiVersion": "1.40"}  # type: ignore[method-assign]

    with pytest.raises(EngineError, match=r"1\.40.*1\.41") as caught:
        Engine(fake.socket).get("/nodes")
    assert caught.value.status == 505


def test_an_error_carries_status_request_and_the_engines_words(fake: FakeEngine) -> None:
    with pytest.raises(EngineError) as caught:
        Engine(fake.socket).get("/images/nosuch:1/json")

    assert (caught.value.status, caught.value.request) == (404, "GET /images/nosuch:1/json")
    assert caught.value.message == "No such image: nosuch:1"
    assert not caught.value.out_of_sequence


def test_filters_arrive_as_json(fake: FakeEngine) -> None:
    assert Engine(fake.socket).get("/networks", {"filters": {"label": ["com.docker.stack.namespace=x"]}}) == []


def test_the_connection_is_opened_again_after_the_engine_has_closed_it(fake: FakeEngine) -> None:
    engine = Engine(fake.socket)
    engine.get("/nodes")
    engine.close()

    assert engine.get("/nodes")


def test_a_socket_without_an_engine_says_where_and_what_to_check(tmp_path: Path) -> None:
    with pytest.raises(EngineUnreachable, match=r"nobody\.sock .*Check that the engine runs"):
        Engine(str(tmp_path / "nobody.sock")).get("/nodes")
