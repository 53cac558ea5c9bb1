# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Airflow's options that the model sets itself, and those that hold secrets.

PRIVATE to the collection.

Source: airflow/config_templates/config.yml of apache-airflow-core 3.3.2 and get_provider_info.py of
apache-airflow-providers-celery 3.26.0 and -fab 3.10.2.
"""

from __future__ import annotations

#: Options marked ``sensitive: true`` in the sources above. Only these can be read by ``_CMD``.
SENSITIVE = frozenset(
    {
        ("api", "secret_key"),
        ("api_auth", "jwt_secret"),
        ("celery", "broker_url"),
        ("celery", "flower_basic_auth"),
        ("celery", "result_backend"),
        ("celery_broker_transport_options", "sentinel_kwargs"),
        ("celery_result_backend_transport_options", "sentinel_kwargs"),
        ("core", "asset_manager_kwargs"),
        ("core", "fernet_key"),
        ("database", "sql_alchemy_conn"),
        ("database", "sql_alchemy_conn_async"),
        ("database", "sql_alchemy_engine_args"),
        ("logging", "remote_task_handler_kwargs"),
        ("secrets", "backend_kwargs"),
        ("sentry", "sentry_dsn"),
        ("workers", "secrets_backend_kwargs"),
    }
)

_DERIVED = "Remove it; the model sets it"
_TLS = "Remove it; a proxy in front of the api-server ends TLS"

#: Options that the model owns, and what the user sets instead.
OWNED = {
    ("api", "base_url"): "Set airflow_public_url",
    ("api", "host"): _DERIVED,
    ("api", "port"): "Set airflow_components.api_server.port",
    ("api", "secret_key"): "Set airflow_keys.api_secret",
    ("api", "ssl_cert"): _TLS,
    ("api", "ssl_key"): _TLS,
    ("api", "workers"): "Set airflow_components.api_server.workers",
    ("api_auth", "jwt_secret"): "Set airflow_keys.jwt",
    ("celery", "broker_url"): "Set airflow_broker",
    ("celery", "celery_config_options"): "Remove it; use celery.extra_celery_config",
    ("celery", "result_backend"): "Set airflow_result_backend",
    ("celery", "ssl_active"): "Set airflow_broker.tls",
    ("celery", "ssl_cacert"): "Set airflow_broker.ca_certificate",
    ("celery", "ssl_cert"): "Remove it; clients show no certificate to the broker",
    ("celery", "ssl_key"): "Remove it; clients show no certificate to the broker",
    ("celery", "ssl_mutual_tls"): "Remove it; clients show no certificate to the broker",
    ("celery", "worker_concurrency"): "Set concurrency in airflow_workers",
    ("celery", "worker_enable_remote_control"): "Remove it; the health check of workers needs remote control",
    ("celery_broker_transport_options", "visibility_timeout"): "Set airflow_longest_task_seconds",
    ("core", "auth_manager"): _DERIVED,
    ("core", "dags_folder"): "Set airflow_bundles",
    ("core", "execution_api_server_url"): _DERIVED,
    ("core", "executor"): "Remove it; the platform runs the CeleryExecutor",
    ("core", "fernet_key"): "Set airflow_keys.fernet",
    ("core", "hostname_callable"): _DERIVED,
    ("core", "load_examples"): "Remove it; example DAGs are not loaded",
    ("core", "multi_team"): "Remove it; the FAB auth manager does not support teams",
    ("core", "simple_auth_manager_all_admins"): "Remove it; users are kept by the FAB auth manager",
    ("core", "simple_auth_manager_passwords_file"): "Remove it; users are kept by the FAB auth manager",
    ("core", "simple_auth_manager_users"): "Set airflow_admin; users are kept by the FAB auth manager",
    ("dag_processor", "dag_bundle_config_list"): "Set airflow_bundles",
    ("database", "sql_alchemy_conn"): "Set airflow_database",
    ("database", "sql_alchemy_conn_async"): "Set airflow_database",
    ("fab", "cookie_secure"): "Set airflow_public_url; cookies are secure where it begins with https",
    ("logging", "base_log_folder"): _DERIVED,
    ("logging", "trigger_log_server_port"): _DERIVED,
    ("logging", "worker_log_server_port"): _DERIVED,
    ("scheduler", "enable_health_check"): "Remove it; the health check of schedulers needs it",
    ("scheduler", "scheduler_health_check_server_host"): _DERIVED,
    ("scheduler", "scheduler_health_check_server_port"): _DERIVED,
}


def variable_name(section: str, option: str) -> str:
    """The environment variable of an option, for example ``AIRFLOW__CORE__EXECUTOR``."""
    return f"AIRFLOW__{section.replace('.', '_').upper()}__{option.upper()}"
