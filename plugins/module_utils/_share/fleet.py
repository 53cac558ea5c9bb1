# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory says about the share on each host and on all of them, before any host is asked.

PRIVATE to the collection. Pure: no I/O, no Ansible.

Names, types and choices are checked elsewhere, with those of all roles (``_platform/roles.py``); a value that cannot be
read is passed over here.
"""

from __future__ import annotations

import typing as t

from .._platform.problems import Problem, show
from .._platform.roles import LATER
from .._platform.spec import Option, SpecReader
from .settings import find_problems

Variables = t.Mapping[str, t.Any]

_PREFIX = "dag_share_"


def check_share(variables: Variables, options: t.Mapping[str, Option], dags_path: str) -> list[Problem]:
    """What types cannot say about one host's share.

    Args:
        variables: what the inventory says for the host; ``LATER`` for what needs facts. Others are passed over.
        options: name to spec, those of the share among them.
        dags_path: where the platform looks for DAGs, ``airflow_dags_path``.
    """
    given = {name: value for name, value in variables.items() if name.startswith(_PREFIX) and name in options}
    if any(value is LATER for value in given.values()) or not _wanted(variables):
        return []
    reader = SpecReader()
    settings = {
        name[len(_PREFIX) :]: reader.read(value, options[name], name)
        for name, value in given.items()
        if value is not None
    }
    if reader.problems:
        return []
    settings.setdefault("path", dags_path)
    found = find_problems(settings, _PREFIX)
    path = settings["path"].rstrip("/")
    if f"{_PREFIX}path" not in {problem.variable for problem in found} and not f"{dags_path}/".startswith(f"{path}/"):
        problem = f"DAGs are looked for elsewhere, in airflow_dags_path ({dags_path})"
        fix = "Leave it out, or set airflow_dags_path to this directory or one below it"
        found.append(Problem(f"{_PREFIX}path", show(path), problem, fix))
    return found


def compare_shares(hosts: t.Mapping[str, Variables]) -> list[Problem]:
    """Whether some hosts would see a share and others a directory of their own; hosts is name to variables."""
    kinds: dict[str, list[str]] = {}
    for host, variables in hosts.items():
        kind = _kind(variables)
        if kind in ("nfs", "efs") or (kind == "local" and not _wanted(variables)):
            kinds.setdefault(kind, []).append(host)
    if set(kinds) <= {"nfs", "efs"} or set(kinds) == {"local"}:
        return []
    value = "; ".join(f"{kind} on {', '.join(names)}" for kind, names in kinds.items())
    problem = "some hosts see a share, and others a directory of their own, with other DAGs"
    fix = (
        "Set it for all hosts of the swarm, best in group_vars/all. Where something else mounts the share, as on its "
        "own server, set dag_share_local to {mounted: true}"
    )
    return [Problem(f"{_PREFIX}type", value, problem, fix)]


def _kind(variables: Variables) -> t.Any:
    return variables.get(f"{_PREFIX}type") or "local"


def _wanted(variables: Variables) -> bool:
    """Whether the role does anything on this host."""
    local = variables.get(f"{_PREFIX}local")
    mounted = isinstance(local, t.Mapping) and bool(local.get("mounted"))
    return bool(_kind(variables) != "local" or variables.get(f"{_PREFIX}id") or mounted)
