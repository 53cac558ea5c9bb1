# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where task logs go: who is told what of it, and what is refused."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.compose import Target, compose
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.doors import collectors, requirements
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.environment import config_data, secret_data
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.platform import Platform
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.services import Service, services
from flowstead_airflow.task_logs.settings import parse, parse_bucket
from platform_samples import platform_of, problems_of

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
SPLUNK: dict[str, t.Any] = {
    "url": "https://splunk.example.com:8088",
    "token": "hidden-hec",
    "ca_certificate": PEM,
    "index": "airflow",
    "bundle_indexes": {"finance": "airflow_finance"},
    "search_url": "https://splunk.example.com:8089",
    "search_token": "hidden-search",
}
BUNDLES = [{"name": "sales"}, {"name": "finance"}]
WRITERS = {"worker-default", "triggerer", "dag-processor", "log-sweeper"}


def platform(**changes: t.Any) -> Platform:
    logs = {"tasks": {"splunk": {**SPLUNK, **changes}}, "local": {"days": 3, "mb": 500}}
    return platform_of({"airflow_bundles": BUNDLES, "airflow_logs": logs})


def problems(splunk: dict[str, t.Any], **others: t.Any) -> dict[str, str]:
    changes = {"airflow_bundles": BUNDLES, "airflow_logs": {"tasks": {"splunk": splunk}}, **others}
    return {problem.variable: problem.line() for problem in problems_of(changes)}


def by_name(one: Platform) -> dict[str, Service]:
    return {service.name: service for service in services(one, "image")}


def test_without_a_sink_nothing_is_told_to_anybody() -> None:
    found = by_name(platform_of({}))

    assert "log-sweeper" not in found
    assert not any("FLOWSTEAD_TASK_LOGS" in service.environment for service in found.values())
    assert not any(service.node_variable for service in found.values())
    assert not any("LOGGING_CONFIG_CLASS" in name for service in found.values() for name in service.environment)


def test_all_that_load_airflows_logging_get_the_class_and_jobs_do_not_run_again() -> None:
    found = by_name(platform())

    told = {name for name, service in found.items() if "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS" in service.environment}
    assert told == {"api-server", "scheduler", "triggerer", "dag-processor", "worker-default"}
    for name in told:
        environment = found[name].environment
        assert environment["AIRFLOW__LOGGING__REMOTE_LOGGING"] == "False"
        assert environment["FLOWSTEAD_TASK_LOGS"] == "/etc/flowstead/task_logs.json"
        assert "/etc/flowstead/task_logs.json" in {file.path for file in found[name].files}
    folder = "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY"
    assert {name for name, service in found.items() if folder in service.environment} == {"dag-processor"}
    assert found["dag-processor"].environment[folder] == "/opt/airflow/logs/dag_processor"


def test_who_writes_gets_the_collectors_token_and_who_reads_the_searchs() -> None:
    one = platform()
    found = by_name(one)

    assert {name for name, service in found.items() if "splunk_hec_token" in service.secrets} == WRITERS
    assert {name for name, service in found.items() if "splunk_search_token" in service.secrets} == {"api-server"}
    data = secret_data(one)
    assert (data["splunk_hec_token"], data["splunk_search_token"]) == ("hidden-hec", "hidden-search")
    assert {
        name for name, service in found.items() if "splunk_hec_ca" in {file.name for file in service.files}
    } == WRITERS


def test_the_settings_are_what_the_runtime_reads_and_hold_no_secret() -> None:
    text = config_data(platform())["task_logs"]

    assert "hidden" not in text
    settings = parse(json.loads(text), "node-1")
    assert settings.hec.url == "https://splunk.example.com:8088"
    assert str(settings.hec.token_file) == "/run/secrets/splunk_hec_token"
    assert str(settings.hec.ca_file) == "/opt/flowstead/ca/splunk_hec_ca.pem"
    assert settings.search is not None
    assert str(settings.search.token_file) == "/run/secrets/splunk_search_token"
    assert (settings.index_of("finance"), settings.index_of("sales")) == ("airflow_finance", "airflow")
    assert (settings.days, settings.local_bytes) == (3, 500 * 2**20)


def test_a_collector_alone_needs_no_search_and_no_authority() -> None:
    one = platform(search_url=None, search_token=None, ca_certificate=None)

    assert "splunk_search_token" not in secret_data(one)
    assert parse(json.loads(config_data(one)["task_logs"]), "node-1").search is None
    assert not {"splunk_hec_ca", "splunk_search_ca"} & set(config_data(one))


