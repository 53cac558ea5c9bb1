# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model's doors for roles. Each filter is documented in the .yml file with its name."""

from __future__ import annotations

import dataclasses
import functools
import typing as t
from pathlib import Path

from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.yaml import yaml_load
from ansible_collections.flowstead.airflow.plugins.module_utils._platform import doors
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.compose import Target, TargetError, compose
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.platform import Platform, parse
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.problems import Problem
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.services import services

_ROLES = Path(__file__).parents[2] / "roles"
_ANY_IMAGE = "image"

Variables = t.Mapping[str, t.Any]


@functools.cache
def _specs() -> tuple[dict[str, t.Any], frozenset[str]]:
    """The options of the role airflow, and every airflow_* name that some role's argument spec has."""
    options: dict[str, t.Any] = {}
    known: set[str] = set()
    for path in sorted(_ROLES.glob("*/meta/argument_specs.yml")):
        entry_points = yaml_load(path.read_text(encoding="utf-8"))["argument_specs"]
        for entry_point in entry_points.values():
            known.update(name for name in entry_point.get("options") or {} if name.startswith("airflow_"))
        if path.parts[-3] == "airflow":
            options = entry_points["main"]["options"]
    return options, frozenset(known)


def _parse(variables: object) -> tuple[Platform | None, list[Problem]]:
    if not isinstance(variables, t.Mapping):
        raise AnsibleFilterError("The platform's filters take a dictionary of airflow_* variables.")
    options, known = _specs()
    return parse(variables, options, known)


def _platform(variables: object) -> Platform:
    if isinstance(variables, t.Mapping):
        # Names of others are refused by platform_problems alone; facts of other roles may carry the prefix later.
        variables = {name: value for name, value in variables.items() if name in _specs()[0]}
    platform, problems = _parse(variables)
    if platform is None:
        lines = "\n".join(f"- {problem.line()}" for problem in problems)
        raise AnsibleFilterError(f"The airflow_* variables do not describe a platform:\n{lines}")
    return platform


def platform_problems(variables: Variables) -> list[dict[str, str]]:
    """Every problem of the variables; an empty list when there is none."""
    return [{**dataclasses.asdict(problem), "line": problem.line()} for problem in _parse(variables)[1]]


def platform_services(variables: Variables, image: str) -> list[dict[str, t.Any]]:
    """The list of services, as dictionaries."""
    return [dataclasses.asdict(service) for service in services(_platform(variables), image)]


def platform_compose(
    variables: Variables,
    *,
    image: str,
    stack: str,
    endpoint_mode: str = "vip",
    publish_mode: str = "ingress",
    driver_opts: t.Mapping[str, str] | None = None,
    hosts: int | None = None,
) -> dict[str, t.Any]:
    """The document for the module swarm_stack; holds secrets."""
    platform = _platform(variables)
    try:
        target = Target(stack, endpoint_mode, publish_mode, hosts, dict(driver_opts or {}))
        return compose(services(platform, image), platform, target)
    except TargetError as error:
        raise AnsibleFilterError(f"The stack cannot be described: {error}") from error


def platform_endpoints(variables: Variables) -> list[dict[str, t.Any]]:
    """Servers that hosts have to reach, with logins."""
    return doors.endpoints(_platform(variables))


def platform_canaries(variables: Variables) -> list[dict[str, t.Any]]:
    """One canary for each queue."""
    return doors.canaries(_platform(variables))


def platform_requirements(variables: Variables, hosts: int = 1) -> dict[str, t.Any]:
    """What each host needs."""
    platform = _platform(variables)
    return doors.requirements(platform, services(platform, _ANY_IMAGE), hosts)


class FilterModule:
    """Ansible finds the filters here."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name to filter."""
        return {
            "platform_problems": platform_problems,
            "platform_services": platform_services,
            "platform_compose": platform_compose,
            "platform_endpoints": platform_endpoints,
            "platform_canaries": platform_canaries,
            "platform_requirements": platform_requirements,
        }
