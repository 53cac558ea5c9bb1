"""Behaviour of the checks of all endpoints together."""

from __future__ import annotations

import socket
import threading
import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight import wire
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.endpoints import check_endpoints
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.wire import Endpoint


def endpoint(port: int, **changes: t.Any) -> Endpoint:
    """A TCP service at a port."""
    settings: dict[str, t.Any] = {"protocol": "tcp", "host": "127.0.0.1", "timeout": 2.0, **changes}
    return Endpoint(name="service", variable="airflow_broker", port=port, **settings)


def test_a_refused_connection_names_the_port(closed_port: int) -> None:
    _facts, (problem,) = check_endpoints([endpoint(closed_port)])

    assert problem.variable == "airflow_broker.port"
    assert problem.value == str(closed_port)
    assert "nothing listens" in problem.problem


def test_a_name_that_does_not_resolve_names_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments: t.Any, **_more: t.Any) -> t.NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(wire.socket, "getaddrinfo", unknown)

    _facts, (problem,) = check_endpoints([endpoint(1, host="db.example")])

    assert (problem.variable, problem.value) == ("airflow_broker.host", "db.example")
    assert "does not resolve" in problem.problem
    assert "DNS" in problem.fix


def test_packets_that_are_dropped_hint_at_a_firewall(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_socket: socket.socket, _address: t.Any) -> t.NoReturn:
        raise socket.timeout("timed out")

    monkeypatch.setattr(wire.socket.socket, "connect", never)

    _facts, (problem,) = check_endpoints([endpoint(1)])

    assert "within 2 s" in problem.problem
    assert "firewall" in problem.fix


def test_a_server_that_accepts_and_is_silent_is_told_within_the_timeout(serve: t.Any) -> None:
    hung_up = threading.Event()

    def silent(connection: socket.socket) -> None:
        while connection.recv(1000):
            pass
        hung_up.set()

    _facts, (problem,) = check_endpoints([endpoint(serve(silent), protocol="redis", timeout=0.2)])

    assert "does not answer as Redis within 0.2 s" in problem.problem
    assert hung_up.wait(5)


def test_every_endpoint_is_asked_at_the_same_time_and_reported_in_order(serve: t.Any, closed_port: int) -> None:
    both = threading.Barrier(2, timeout=5)

    def meet(connection: socket.socket) -> None:
        both.wait()
        connection.sendall(b"-LOADING not yet\r\n")

    endpoints = [
        endpoint(serve(meet), protocol="redis", password="one"),
        endpoint(closed_port),
        endpoint(serve(meet), protocol="redis", password="two"),
        endpoint(serve(lambda _connection: None)),
    ]

    facts, problems = check_endpoints(endpoints)

    assert [problem.check for problem in problems] == ["redis", "tcp", "redis"]
    assert facts == [{"name": "service", "address": endpoints[3].address}]


def test_an_answer_that_breaks_the_parser_is_a_problem_and_no_traceback(serve: t.Any) -> None:
    def broken(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(b"\x01\x00\x00\x00\x00\x00\x05\x00\x0a\x00\x0a\x00\xce")

    _facts, (problem,) = check_endpoints([endpoint(serve(broken), protocol="rabbitmq")])

    assert "does not understand" in problem.problem


def test_a_secret_is_never_the_value_of_a_problem(serve: t.Any) -> None:
    def denies(connection: socket.socket) -> None:
        connection.sendall(b"-WRONGPASS no\r\n")

    _facts, (problem,) = check_endpoints([endpoint(serve(denies), protocol="redis", password="hidden")])

    assert problem.variable == "airflow_broker.password"
    assert "hidden" not in str(problem.as_dict())