def test_the_sweeper_runs_once_on_each_host_beside_the_logs_and_everybody_knows_the_host() -> None:
    one = platform()
    document = compose(services(one, "image"), one, Target("stack"))["services"]

    sweeper = document["log-sweeper"]
    assert sweeper["deploy"]["mode"] == "global"
    assert "replicas" not in sweeper["deploy"]
    assert sweeper["command"][-2:] == ["--logs", "/opt/airflow/logs"]
    assert [(volume["source"], volume["target"]) for volume in sweeper["volumes"]] == [("logs", "/opt/airflow/logs")]
    assert {name for name, service in document.items() if "FLOWSTEAD_NODE" in service["environment"]} == {
        *WRITERS,
        "api-server",
        "scheduler",
    }
    assert sweeper["environment"]["FLOWSTEAD_NODE"] == "{{.Node.Hostname}}"


def test_everything_that_is_wrong_with_a_sink_is_told_at_once_and_no_secret_with_it() -> None:
    found = problems(
        {
            "url": "https://me:hidden-password@splunk:8088/services/collector",
            "search_url": "splunk:8089",
            "ca_certificate": "/etc/ssl/ca.pem",
            "index": "Airflow",
            "bundle_indexes": {"slaes": "x"},
        },
        airflow_config={"logging": {"remote_logging": True}},
    )

    place = "airflow_logs.tasks.splunk"
    assert set(found) == {
        f"{place}.token",
        f"{place}.search_token",
        f"{place}.url",
        f"{place}.search_url",
        f"{place}.ca_certificate",
        f"{place}.index",
        f"{place}.bundle_indexes.slaes",
        "airflow_config.logging.remote_logging",
    }
    assert "hidden" not in "".join(found.values())


@pytest.mark.parametrize(
    ("splunk", "variable"),
    [
        ({"token": "hidden"}, "url"),
        ({**SPLUNK, "url": "https://splunk:8088/services/collector"}, "url"),
        ({**SPLUNK, "search_url": None}, "search_url"),
        ({**SPLUNK, "tokn": "x"}, "tokn"),
    ],
)
def test_a_sink_that_is_half_there_is_refused(splunk: dict[str, t.Any], variable: str) -> None:
    assert f"airflow_logs.tasks.splunk.{variable}" in problems(splunk)


def test_bounds_of_local_files_are_checked() -> None:
    found = problems_of({"airflow_logs": {"local": {"mb": 1}, "sweep_seconds": 0}})

    assert {problem.variable for problem in found} == {"airflow_logs.local.mb", "airflow_logs.sweep_seconds"}


def test_each_index_is_checked_once_with_the_variable_that_names_it() -> None:
    found = collectors(platform(bundle_indexes={"finance": "airflow_finance", "sales": "airflow"}))

    place = "airflow_logs.tasks.splunk"
    assert [(entry["index"], entry["variables"]["index"]) for entry in found] == [
        ("airflow", f"{place}.index"),
        ("airflow_finance", f"{place}.bundle_indexes.finance"),
    ]
    assert {entry["search_ca_certificate"] for entry in found} == {PEM}
    assert collectors(platform_of({})) == []


def test_what_runs_on_each_host_needs_its_memory_on_each() -> None:
    one, without = platform(), platform_of({"airflow_bundles": BUNDLES})

    for hosts in (1, 3):
        more = requirements(one, services(one, "image"), hosts)
        less = requirements(without, services(without, "image"), hosts)
        assert more["memory_mb"] - less["memory_mb"] == 32
        assert more["memory_total_mb"] - less["memory_total_mb"] == 32 * hosts


# --- buckets ------------------------------------------------------------------------------------------------------

S3: dict[str, t.Any] = {
    "url": "s3://logs.example.com/airflow/",
    "access_key_id": "AKIA-TEST",
    "secret_access_key": "hidden-key",
    "region_name": "eu-central-1",
    "endpoint_url": "https://s3.example.com:9000",
    "ca_certificate": PEM,
    "encrypt": True,
}
KEY = {"client_email": "logs@example.invalid", "private_key": "hidden-key", "project_id": "data"}
GCS: dict[str, t.Any] = {"url": "gs://logs.example.com/airflow", "key": json.dumps(KEY), "project": "data"}


def sinks(**tasks: t.Any) -> Platform:
    return platform_of({"airflow_bundles": BUNDLES, "airflow_logs": {"tasks": tasks}})


def sink_problems(tasks: dict[str, t.Any], **others: t.Any) -> dict[str, str]:
    changes = {"airflow_bundles": BUNDLES, "airflow_logs": {"tasks": tasks}, **others}
    return {problem.variable: problem.line() for problem in problems_of(changes)}


