# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which component gets which setting and which secret.

PRIVATE to the collection.

Least privilege follows the table "Which component gets which secret" in Airflow's security model: workers hold
no database URL and no JWT key, the dag-processor holds no JWT key. Option names are those of Airflow 3.3.2.
"""

from __future__ import annotations

import json
import typing as t
from urllib.parse import urlsplit

from . import buckets, logs, surroundings
from .bundles import Bundle, connections, local_entry
from .checks_bundles import CANARY_BUNDLE
from .connections import connection_options, connections_secret
from .options import variable_name
from .places import ca_path
from .platform import Platform, Worker
from .urls import broker_url, postgres_url

API_PORT = 8080
LOGS = "/opt/airflow/logs"
CANARY = "/opt/flowstead/canary"
#: Airflow's CeleryExecutor, in our runtime package: it keeps tasks while the broker is away, and finds lost messages.
EXECUTOR = "flowstead_airflow.executor.CeleryExecutor"

_DATABASE_USERS = frozenset({"migrate", "init", "api-server", "scheduler", "dag-processor", "triggerer"})
_BROKER_USERS = frozenset({"scheduler", "worker"})
_EVERYBODY = _DATABASE_USERS | _BROKER_USERS
_JOBS = frozenset({"migrate", "init"})
#: They read DAG files; everybody else only knows that there are bundles.
_READS_BUNDLES = frozenset({"dag-processor", "triggerer", "worker"})
_READS_CONNECTIONS = _READS_BUNDLES | logs.WRITERS | logs.READERS | {logs.SWEEPER, logs.TRIER}

#: Sections that only some components read; every other section goes to all that run on. A setting then restarts
#: only what it concerns.
_READERS = {
    "celery": _BROKER_USERS,
    "celery_broker_transport_options": _BROKER_USERS,
    "celery_result_backend_transport_options": _BROKER_USERS,
    "fab": frozenset({"init", "api-server"}),
    "workers": frozenset({"worker", "triggerer", "dag-processor"}),
}
#: A job runs again when its environment changes: it gets no more than it reads.
_JOB_SECTIONS = frozenset({"core", "database", "fab", "logging"})


class Secret(t.NamedTuple):
    """A secret, the sensitive options it fills, and the components that get it."""

    name: str
    options: tuple[tuple[str, str], ...]
    components: frozenset[str]


SECRETS = (
    Secret(
        "database_url",
        (("database", "sql_alchemy_conn"), ("database", "sql_alchemy_conn_async")),
        _DATABASE_USERS,
    ),
    Secret("result_backend_url", (("celery", "result_backend"),), _BROKER_USERS),
    Secret("broker_url", (("celery", "broker_url"),), _BROKER_USERS),
    Secret("fernet_key", (("core", "fernet_key"),), _EVERYBODY),
    Secret(
        "api_secret_key",
        (("api", "secret_key"),),
        frozenset({"api-server", "scheduler", "triggerer", "worker"}),
    ),
    Secret("jwt_secret", (("api_auth", "jwt_secret"),), frozenset({"api-server", "scheduler", "triggerer"})),
    Secret("admin_password", (), frozenset({"init"})),
)

#: For the dag-processor alone, beside the others.
_DAG_PROCESSOR_DEFAULTS = {
    # Of two releases within half a minute, runs would get the first one's form of a DAG under the second one's name.
    ("core", "min_serialized_dag_update_interval"): "0",
    # A file that is read at the moment in which the share goes away seems to hold no DAG. What a bundle really holds no
    # more is deactivated at its next refresh, whatever this says.
    ("dag_processor", "stale_dag_threshold"): "3600",
}
#: Settings of Celery itself; those of the user come on top.
#: A worker that loses its broker with tasks in flight asks for fewer messages, and for more again when they end.
#: RabbitMQ takes the second wish for consumers to come, so that a worker of 16 would go on with what was free, say 1.
_CELERY = {"worker_enable_prefetch_count_reduction": False}
_EXTRA = ("celery", "extra_celery_config")

#: Values that are better than Airflow's own; airflow_config may change them.
_BETTER_DEFAULTS = {
    ("celery", "operation_timeout"): "5.0",
    ("logging", "colored_console_log"): "False",
    # Also the lifetime of a queued task's token: a longer backlog would fail with "Invalid auth token".
    ("scheduler", "task_queued_timeout"): "1800",
    # An api-server that restarts or is busy for two minutes must not cost running tasks.
    ("workers", "execution_api_retries"): "8",
    ("workers", "execution_api_timeout"): "30.0",
    ("workers", "max_failed_heartbeats"): "20",
}
#: The same for the scheduler, with a broker that can say that it has a message: one that is sent while the broker goes
#: away would be lost unseen. A worker would stand still while it waits for that.
_RABBITMQ_DEFAULTS = {("celery_broker_transport_options", "confirm_publish"): "True"}


def secrets(platform: Platform, component: str, worker: Worker | None = None) -> tuple[str, ...]:
    """Names of the secrets of a component (``worker`` for any worker, with its group)."""
    names = [secret.name for secret in SECRETS if component in secret.components]
    names += logs.secrets(platform.logs, component)
    found = _connections(platform, component, worker)
    return (*names, found[0]) if found else tuple(names)


def secret_data(platform: Platform) -> dict[str, str]:
    """What each secret holds, without a newline at the end: Airflow would make it part of the key."""
    readers: list[tuple[str, Worker | None]] = [("worker", worker) for worker in platform.workers]
    readers.extend((component, None) for component in sorted(_READS_CONNECTIONS - {"worker"}))
    found = [_connections(platform, component, worker) for component, worker in readers]
    return {
        **dict(item for item in found if item),
        **logs.secret_data(platform.logs),
        "database_url": postgres_url(platform.database, "database_ca"),
        "result_backend_url": "db+" + postgres_url(platform.result_backend, "result_backend_ca"),
        "broker_url": broker_url(platform.broker),
        "fernet_key": platform.keys.fernet,
        "api_secret_key": platform.keys.api_secret,
        "jwt_secret": platform.keys.jwt,
        "admin_password": platform.admin.password,
    }


def config_data(platform: Platform) -> dict[str, str]:
    """Files that are no secrets: name of the config to text."""
    certificates = {
        "database_ca": platform.database.ca_certificate if platform.database.sslmode != "disable" else None,
        "result_backend_ca": (
            platform.result_backend.ca_certificate if platform.result_backend.sslmode != "disable" else None
        ),
        "broker_ca": platform.broker.ca_certificate if platform.broker.tls else None,
        **logs.certificates(platform.logs),
    }
    found = {name: pem.strip() + "\n" for name, pem in certificates.items() if pem}
    if logs.sweeps(platform.logs):
        found[logs.SETTINGS] = logs.settings(platform.logs, platform.environment)
    return found


def configs(platform: Platform, component: str) -> dict[str, str]:
    """The configs of a component, each with the file at which it sees it: authorities of its servers, settings."""
    users = {
        "database_ca": _DATABASE_USERS,
        "result_backend_ca": _BROKER_USERS,
        "broker_ca": _BROKER_USERS,
        **logs.config_users(platform.logs),
    }
    places = {logs.SETTINGS: logs.SETTINGS_PATH}
    return {name: places.get(name, ca_path(name)) for name in config_data(platform) if component in users[name]}


def visible_bundles(platform: Platform, worker: Worker | None = None) -> tuple[Bundle, ...]:
    """The bundles that a component sees; a worker only those it names."""
    return tuple(bundle for bundle in platform.bundles if worker is None or bundle.name in worker.bundles)


def _connections(platform: Platform, component: str, worker: Worker | None) -> tuple[str, str] | None:
    """Name and content of the secret with a component's logins of Git, S3 and GCS, or None."""
    seen = logs.connections(platform.logs, component)
    if component in _READS_BUNDLES:
        seen.update(connections(visible_bundles(platform, worker)))
    everything = {**connections(platform.bundles), **logs.connections(platform.logs, "worker")}
    return connections_secret(everything, seen, f"worker-{worker.name}" if worker else component)


