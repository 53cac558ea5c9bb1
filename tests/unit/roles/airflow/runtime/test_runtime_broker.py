from __future__ import annotations

import ssl
import sys
import types
import typing as t
from pathlib import Path

import pytest
from flowstead_airflow import broker, settings

SSL = {"AIRFLOW__CELERY__SSL_ACTIVE": "True", "AIRFLOW__CELERY__SSL_MUTUAL_TLS": "False"}
AUTHORITY = {"AIRFLOW__CELERY__SSL_CACERT": "/opt/flowstead/ca/broker_ca.pem"}


def test_the_node_is_named_as_celery_names_it_by_default() -> None:
    assert broker.node_name("4f2a6c1d9e0b") == "celery@4f2a6c1d9e0b"


def test_tls_is_off_unless_airflow_switches_it_on() -> None:
    assert broker.transport_security("redis://h", {}) is None


def test_redis_gets_its_own_names_for_tls() -> None:
    assert broker.transport_security("rediss://h", {**SSL, **AUTHORITY}) == {
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_ca_certs": "/opt/flowstead/ca/broker_ca.pem",
    }


def test_rabbitmq_gets_its_own_names_for_tls() -> None:
    assert broker.transport_security("amqps://h", {**SSL, **AUTHORITY}) == {
        "cert_reqs": ssl.CERT_REQUIRED,
        "ca_certs": "/opt/flowstead/ca/broker_ca.pem",
    }


def test_mutual_tls_is_airflows_default_and_needs_key_and_certificate() -> None:
    mutual = {"AIRFLOW__CELERY__SSL_ACTIVE": "True"}
    with pytest.raises(settings.SettingMissing, match="SSL_KEY is not set"):
        broker.transport_security("rediss://h", mutual)
    mutual.update({"AIRFLOW__CELERY__SSL_KEY": "/k", "AIRFLOW__CELERY__SSL_CERT": "/c"})
    found = broker.transport_security("rediss://h", mutual)
    assert found is not None
    assert (found["ssl_keyfile"], found["ssl_certfile"]) == ("/k", "/c")


def test_transport_options_are_read_as_airflow_reads_them() -> None:
    prefix = "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__"
    environ = {
        f"{prefix}VISIBILITY_TIMEOUT": "86400",
        f"{prefix}GLOBAL_KEYPREFIX": "team-a:",
        f"{prefix}CONFIRM_PUBLISH": "True",
        f"{prefix}HEALTH_CHECKS": "false",
        f"{prefix}SENTINEL_KWARGS": '{"password": "x"}',
        f"{prefix}SENTINEL_KWARGS_CMD": "cat /run/secrets/x",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": "4",
    }
    assert broker.transport_options("amqp://h", environ) == {
        "visibility_timeout": 86400,
        "global_keyprefix": "team-a:",
        "confirm_publish": True,
        "health_checks": False,
        "sentinel_kwargs": {"password": "x"},
    }


def test_redis_is_never_waited_for_without_end() -> None:
    options = broker.transport_options("redis://h", {})
    assert options == {"socket_connect_timeout": broker.TIMEOUT, "socket_timeout": broker.TIMEOUT}


class Link:
    """A broker connection that has to be checked before it is used, and is closed."""

    made: t.ClassVar[list[Link]] = []

    def __init__(self, url: str, ssl: t.Any, connect_timeout: float, transport_options: t.Any) -> None:
        assert ssl is False, "this broker has no TLS"
        assert 0 < connect_timeout <= broker.TIMEOUT
        assert transport_options["socket_timeout"] == broker.TIMEOUT
        self.url = url
        self.state = "new"
        Link.made.append(self)

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_error: t.Any) -> None:
        self.state = "closed"

    def ensure_connection(self, max_retries: int, timeout: float) -> None:
        assert max_retries * timeout <= broker.TIMEOUT
        self.state = "connected"


class Mailbox:
    """kombu's mailbox: answers only the command and the node that exist."""

    replies: t.ClassVar[t.Any] = []

    def __init__(self, namespace: str, type: str, accept: list[str], serializer: str) -> None:
        assert (namespace, type, accept, serializer) == ("celery", "fanout", ["json"], "json")

    def __call__(self, link: Link) -> Mailbox:
        assert link.state == "connected"
        return self

    def call(self, destination: list[str], command: str, timeout: float) -> t.Any:
        assert destination == ["celery@w1"]
        assert command == "active_queues"
        assert timeout == broker.TIMEOUT
        return self.replies


@pytest.fixture(name="kombu")
def _kombu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Mailbox]:
    (tmp_path / "broker_url").write_text("redis://:pw@h:6379/0", encoding="utf-8")
    monkeypatch.setattr(settings, "SECRETS", tmp_path)
    package, pidbox = types.ModuleType("kombu"), types.ModuleType("kombu.pidbox")
    package.Connection = Link  # type: ignore[attr-defined]
    pidbox.Mailbox = Mailbox  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kombu", package)
    monkeypatch.setitem(sys.modules, "kombu.pidbox", pidbox)
    monkeypatch.setattr(Mailbox, "replies", [])
    monkeypatch.setattr(Link, "made", [])
    return Mailbox


def test_the_queues_of_the_asked_node_are_named(kombu: type[Mailbox]) -> None:
    kombu.replies = [{"celery@w1": [{"name": "default"}, {"name": "big"}]}]
    assert broker.consumed_queues("celery@w1") == ["default", "big"]
    assert [link.state for link in Link.made] == ["closed"]


@pytest.mark.parametrize("replies", [None, [], [{"celery@w2": []}], [{"celery@w1": {"error": "no"}}]])
def test_silence_and_errors_are_not_an_answer(kombu: type[Mailbox], replies: t.Any) -> None:
    kombu.replies = replies
    assert broker.consumed_queues("celery@w1") is None