def test_a_bucket_alone_is_in_airflows_own_hands() -> None:
    one = sinks(s3=S3)
    found = by_name(one)

    told = {name for name, service in found.items() if "AIRFLOW__LOGGING__REMOTE_LOGGING" in service.environment}
    assert told == {"api-server", "scheduler", "triggerer", "dag-processor", "worker-default"}
    for name in told:
        environment = found[name].environment
        assert environment["AIRFLOW__LOGGING__REMOTE_LOGGING"] == "True"
        assert environment["AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER"] == "s3://logs.example.com/airflow"
        assert environment["AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID"] == "flowstead_logs"
        assert environment["AIRFLOW__LOGGING__ENCRYPT_S3_LOGS"] == "True"
        assert environment["AIRFLOW__LOGGING__DELETE_LOCAL_LOGS"] == "False"
        assert "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS" not in environment
        assert "FLOWSTEAD_TASK_LOGS" not in environment
        assert "task_logs" not in {file.name for file in found[name].files}


def test_a_bucket_alone_has_a_sweeper_that_signs_in_as_the_platform_does() -> None:
    one = sinks(s3=S3)
    sweeper = by_name(one)["log-sweeper"]

    assert sweeper.command[3:6] == ("sweep-bucket", "--every", "60")
    assert sweeper.everywhere
    assert sweeper.environment["FLOWSTEAD_TASK_LOGS"] == "/etc/flowstead/task_logs.json"
    assert sweeper.environment["AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID"] == "flowstead_logs"
    assert {file.name for file in sweeper.files} == {"task_logs", "logs_bucket_ca"}
    settings = parse_bucket(json.loads(config_data(one)["task_logs"]))
    assert (settings.archive, settings.connection) == ("s3://logs.example.com/airflow", "flowstead_logs")
    assert (settings.days, settings.local_bytes) == (14, 10 * 2**30)


def test_a_connection_in_the_database_is_not_the_sweepers_to_use() -> None:
    one = sinks(s3={"url": "s3://logs/airflow", "connection_id": "ours"})

    assert "log-sweeper" not in by_name(one)
    assert "task_logs" not in config_data(one)


def test_who_uploads_or_shows_logs_gets_the_login_as_a_connection_and_nobody_else() -> None:
    one = sinks(s3=S3)
    found = by_name(one)

    assert {name for name, service in found.items() if "connections.json" in service.secrets} == {
        "api-server",
        "triggerer",
        "worker-default",
        "log-sweeper",
        "logs-bucket",
    }
    (connection,) = json.loads(secret_data(one)["connections.json"]).values()
    assert connection == {
        "conn_type": "aws",
        "login": "AKIA-TEST",
        "password": "hidden-key",
        "extra": {
            "region_name": "eu-central-1",
            "endpoint_url": "https://s3.example.com:9000",
            "verify": "/opt/flowstead/ca/logs_bucket_ca.pem",
        },
    }
    server, worker = found["api-server"].environment, found["worker-default"].environment
    assert "AIRFLOW__SECRETS__BACKEND" in server
    assert "AIRFLOW__SECRETS__BACKEND" not in worker
    assert "AIRFLOW__WORKERS__SECRETS_BACKEND" in worker
    assert {"AIRFLOW__SECRETS__BACKEND", "AIRFLOW__WORKERS__SECRETS_BACKEND"} <= set(found["triggerer"].environment)
    assert {name for name, service in found.items() if "logs_bucket_ca" in {file.name for file in service.files}} == {
        "api-server",
        "triggerer",
        "dag-processor",
        "worker-default",
        "log-sweeper",
        "logs-bucket",
    }
    assert "hidden" not in json.dumps([dict(service.environment) for service in found.values()])


def test_a_role_of_the_hosts_needs_no_connection() -> None:
    one = sinks(s3={"url": "s3://logs/airflow"})

    assert not [name for name in secret_data(one) if name.startswith("connections")]
    environment = by_name(one)["worker-default"].environment
    assert "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID" not in environment
    assert environment["AIRFLOW__LOGGING__ENCRYPT_S3_LOGS"] == "False"


def test_a_connection_that_exists_is_named_and_brings_no_backend() -> None:
    environment = by_name(sinks(s3={"url": "s3://logs/airflow", "connection_id": "ours"}))["worker-default"].environment

    assert environment["AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID"] == "ours"
    assert "AIRFLOW__WORKERS__SECRETS_BACKEND" not in environment


def test_beside_splunk_a_bucket_is_the_archive_of_the_runtime() -> None:
    one = sinks(splunk=SPLUNK, s3=S3)
    found = by_name(one)

    settings = parse(json.loads(config_data(one)["task_logs"]), "node-1")
    assert (settings.archive, settings.connection) == ("s3://logs.example.com/airflow", "flowstead_logs")
    for name in (*WRITERS, "api-server"):
        assert "connections.json" in found[name].secrets, name
        assert found[name].environment["AIRFLOW__LOGGING__ENCRYPT_S3_LOGS"] == "True"
        assert "logs_bucket_ca" in {file.name for file in found[name].files}
    worker, sweeper = found["worker-default"].environment, found["log-sweeper"].environment
    assert worker["AIRFLOW__LOGGING__REMOTE_LOGGING"] == "False"
    assert "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER" not in worker
    assert sweeper["AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID"] == "flowstead_logs"
    assert "AIRFLOW__WORKERS__SECRETS_BACKEND" in sweeper


