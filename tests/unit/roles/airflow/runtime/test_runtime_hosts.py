from __future__ import annotations

import pytest
from flowstead_airflow import hosts

CONTAINER = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n10.0.5.7\t4f2a6c1d9e0b\n"
API = {"AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://api-server:8080/execution/"}


class Route:
    """Answers for one peer only, and remembers that it was asked."""

    def __init__(self, peer: tuple[str, int], local: str | None) -> None:
        self.peer = peer
        self.local = local
        self.asked = 0

    def __call__(self, host: str, port: int) -> str | None:
        assert (host, port) == self.peer
        self.asked += 1
        return self.local


def no_route(host: str, port: int) -> str | None:
    raise AssertionError("the route is not needed here")


def test_a_container_gives_the_address_that_the_engine_wrote_beside_its_name() -> None:
    assert hosts.find(API, CONTAINER, "4f2a6c1d9e0b", no_route) == "10.0.5.7"


def test_a_told_address_wins() -> None:
    environ = {**API, "FLOWSTEAD_ADDRESS": " worker-1.example.com "}
    assert hosts.find(environ, CONTAINER, "4f2a6c1d9e0b", no_route) == "worker-1.example.com"


def test_with_two_networks_the_one_towards_the_execution_api_is_taken() -> None:
    text = CONTAINER + "10.9.0.3 4f2a6c1d9e0b\n"
    route = Route(("api-server", 8080), "10.9.0.3")
    assert hosts.find(API, text, "4f2a6c1d9e0b", route) == "10.9.0.3"
    assert route.asked == 1


def test_with_two_networks_and_no_route_the_first_is_taken() -> None:
    text = CONTAINER + "10.9.0.3 4f2a6c1d9e0b\n"
    assert hosts.find(API, text, "4f2a6c1d9e0b", Route(("api-server", 8080), None)) == "10.0.5.7"


def test_a_machine_whose_name_points_to_loopback_gives_its_end_of_the_route() -> None:
    text = "127.0.0.1 localhost\n127.0.1.1 vm1.example.com vm1\n"
    assert hosts.find(API, text, "vm1", Route(("api-server", 8080), "192.0.2.7")) == "192.0.2.7"


def test_a_route_over_loopback_is_of_no_use_to_others() -> None:
    environ = {"AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "https://localhost/execution/"}
    assert hosts.find(environ, "", "vm1", Route(("localhost", 443), "127.0.0.1")) == "vm1"


def test_without_anything_else_the_name_is_given() -> None:
    assert hosts.find({}, "", "vm1", no_route) == "vm1"


@pytest.mark.parametrize(
    "line", ["127.0.1.1 box", "# 10.0.0.1 box", "fe80::1 box", "nonsense box", "10.0.0.1 boxes", "box"]
)
def test_lines_that_do_not_give_a_usable_address_are_passed_over(line: str) -> None:
    assert hosts.own_addresses(line, "box") == []


def test_ipv4_comes_before_ipv6() -> None:
    assert hosts.own_addresses("fd00::5 box\n10.0.0.1 box\n", "box") == ["10.0.0.1", "fd00::5"]


def test_an_unknown_peer_has_no_route() -> None:
    assert hosts.local_end("does-not-exist.invalid", 80) is None


def test_the_address_is_found_once_per_process(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts.address.cache_clear()
    monkeypatch.setenv("FLOWSTEAD_ADDRESS", "a.example.com")
    assert hosts.address() == "a.example.com"
    monkeypatch.setenv("FLOWSTEAD_ADDRESS", "b.example.com")
    assert hosts.address() == "a.example.com"
    hosts.address.cache_clear()