def execution_api_url(platform: Platform) -> str:
    """Where tasks reach the api-server inside the network; it serves below the public URL's path."""
    return f"http://api-server:{API_PORT}{urlsplit(platform.public_url).path}/execution/"


def environment(platform: Platform, component: str, worker: Worker | None = None) -> dict[str, str]:
    """The environment of one component, sorted by name; never holds a secret.

    Args:
        platform: the platform.
        component: ``migrate``, ``init``, ``api-server``, ``scheduler``, ``dag-processor``,
            ``triggerer`` or ``worker``.
        worker: the group, when the component is a worker.
    """
    options = {
        **_BETTER_DEFAULTS,
        **(_DAG_PROCESSOR_DEFAULTS if component == "dag-processor" else {}),
        **(_RABBITMQ_DEFAULTS if component == "scheduler" and platform.broker.type == "rabbitmq" else {}),
    }
    for section, settings in platform.config.items():
        options.update({(section.lower(), option.lower()): value for option, value in settings.items()})
    options[_EXTRA] = _with_celery(options.get(_EXTRA, "{}"))
    options.update(_owned(platform, component, worker))
    variables = {variable_name(*name): value for name, value in options.items() if _reads(component, name[0])}
    for secret in SECRETS:
        if component in secret.components:
            for name in secret.options:
                # Airflow starts this without a shell: no substitution, no pipes.
                variables[f"{variable_name(*name)}_CMD"] = f"cat /run/secrets/{secret.name}"
    variables.update(_outside_airflow(platform, component, worker))
    return dict(sorted(variables.items()))


