# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All endpoints at the same time.

PRIVATE to the collection.
"""

from __future__ import annotations

import threading
import typing as t

from .nfs import check_nfs
from .postgresql import check_postgresql
from .problems import CheckFailed, Problem
from .rabbitmq import check_rabbitmq
from .redis import check_redis
from .registry import check_registry
from .wire import Endpoint, check_tcp

CHECKS: t.Mapping[str, t.Callable[[Endpoint], dict[str, t.Any]]] = {
    "postgresql": check_postgresql,
    "redis": check_redis,
    "rabbitmq": check_rabbitmq,
    "registry": check_registry,
    "nfs": check_nfs,
    "tcp": check_tcp,
}


def check_endpoints(endpoints: t.Sequence[Endpoint]) -> tuple[list[dict[str, t.Any]], list[Problem]]:
    """Check every endpoint, each in its own thread.

    Returns:
        what is known of each reachable endpoint (name, address, version, warnings), and every problem,
        both in the order of ``endpoints``.
    """
    answers: list[dict[str, t.Any] | Problem | None] = [None] * len(endpoints)

    def run(index: int, endpoint: Endpoint) -> None:
        answers[index] = _check(endpoint)

    threads = [
        # A name lookup cannot be interrupted; such a thread must not keep the module alive.
        threading.Thread(target=run, args=(index, endpoint), daemon=True)
        for index, endpoint in enumerate(endpoints)
    ]
    for thread in threads:
        thread.start()
    for thread, endpoint in zip(threads, endpoints):
        thread.join(endpoint.timeout * 4)
    facts: list[dict[str, t.Any]] = []
    problems: list[Problem] = []
    for endpoint, given in zip(endpoints, answers):
        answer = _silent(endpoint) if given is None else given
        if isinstance(answer, Problem):
            problems.append(answer)
        else:
            facts.append(answer)
    return facts, problems


def _check(endpoint: Endpoint) -> dict[str, t.Any] | Problem:
    try:
        found = CHECKS[endpoint.protocol](endpoint)
    except CheckFailed as error:
        return _problem(endpoint, error)
    except Exception as error:  # a server may answer anything; the other checks still have to be told
        return _problem(
            endpoint,
            CheckFailed(
                "host",
                f"{endpoint.address} answers in a way this check does not understand ({type(error).__name__}: {error})",
                "check that host and port lead to the service that is meant",
            ),
        )
    return {"name": endpoint.name, "address": endpoint.address, **found}


def _silent(endpoint: Endpoint) -> Problem:
    return _problem(
        endpoint,
        CheckFailed(
            "host",
            f"no answer about {endpoint.address} within {endpoint.timeout * 4:g} s",
            "look at the host's DNS (/etc/resolv.conf) and network",
        ),
    )


def _problem(endpoint: Endpoint, error: CheckFailed) -> Problem:
    values = {
        "host": endpoint.host,
        "port": str(endpoint.port),
        "user": endpoint.user,
        "name": endpoint.database,
        "database": endpoint.database,
        "virtual_host": endpoint.database or "/",
        "sslmode": endpoint.sslmode,
        "tls": str(endpoint.tls).lower(),
        "password": "a secret",
        "path": endpoint.path,
        "version": endpoint.version,
        "options": "resvport" if endpoint.reserved_port else "noresvport",
        "ca_certificate": "given" if endpoint.ca_certificate else "empty",
        "proxy": "given",
    }
    name = error.field
    if name == "tls" and endpoint.protocol == "postgresql":
        name = "sslmode"
    return Problem(
        check=endpoint.protocol,
        variable=endpoint.variables.get(name) or f"{endpoint.variable}.{name}",
        value=values.get(name) or "empty",
        problem=f"{endpoint.name}: {error.problem}",
        fix=error.fix,
    )
