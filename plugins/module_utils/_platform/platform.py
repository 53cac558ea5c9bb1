# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an Airflow platform is: variables in, one checked ``Platform`` out, or every problem at once.

PRIVATE to the collection. Pure: no I/O, no Ansible.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

from .bundles import Bundle, build_bundle
from .checks import check
from .logs import Logs, build_logs
from .problems import Problem, describe
from .spec import Option, SpecReader, check_name
from .surroundings import Surroundings, build_surroundings

#: Airflow versions whose option names and secrets the model knows.
SUPPORTED_VERSIONS = ("3.3.2",)

#: Variables of earlier releases: old name to what the user has to do now.
RENAMED: dict[str, str] = {}

#: Redis redelivers a task that a worker holds for longer (seconds); Airflow's own default is the floor.
_SHORTEST_VISIBILITY_TIMEOUT = 86400
_VISIBILITY_MARGIN = 3600

#: MiB that a component other than a worker has reserved unless the user says otherwise.
_RESERVATION_MB = 768


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL database and one user of it."""

    host: str
    port: int
    name: str
    user: str
    password: str = field(repr=False)
    sslmode: str
    ca_certificate: str | None


@dataclass(frozen=True)
class Broker:
    """The message queue; type is ``redis`` or ``rabbitmq``."""

    type: str
    host: str
    port: int
    user: str | None
    password: str = field(repr=False)
    database: int
    virtual_host: str
    tls: bool
    ca_certificate: str | None


@dataclass(frozen=True)
class Keys:
    """Keys that the platform's parts share."""

    fernet: str = field(repr=False)
    api_secret: str = field(repr=False)
    jwt: str = field(repr=False)
    object_names: str = field(repr=False)


@dataclass(frozen=True)
class Admin:
    """The first administrator."""

    username: str
    password: str = field(repr=False)
    email: str
    first_name: str
    last_name: str


@dataclass(frozen=True)
class Component:
    """Size of one component. Memory in MiB; 0 is no limit, for memory and for cpus."""

    replicas: int
    memory_mb: int
    memory_reservation_mb: int
    cpus: float


@dataclass(frozen=True)
class ApiServer(Component):
    """Size of the api-server, the published TCP port, and processes in each replica."""

    port: int
    workers: int


@dataclass(frozen=True)
class Worker(Component):
    """A group of workers. bundles holds the names of the bundles it sees."""

    name: str
    queues: tuple[str, ...]
    concurrency: int
    stop_grace_seconds: int
    constraints: tuple[str, ...]
    bundles: tuple[str, ...]


@dataclass(frozen=True)
class Platform:
    """A whole, valid platform. config is section to option to the text that Airflow reads."""

    environment: str
    version: str
    public_url: str
    longest_task_seconds: int
    health_interval_seconds: int
    secure_logging: bool
    database: Postgres
    result_backend: Postgres
    broker: Broker
    keys: Keys
    admin: Admin
    api_server: ApiServer
    scheduler: Component
    dag_processor: Component
    triggerer: Component
    workers: tuple[Worker, ...]
    bundles: tuple[Bundle, ...]
    config: t.Mapping[str, t.Mapping[str, str]]
    logs: Logs = field(default_factory=Logs)
    surroundings: Surroundings = field(default_factory=Surroundings)

    @property
    def queues(self) -> tuple[str, ...]:
        """Every queue that some worker consumes, in order, once."""
        return tuple(dict.fromkeys(queue for worker in self.workers for queue in worker.queues))

    @property
    def visibility_timeout(self) -> int:
        """Seconds until Redis gives a task to another worker: longer than any task runs."""
        return max(_SHORTEST_VISIBILITY_TIMEOUT, self.longest_task_seconds + _VISIBILITY_MARGIN)