def _with_celery(given: str) -> str:
    """The user's settings of Celery over ours; what is no JSON object is Airflow's to refuse."""
    try:
        document = json.loads(given)
    except ValueError:
        return given
    return json.dumps({**_CELERY, **document}, sort_keys=True) if isinstance(document, dict) else given


def logs_environment(platform: Platform, component: str) -> dict[str, str]:
    """The environment of the log sweeper, or of the job that tries the bucket: what a bucket needs, and no more."""
    found = _connections(platform, component, None)
    options = connection_options(component, found[0]) if found else {}
    if platform.logs.bucket:
        options.update(buckets.options(platform.logs.bucket, alone=False))
    variables = {variable_name(*name): value for name, value in options.items()}
    variables.update(logs.variables(platform.logs, component))
    return dict(sorted({**surroundings.environment(platform.surroundings), **variables}.items()))


def _reads(component: str, section: str) -> bool:
    if component in _JOBS and section not in _JOB_SECTIONS:
        return False
    return component in _READERS.get(section, _EVERYBODY)


def _owned(platform: Platform, component: str, worker: Worker | None) -> dict[tuple[str, str], str]:
    """Options that follow from the model. options.OWNED names each of them."""
    bundles = [bundle.entry for bundle in visible_bundles(platform, worker)]
    bundles.append(local_entry(CANARY_BUNDLE, CANARY))
    options = {
        ("api", "base_url"): platform.public_url,
        ("core", "auth_manager"): "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
        ("core", "execution_api_server_url"): execution_api_url(platform),
        ("core", "executor"): EXECUTOR,
        ("core", "hostname_callable"): "flowstead_airflow.hosts.address",
        ("core", "load_examples"): "False",
        ("dag_processor", "dag_bundle_config_list"): json.dumps(bundles, separators=(",", ":")),
        ("logging", "base_log_folder"): LOGS,
    }
    if component == "scheduler":
        options["scheduler", "enable_health_check"] = "True"
    if component == "api-server":
        options["api", "host"] = "0.0.0.0"  # noqa: S104 - inside its container
        options["api", "port"] = str(API_PORT)
        options["api", "workers"] = str(platform.api_server.workers)
        options["fab", "cookie_secure"] = str(platform.public_url.startswith("https://"))
    if component in _BROKER_USERS:
        options.update(_broker_options(platform))
    options.update(logs.options(platform.logs, component, LOGS))
    found = _connections(platform, component, worker)
    if found:
        options.update(connection_options(component, found[0]))
    return options


def _broker_options(platform: Platform) -> dict[tuple[str, str], str]:
    options = {("celery", "worker_enable_remote_control"): "True"}
    if platform.broker.type == "redis":
        timeout = ("celery_broker_transport_options", "visibility_timeout")
        options[timeout] = str(platform.visibility_timeout)
    if platform.broker.tls:
        options["celery", "ssl_active"] = "True"
        options["celery", "ssl_mutual_tls"] = "False"
        if platform.broker.ca_certificate:
            options["celery", "ssl_cacert"] = ca_path("broker_ca")
    return options


def _outside_airflow(platform: Platform, component: str, worker: Worker | None) -> dict[str, str]:
    """For the official image's entrypoint, and for our own runtime package."""
    variables = {
        **surroundings.environment(platform.surroundings, outside=component not in _JOBS),
        # The official image's entrypoint waits for database and broker itself, and fails on some URLs.
        "CONNECTION_CHECK_MAX_COUNT": "0",
        # Its init signals only Celery's main process, which then finishes its tasks.
        "DUMB_INIT_SETSID": "0",
    }
    variables.update(logs.variables(platform.logs, component))
    if component == "dag-processor":
        variables["FLOWSTEAD_CANARY_QUEUES"] = ",".join(platform.queues)
    if worker is not None:
        # Only its own canaries, so that a new group of workers does not restart the others.
        variables["FLOWSTEAD_CANARY_QUEUES"] = ",".join(worker.queues)
        variables["FLOWSTEAD_QUEUES"] = ",".join(worker.queues)
        variables["FLOWSTEAD_WORKER"] = worker.name
    if component == "init":
        admin = platform.admin
        variables["FLOWSTEAD_ADMIN_USERNAME"] = admin.username
        variables["FLOWSTEAD_ADMIN_EMAIL"] = admin.email
        variables["FLOWSTEAD_ADMIN_FIRST_NAME"] = admin.first_name
        variables["FLOWSTEAD_ADMIN_LAST_NAME"] = admin.last_name
    if component == "api-server" and platform.public_url.startswith("https://"):
        # uvicorn believes X-Forwarded-* from these addresses only; the proxy's address is not known here.
        variables["FORWARDED_ALLOW_IPS"] = "*"
    return variables
