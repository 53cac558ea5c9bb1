# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import typing as t

import pytest
import requests
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.environment import (
    config_data,
    secret_data,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.option_names import OPTIONS as NAMES
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.options import (
    OWNED,
    SENSITIVE,
    variable_name,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.platform import Platform
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.services import Service, services
from platform_samples import ALL_SECRETS, MINIMAL, PRODUCTION, platform_of

PLATFORMS = [MINIMAL, PRODUCTION]
LONG_RUNNING = ("api-server", "scheduler", "dag-processor", "triggerer", "worker")
#: An option that Airflow hands on and does not know itself.
_OF_KOMBU = variable_name("celery_broker_transport_options", "confirm_publish")
_KNOWN = {variable_name(section, option): (section, option) for section, names in NAMES.items() for option in names}


def by_name(platform: Platform) -> dict[str, Service]:
    return {service.name: service for service in services(platform, "airflow:1")}


def everything(service: Service) -> str:
    """All that a container of the service can see or is told."""
    return json.dumps(
        [service.environment, service.secrets, service.command, service.files, service.mounts], default=str
    )


@pytest.mark.parametrize("variables", PLATFORMS)
def test_a_worker_holds_no_database_url_and_no_jwt_key(variables: dict[str, t.Any]) -> None:
    workers = [service for service in services(platform_of(base=variables), "i") if service.component == "worker"]

    assert workers
    for worker in workers:
        assert set(worker.secrets) == {"result_backend_url", "broker_url", "fernet_key", "api_secret_key"}
        assert "SQL_ALCHEMY_CONN" not in everything(worker)
        assert "database_url" not in everything(worker)
        assert "database_ca" not in everything(worker)
        assert "JWT" not in everything(worker).upper()


@pytest.mark.parametrize("variables", PLATFORMS)
def test_a_workers_result_backend_is_set_explicitly_and_signs_in_as_another_user(variables: dict[str, t.Any]) -> None:
    platform = platform_of(base=variables)
    data = secret_data(platform)

    for service in services(platform, "i"):
        if service.component == "worker":
            assert service.environment["AIRFLOW__CELERY__RESULT_BACKEND_CMD"] == "cat /run/secrets/result_backend_url"
    assert data["result_backend_url"].startswith("db+postgresql+psycopg://airflow_results:")
    assert data["database_url"].split("@")[0] not in data["result_backend_url"]


@pytest.mark.parametrize("variables", PLATFORMS)
def test_secrets_follow_the_least_privilege_table(variables: dict[str, t.Any]) -> None:
    held = {service.component: set(service.secrets) for service in services(platform_of(base=variables), "i")}

    assert held == {
        "migrate": {"database_url", "fernet_key"},
        "init": {"database_url", "fernet_key", "admin_password"},
        "api-server": {"database_url", "fernet_key", "api_secret_key", "jwt_secret"},
        "scheduler": {
            "database_url",
            "result_backend_url",
            "broker_url",
            "fernet_key",
            "api_secret_key",
            "jwt_secret",
        },
        "dag-processor": {"database_url", "fernet_key"},
        "triggerer": {"database_url", "fernet_key", "api_secret_key", "jwt_secret"},
        "worker": {"result_backend_url", "broker_url", "fernet_key", "api_secret_key"},
    }


@pytest.mark.parametrize("variables", PLATFORMS)
def test_no_service_description_holds_a_secret(variables: dict[str, t.Any]) -> None:
    for service in services(platform_of(base=variables), "i"):
        assert [secret for secret in ALL_SECRETS if secret in everything(service)] == []


@pytest.mark.parametrize("variables", PLATFORMS)
def test_every_option_exists_in_airflow_and_is_owned_or_may_be_changed(variables: dict[str, t.Any]) -> None:
    for service in services(platform_of(base=variables), "i"):
        for variable in service.environment:
            if variable.startswith("AIRFLOW__") and variable != _OF_KOMBU:
                assert variable.removesuffix("_CMD") in _KNOWN


@pytest.mark.parametrize("variables", PLATFORMS)
def test_commands_are_used_for_sensitive_options_only_and_need_no_shell(variables: dict[str, t.Any]) -> None:
    for service in services(platform_of(base=variables), "i"):
        read = set()
        for variable, value in service.environment.items():
            if variable.endswith("_CMD"):
                assert _KNOWN[variable.removesuffix("_CMD")] in SENSITIVE
                # a plain value would win over the command
                assert variable.removesuffix("_CMD") not in service.environment
                program, path = value.split(" ")
                assert program == "cat"
                read.add(path.removeprefix("/run/secrets/"))
        assert read == set(service.secrets) - {"admin_password"}


def test_what_the_model_sets_cannot_be_set_by_the_user() -> None:
    settable = {
        "CELERY__EXTRA_CELERY_CONFIG",
        "CELERY__OPERATION_TIMEOUT",
        "CELERY_BROKER_TRANSPORT_OPTIONS__CONFIRM_PUBLISH",
        "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL",
        "DAG_PROCESSOR__STALE_DAG_THRESHOLD",
        "LOGGING__COLORED_CONSOLE_LOG",
        "SCHEDULER__TASK_QUEUED_TIMEOUT",
        "WORKERS__EXECUTION_API_RETRIES",
        "WORKERS__EXECUTION_API_TIMEOUT",
        "WORKERS__MAX_FAILED_HEARTBEATS",
    }
    for variables in PLATFORMS:
        for service in services(platform_of({"airflow_config": {}}, variables), "i"):
            for variable in service.environment:
                if variable.startswith("AIRFLOW__") and variable.removeprefix("AIRFLOW__") not in settable:
                    assert _KNOWN[variable.removesuffix("_CMD")] in OWNED


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, {"worker_enable_prefetch_count_reduction": False}),
        ({"worker_max_tasks_per_child": 10},
         {"worker_enable_prefetch_count_reduction": False, "worker_max_tasks_per_child": 10}),
        ({"worker_enable_prefetch_count_reduction": True}, {"worker_enable_prefetch_count_reduction": True}),
    ],
)  # fmt: skip
def test_workers_keep_their_concurrency_when_the_broker_restarts_unless_the_user_says_otherwise(
    given: dict[str, t.Any], found: dict[str, t.Any]
) -> None:
    config = {"celery": {"extra_celery_config": json.dumps(given)}}
    worker = by_name(platform_of({"airflow_config": config}))["worker-default"]
    assert json.loads(worker.environment["AIRFLOW__CELERY__EXTRA_CELERY_CONFIG"]) == found


