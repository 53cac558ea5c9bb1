# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Compose file on the controller as the definition that swarm_stack takes: variables put in, files read.

PRIVATE to the collection.

Source: Compose Specification, 12-interpolation.md, and 05-services.md (env_file), 09-secrets.md (file, environment).
"""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import yaml

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<operator>:?[-+?])(?P<word>[^{}]*))?\}"
    r"|(?P<bad>.?))"
)


class ComposeFileError(Exception):
    """The file cannot be used. The text names every problem."""


def read(path: Path, variables: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The definition that a Compose file holds.

    Args:
        path: of the file; files that it names are looked for beside it.
        variables: what ``${NAME}`` stands for. The controller's own environment is not asked: a deployment that
            depends on whose shell started it cannot be repeated.

    Raises:
        ComposeFileError: the file cannot be read, is no mapping, or names variables or files that are not there.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ComposeFileError(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise ComposeFileError(f"{path} holds no mapping with services; is it a Compose file?")
    problems: list[str] = []
    result: dict[str, t.Any] = _filled(document, variables, "", problems)
    for name, service in _mappings(result.get("services")):
        _environment_files(f"services.{name}", service, path.parent, problems)
    for kind in ("secrets", "configs"):
        for name, entry in _mappings(result.get(kind)):
            _content(f"{kind}.{name}", entry, path.parent, variables, problems)
    if problems:
        raise ComposeFileError("\n".join([f"{path} cannot be used:", *(f"  - {problem}" for problem in problems)]))
    return result


def _mappings(section: t.Any) -> list[tuple[str, dict[str, t.Any]]]:
    entries = section.items() if isinstance(section, dict) else ()
    return [(name, entry) for name, entry in entries if isinstance(entry, dict)]


def _filled(value: t.Any, variables: t.Mapping[str, t.Any], path: str, problems: list[str]) -> t.Any:
    if isinstance(value, dict):
        return {
            key: _filled(entry, variables, f"{path}.{key}" if path else str(key), problems)
            for key, entry in value.items()
        }
    if isinstance(value, list):
        return [_filled(entry, variables, f"{path}[{index}]", problems) for index, entry in enumerate(value)]
    return _interpolated(value, variables, path, problems) if isinstance(value, str) else value


def _interpolated(text: str, variables: t.Mapping[str, t.Any], path: str, problems: list[str]) -> str:
    def replace(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        name = match["plain"] or match["name"]
        if not name:
            problems.append(f"{path}: {match.group()!r} is no variable; write $$ for a dollar sign")
            return ""
        operator, word = match["operator"] or "", match["word"] or ""
        value = variables.get(name)
        there = value is not None and (value != "" or not operator.startswith(":"))
        if operator.endswith("+"):
            return word if there else ""
        if there:
            return str(value).lower() if isinstance(value, bool) else str(value)
        if operator.endswith("-"):
            return word
        problems.append(f"{path}: {name} is not in compose_variables" + (f": {word}" if word else ""))
        return ""

    return _VARIABLE.sub(replace, text)


def _environment_files(path: str, service: dict[str, t.Any], folder: Path, problems: list[str]) -> None:
    """Lines of ``env_file`` below what ``environment`` says."""
    given = service.pop("env_file", None)
    if given is None:
        return
    found: dict[str, str] = {}
    for item in given if isinstance(given, list) else [given]:
        entry = item if isinstance(item, dict) else {"path": item}
        try:
            text = (folder / str(entry.get("path"))).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            if entry.get("required", True):
                problems.append(f"{path}.env_file: {entry.get('path')} cannot be read: {error}")
            continue
        found.update(_lines(text))
    own = service.get("environment") or {}
    if isinstance(own, list):
        own = {name: rest for name, equals, rest in (str(item).partition("=") for item in own) if equals}
    service["environment"] = {**found, **own}


def _lines(text: str) -> dict[str, str]:
    result = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if not equals or name.startswith("#"):
            continue
        value = value.strip()
        quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
        result[name.strip()] = value[1:-1] if quoted else value.partition(" #")[0].rstrip()
    return result


def _content(
    path: str, entry: dict[str, t.Any], folder: Path, variables: t.Mapping[str, t.Any], problems: list[str]
) -> None:
    """``file`` and ``environment`` of a secret or config become its ``data``."""
    if "file" in entry:
        name = entry.pop("file")
        try:
            entry["data"] = (folder / str(name)).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{path}.file: {name} cannot be read as text: {error}")
    elif "environment" in entry:
        name = entry.pop("environment")
        if variables.get(name) is None:
            problems.append(f"{path}.environment: {name} is not in compose_variables")
        else:
            entry["data"] = str(variables[name])
    if "data" in entry:
        # The project of a Compose file names its objects; here names follow the content.
        entry.pop("name", None)
