# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest
import yaml
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.services import services
from platform_samples import CERTIFICATE, OPTIONS, PRODUCTION, SPEC, platform_of


def test_what_is_not_said_has_the_defaults_of_the_spec() -> None:
    platform = platform_of()

    assert platform.version == "3.3.2"
    assert platform.longest_task_seconds == 43200
    assert (platform.database.port, platform.database.name, platform.database.user) == (5432, "airflow", "airflow")
    assert (platform.api_server.replicas, platform.scheduler.replicas) == (2, 2)
    assert (platform.dag_processor.replicas, platform.triggerer.replicas) == (1, 1)
    assert (platform.admin.username, platform.admin.email) == ("admin", "admin@example.com")
    assert platform.broker.port == 6379
    assert platform.bundles == ()


def test_role_defaults_agree_with_the_spec() -> None:
    defaults = yaml.safe_load((SPEC.parents[1] / "defaults" / "main.yml").read_text(encoding="utf-8"))
    specs = yaml.safe_load(SPEC.read_text(encoding="utf-8"))["argument_specs"]
    options = {**OPTIONS, **specs["preflight"]["options"], **specs["verify"]["options"]}
    # The spec describes in words what is computed.
    defaults = {name: value for name, value in defaults.items() if "{{" not in str(value)}

    assert {name: options[name].get("default") for name in defaults} == defaults
    assert {name for name, option in options.items() if "default" in option} == set(defaults)


def test_the_result_backend_takes_server_and_tls_from_the_database() -> None:
    platform = platform_of(
        {
            "airflow_database.port": 6432,
            "airflow_database.sslmode": "verify-ca",
            "airflow_database.ca_certificate": CERTIFICATE.format("x"),
        }
    )

    for name in ("host", "port", "sslmode", "ca_certificate"):
        assert getattr(platform.result_backend, name) == getattr(platform.database, name)
    assert platform.result_backend.user == platform.result_backend.name == "airflow_results"


@pytest.mark.parametrize(
    ("broker", "port"),
    [
        ({"type": "redis", "tls": False}, 6379),
        ({"type": "redis", "tls": True}, 6379),
        ({"type": "rabbitmq", "user": "u", "tls": False}, 5672),
        ({"type": "rabbitmq", "user": "u", "tls": True}, 5671),
        ({"type": "rabbitmq", "user": "u", "port": 12345}, 12345),
    ],
)
def test_the_brokers_port_follows_from_type_and_tls(broker: dict[str, t.Any], port: int) -> None:
    platform = platform_of({"airflow_broker": {"host": "mq", "password": "broker-Pa55", **broker}})

    assert platform.broker.port == port


@pytest.mark.parametrize(("longest", "timeout"), [(60, 86400), (82800, 86400), (82801, 86401), (172800, 176400)])
def test_redis_waits_longer_than_the_longest_task(longest: int, timeout: int) -> None:
    assert platform_of({"airflow_longest_task_seconds": longest}).visibility_timeout == timeout


def _checks(interval: int) -> dict[str, tuple[int, int]]:
    """Component to seconds between two health checks and failures in a row until the restart."""
    found = services(platform_of({"airflow_health_interval_seconds": interval}), "airflow:1")
    return {s.component: (s.health.interval, s.health.retries) for s in found if s.health}


@pytest.mark.parametrize(
    ("interval", "api_server", "triggerer", "worker"), [(10, 9, 12, 30), (30, 3, 4, 10), (45, 2, 3, 7), (60, 2, 2, 5)]
)
def test_fewer_health_checks_allow_the_same_time_of_failure(
    interval: int, api_server: int, triggerer: int, worker: int
) -> None:
    checks = _checks(interval)

    assert checks["api-server"] == checks["scheduler"] == (interval, api_server)
    assert checks["triggerer"] == checks["dag-processor"] == (interval, triggerer)
    assert checks["worker"] == (interval, worker)


def test_one_failed_health_check_restarts_nothing_however_rare_they_are() -> None:
    assert {retries for _interval, retries in _checks(300).values()} == {2}


def test_workers_do_not_gossip() -> None:
    workers = [s for s in services(platform_of(), "airflow:1") if s.component == "worker"]

    assert workers
    assert all("--without-gossip" in worker.command for worker in workers)


def test_a_worker_gets_memory_for_its_concurrency_and_time_for_its_longest_task() -> None:
    worker = platform_of({"airflow_workers.0.concurrency": 4}).workers[0]

    assert (worker.memory_mb, worker.memory_reservation_mb) == (512 + 4 * 256, (512 + 4 * 256) // 2)
    assert worker.stop_grace_seconds == 43200


def test_a_low_limit_lowers_what_is_reserved() -> None:
    platform = platform_of({"airflow_components.scheduler.memory_mb": 512})

    assert (platform.scheduler.memory_mb, platform.scheduler.memory_reservation_mb) == (512, 512)
    assert platform.triggerer.memory_reservation_mb == 768


def test_numbers_and_booleans_may_come_as_strings_from_the_command_line_or_a_survey() -> None:
    platform = platform_of(
        {
            "airflow_longest_task_seconds": "7200",
            "airflow_secure_logging": "no",
            "airflow_database.port": " 5433 ",
            "airflow_broker.tls": "True",
            "airflow_components.scheduler.cpus": "1.5",
            "airflow_components.api_server.replicas": 3.0,
            "airflow_workers.0.replicas": "2",
        }
    )

    assert platform.longest_task_seconds == 7200
    assert platform.secure_logging is False
    assert platform.database.port == 5433
    assert platform.broker.tls is True
    assert platform.scheduler.cpus == 1.5
    assert platform.api_server.replicas == 3
    assert isinstance(platform.api_server.replicas, int)
    assert platform.workers[0].replicas == 2


def test_bundles_lie_below_the_environments_directory_of_the_share() -> None:
    platform = platform_of(base=PRODUCTION)

    assert {bundle.name: bundle.host_path for bundle in platform.bundles} == {
        "shared": "/mnt/dags/prod/shared",
        "team-a": "/mnt/dags/prod/teams/a",
    }
    assert [worker.bundles for worker in platform.workers] == [("shared", "team-a"), ("team-a",), ()]


def test_settings_become_the_text_that_airflow_reads() -> None:
    config = {"core": {"a_switch": True, "a_number": 3, "a_fraction": 0.5, "a_text": "x"}}

    assert platform_of({"airflow_config": config}).config == {
        "core": {"a_switch": "True", "a_number": "3", "a_fraction": "0.5", "a_text": "x"}
    }


def test_a_platform_does_not_show_its_secrets_when_it_is_printed() -> None:
    platform = platform_of(base=PRODUCTION)

    for secret in (platform.database.password, platform.keys.fernet, platform.keys.jwt, platform.admin.password):
        assert secret not in repr(platform)


def test_queues_are_listed_once_in_the_order_of_the_workers() -> None:
    assert platform_of(base=PRODUCTION).queues == ("default", "small", "team_a", "gpu")
