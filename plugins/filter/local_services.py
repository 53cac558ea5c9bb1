# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions of the role local_services. Each filter is documented in the .yml file with its name."""

from __future__ import annotations

import json
import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.flowstead.airflow.plugins.module_utils._services import checks, exports, rabbitmq


def local_services_problems(
    variables: t.Mapping[str, t.Any], host: t.Mapping[str, t.Any], pem: t.Mapping[str, str]
) -> list[str]:
    """Every problem of the variables, one line each."""
    return [problem.line() for problem in checks.problems(variables, checks.Host(**host), checks.Pem(**pem))]


def local_services_exports(given: t.Sequence[t.Mapping[str, t.Any]]) -> dict[str, t.Any]:
    """Lines of exports(5), and the directories they need."""
    try:
        return {"lines": exports.lines(given), "directories": exports.directories(given)}
    except ValueError as error:
        raise AnsibleFilterError(f"local_services_nfs_exports: {error}") from error


def local_services_rabbitmq(exported: str, vhost: str, user: str, password: str) -> dict[str, t.Any]:
    """What has to change in a RabbitMQ server."""
    try:
        live = json.loads(exported)
    except ValueError as error:
        raise AnsibleFilterError(f"rabbitmqctl export_definitions wrote no JSON: {error}") from error
    return rabbitmq.plan(live, vhost=vhost, user=user, password=password)


class FilterModule:
    """Ansible finds the filters here."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name to filter."""
        return {
            "local_services_problems": local_services_problems,
            "local_services_exports": local_services_exports,
            "local_services_rabbitmq": local_services_rabbitmq,
        }
