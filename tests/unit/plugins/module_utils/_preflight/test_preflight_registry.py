"""Behaviour of the login to an image registry."""

from __future__ import annotations

import socket
import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.endpoints import check_endpoints
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.problems import Problem
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.registry import parse_challenge
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.wire import Endpoint
from certificates import Certificates
from registry_double import PASSWORD, USER, Registry

Start = t.Callable[..., Registry]


@pytest.fixture
def start() -> t.Iterator[Start]:
    """Start registries; they are closed at the end."""
    running: list[Registry] = []

    def run(**given: t.Any) -> Registry:
        running.append(Registry(**given))
        return running[-1]

    yield run
    for registry in running:
        registry.close()


@pytest.fixture
def secure(start: Start, certificates: Certificates) -> t.Callable[..., Registry]:
    """Start a registry with TLS."""
    return lambda **given: start(context=certificates.context("localhost", "127.0.0.1"), **given)


def endpoint(port: int, **given: t.Any) -> Endpoint:
    values = {"host": "localhost", "user": USER, "password": PASSWORD, "tls": True, "timeout": 3.0, **given}
    return Endpoint("registry", "airflow_image_registry", "registry", port=port, **values)


def facts(given: Endpoint) -> dict[str, t.Any]:
    found, problems = check_endpoints([given])
    assert problems == []
    return found[0]


def problem(given: Endpoint) -> Problem:
    _found, problems = check_endpoints([given])
    (only,) = problems
    assert PASSWORD not in str(only)
    return only


def test_a_login_with_basic_authentication_passes(secure: Start, certificates: Certificates) -> None:
    registry = secure()

    assert facts(endpoint(registry.port, ca_certificate=certificates.ca_pem))["authentication"] == "basic"
    assert registry.asked == ["/v2/", "/v2/"]


def test_a_login_with_a_bearer_token_passes(secure: Start, start: Start, certificates: Certificates) -> None:
    tokens = secure()
    registry = secure(challenge=f'Bearer realm="https://localhost:{tokens.port}/token",service="registry.test"')

    found = facts(endpoint(registry.port, ca_certificate=certificates.ca_pem))

    assert found["authentication"] == "bearer"
    assert tokens.asked == [f"/token?service=registry.test&account={USER}"]


def test_a_registry_without_a_login_passes_and_says_that_the_login_was_not_checked(start: Start) -> None:
    found = facts(endpoint(start(challenge="").port, tls=False))

    assert found["authentication"] == "none"
    assert "was not checked" in found["warnings"][0]


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_a_refused_login_is_the_password(secure: Start, certificates: Certificates, scheme: str) -> None:
    registry = secure()
    if scheme == "bearer":
        registry.challenge = f'Bearer realm="https://localhost:{registry.port}/token",service="registry.test"'

    found = problem(endpoint(registry.port, ca_certificate=certificates.ca_pem, password="wrong"))

    assert found.variable == "airflow_image_registry.password"
    assert found.value == "a secret"
    assert f"localhost:{registry.port} refuses the login of user deploy (401" in found.problem


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
def test_a_missing_login_is_the_user(start: Start, scheme: str) -> None:
    registry = start()
    if scheme == "bearer":
        registry.challenge = f'Bearer realm="http://localhost:{registry.port}/token",service="registry.test"'

    found = problem(endpoint(registry.port, tls=False, user="", password=""))

    assert found.variable == "airflow_image_registry.user"
    assert "wants a login and none is given" in found.problem


def test_the_password_goes_to_no_token_service_without_encryption(secure: Start, certificates: Certificates) -> None:
    registry = secure(challenge='Bearer realm="http://localhost:1/token",service="registry.test"')

    found = problem(endpoint(registry.port, ca_certificate=certificates.ca_pem))

    assert "without encryption" in found.problem


def test_an_authority_that_nobody_trusts_is_the_ca_certificate(secure: Start) -> None:
    found = problem(endpoint(secure().port, variables={"ca_certificate": "docker_engine_registry_cas"}))

    assert found.variable == "docker_engine_registry_cas"
    assert "does not come from any authority" in found.problem
    assert found.fix == "give the PEM of the authority that signed the registry's certificate"


def test_a_certificate_for_another_name_is_the_host(start: Start, certificates: Certificates) -> None:
    registry = start(context=certificates.context("elsewhere.test"))

    found = problem(endpoint(registry.port, ca_certificate=certificates.ca_pem))

    assert found.variable == "airflow_image_registry.host"
    assert "is for another name" in found.problem


def test_an_expired_certificate_is_outside_of_its_dates(start: Start, certificates: Certificates) -> None:
    registry = start(context=certificates.context("localhost", days=-1))

    found = problem(endpoint(registry.port, ca_certificate=certificates.ca_pem))

    assert "outside of its dates" in found.problem