def test_a_bucket_is_tried_by_a_job_before_anything_that_is_there_changes() -> None:
    one = sinks(s3=S3)
    found = by_name(one)

    job = found["logs-bucket"]
    assert (job.job, job.order) == (True, 0)
    assert job.command[-2:] == ("try-bucket", "s3://logs.example.com/airflow")
    assert "AIRFLOW__WORKERS__SECRETS_BACKEND" in job.environment
    waiting = {
        name
        for name, service in found.items()
        if ("logs-bucket", "completed") in {(need.name, need.condition) for need in service.depends_on}
    }
    # Workers wait for the api-server.
    assert set(found) - waiting == {"logs-bucket", "worker-default"}
    assert "logs-bucket" in by_name(sinks(s3={"url": "s3://logs"}))
    assert "logs-bucket" not in by_name(sinks(s3={"url": "s3://logs", "connection_id": "ours"}))
    assert "logs-bucket" not in by_name(sinks(splunk=SPLUNK))


def test_each_worker_group_sees_the_logs_login_beside_its_own_bundles_and_no_others() -> None:
    git = {"repository": "https://git.example.com/dags.git", "ref": "main", "password": "hidden-git"}
    one = platform_of(
        {
            "airflow_bundles": [{"name": "sales"}, {"name": "finance", "delivery": "git", "git": git}],
            "airflow_workers": [
                {"name": "default", "queues": ["default"], "bundles": ["sales"]},
                {"name": "finance", "queues": ["finance"], "bundles": ["finance"]},
            ],
            "airflow_logs": {"tasks": {"s3": S3}},
        }
    )
    data, found = secret_data(one), by_name(one)

    def seen(name: str) -> set[str]:
        (secret,) = [secret for secret in found[name].secrets if secret.startswith("connections")]
        return set(json.loads(data[secret]))

    assert seen("worker-finance") == {"bundle_finance", "flowstead_logs"}
    assert seen("worker-default") == seen("api-server") == {"flowstead_logs"}
    assert seen("dag-processor") == {"bundle_finance"}


@pytest.mark.parametrize("key", [json.dumps(KEY), KEY])
def test_gcs_takes_a_key_file_as_text_or_as_a_document(key: t.Any) -> None:
    one = sinks(gcs={**GCS, "key": key})

    (connection,) = json.loads(secret_data(one)["connections.json"]).values()
    assert connection["conn_type"] == "google_cloud_platform"
    assert json.loads(connection["extra"]["keyfile_dict"]) == KEY
    assert connection["extra"]["project"] == "data"
    environment = by_name(one)["worker-default"].environment
    assert environment["AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER"] == "gs://logs.example.com/airflow"
    assert "AIRFLOW__LOGGING__ENCRYPT_S3_LOGS" not in environment


def test_everything_that_is_wrong_with_buckets_is_told_at_once_and_no_secret_with_it() -> None:
    place = "airflow_logs.tasks"
    found = sink_problems(
        {
            "s3": {
                "url": "s3://Logs/a//b",
                "secret_access_key": "hidden-key",
                "region_name": "Frankfurt",
                "endpoint_url": "s3.example.com",
                "ca_certificate": "/etc/ssl/ca.pem",
                "connection_id": "ours",
            },
            "gcs": {"url": "s3://logs", "key": "hidden-key"},
        },
        airflow_config={"secrets": {"backend": "their.Backend"}, "logging": {"remote_log_conn_id": "x"}},
    )

    assert set(found) == {
        place,
        f"{place}.s3.url",
        f"{place}.s3.access_key_id",
        f"{place}.s3.secret_access_key",
        f"{place}.s3.region_name",
        f"{place}.s3.endpoint_url",
        f"{place}.s3.ca_certificate",
        f"{place}.gcs.url",
        f"{place}.gcs.key",
        "airflow_config.secrets.backend",
        "airflow_config.logging.remote_log_conn_id",
    }
    assert "hidden" not in "".join(found.values())


@pytest.mark.parametrize(("sink", "bucket"), [("s3", {"region_name": "eu-central-1"}), ("gcs", {"project": "data"})])
def test_a_bucket_without_an_address_is_refused(sink: str, bucket: dict[str, t.Any]) -> None:
    assert f"airflow_logs.tasks.{sink}.url" in sink_problems({sink: bucket})
