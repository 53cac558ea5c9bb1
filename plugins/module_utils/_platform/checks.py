# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a type cannot say: placeholders, formats, ranges, and values that contradict each other.

PRIVATE to the collection.

Every check looks only at values that have the right type; a missing value is the spec's problem, not repeated here.
"""

from __future__ import annotations

import re
import typing as t
from urllib.parse import urlsplit

from .checks_bundles import check_bundles
from .checks_config import check_config
from .checks_logs import check_logs
from .checks_surroundings import check_surroundings
from .checks_workers import check_workers
from .problems import describe, did_you_mean, show
from .secret_texts import secret_problem
from .sizes import check_range, check_size
from .spec import SpecReader

Values = t.Mapping[str, t.Any]

#: 43 characters of 6 bits and the padding are 32 bytes. Source: the Fernet specification, "Key Format".
_FERNET = re.compile(r"[A-Za-z0-9_-]{43}=")
_ENVIRONMENT = re.compile(r"[a-z][a-z0-9-]{0,19}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")
_LOOPBACK = re.compile(r"localhost|127\.[0-9.]+|::1|0\.0\.0\.0", re.IGNORECASE)
_DATABASE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
_URL_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_PORTS = (1, 65535)
_KEY_LENGTH = 32
_PASSWORD_LENGTH = 8
#: Every secret of the model and its shortest length; None where the format says it.
_SECRETS: tuple[tuple[str, str, int | None], ...] = (
    ("airflow_database", "password", 1),
    ("airflow_result_backend", "password", 1),
    ("airflow_broker", "password", 1),
    ("airflow_keys", "fernet", None),
    ("airflow_keys", "api_secret", _KEY_LENGTH),
    ("airflow_keys", "jwt", _KEY_LENGTH),
    ("airflow_keys", "object_names", _KEY_LENGTH),
    ("airflow_admin", "password", _PASSWORD_LENGTH),
)
_NEW_FERNET = "python3 -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"


def check(reader: SpecReader, values: Values, given: Values, versions: t.Sequence[str]) -> None:
    """Run every check.

    Args:
        reader: collects the problems.
        values: what the reader made of the variables; None where a value is missing or refused.
        given: what the user wrote, without defaults.
        versions: the Airflow versions that are known.
    """
    _check_scalars(reader, values, versions)
    _check_secrets(reader, values)
    for name in ("airflow_database", "airflow_result_backend", "airflow_broker"):
        _check_server(reader, name, values[name] or {})
    _check_postgres(reader, values)
    _check_broker(reader, values["airflow_broker"] or {}, given.get("airflow_broker"))
    _check_admin(reader, values["airflow_admin"] or {})
    for name, component in (values["airflow_components"] or {}).items():
        check_size(reader, f"airflow_components.{name}", component or {})
    api_server = (values["airflow_components"] or {}).get("api_server") or {}
    check_range(reader, "airflow_components.api_server.port", api_server.get("port"), *_PORTS)
    check_range(reader, "airflow_components.api_server.workers", api_server.get("workers"), 1, 64)
    check_bundles(reader, values, given)
    check_workers(reader, values)
    check_config(reader, values["airflow_config"] or {})
    check_logs(reader, values, given)
    check_surroundings(reader, values)


def _check_scalars(reader: SpecReader, values: Values, versions: t.Sequence[str]) -> None:
    environment = values["airflow_environment"]
    if environment is not None and not _ENVIRONMENT.fullmatch(environment):
        problem = "this is no name for an environment"
        fix = "Use small letters, digits and dashes, a letter first, at most 20 characters"
        reader.add("airflow_environment", show(environment), problem, fix)
    version = values["airflow_version"]
    if version is not None and version not in versions:
        fix = f"{did_you_mean(version, versions)} Supported is {', '.join(versions)}".strip()
        reader.add("airflow_version", show(version), "this Airflow version is not supported", fix)
    check_range(reader, "airflow_longest_task_seconds", values["airflow_longest_task_seconds"], 60, 30 * 86400)
    check_range(reader, "airflow_health_interval_seconds", values["airflow_health_interval_seconds"], 10, 300)
    if values["airflow_public_url"] is not None:
        _check_public_url(reader, values["airflow_public_url"])
    path = values["airflow_dags_path"]
    if path is not None and (not path.startswith("/") or ".." in path.split("/")):
        reader.add("airflow_dags_path", show(path), "this is no absolute path", "Write a path that starts with /")


def _check_public_url(reader: SpecReader, url: str) -> None:
    wrong = ""
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        port_ok, parts = False, urlsplit("")
    if any(character.isspace() for character in url):
        wrong = "there is white space in it"
    elif not port_ok:
        wrong = "its port is no number from 1 to 65535"
    elif parts.scheme not in ("http", "https"):
        wrong = "it does not start with http:// or https://"
    elif not parts.hostname or not _HOST.fullmatch(parts.hostname):
        wrong = "it names no host"
    elif "@" in parts.netloc:
        wrong = "it carries a user or a password"
    elif "?" in url or "#" in url:
        wrong = "it carries a query or a fragment"
    elif url.endswith("/"):
        wrong = "it ends with a slash"
    elif not _URL_PATH.fullmatch(parts.path):
        wrong = "its path has empty or odd parts"
    if wrong:
        value = describe(url) if "@" in url else show(url)
        fix = "Write the address that users type, such as https://airflow.example.com or https://example.com/airflow"
        reader.add("airflow_public_url", value, wrong, fix)


def _check_secrets(reader: SpecReader, values: Values) -> None:
    seen: dict[str, str] = {}
    for variable, key, shortest in _SECRETS:
        value = (values[variable] or {}).get(key)
        if value is None:
            continue
        path = f"{variable}.{key}"
        wrong, fix = secret_problem(value, shortest)
        if not wrong and key == "fernet":
            wrong, fix = _fernet_problem(value)
        if not wrong and value in seen:
            wrong, fix = f"it is the same as {seen[value]}", "Give each its own"
        if wrong:
            reader.add(path, describe(value), wrong, fix)
        seen.setdefault(value, path)


def _fernet_problem(value: str) -> tuple[str, str]:
    keys = value.split(",")
    if len(set(keys)) < len(keys):
        return "a key stands in it twice", "Write the new key, a comma, and the old key"
    for number, key in enumerate(keys, 1):
        if not _FERNET.fullmatch(key):
            which = f"key {number} of {len(keys)}" if len(keys) > 1 else "it"
            return f"{which} is not 32 bytes in URL-safe base64 (44 characters)", f"Make one with: {_NEW_FERNET}"
    return "", ""


def _check_server(reader: SpecReader, path: str, server: Values) -> None:
    host = server.get("host")
    if host is not None and not _HOST.fullmatch(host):
        fix = "Write a host name or an address only, without scheme, port and path"
        reader.add(f"{path}.host", show(host) if "@" not in host else describe(host), "this is no host", fix)
    elif host is not None and _LOOPBACK.fullmatch(host):
        fix = "Write an address of the server that containers on every host reach"
        reader.add(f"{path}.host", show(host), "inside a container, this is the container itself", fix)
    check_range(reader, f"{path}.port", server.get("port"), *_PORTS)
    user = server.get("user")
    if user is not None and (not user or user != user.strip() or not user.isprintable()):
        reader.add(f"{path}.user", show(user), "it is empty or has white space around it", "Write the name only")
    certificate = server.get("ca_certificate")
    if certificate is not None:
        _check_certificate(reader, f"{path}.ca_certificate", certificate)
        if server.get("sslmode") == "disable" or server.get("tls") is False:
            option = "tls" if "tls" in server else "sslmode"
            problem = f"a certificate is given, but {path}.{option} switches TLS off"
            reader.add(f"{path}.ca_certificate", describe(certificate), problem, "Switch TLS on, or remove it")


def _check_certificate(reader: SpecReader, path: str, certificate: str) -> None:
    if "PRIVATE KEY" in certificate:
        fix = "Remove the key, and treat it as known to others: certificates are no secrets"
        reader.add(path, describe(certificate), "it holds a private key", fix)
    elif "-----BEGIN CERTIFICATE-----" not in certificate or "-----END CERTIFICATE-----" not in certificate:
        fix = "Write the certificate itself, or read a file with lookup('file', ...)"
        reader.add(path, describe(certificate), "this is no certificate in PEM format", fix)


def _check_postgres(reader: SpecReader, values: Values) -> None:
    database, results = values["airflow_database"] or {}, values["airflow_result_backend"] or {}
    for variable, server in (("airflow_database", database), ("airflow_result_backend", results)):
        name = server.get("name")
        if name is not None and not _DATABASE_NAME.fullmatch(name):
            fix = "Use letters, digits, dashes, dots and underscores, at most 63 characters"
            reader.add(f"{variable}.name", show(name), "this name cannot stand in a connection URL", fix)
    if results.get("user") is not None and results.get("user") == database.get("user"):
        problem = "workers would sign in as the owner of Airflow's metadata (airflow_database.user)"
        fix = "Give the result backend a user of its own, which cannot read that database"
        reader.add("airflow_result_backend.user", show(results["user"]), problem, fix)


def _check_broker(reader: SpecReader, broker: Values, given: object) -> None:
    kind = broker.get("type")
    own = given if isinstance(given, t.Mapping) else {}
    if kind == "redis" and own.get("virtual_host") is not None:
        fix = "Remove it, or set airflow_broker.type to rabbitmq"
        reader.add("airflow_broker.virtual_host", show(own["virtual_host"]), "Redis has no virtual hosts", fix)
    if kind == "rabbitmq" and own.get("database") is not None:
        fix = "Remove it, or set airflow_broker.type to redis"
        reader.add("airflow_broker.database", show(own["database"]), "RabbitMQ has no databases", fix)
    if kind == "rabbitmq" and broker.get("user") is None and "airflow_broker.user" not in reader.refused:
        reader.add("airflow_broker.user", "not set", "RabbitMQ needs a user", "Set airflow_broker.user")
    check_range(reader, "airflow_broker.database", broker.get("database"), 0, 65535)


def _check_admin(reader: SpecReader, admin: Values) -> None:
    for key in ("username", "first_name", "last_name"):
        value = admin.get(key)
        if value is not None and (not value.strip() or value != value.strip() or not value.isprintable()):
            reader.add(f"airflow_admin.{key}", show(value), "it is empty or has white space around it", "Write a name")
    email = admin.get("email")
    if email is not None and not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
        reader.add("airflow_admin.email", show(email), "this is no address", "Write one like admin@example.com")