def test_a_registry_that_speaks_plain_http_is_tls(start: Start) -> None:
    found = problem(endpoint(start().port, variables={"tls": "docker_engine_daemon.insecure-registries"}))

    assert found.variable == "docker_engine_daemon.insecure-registries"
    assert "does not speak TLS" in found.problem
    assert "list it there" in found.fix


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
        b"\x15\x03\x01\x00\x02\x02\x46",  # the TLS alert "protocol version"
    ],
)
def test_a_registry_that_wants_tls_is_tls(serve: t.Callable[..., int], answer: bytes) -> None:
    def handler(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    found = problem(endpoint(serve(handler), tls=False))

    assert found.variable == "airflow_image_registry.tls"
    assert "speaks TLS" in found.problem


def test_a_name_that_does_not_resolve_is_the_host() -> None:
    found = problem(endpoint(443, host="registry.invalid"))

    assert found.variable == "airflow_image_registry.host"
    assert "does not resolve" in found.problem


def test_a_port_on_which_nothing_listens_is_the_port(closed_port: int) -> None:
    found = problem(endpoint(closed_port, host="127.0.0.1"))

    assert found.variable == "airflow_image_registry.port"
    assert "nothing listens" in found.problem


@pytest.mark.parametrize(
    ("answer", "field", "words"),
    [
        ((404, {}, b""), "host", "is no image registry: it answers 404"),
        ((302, {"Location": "/login"}, b""), "host", "is no image registry: it answers 302"),
        ((429, {"Retry-After": "60"}, b""), "user", "says to wait 60 s"),
        ((403, {}, b'{"errors":[{"code":"DENIED","message":"blocked"}]}'), "password", "(403, blocked)"),
        ((503, {}, b""), "host", "is ill: it answers 503"),
        ((401, {"WWW-Authenticate": "Negotiate"}, b""), "host", "in a way that engines do not know (negotiate)"),
    ],
)
def test_other_answers_are_told_apart(
    start: Start, answer: tuple[int, dict[str, str], bytes], field: str, words: str
) -> None:
    found = problem(endpoint(start(fixed=answer).port, tls=False))

    assert found.variable == f"airflow_image_registry.{field}"
    assert words in found.problem


def test_a_server_that_is_no_web_server_is_no_registry(serve: t.Callable[..., int]) -> None:
    def handler(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"220 mail.test ESMTP\r\n")

    assert "does not speak HTTP" in problem(endpoint(serve(handler), tls=False)).problem


def test_a_server_that_hangs_up_is_named(serve: t.Callable[..., int]) -> None:
    found = problem(endpoint(serve(lambda connection: connection.recv(4096) and None), tls=False))

    assert "closes the connection" in found.problem


def test_a_challenge_with_quotes_and_commas_is_read() -> None:
    header = 'Bearer realm="https://auth.test/token",service="registry.test",scope="repository:a/b:pull,push"'

    assert parse_challenge(header) == (
        "bearer",
        {"realm": "https://auth.test/token", "service": "registry.test", "scope": "repository:a/b:pull,push"},
    )


def test_a_registry_behind_a_proxy_is_reached_through_it(serve: t.Callable[..., int]) -> None:
    asked: list[bytes] = []

    def proxy(connection: socket.socket) -> None:
        asked.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        assert connection.recv(4096).startswith(b"GET /v2/ HTTP/1.1\r\nHost: registry.invalid:5000\r\n")
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    found = facts(
        endpoint(
            5000, host="registry.invalid", tls=False, password="", proxy=f"http://me:p%40ss@127.0.0.1:{serve(proxy)}"
        )
    )

    assert found["authentication"] == "none"
    assert asked[0].startswith(b"CONNECT registry.invalid:5000 HTTP/1.1\r\nHost: registry.invalid:5000\r\n")
    assert b"Proxy-Authorization: Basic bWU6cEBzcw==\r\n" in asked[0]  # me:p@ss


def test_a_proxy_that_refuses_is_named(serve: t.Callable[..., int]) -> None:
    def proxy(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    found = problem(
        endpoint(
            443,
            host="registry.invalid",
            proxy=f"http://127.0.0.1:{serve(proxy)}",
            variables={"proxy": "docker_engine_proxy.https"},
        )
    )

    assert found.variable == "docker_engine_proxy.https"
    assert "refuses to reach registry.invalid:443 (407)" in found.problem


def test_what_no_proxy_names_is_reached_directly(start: Start, closed_port: int) -> None:
    given = endpoint(start(challenge="").port, tls=False, password="", proxy=f"http://127.0.0.1:{closed_port}")

    assert facts(given)["authentication"] == "none"  # loopback never goes through a proxy
