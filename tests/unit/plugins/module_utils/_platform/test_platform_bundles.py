# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How DAGs get to those who read them."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._platform.environment import secret_data
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.platform import Platform
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.services import Service, services
from platform_samples import platform_of

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nhidden-key\n-----END OPENSSH PRIVATE KEY-----"
GIT = {
    "name": "reports",
    "delivery": "git",
    "git": {
        "repository": "https://git.example.com/reports.git",
        "ref": "main",
        "subdirectory": "/dags/",
        "username": "ci",
        "password": "hidden-token",
    },
}
S3 = {
    "name": "lake",
    "delivery": "s3",
    "s3": {
        "bucket": "dags",
        "prefix": "prod/",
        "access_key_id": "AKIAEXAMPLE",
        "secret_access_key": "hidden-secret",
        "region_name": "eu-west-1",
    },
}


def platform(*bundles: dict[str, t.Any], workers: t.Any = None) -> Platform:
    changes: dict[str, t.Any] = {"airflow_bundles": list(bundles)}
    if workers is not None:
        changes["airflow_workers"] = workers
    return platform_of(changes)


def by_name(one: Platform) -> dict[str, Service]:
    return {service.name: service for service in services(one, "image")}


def entries(service: Service) -> dict[str, dict[str, t.Any]]:
    found = json.loads(service.environment["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])
    return {entry["name"]: entry for entry in found if entry["name"] != "flowstead-canary"}


def test_a_bundle_is_delivered_by_releases_unless_it_says_otherwise() -> None:
    found = entries(by_name(platform({"name": "sales", "refresh_seconds": 10}))["scheduler"])

    assert found == {
        "sales": {
            "name": "sales",
            "classpath": "flowstead_airflow.releases.ReleaseBundle",
            "kwargs": {"path": "/opt/airflow/bundles/sales", "refresh_interval": 10},
        }
    }


def test_each_delivery_has_its_class_and_only_those_of_the_share_are_mounted() -> None:
    image = {"name": "baked", "delivery": "image", "source": "/work/dags"}
    live = {"name": "live", "delivery": "directory"}
    dag_processor = by_name(platform({"name": "sales"}, live, image, GIT, S3))["dag-processor"]

    assert {name: entry["classpath"].rpartition(".")[2] for name, entry in entries(dag_processor).items()} == {
        "sales": "ReleaseBundle",
        "live": "LocalDagBundle",
        "baked": "LocalDagBundle",
        "reports": "GitDagBundle",
        "lake": "S3DagBundle",
    }
    assert entries(dag_processor)["baked"]["kwargs"]["path"] == "/opt/airflow/dags/baked"
    assert [mount.target for mount in dag_processor.mounts if mount.type == "bind"] == [
        "/opt/airflow/bundles/sales",
        "/opt/airflow/bundles/live",
    ]


def test_git_and_s3_get_their_places_as_arguments_and_their_logins_as_connections() -> None:
    one = platform(GIT, S3)
    found = entries(by_name(one)["dag-processor"])

    assert found["reports"]["kwargs"] == {
        "repo_url": "https://git.example.com/reports.git",
        "tracking_ref": "main",
        "subdir": "dags",
        "git_conn_id": "bundle_reports",
        "refresh_interval": 30,
    }
    assert found["lake"]["kwargs"] == {
        "bucket_name": "dags",
        "prefix": "prod",
        "aws_conn_id": "bundle_lake",
        "refresh_interval": 30,
    }
    assert json.loads(secret_data(one)["connections.json"]) == {
        "bundle_reports": {
            "conn_type": "git",
            "host": "https://git.example.com/reports.git",
            "login": "ci",
            "password": "hidden-token",
        },
        "bundle_lake": {
            "conn_type": "aws",
            "login": "AKIAEXAMPLE",
            "password": "hidden-secret",
            "extra": {"region_name": "eu-west-1"},
        },
    }


def test_logins_of_bundles_are_in_no_environment_and_only_with_those_who_read_the_bundles() -> None:
    found = by_name(platform(GIT, S3))

    assert not [service.name for service in found.values() if "hidden" in json.dumps(dict(service.environment))]
    assert {name for name, service in found.items() if "connections.json" in service.secrets} == {
        "dag-processor",
        "triggerer",
        "worker-default",
    }
    path = '{"connections_file_path": "/run/secrets/connections.json"}'
    assert found["dag-processor"].environment["AIRFLOW__SECRETS__BACKEND_KWARGS"] == path
    assert found["worker-default"].environment["AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS"] == path
    assert "AIRFLOW__SECRETS__BACKEND" not in found["worker-default"].environment
    assert "AIRFLOW__SECRETS__BACKEND" not in found["scheduler"].environment


def test_workers_get_the_logins_of_their_own_bundles_only() -> None:
    workers = [
        {"name": "default", "queues": ["default"], "bundles": ["lake"]},
        {"name": "reports", "queues": ["reports"], "bundles": ["reports"]},
        {"name": "none", "queues": ["none"], "bundles": []},
    ]
    one = platform(GIT, S3, workers=workers)
    found, data = by_name(one), secret_data(one)

    def connections(name: str) -> list[str]:
        return [
            connection
            for secret in found[name].secrets
            if secret.startswith("connections")
            for connection in json.loads(data[secret])
        ]

    assert connections("dag-processor") == ["bundle_lake", "bundle_reports"]
    assert connections("worker-default") == ["bundle_lake"]
    assert connections("worker-reports") == ["bundle_reports"]
    assert connections("worker-none") == []


def test_a_private_key_ends_with_a_newline_as_ssh_wants_it() -> None:
    git = {"repository": "git@git.example.com:x.git", "ref": "main", "private_key": KEY}
    one = platform({"name": "x", "delivery": "git", "git": git})

    key = json.loads(secret_data(one)["connections.json"])["bundle_x"]["extra"]["private_key"]
    assert key == KEY + "\n"


def test_a_connection_that_exists_already_is_only_named() -> None:
    git = {"repository": "https://git.example.com/x.git", "ref": "main", "connection_id": "my_git"}
    one = platform({"name": "x", "delivery": "git", "git": git})

    assert entries(by_name(one)["worker-default"])["x"]["kwargs"]["git_conn_id"] == "my_git"
    assert not [name for name in secret_data(one) if name.startswith("connections")]
    assert "AIRFLOW__SECRETS__BACKEND" not in by_name(one)["dag-processor"].environment


def test_the_logins_of_bundles_do_not_show_in_the_platforms_text() -> None:
    assert "hidden" not in repr(platform(GIT, S3))
