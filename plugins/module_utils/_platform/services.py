# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line between what the platform is and where it runs: a list of services.

PRIVATE to the collection. Nothing here knows a target; nothing below this line knows Airflow.
"""

from __future__ import annotations

import math
import typing as t
from dataclasses import dataclass

from . import logs
from .bundles import BUNDLES, Bundle
from .environment import API_PORT, LOGS, configs, environment, logs_environment, secrets, visible_bundles
from .platform import Component, Platform, Worker

#: The user and group of the image's Airflow.
UID, GID = "50000", "0"

_JOB_MEMORY_MB = 1024
_SWEEPER_MEMORY_MB = 256
_BUCKET_SWEEPER_MEMORY_MB = 768
#: Gossip sends what each worker does to every other one, by way of the broker; nothing in Airflow listens.
_WORKER_COMMAND = ("airflow", "celery", "worker", "--without-gossip")
_PROBE = ("python", "-m", "flowstead_airflow.probe")
#: Seconds; the probe gives up on itself after 10.
_PROBE_TIMEOUT = 15
#: Seconds in which a failed probe does not count.
_START_PERIOD = 180
#: Seconds between two probes of a service that starts, for which others wait.
_START_INTERVAL = 10
#: Failures in a row that mean something, however long the interval.
_FEWEST_RETRIES = 2


@dataclass(frozen=True)
class Health:
    """A command that exits 0 when the service is well. All times in seconds.

    Attributes:
        retries: failures until the service is restarted. One that is only busy must not be.
        start_interval: between two probes until the first good one.
    """

    command: tuple[str, ...]
    interval: int
    start_interval: int
    timeout: int
    retries: int
    start_period: int


@dataclass(frozen=True)
class Mount:
    """A directory in a container: of the host (``bind``), or kept under a name (``volume``)."""

    type: str
    source: str
    target: str
    read_only: bool


@dataclass(frozen=True)
class Port:
    """A TCP port that the world reaches."""

    target: int
    published: int


@dataclass(frozen=True)
class ConfigFile:
    """A file that is no secret, under a logical name."""

    name: str
    path: str


@dataclass(frozen=True)
class Dependency:
    """What has to be true of another service first: ``completed`` or ``healthy``."""

    name: str
    condition: str


@dataclass(frozen=True)
class Service:
    """One component as a container or a process.

    Attributes:
        component: what it is, for example ``worker``; name is unique, for example ``worker-default``.
        secrets: logical names; a file ``/run/secrets/<name>`` each.
        stop_grace: seconds it gets to finish when it is stopped.
        memory_mb: limit in MiB, 0 for none; memory_reservation_mb is kept free for it.
        constraints: where it may run, in the target's words.
        job: runs once and has to succeed.
        order: services of one number may start together; the lower number goes first.
        dns_names: names other services call it by.
        everywhere: one on each host, in the place of replicas.
        node_variable: the variable by which it learns on which host it runs, or empty.
    """

    name: str
    component: str
    image: str
    command: tuple[str, ...]
    environment: t.Mapping[str, str]
    secrets: tuple[str, ...]
    order: int
    stop_grace: int
    memory_mb: int
    memory_reservation_mb: int
    cpus: float = 0
    replicas: int = 1
    files: tuple[ConfigFile, ...] = ()
    mounts: tuple[Mount, ...] = ()
    ports: tuple[Port, ...] = ()
    health: Health | None = None
    constraints: tuple[str, ...] = ()
    depends_on: tuple[Dependency, ...] = ()
    job: bool = False
    dns_names: tuple[str, ...] = ()
    everywhere: bool = False
    node_variable: str = ""


def services(platform: Platform, image: str) -> tuple[Service, ...]:
    """Every service of the platform, those that others wait for first.

    Args:
        platform: the platform.
        image: reference of the core image.
    """
    tried = _trier(platform, image)
    accepted = tuple(Dependency(job.name, "completed") for job in tried)
    migrated = (Dependency("migrate", "completed"), *accepted)
    ready = (*migrated, Dependency("init", "completed"))
    return (
        *tried,
        # Nobody wants a database of the next version because a bucket was misspelt.
        _job(platform, image, "migrate", order=0, command=("airflow", "db", "migrate"), depends_on=accepted),
        _job(
            platform,
            image,
            "init",
            order=1,
            command=("python", "-m", "flowstead_airflow.admin"),
            depends_on=migrated,
        ),
        _component(
            platform,
            image,
            "api-server",
            platform.api_server,
            health=_health(platform, "api-server", patience=90),
            depends_on=ready,
            command=_api_server_command(platform),
            ports=(Port(API_PORT, platform.api_server.port),),
        ),
        _component(
            platform,
            image,
            "scheduler",
            platform.scheduler,
            health=_health(platform, "scheduler", patience=90),
            depends_on=migrated,
        ),
        _component(
            platform,
            image,
            "dag-processor",
            platform.dag_processor,
            health=_health(platform, "dag-processor", patience=120),
            depends_on=migrated,
            bundles=visible_bundles(platform),
        ),
        _component(
            platform,
            image,
            "triggerer",
            platform.triggerer,
            health=_health(platform, "triggerer", patience=120),
            depends_on=migrated,
            bundles=visible_bundles(platform),
        ),
        *(_worker(platform, image, worker) for worker in platform.workers),
        *_sweeper(platform, image, accepted),
    )


def _health(platform: Platform, component: str, patience: int) -> Health:
    """A probe of the component that may fail for ``patience`` seconds."""
    interval = platform.health_interval_seconds
    retries = max(_FEWEST_RETRIES, math.ceil(patience / interval))
    return Health((*_PROBE, component), interval, _START_INTERVAL, _PROBE_TIMEOUT, retries, _START_PERIOD)


def _api_server_command(platform: Platform) -> tuple[str, ...]:
    command = ("airflow", "api-server")
    return (*command, "--proxy-headers") if platform.public_url.startswith("https://") else command


def _job(
    platform: Platform,
    image: str,
    name: str,
    *,
    order: int,
    command: tuple[str, ...],
    depends_on: tuple[Dependency, ...] = (),
) -> Service:
    return Service(
        name=name,
        component=name,
        image=image,
        command=command,
        environment=environment(platform, name),
        secrets=secrets(platform, name),
        files=_files(platform, name),
        order=order,
        stop_grace=60,
        memory_mb=_JOB_MEMORY_MB,
        memory_reservation_mb=0,
        depends_on=depends_on,
        job=True,
    )


def _component(
    platform: Platform,
    image: str,
    name: str,
    size: Component,
    *,
    health: Health,
    depends_on: tuple[Dependency, ...],
    command: tuple[str, ...] = (),
    ports: tuple[Port, ...] = (),
    bundles: tuple[Bundle, ...] = (),
) -> Service:
    return Service(
        name=name,
        component=name,
        image=image,
        command=command or ("airflow", name),
        environment=environment(platform, name),
        secrets=secrets(platform, name),
        files=_files(platform, name),
        order=2,
        stop_grace=60,
        memory_mb=size.memory_mb,
        memory_reservation_mb=size.memory_reservation_mb,
        cpus=size.cpus,
        replicas=size.replicas,
        mounts=_mounts(bundles),
        ports=ports,
        health=health,
        depends_on=depends_on,
        dns_names=(name,),
        node_variable=_node_variable(platform, name),
    )


def _worker(platform: Platform, image: str, worker: Worker) -> Service:
    name = f"worker-{worker.name}"
    queues = ",".join(worker.queues)
    return Service(
        name=name,
        component="worker",
        image=image,
        command=(*_WORKER_COMMAND, "--queues", queues, "--concurrency", str(worker.concurrency)),
        environment=environment(platform, "worker", worker),
        secrets=secrets(platform, "worker", worker),
        files=_files(platform, "worker"),
        order=3,
        stop_grace=worker.stop_grace_seconds,
        memory_mb=worker.memory_mb,
        memory_reservation_mb=worker.memory_reservation_mb,
        cpus=worker.cpus,
        replicas=worker.replicas,
        mounts=_mounts(visible_bundles(platform, worker)),
        # It asks the broker; a broker that is away for some minutes must not stop tasks that run.
        health=_health(platform, "worker", patience=300),
        constraints=worker.constraints,
        depends_on=(Dependency("api-server", "healthy"),),
        dns_names=(name,),
        node_variable=_node_variable(platform, "worker"),
    )


def _trier(platform: Platform, image: str) -> tuple[Service, ...]:
    """Tries the bucket of task logs in the image itself, before anything that is there is changed."""
    bucket, name = platform.logs.bucket, logs.TRIER
    if not bucket or (bucket.connection_id and not bucket.connection):
        return ()  # a connection of the user's own may be in the database, where no job looks
    return (
        Service(
            name=name,
            component=name,
            image=image,
            command=("python", "-m", "flowstead_airflow.task_logs", "try-bucket", bucket.url),
            environment=logs_environment(platform, name),
            secrets=secrets(platform, name),
            files=_files(platform, name),
            order=0,
            stop_grace=30,
            memory_mb=_JOB_MEMORY_MB,
            memory_reservation_mb=0,
            job=True,
        ),
    )


def _sweeper(platform: Platform, image: str, depends_on: tuple[Dependency, ...]) -> tuple[Service, ...]:
    """Delivers on each host what dead containers left in its log files."""
    if not logs.sweeps(platform.logs):
        return ()
    name, splunk = logs.SWEEPER, platform.logs.splunk
    verb = "sweep" if splunk else "sweep-bucket"
    command = ("python", "-m", "flowstead_airflow.task_logs", verb, "--every", str(platform.logs.sweep_seconds))
    return (
        Service(
            name=name,
            component=name,
            image=image,
            command=(*command, "--logs", LOGS),
            environment=logs_environment(platform, name),
            secrets=secrets(platform, name),
            files=_files(platform, name),
            order=3,
            stop_grace=30,
            # With a bucket it loads Airflow, and a whole file at a time.
            memory_mb=_SWEEPER_MEMORY_MB if not platform.logs.bucket else _BUCKET_SWEEPER_MEMORY_MB,
            memory_reservation_mb=32,
            mounts=_mounts(()),
            depends_on=depends_on,
            everywhere=True,
            node_variable=logs.NODE_VARIABLE,
        ),
    )


def _node_variable(platform: Platform, component: str) -> str:
    return logs.NODE_VARIABLE if logs.variables(platform.logs, component) else ""


def _files(platform: Platform, component: str) -> tuple[ConfigFile, ...]:
    return tuple(ConfigFile(name, path) for name, path in configs(platform, component).items())


def _mounts(bundles: tuple[Bundle, ...]) -> tuple[Mount, ...]:
    shared = tuple(
        Mount("bind", bundle.host_path, f"{BUNDLES}/{bundle.name}", True) for bundle in bundles if bundle.mounted
    )
    return (Mount("volume", "logs", LOGS, False), *shared)
