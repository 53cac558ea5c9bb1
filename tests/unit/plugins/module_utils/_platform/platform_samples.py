# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of two platforms, and how tests change and compare them."""

from __future__ import annotations

import copy
import json
import os
import typing as t
from pathlib import Path

import yaml
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.platform import Platform, parse
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.problems import Problem

SPEC = Path(__file__).resolve().parents[5] / "roles" / "airflow" / "meta" / "argument_specs.yml"
OPTIONS: dict[str, t.Any] = yaml.safe_load(SPEC.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
GOLDEN = Path(__file__).parent / "golden"

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB{}\n-----END CERTIFICATE-----\n"

#: What is required, and nothing else.
MINIMAL: dict[str, t.Any] = {
    "airflow_environment": "local",
    "airflow_public_url": "http://127.0.0.1:8080",
    "airflow_database": {"host": "10.0.0.1", "password": "database-Pa55", "sslmode": "disable"},
    "airflow_result_backend": {"password": "results-Pa55"},
    "airflow_broker": {"type": "redis", "host": "10.0.0.1", "password": "broker-Pa55", "tls": False},
    "airflow_keys": {
        "fernet": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "api_secret": "api-secret-of-a-test-" + "0" * 20,
        "jwt": "jwt-secret-of-a-test-" + "0" * 20,
        "object_names": "object-names-of-a-test-" + "0" * 20,
    },
    "airflow_admin": {"password": "admin-Pa55word"},
    "airflow_workers": [{"name": "default", "queues": ["default"]}],
}

#: Everything that can be said.
PRODUCTION: dict[str, t.Any] = {
    **MINIMAL,
    "airflow_environment": "prod",
    "airflow_version": "3.3.2",
    "airflow_public_url": "https://data.example.com/airflow",
    "airflow_longest_task_seconds": 172800,
    "airflow_secure_logging": True,
    "airflow_database": {
        "host": "db.example.com",
        "port": 5433,
        "name": "airflow_prod",
        "user": "airflow_prod",
        "password": "d@tab/se:Pa%55",
        "ca_certificate": CERTIFICATE.format("database"),
    },
    "airflow_result_backend": {
        "host": "results.example.com",
        "port": 5434,
        "password": "results-Pa55",
        "sslmode": "require",
        "ca_certificate": CERTIFICATE.format("results"),
    },
    "airflow_broker": {
        "type": "rabbitmq",
        "host": "mq.example.com",
        "user": "airflow",
        "password": "br@ker/Pa55",
        "virtual_host": "/prod",
        "ca_certificate": CERTIFICATE.format("broker"),
    },
    "airflow_admin": {
        "username": "ada",
        "password": "admin-Pa55word",
        "email": "ada@example.com",
        "first_name": "Ada",
        "last_name": "Lovelace",
    },
    "airflow_components": {
        "api_server": {"replicas": 3, "memory_mb": 3072, "cpus": 2, "port": 8443, "workers": 2},
        "scheduler": {"replicas": 3},
        "dag_processor": {"memory_mb": 4096, "memory_reservation_mb": 2048},
        "triggerer": {"replicas": 2, "memory_mb": 512},
    },
    "airflow_workers": [
        {"name": "default", "queues": ["default", "small"], "replicas": 4, "concurrency": 8},
        {
            "name": "team-a",
            "queues": ["team_a"],
            "concurrency": 4,
            "memory_mb": 8192,
            "memory_reservation_mb": 4096,
            "cpus": 1.5,
            "stop_grace_seconds": 600,
            "constraints": ["node.labels.team == a"],
            "bundles": ["team-a"],
        },
        {"name": "gpu", "queues": ["gpu", "small"], "concurrency": 1, "bundles": []},
    ],
    "airflow_bundles": [{"name": "shared"}, {"name": "team-a", "directory": "teams/a"}],
    "airflow_dags_path": "/mnt/dags",
    "airflow_config": {
        "core": {"parallelism": 128, "dagbag_import_timeout": 60.5},
        "api": {"expose_config": False},
        "celery": {"sync_parallelism": 2},
        "workers": {"max_failed_heartbeats": 30},
    },
}

#: Every secret of both platforms: none of them may ever be shown.
ALL_SECRETS = tuple(
    values[variable][key]
    for values in (MINIMAL, PRODUCTION)
    for variable, keys in {
        "airflow_database": ("password",),
        "airflow_result_backend": ("password",),
        "airflow_broker": ("password",),
        "airflow_keys": ("fernet", "api_secret", "jwt", "object_names"),
        "airflow_admin": ("password",),
    }.items()
    for key in keys
)


REMOVED = object()


def changed(changes: t.Mapping[str, t.Any], base: t.Mapping[str, t.Any] = MINIMAL) -> dict[str, t.Any]:
    """A copy of the variables; a change's path is dotted, list items are numbers, and REMOVED removes."""
    variables = copy.deepcopy(dict(base))
    for path, value in changes.items():
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        place: t.Any = variables
        for part in parents:
            place = place.setdefault(part, {}) if isinstance(part, str) and isinstance(place, dict) else place[part]
        if value is REMOVED:
            del place[last]
        else:
            place[last] = value
    return variables


def problems_of(changes: t.Mapping[str, t.Any], base: t.Mapping[str, t.Any] = MINIMAL) -> list[Problem]:
    """What is found in the changed variables."""
    return parse(changed(changes, base), OPTIONS, {"airflow_image", "airflow_swarm_timeout"})[1]


def platform_of(changes: t.Mapping[str, t.Any] | None = None, base: t.Mapping[str, t.Any] = MINIMAL) -> Platform:
    """The platform of the changed variables, which have to be good."""
    platform, problems = parse(changed(changes or {}, base), OPTIONS)
    assert problems == []
    assert platform is not None
    return platform


def assert_golden(name: str, document: t.Any) -> None:
    """Compare with a golden file; UPDATE_GOLDEN=1 writes it instead."""
    path = GOLDEN / f"{name}.json"
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path.name} differs; if that is right: UPDATE_GOLDEN=1 pytest"