def test_settings_of_celery_that_are_no_object_are_left_to_airflow() -> None:
    for given in ("nonsense", "[1]"):
        platform = platform_of({"airflow_config": {"celery": {"extra_celery_config": given}}})
        found = by_name(platform)["worker-default"].environment["AIRFLOW__CELERY__EXTRA_CELERY_CONFIG"]
        assert found == given


def test_owned_options_and_sensitive_options_exist_in_airflow() -> None:
    for section, option in {*OWNED, *SENSITIVE}:
        assert option in NAMES[section], (section, option)


@pytest.mark.parametrize("variables", PLATFORMS)
def test_secrets_end_without_a_newline(variables: dict[str, t.Any]) -> None:
    for value in secret_data(platform_of(base=variables)).values():
        assert value == value.strip() != ""


@pytest.mark.parametrize(
    ("public_url", "execution"),
    [
        ("http://localhost:8080", "http://api-server:8080/execution/"),
        ("https://data.example.com/airflow", "http://api-server:8080/airflow/execution/"),
    ],
)
def test_tasks_reach_the_api_server_inside_the_network_below_the_public_path(public_url: str, execution: str) -> None:
    for service in services(platform_of({"airflow_public_url": public_url}), "i"):
        assert service.environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == execution
        if not service.job:
            assert service.environment["AIRFLOW__API__BASE_URL"] == public_url


