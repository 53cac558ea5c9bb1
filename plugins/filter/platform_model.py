# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model's doors for roles. Each filter is documented in the .yml file with its name."""

from __future__ import annotations

import dataclasses
import functools
import typing as t
from pathlib import Path

from ansible.errors import AnsibleError, AnsibleFilterError
from ansible.module_utils.common.yaml import yaml_load
from ansible_collections.flowstead.airflow.plugins.module_utils._platform import doors
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.compose import Target, TargetError, compose
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.platform import Platform, parse
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.problems import Problem
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.roles import (
    FACTS,
    LATER,
    check_image,
    check_roles,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.services import services
from ansible_collections.flowstead.airflow.plugins.module_utils._share.fleet import check_share, compare_shares
from jinja2 import TemplateError, Undefined, UndefinedError

_ROLES = Path(__file__).parents[2] / "roles"
_ANY_IMAGE = "image"
_DAGS_PATH = "airflow_dags_path"

Variables = t.Mapping[str, t.Any]


class _Specs(t.NamedTuple):
    """What the argument specs of all roles say."""

    model: dict[str, t.Any]
    others: dict[str, t.Any]
    known: frozenset[str]
    prefixes: tuple[str, ...]


@functools.cache
def _specs() -> _Specs:
    """The model's options, those of every other entry point and role, and all names that are known."""
    model: dict[str, t.Any] = {}
    others: dict[str, t.Any] = {}
    paths = sorted(_ROLES.glob("*/meta/argument_specs.yml"))
    for path in paths:
        for name, entry_point in yaml_load(path.read_text(encoding="utf-8"))["argument_specs"].items():
            options = entry_point.get("options") or {}
            if (path.parts[-3], name) == ("airflow", "main"):
                model = options
            else:
                others = {**options, **others}
    return _Specs(model, others, FACTS.union(model, others), tuple(f"{path.parts[-3]}_" for path in paths))


def _parse(variables: object) -> tuple[Platform | None, list[Problem]]:
    if not isinstance(variables, t.Mapping):
        raise AnsibleFilterError("The platform's filters take a dictionary of airflow_* variables.")
    return parse(variables, _specs().model, _specs().known)


def _platform(variables: object) -> Platform:
    if isinstance(variables, t.Mapping):
        # Names of others are refused by platform_problems alone; facts of other roles may carry the prefix later.
        variables = {name: value for name, value in variables.items() if name in _specs().model}
    platform, problems = _parse(variables)
    if platform is None:
        lines = "\n".join(f"- {problem.line()}" for problem in problems)
        raise AnsibleFilterError(f"The airflow_* variables do not describe a platform:\n{lines}")
    return platform


def _now(variables: Variables) -> dict[str, t.Any]:
    """One host's variables for other roles; LATER in place of each that needs facts."""
    found: dict[str, t.Any] = {}
    for name in variables:
        if name.startswith(_specs().prefixes) and name not in _specs().model:
            try:
                found[name] = _plain(variables[name])
            except (TemplateError, AnsibleError):
                found[name] = LATER
    return found


def _plain(value: t.Any) -> t.Any:
    """A copy in which nothing is left to template; fails where something in it is undefined."""
    if isinstance(value, Undefined):
        raise UndefinedError
    if isinstance(value, t.Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _host_problems(
    host_variables: t.Mapping[str, Variables],
    already: t.Collection[Problem],
    members: t.Collection[str],
    dags_path: str,
) -> list[Problem]:
    """Problems beyond those already found; where not every host has one, it says which."""
    specs = _specs()
    found: dict[Problem, list[str]] = {}
    known = {host: _now(variables) for host, variables in host_variables.items()}
    for host, variables in known.items():
        problems = check_roles(variables, specs.others, specs.known, specs.prefixes)
        if host in members:
            problems += check_share(variables, specs.others, dags_path)
        for problem in problems:
            if problem not in already:
                found.setdefault(problem, []).append(host)
    return [
        problem
        if len(hosts) == len(host_variables)
        else dataclasses.replace(problem, value=f"{problem.value}, on {', '.join(hosts)}")
        for problem, hosts in found.items()
    ] + compare_shares({host: variables for host, variables in known.items() if host in members})


def platform_problems(
    variables: Variables,
    hosts: int = 1,
    host_variables: t.Mapping[str, Variables] | None = None,
    members: t.Collection[str] | None = None,
) -> list[dict[str, str]]:
    """Every problem of the variables; an empty list when there is none."""
    problems = _parse(variables)[1]
    specs = _specs()
    problems += check_roles(variables, specs.others, specs.known, specs.prefixes)
    problems += check_image(variables, specs.others, hosts)
    given = host_variables or {}
    dags_path = str(variables.get(_DAGS_PATH) or specs.model[_DAGS_PATH]["default"])
    problems += _host_problems(given, problems, given if members is None else members, dags_path)
    return [{**dataclasses.asdict(problem), "line": problem.line()} for problem in dict.fromkeys(problems)]


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


def platform_collectors(variables: Variables) -> list[dict[str, t.Any]]:
    """Splunk as a sink of task logs, with tokens."""
    return doors.collectors(_platform(variables))


def platform_canaries(variables: Variables) -> list[dict[str, t.Any]]:
    """One canary for each queue."""
    return doors.canaries(_platform(variables))


def platform_bundles(variables: Variables) -> list[dict[str, t.Any]]:
    """The bundles, and the queues that each may use."""
    return doors.bundles(_platform(variables))


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
            "platform_collectors": platform_collectors,
            "platform_canaries": platform_canaries,
            "platform_bundles": platform_bundles,
            "platform_requirements": platform_requirements,
        }
