"""Behaviour of the REST client."""

from __future__ import annotations

import socket
import typing as t

import pytest
from airflow_double import Airflow
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.client import (
    AirflowClient,
    AirflowError,
    AirflowMisconfigured,
    AirflowNameUnknown,
    AirflowUnreachable,
)


def client(airflow: Airflow, **changes: t.Any) -> AirflowClient:
    """A session with the double."""
    settings: dict[str, t.Any] = {"username": "admin", "password": "right", "timeout": 5.0, **changes}
    return AirflowClient(settings.pop("url", airflow.url + "/"), **settings)


def test_it_logs_in_once_for_many_requests(airflow: Airflow) -> None:
    session = client(airflow)

    session.dag("canary")
    session.import_errors()

    assert airflow.tokens == 1


def test_version_and_health_need_no_login(airflow: Airflow) -> None:
    session = client(airflow, password="wrong")

    assert session.version() == "3.3.2"
    assert session.health() == {
        "metadatabase": "healthy",
        "scheduler": "healthy",
        "triggerer": "absent",
        "dag_processor": "healthy",
    }


def test_an_expired_token_is_replaced(airflow: Airflow) -> None:
    session = client(airflow)
    session.dag("canary")
    airflow.valid_token = "of another key"

    assert session.dag("canary") is not None
    assert airflow.tokens == 2


def test_a_wrong_password_says_whose_and_does_not_repeat_it(airflow: Airflow) -> None:
    with pytest.raises(AirflowMisconfigured, match="refuses the password of user admin") as caught:
        client(airflow, password="wrong-secret").dag("canary")

    assert "wrong-secret" not in str(caught.value)


def test_an_unknown_dag_is_none(airflow: Airflow) -> None:
    assert client(airflow).dag("other") is None


def test_a_url_without_its_path_is_no_airflow(airflow: Airflow) -> None:
    session = client(airflow, url=airflow.url.rpartition("/")[0])

    with pytest.raises(AirflowError) as caught:
        session.version()
    assert (caught.value.status, caught.value.message) == (404, "an HTML page")
    with pytest.raises(AirflowMisconfigured, match="airflow_public_url"):
        session.dag("canary")


def test_a_redirect_is_reported_with_its_target_and_not_followed(airflow: Airflow) -> None:
    airflow.redirect = "https://airflow.example/af/auth/token?secret=1"

    with pytest.raises(AirflowMisconfigured, match=r"redirects to https://airflow\.example/af/auth/token\. "):
        client(airflow).dag("canary")

    assert len(airflow.requests) == 1


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_without_airflow_behind_it_is_worth_another_try(airflow: Airflow, status: int) -> None:
    airflow.outage = [status]

    with pytest.raises(AirflowUnreachable, match=str(status)):
        client(airflow).version()


def test_nothing_that_listens_is_worth_another_try(airflow: Airflow) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    with pytest.raises(AirflowUnreachable, match="refuses the connection"):
        client(airflow, url=f"http://127.0.0.1:{port}").version()


def test_a_name_that_does_not_resolve_is_told_apart(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments: t.Any, **_more: t.Any) -> t.NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    session = client(airflow, url="http://airflow.example")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    with pytest.raises(AirflowNameUnknown, match="does not resolve"):
        session.version()


def test_tls_to_a_plain_port_is_reported(airflow: Airflow) -> None:
    with pytest.raises(AirflowMisconfigured, match="no TLS"):
        client(airflow, url=airflow.url.replace("http:", "https:")).version()


def test_a_ca_file_that_is_missing_is_reported(airflow: Airflow) -> None:
    with pytest.raises(AirflowMisconfigured, match=r"/no/such\.pem"):
        client(airflow, url="https://127.0.0.1:1", ca_path="/no/such.pem")


@pytest.mark.parametrize("as_text", [False, True])
def test_a_return_value_is_read_as_object_and_as_json_text(airflow: Airflow, as_text: bool) -> None:
    dag = airflow.dags["canary"]
    dag.states, dag.xcom_as_text = [("success", "success")], as_text
    session = client(airflow)
    session.trigger("canary", "run", {"nonce": "n"})
    session.run("canary", "run")

    assert session.return_value("canary", "run", "sing")["nonce"] == "n"


def test_a_log_is_read_line_by_line_with_the_causes_of_errors(airflow: Airflow) -> None:
    airflow.dags["canary"].log = "one\ntwo"
    session = client(airflow)
    session.trigger("canary", "run", {"nonce": "n"})

    assert session.log_lines("canary", "run", "sing", 1)[-2:] == ["one", "two"]
