# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of the roles around the model, such as the engine's and the image's, by those roles' argument specs.

PRIVATE to the collection. Pure: no I/O, no Ansible.
"""

from __future__ import annotations

import re
import typing as t

from .problems import Problem, describe, show
from .secret_texts import secret_problem
from .spec import Option, SpecReader, check_name

#: Facts with a public name that roles set; they are found among a host's variables in a later play.
FACTS = frozenset({"docker_engine_adaptations"})

#: Stands for a value that cannot be templated before facts are gathered.
LATER = object()

_SECRET_PATH = re.compile("password|secret|token|key")
_SECRET_DESCRIPTION = re.compile("secret|password")


class RoleReader(SpecReader):
    """Shows plain values only, and none that may be a secret by its name or description."""

    def shown(self, value: object, option: Option, path: str) -> str:
        """See :meth:`SpecReader.shown`."""
        plain = isinstance(value, (str, int, float)) and option.get("type", "str") not in ("dict", "list")
        description = str(option.get("description", "")).lower()
        if not plain or _SECRET_PATH.search(path.lower()) or _SECRET_DESCRIPTION.search(description):
            return describe(value)
        return show(value)


def check_roles(
    variables: t.Mapping[str, t.Any],
    options: t.Mapping[str, Option],
    known: t.Collection[str],
    prefixes: t.Collection[str],
) -> list[Problem]:
    """Read one host's variables; what is missing is no problem, since not every role runs on every host.

    Args:
        variables: what the user wrote; others than those of the roles are passed over.
        options: name to spec, of all roles but without the model's own.
        known: names that are no mistake, those of options among them.
        prefixes: what the names of the collection's variables begin with, for example ``swarm_``.

    Returns:
        Every problem, in the order of the variables.
    """
    reader = RoleReader()
    for name, value in variables.items():
        prefix = min((item for item in prefixes if name.startswith(item)), key=len, default=None)
        if name in options and value is not None and value is not LATER:
            reader.read(value, options[name], name)
        elif prefix and name not in known:
            check_name(reader, name, "not known yet" if value is LATER else describe(value), known, prefix)
    return reader.problems


def check_image(variables: t.Mapping[str, t.Any], options: t.Mapping[str, Option], hosts: int) -> list[Problem]:
    """Whether all hosts of the platform can get the image; hosts is their number."""
    name = "airflow_image"
    reader = SpecReader()
    image = reader.read(variables.get(name), options[name], name)
    found = SpecReader()
    _check_login(found, variables.get(f"{name}_registry"), f"{name}_registry.password")
    if image is None or reader.refused:
        return found.problems
    if image["source"] == "existing":
        if not image["reference"]:
            fix = f"Set it to the image's complete name, or {name}.source to official"
            found.add(f"{name}.reference", show(image["reference"]), "source existing builds nothing", fix)
    elif image["push"] and not image["registry"]:
        fix = f"Name the registry to push to, or set {name}.push to false"
        found.add(f"{name}.registry", show(image["registry"]), f"{name}.push is true", fix)
    elif not image["push"] and hosts > 1:
        problem = f"{hosts} hosts run the image, and without a push only the host that builds it has it"
        fix = (
            f"Set it to true and {name}.registry to a registry that every host reaches, "
            f"or set {name}.source to existing and {name}.reference to an image in a registry"
        )
        found.add(f"{name}.push", show(image["push"]), problem, fix)
    _check_google(found, image, variables.get("airflow_logs"))
    return found.problems


def _check_google(reader: SpecReader, image: t.Mapping[str, t.Any], logs: object) -> None:
    """The shipped lock has no provider for Google Cloud, and Airflow does not start without it.

    Requirements stay possible, but no recent version of it fits the shipped lock: it wants an older tenacity.
    """
    for key in ("tasks", "gcs", "url"):
        logs = logs.get(key) if isinstance(logs, t.Mapping) else None
    wanted = re.compile(r"apache-airflow-providers-google(?![\w-])", re.IGNORECASE)
    if not logs or image["source"] != "bootstrap" or image["lock"]:
        return
    if not any(wanted.match(line.strip()) for line in image["requirements"]):
        problem = "airflow_logs.tasks.gcs needs apache-airflow-providers-google, which the image would not have"
        fix = (
            "Name a lock that has it; scripts/lock_image makes one, "
            "with --add apache-airflow-providers-google==22.8.0 --output LOCK"
        )
        reader.add("airflow_image.lock", show(image["lock"]), problem, fix)


def _check_login(reader: SpecReader, login: object, path: str) -> None:
    password = login.get("password") if isinstance(login, t.Mapping) else None
    if isinstance(password, str):
        wrong, fix = secret_problem(password, 1)
        if wrong:
            reader.add(path, describe(password), wrong, fix)