@pytest.mark.parametrize("name", ["api-server", "scheduler", "dag-processor", "triggerer", "worker-default"])
def test_known_traps_are_closed(name: str) -> None:
    environment = by_name(platform_of())[name].environment

    assert environment["AIRFLOW__CORE__EXECUTOR"] == "flowstead_airflow.executor.CeleryExecutor"
    assert environment["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"
    assert environment["AIRFLOW__CORE__AUTH_MANAGER"].endswith(".FabAuthManager")
    assert environment["AIRFLOW__CORE__HOSTNAME_CALLABLE"] == "flowstead_airflow.hosts.address"
    assert environment["AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT"] == "1800"
    assert environment["CONNECTION_CHECK_MAX_COUNT"] == "0"
    assert environment["DUMB_INIT_SETSID"] == "0"


def test_the_scheduler_serves_the_health_page_that_its_probe_asks() -> None:
    assert by_name(platform_of())["scheduler"].environment["AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK"] == "True"


def test_redis_gets_the_visibility_timeout_on_both_sides_and_rabbitmq_does_not() -> None:
    variable = "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"
    redis = by_name(platform_of({"airflow_longest_task_seconds": 100000}))
    rabbitmq = by_name(platform_of(base=PRODUCTION))

    assert redis["scheduler"].environment[variable] == redis["worker-default"].environment[variable] == "103600"
    assert not [service for service in rabbitmq.values() if variable in service.environment]


def test_rabbitmq_says_the_scheduler_that_it_has_each_message_and_redis_has_no_such_thing() -> None:
    variable = "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__CONFIRM_PUBLISH"
    rabbitmq = by_name(platform_of(base=PRODUCTION))
    chosen = {"airflow_config": {"celery_broker_transport_options": {"confirm_publish": False}}}

    assert [name for name, service in rabbitmq.items() if variable in service.environment] == ["scheduler"]
    assert rabbitmq["scheduler"].environment[variable] == "True"
    assert by_name(platform_of(chosen, base=PRODUCTION))["scheduler"].environment[variable] == "False"
    assert not [service for service in by_name(platform_of()).values() if variable in service.environment]


def test_a_broker_with_tls_is_verified_and_needs_no_client_certificate() -> None:
    services_of = by_name(platform_of(base=PRODUCTION))

    for name in ("scheduler", "worker-default"):
        environment = services_of[name].environment
        assert environment["AIRFLOW__CELERY__SSL_ACTIVE"] == "True"
        assert environment["AIRFLOW__CELERY__SSL_MUTUAL_TLS"] == "False"
        assert environment["AIRFLOW__CELERY__SSL_CACERT"] == "/opt/flowstead/ca/broker_ca.pem"
    assert "AIRFLOW__CELERY__SSL_ACTIVE" not in by_name(platform_of())["scheduler"].environment


def test_certificates_reach_only_the_components_that_use_them() -> None:
    files = {
        service.component: {file.name: file.path for file in service.files}
        for service in services(platform_of(base=PRODUCTION), "i")
    }
    database = {"database_ca": "/opt/flowstead/ca/database_ca.pem"}
    broker = {
        "result_backend_ca": "/opt/flowstead/ca/result_backend_ca.pem",
        "broker_ca": "/opt/flowstead/ca/broker_ca.pem",
    }

    assert files == {
        "migrate": database,
        "init": database,
        "api-server": database,
        "scheduler": {**database, **broker},
        "dag-processor": database,
        "triggerer": database,
        "worker": broker,
    }
    assert all(
        pem.endswith("-----END CERTIFICATE-----\n") for pem in config_data(platform_of(base=PRODUCTION)).values()
    )


def bundles_of(service: Service) -> list[str]:
    entries = json.loads(service.environment["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"])
    return [f"{entry['name']}={entry['kwargs']['path']}" for entry in entries]


def test_every_component_knows_all_bundles_and_a_bound_worker_only_its_own() -> None:
    found = by_name(platform_of(base=PRODUCTION))
    canary = "flowstead-canary=/opt/flowstead/canary"
    shared, team = "shared=/opt/airflow/bundles/shared", "team-a=/opt/airflow/bundles/team-a"

    for name in ("api-server", "scheduler", "dag-processor", "triggerer", "worker-default"):
        assert bundles_of(found[name]) == [shared, team, canary]
    assert bundles_of(found["worker-team-a"]) == [team, canary]
    assert bundles_of(found["worker-gpu"]) == [canary]


def test_the_users_settings_reach_the_components_that_read_them() -> None:
    found = by_name(platform_of(base=PRODUCTION))
    with_setting = {
        name: sorted(service.name for service in found.values() if name in service.environment)
        for name in (
            "AIRFLOW__CORE__PARALLELISM",
            "AIRFLOW__API__EXPOSE_CONFIG",
            "AIRFLOW__CELERY__SYNC_PARALLELISM",
        )
    }

    assert with_setting["AIRFLOW__CORE__PARALLELISM"] == sorted(found)
    assert with_setting["AIRFLOW__API__EXPOSE_CONFIG"] == sorted(set(found) - {"migrate", "init"})
    assert with_setting["AIRFLOW__CELERY__SYNC_PARALLELISM"] == [
        "scheduler",
        "worker-default",
        "worker-gpu",
        "worker-team-a",
    ]
    assert found["worker-gpu"].environment["AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS"] == "30"


def changed_services(changes: dict[str, t.Any]) -> set[str]:
    before, after = by_name(platform_of(base=PRODUCTION)), by_name(platform_of(changes, PRODUCTION))
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


@pytest.mark.parametrize(
    ("changes", "concerned"),
    [
        ({"airflow_components.api_server.workers": 4}, {"api-server"}),
        ({"airflow_workers.1.concurrency": 5}, {"worker-team-a"}),
        ({"airflow_workers.3": {"name": "new", "queues": ["new"]}}, {"worker-new", "dag-processor"}),
        ({"airflow_admin.email": "new@example.com"}, {"init"}),
        ({"airflow_config.celery.sync_parallelism": 4}, {"scheduler", "worker-default", "worker-team-a", "worker-gpu"}),
    ],
)
def test_a_changed_setting_changes_only_the_services_it_concerns(
    changes: dict[str, t.Any], concerned: set[str]
) -> None:
    if "airflow_workers.3" in changes:
        changes = {"airflow_workers": [*PRODUCTION["airflow_workers"], changes["airflow_workers.3"]]}

    assert changed_services(changes) == concerned


def test_a_new_bundle_does_not_run_the_jobs_again() -> None:
    concerned = changed_services({"airflow_bundles": [*PRODUCTION["airflow_bundles"], {"name": "new"}]})

    assert {"migrate", "init", "worker-team-a", "worker-gpu"}.isdisjoint(concerned)


def test_workers_are_told_their_name_and_queues_and_sing_only_their_own_canaries() -> None:
    found = by_name(platform_of(base=PRODUCTION))

    environment = found["worker-default"].environment
    assert environment["FLOWSTEAD_WORKER"] == "default"
    assert environment["FLOWSTEAD_QUEUES"] == environment["FLOWSTEAD_CANARY_QUEUES"] == "default,small"
    assert found["dag-processor"].environment["FLOWSTEAD_CANARY_QUEUES"] == "default,small,team_a,gpu"


def test_cookies_are_secure_and_the_proxy_is_trusted_behind_https_only() -> None:
    plain, secure = by_name(platform_of())["api-server"], by_name(platform_of(base=PRODUCTION))["api-server"]

    assert plain.environment["AIRFLOW__FAB__COOKIE_SECURE"] == "False"
    assert "FORWARDED_ALLOW_IPS" not in plain.environment
    assert secure.environment["AIRFLOW__FAB__COOKIE_SECURE"] == "True"
    assert secure.environment["FORWARDED_ALLOW_IPS"] == "*"
    assert "--proxy-headers" in secure.command
    assert "--proxy-headers" not in plain.command


def test_every_container_of_airflow_has_the_extra_variables_and_the_way_out() -> None:
    changes = {
        "airflow_proxy": {
            "https": "http://proxy.test:3128",
            "no_proxy": [".corp.test", "a.test:8443", "10.1.2.3", "fd00::1", "100.64.0.0/10"],
        },
        "airflow_extra_environment": {
            "AWS_REGION": "eu-central-1",
            "OMP_NUM_THREADS": "2",
            "GOOGLE_APPLICATION_CREDENTIALS": "/run/identity.json",  # a way to a secret is none
        },
        "airflow_logs": {"tasks": {"s3": {"url": "s3://logs.test"}}},
    }
    made = services(platform_of(changes, PRODUCTION), "i")

    assert {"log-sweeper", "logs-bucket", "init"} < {service.name for service in made}
    for service in made:
        found = service.environment
        assert (found["AWS_REGION"], found["OMP_NUM_THREADS"]) == ("eu-central-1", "2")
        if service.name in ("migrate", "init"):
            # They ask the database alone, and run again when they are told something else.
            assert not [name for name in found if "proxy" in name.lower()]
            continue
        assert found["https_proxy"] == found["HTTPS_PROXY"] == "http://proxy.test:3128"
        assert found["no_proxy"] == found["NO_PROXY"]
        assert not {"http_proxy", "HTTP_PROXY"} & set(found)


@pytest.mark.parametrize(
    ("url", "direct"),
    [
        ("http://api-server:8080/execution/", True),
        ("http://10.0.1.7:8793/log/x", True),  # a worker's log server
        ("https://minio.corp.test:9000", True),
        ("https://s3.amazonaws.com", False),
        ("https://proxy.test", False),
    ],
)
def test_what_containers_say_to_each_other_never_goes_to_the_proxy(
    url: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = {"http": "http://proxy.test:3128", "https": "http://proxy.test:3128", "no_proxy": [".corp.test"]}
    worker = by_name(platform_of({"airflow_proxy": proxy}))["worker-default"]
    for name, value in worker.environment.items():
        if "proxy" in name.lower():
            monkeypatch.setenv(name, value)

    assert (requests.utils.get_environ_proxies(url) == {}) is direct


def test_without_a_proxy_nothing_is_said_of_one() -> None:
    for variables in PLATFORMS:
        for service in services(platform_of(base=variables), "i"):
            assert not [name for name in service.environment if "proxy" in name.lower()]
