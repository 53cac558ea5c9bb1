# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.platform import Broker, Postgres
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.urls import broker_url, postgres_url

ODD = "p@s:s/w%o?r#d&=+ ü'\""
DATABASE = Postgres("db.example.com", 5432, "airflow", "air@flow", ODD, "verify-full", "PEM")
REDIS = Broker("redis", "mq.example.com", 6379, None, ODD, 3, "/", True, None)
RABBITMQ = Broker("rabbitmq", "mq.example.com", 5671, "u/ser", ODD, 0, "/", True, None)


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_odd_characters_in_a_login_survive() -> None:
    for url, user in (
        (postgres_url(DATABASE, "database_ca"), "air@flow"),
        (broker_url(REDIS), ""),
        (broker_url(RABBITMQ), "u/ser"),
    ):
        parts = urlsplit(url)
        assert (unquote(parts.username or ""), unquote(parts.password or "")) == (user, ODD)
        assert parts.hostname in ("db.example.com", "mq.example.com")
        assert ODD not in url


def test_the_database_is_verified_with_the_given_certificate_or_with_what_the_image_trusts() -> None:
    assert query(postgres_url(DATABASE, "database_ca"))["sslrootcert"] == "/opt/flowstead/ca/database_ca.pem"
    without = replace(DATABASE, ca_certificate=None)
    assert query(postgres_url(without, "database_ca"))["sslrootcert"] == "/etc/ssl/certs/ca-certificates.crt"


@pytest.mark.parametrize("sslmode", ["disable", "require"])
def test_nothing_is_verified_where_that_was_not_asked_for(sslmode: str) -> None:
    # libpq verifies in mode require as soon as there is a root certificate
    url = postgres_url(replace(DATABASE, sslmode=sslmode, ca_certificate=None), "database_ca")

    assert query(url)["sslmode"] == sslmode
    assert "sslrootcert" not in query(url)


def test_idle_database_connections_are_kept_alive() -> None:
    found = query(postgres_url(DATABASE, "x"))
    assert found["keepalives_idle"] == "60"
    assert int(found["tcp_user_timeout"]) == 1000 * (
        int(found["keepalives_idle"]) + int(found["keepalives_interval"]) * int(found["keepalives_count"])
    ), "unacknowledged data silences keepalives"


def test_the_driver_serves_synchronous_and_asynchronous_engines() -> None:
    assert postgres_url(DATABASE, "x").startswith("postgresql+psycopg://")


@pytest.mark.parametrize(
    ("broker", "begin", "end"),
    [
        (REDIS, "rediss://:", "@mq.example.com:6379/3"),
        (replace(REDIS, tls=False), "redis://:", "@mq.example.com:6379/3"),
        (RABBITMQ, "amqps://u%2Fser:", "@mq.example.com:5671/%2F"),
        (replace(RABBITMQ, tls=False, virtual_host="team a"), "amqp://u%2Fser:", "@mq.example.com:5671/team%20a"),
        (replace(REDIS, host="fd00::1"), "rediss://:", "@[fd00::1]:6379/3"),
    ],
)
def test_a_brokers_url_names_scheme_address_and_place(broker: Broker, begin: str, end: str) -> None:
    url = broker_url(broker)

    assert url.startswith(begin)
    assert url.endswith(end)
