# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._platform import doors
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.services import services
from platform_samples import MINIMAL, PRODUCTION, platform_of


def needs(hosts: int, changes: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
    platform = platform_of(changes, MINIMAL)
    return doors.requirements(platform, services(platform, "i"), hosts)


def test_endpoints_carry_what_a_sign_in_needs() -> None:
    database, results, broker = doors.endpoints(platform_of(base=PRODUCTION))

    assert (database["variable"], database["protocol"], database["host"], database["port"]) == (
        "airflow_database", "postgresql", "db.example.com", 5433,
    )  # fmt: skip
    assert (database["user"], database["password"], database["database"]) == (
        "airflow_prod", "d@tab/se:Pa%55", "airflow_prod",
    )  # fmt: skip
    assert (results["host"], results["sslmode"], results["user"]) == (
        "results.example.com", "require", "airflow_results",
    )  # fmt: skip
    assert (broker["protocol"], broker["port"], broker["database"], broker["tls"]) == ("rabbitmq", 5671, "/prod", True)
    assert broker["ca_certificate"].startswith("-----BEGIN CERTIFICATE-----")


def test_a_redis_endpoint_names_its_database_as_text() -> None:
    broker = doors.endpoints(platform_of({"airflow_broker.database": 3}))[2]

    assert (broker["protocol"], broker["database"], broker["tls"], broker["user"]) == ("redis", "3", False, "")


def test_every_queue_has_one_canary_that_names_the_workers_that_may_run_it() -> None:
    assert doors.canaries(platform_of(base=PRODUCTION)) == [
        {"queue": "default", "dag_id": "flowstead_canary__default", "workers": ["default"]},
        {"queue": "small", "dag_id": "flowstead_canary__small", "workers": ["default", "gpu"]},
        {"queue": "team_a", "dag_id": "flowstead_canary__team_a", "workers": ["team-a"]},
        {"queue": "gpu", "dag_id": "flowstead_canary__gpu", "workers": ["gpu"]},
    ]


def test_a_bundles_tasks_may_use_a_queue_when_every_worker_that_consumes_it_sees_the_bundle() -> None:
    # The workers gpu see no bundle and consume the queue small as well.
    found = {bundle["name"]: bundle["queues"] for bundle in doors.bundles(platform_of(base=PRODUCTION))}

    assert found == {"shared": ["default"], "team-a": ["default", "team_a"]}


def test_a_bundle_says_where_it_lies_and_who_owns_it() -> None:
    team = {"name": "a", "directory": "teams/a", "owner": "1001", "group": "team_a", "mode": "2775"}
    image = {"name": "b", "delivery": "image", "source": "/work/dags"}

    mine, baked = doors.bundles(platform_of({"airflow_bundles": [team, image], "airflow_dags_path": "/mnt/dags"}))

    assert (mine["path"], mine["owner"], mine["group"], mine["mode"]) == (
        "/mnt/dags/local/teams/a", "1001", "team_a", "2775",
    )  # fmt: skip
    assert (mine["delivery"], baked["delivery"], baked["path"]) == ("release", "image", "")


def test_a_queue_name_becomes_a_dag_id() -> None:
    changes = {"airflow_workers.0.queues": ["default", "team:a/b@c"]}

    assert doors.canaries(platform_of(changes))[1]["dag_id"] == "flowstead_canary__team_a_b_c"


def test_one_host_carries_everything_and_several_share_it() -> None:
    total = 2 * 768 + 2 * 768 + 768 + 768 + (512 + 16 * 256) // 2

    assert needs(1)["memory_mb"] == needs(1)["memory_total_mb"] == total
    assert needs(2)["memory_mb"] == total // 2


def test_a_host_is_never_smaller_than_the_largest_service() -> None:
    changes = {"airflow_workers.0.memory_mb": 16384, "airflow_workers.0.memory_reservation_mb": 8192}

    assert needs(100, changes)["memory_mb"] == 8192


def test_the_published_port_is_named_with_its_variable() -> None:
    assert needs(1, {"airflow_components.api_server.port": 9090})["ports"] == [
        {"port": 9090, "purpose": "api-server", "variable": "airflow_components.api_server.port"}
    ]
