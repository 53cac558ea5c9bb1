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
from flowstead_airflow.task_logs.settings import parse
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