def parse(
    variables: t.Mapping[str, t.Any],
    options: t.Mapping[str, Option],
    known_names: t.Iterable[str] = (),
    renamed: t.Mapping[str, str] | None = None,
) -> tuple[Platform | None, list[Problem]]:
    """Read and check all variables.

    Args:
        variables: every ``airflow_*`` variable of the host.
        options: their argument spec, roles/airflow/meta/argument_specs.yml, entry point main.
        known_names: ``airflow_*`` names that belong to other roles; they are not looked into.
        renamed: old name to what to do instead; :data:`RENAMED` unless given.

    Returns:
        The platform and no problems, or None and every problem, unknown names first, then in the order of the spec.
    """
    reader = SpecReader()
    known = set(options) | set(known_names)
    for name, value in variables.items():
        _check_name(reader, str(name), value, known, RENAMED if renamed is None else renamed)
    wanted = {name: value for name, value in variables.items() if name in options}
    values = reader.read_options(wanted, options, "")
    check(reader, values, wanted, SUPPORTED_VERSIONS)
    if reader.problems:
        order = {name: index for index, name in enumerate(options)}
        return None, sorted(reader.problems, key=lambda item: order.get(re.split(r"[.[]", item.variable)[0], -1))
    return _build(values), []


def _check_name(reader: SpecReader, name: str, value: object, known: set[str], renamed: t.Mapping[str, str]) -> None:
    if name in renamed:
        reader.add(name, describe(value), "this variable is gone", renamed[name])
    elif name not in known:
        check_name(reader, name, describe(value), known, "airflow_")


def text_of(value: object) -> str:
    """A value of airflow_config as Airflow reads it from the environment."""
    if isinstance(value, bool):
        return "True" if value else "False"
    return str(value)


def _build(values: t.Mapping[str, t.Any]) -> Platform:
    """The platform from values without problems: fills what one value takes from another."""
    database = Postgres(**values["airflow_database"])
    inherited = ("host", "port", "sslmode", "ca_certificate")
    result_backend = dict(values["airflow_result_backend"])
    for name in inherited:
        if result_backend[name] is None:
            result_backend[name] = getattr(database, name)
    broker = dict(values["airflow_broker"])
    if broker["port"] is None:
        broker["port"] = 6379 if broker["type"] == "redis" else (5671 if broker["tls"] else 5672)
    components = values["airflow_components"]
    root = f"{values['airflow_dags_path'].rstrip('/')}/{values['airflow_environment']}"
    bundles = tuple(build_bundle(item, root) for item in values["airflow_bundles"])
    return Platform(
        environment=values["airflow_environment"],
        version=values["airflow_version"],
        public_url=values["airflow_public_url"],
        longest_task_seconds=values["airflow_longest_task_seconds"],
        health_interval_seconds=values["airflow_health_interval_seconds"],
        secure_logging=values["airflow_secure_logging"],
        database=database,
        result_backend=Postgres(**result_backend),
        broker=Broker(**broker),
        keys=Keys(**values["airflow_keys"]),
        admin=Admin(**values["airflow_admin"]),
        api_server=ApiServer(**_sized(components["api_server"])),
        scheduler=Component(**_sized(components["scheduler"])),
        dag_processor=Component(**_sized(components["dag_processor"])),
        triggerer=Component(**_sized(components["triggerer"])),
        workers=tuple(
            _worker(item, values["airflow_longest_task_seconds"], bundles) for item in values["airflow_workers"]
        ),
        bundles=bundles,
        config={
            section: {option: text_of(value) for option, value in settings.items()}
            for section, settings in values["airflow_config"].items()
        },
        logs=build_logs(values["airflow_logs"]),
        surroundings=build_surroundings(values["airflow_proxy"], values["airflow_extra_environment"]),
    )


def _sized(item: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    reservation = item["memory_reservation_mb"]
    if reservation is None:
        reservation = min(_RESERVATION_MB, item["memory_mb"] or _RESERVATION_MB)
    return {**item, "memory_reservation_mb": reservation}


def _worker(item: t.Mapping[str, t.Any], longest_task: int, bundles: tuple[Bundle, ...]) -> Worker:
    memory = item["memory_mb"]
    if memory is None:
        memory = 512 + 256 * item["concurrency"]
    reservation = item["memory_reservation_mb"]
    grace = item["stop_grace_seconds"]
    return Worker(
        replicas=item["replicas"],
        memory_mb=memory,
        memory_reservation_mb=memory // 2 if reservation is None else reservation,
        cpus=item["cpus"],
        name=item["name"],
        queues=tuple(item["queues"]),
        concurrency=item["concurrency"],
        stop_grace_seconds=longest_task if grace is None else grace,
        constraints=tuple(item["constraints"]),
        bundles=tuple(bundle.name for bundle in bundles) if item["bundles"] is None else tuple(item["bundles"]),
    )
