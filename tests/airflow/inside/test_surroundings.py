"""A proxy in the environment of Airflow's components: what they say to each other does not go there."""

from __future__ import annotations

import typing as t

import pytest
import told  # noqa: F401 - makes the collection known
from airflow.sdk.api.client import Client
from airflow.utils.log.file_task_handler import _fetch_logs_from_service
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.services import services
from botocore.utils import get_environ_proxies
from platform_samples import platform_of
from requests import Session

PROXY = "http://proxy.test:3128"
#: Every form that the platform lets through: none of them may make a client of Airflow fail.
ALL_FORMS = ["corp", ".corp.test", "a.corp.test.", "b.test:8443", "192.0.2.1", "fd00::1", "100.64.0.0/10"]


@pytest.fixture(name="worker")
def _worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a worker, as far as proxies go."""
    variables = {"airflow_proxy": {"http": PROXY, "https": PROXY, "no_proxy": ALL_FORMS}}
    worker = next(one for one in services(platform_of(variables), "image") if one.component == "worker")
    for name, value in worker.environment.items():
        if "proxy" in name.lower():
            monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("url", "proxied"), [("http://api-server:8080/execution/", False), ("http://api.example.com/execution/", True)]
)
def test_a_task_talks_to_the_api_server_itself(url: str, proxied: bool) -> None:
    client = Client(base_url=url, token="token")
    transport = client._transport_for_url(client.build_request("GET", "x").url)
    assert (type(t.cast("t.Any", transport)._pool).__name__ == "HTTPProxy") is proxied


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("url", "proxied"),
    [
        ("http://169.254.169.254/latest/meta-data/", False),
        ("http://169.254.170.2/v2/credentials", False),
        ("https://s3.eu-central-1.amazonaws.com", True),
    ],
)
def test_a_host_of_a_cloud_is_asked_itself_who_it_is(url: str, proxied: bool) -> None:
    assert bool(get_environ_proxies(url)) is proxied


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(("host", "proxied"), [("10.0.7.12", False), ("192.0.2.7", True)])
def test_an_api_server_asks_a_workers_log_server_itself(
    host: str, proxied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[t.Any] = []

    class Sent(Exception):
        """Far enough."""

    def send(_session: Session, _request: t.Any, **settings: t.Any) -> t.NoReturn:
        used.append(dict(settings["proxies"]))
        raise Sent

    monkeypatch.setattr(Session, "send", send)
    with pytest.raises(Sent):
        _fetch_logs_from_service(f"http://{host}:8793/log/x", "x")
    assert bool(used[0]) is proxied
