# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Health checks that do not cost what they measure: ``python -m flowstead_airflow.probe COMPONENT``.

Exit code 0 and one line when the component of this container works, 1 and one line why when it does not.
Airflow itself is never imported: that alone takes two seconds of CPU and 135 MB per check.
"""

from __future__ import annotations

import argparse
import datetime
import http.client
import importlib
import os
import signal
import sys
import typing as t
from urllib.parse import urlsplit

from flowstead_airflow import broker, settings

#: Seconds after which a probe gives up on itself; health check timeouts should be a little longer.
DEADLINE = 10
#: Heartbeats older than this many seconds count as dead, as in Airflow's own defaults.
_THRESHOLD = 30.0
#: Component -> (type in Airflow's table job, environment variable that holds the threshold in seconds).
#: Source: airflow.jobs.job.health_check_threshold in Airflow 3.3.2.
_JOBS = {
    "dag-processor": ("DagProcessorJob", "AIRFLOW__DAG_PROCESSOR__HEALTH_CHECK_THRESHOLD"),
    "triggerer": ("TriggererJob", "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD"),
}


class Unhealthy(Exception):
    """The component does not work; the message says why in one line."""


def api_server(get: t.Callable[..., int] | None = None) -> str:
    """The API server answers its version under the path that users see."""
    port = int(settings.number("AIRFLOW__API__PORT", 8080))
    base = urlsplit(settings.text("AIRFLOW__API__BASE_URL", "")).path.rstrip("/")
    tls = bool(settings.text("AIRFLOW__API__SSL_CERT", ""))
    return _http(get or http_status, port, f"{base}/api/v2/version", tls)


def scheduler(get: t.Callable[..., int] | None = None) -> str:
    """The scheduler's health server says that its heartbeat is recent."""
    if not settings.boolean("AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK", True):
        raise Unhealthy("the scheduler's health server is off: set [scheduler] enable_health_check")
    port = int(settings.number("AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT", 8974))
    return _http(get or http_status, port, "/health", False)


def job(component: str, read: t.Callable[[str, str], t.Any] | None = None) -> str:
    """The newest running job of this container has a recent heartbeat in the metadata database.

    Args:
        component: ``dag-processor`` or ``triggerer``.
        read: gives the last heartbeat (aware datetime) of a job type on a host, or None.
    """
    kind, variable = _JOBS[component]
    threshold = settings.number(variable, _THRESHOLD)
    host = own_hostname()
    heartbeat = (read or last_heartbeat)(kind, host)
    if heartbeat is None:
        raise Unhealthy(f"no running {kind} of host {host} in the metadata database")
    age = (datetime.datetime.now(datetime.timezone.utc) - heartbeat).total_seconds()
    if age >= threshold:
        raise Unhealthy(f"the last heartbeat of {kind} on {host} is {age:.0f} s old, allowed are {threshold:.0f} s")
    return f"{kind} on {host}: heartbeat {max(age, 0):.0f} s ago"


def worker(consumed: t.Callable[[str], t.Any] | None = None) -> str:
    """This container's Celery worker consumes every queue of FLOWSTEAD_QUEUES."""
    wanted = settings.names("FLOWSTEAD_QUEUES")
    if not wanted:
        raise Unhealthy("FLOWSTEAD_QUEUES names no queue: nothing to compare with")
    node = broker.node_name()
    queues = (consumed or broker.consumed_queues)(node)
    if queues is None:
        raise Unhealthy(f"{node} does not answer through the broker")
    missing = [queue for queue in wanted if queue not in queues]
    if missing:
        raise Unhealthy(f"{node} does not consume {', '.join(missing)} (it consumes {', '.join(queues) or 'nothing'})")
    return f"{node} consumes {', '.join(wanted)}"


def own_hostname() -> str:
    """The host name that Airflow stores with this container's jobs: what ``[core] hostname_callable`` gives."""
    dotted = settings.text("AIRFLOW__CORE__HOSTNAME_CALLABLE", "flowstead_airflow.hosts.address")
    module, _dot, name = dotted.replace(":", ".").rpartition(".")
    try:
        return str(getattr(importlib.import_module(module), name)())
    except (ImportError, AttributeError, ValueError) as error:
        raise Unhealthy(f"AIRFLOW__CORE__HOSTNAME_CALLABLE={dotted} cannot be called: {error}") from error


def last_heartbeat(kind: str, host: str) -> t.Any:
    """The last heartbeat of the newest running job of ``kind`` on ``host``; None when there is none."""
    url = settings.secret("database_url")
    scheme, _slashes, rest = url.partition("://")
    if not scheme.startswith("postgres"):
        raise Unhealthy(f"the metadata database is {scheme.partition('+')[0]}; this probe reads PostgreSQL only")
    driver = _driver()
    connection = driver.connect(f"postgresql://{rest}", connect_timeout=DEADLINE // 2)
    try:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT max(latest_heartbeat) FROM job WHERE state = 'running' AND job_type = %s AND hostname = %s",
            (kind, host),
        )
        return cursor.fetchone()[0]
    finally:
        connection.close()


def http_status(port: int, path: str, tls: bool) -> int:
    """The status of a GET on this host's loopback address."""
    if tls:
        import ssl  # noqa: PLC0415 - 10 ms that only TLS needs

        # The certificate carries the public name, not localhost; what is asked here is life, not identity.
        context = ssl._create_unverified_context()  # noqa: S323
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            "localhost", port, timeout=DEADLINE // 2, context=context
        )
    else:
        connection = http.client.HTTPConnection("localhost", port, timeout=DEADLINE // 2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Run one probe within :data:`DEADLINE` seconds; returns the exit code."""
    checks: dict[str, t.Callable[[], str]] = {
        "api-server": api_server,
        "scheduler": scheduler,
        "dag-processor": lambda: job("dag-processor"),
        "triggerer": lambda: job("triggerer"),
        "worker": worker,
    }
    parser = argparse.ArgumentParser(prog="flowstead_airflow.probe", description=__doc__.splitlines()[0])
    parser.add_argument("component", choices=sorted(checks))
    component = parser.parse_args(arguments).component
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(DEADLINE)
    try:
        line = checks[component]()
    except Exception as error:  # whatever goes wrong, the answer is one line and exit code 1
        reason = str(error) if isinstance(error, (Unhealthy, settings.SettingMissing)) else _one_line(error)
        print(f"unhealthy: {reason}")
        return 1
    finally:
        signal.alarm(0)
    print(f"healthy: {line}")
    return 0


def _http(get: t.Callable[..., int], port: int, path: str, tls: bool) -> str:
    where = f"{'https' if tls else 'http'}://localhost:{port}{path}"
    try:
        status = get(port, path, tls)
    except (OSError, http.client.HTTPException) as error:
        raise Unhealthy(f"{where} does not answer: {_one_line(error)}") from error
    if status != 200:
        raise Unhealthy(f"{where} answers {status}")
    return f"{where} answers {status}"


def _driver() -> t.Any:
    for name in ("psycopg2", "psycopg"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise Unhealthy("the image has no PostgreSQL driver: neither psycopg2 nor psycopg can be imported")


def _give_up(_signal: int, _frame: t.Any) -> t.NoReturn:
    raise Unhealthy(f"no answer within {DEADLINE} s")


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Skips the teardown of threads and pools: a probe owns nothing that needs it.
    os._exit(code)
