# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specifications and defaults of roles: reading them, and finding where they disagree.

Ansible does not apply the defaults of a role's argument specification, it only documents them. So both
places must say the same, and nothing but a check keeps them together.
"""

from __future__ import annotations

import dataclasses
import pathlib
import typing as t

import yaml

Options = dict[str, dict[str, t.Any]]


class _Loader(yaml.SafeLoader):
    """Knows the tags that Ansible adds to YAML."""


def _any_node(loader: yaml.SafeLoader, node: yaml.Node) -> t.Any:
    return loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None


_Loader.add_constructor("!unsafe", _any_node)
_Loader.add_constructor("!vault", _any_node)


class SourceError(Exception):
    """A file cannot be read; the message names it, the line and the reason."""


def load_yaml(path: pathlib.Path) -> t.Any:
    """The document in ``path``, or an empty mapping when there is none.

    Raises:
        SourceError: the file is no YAML.
    """
    if not path.is_file():
        return {}
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise SourceError(f"{path}{line}: no YAML: {error.problem}") from error


@dataclasses.dataclass(frozen=True)
class Role:
    """What the files of one role say about it."""

    name: str
    path: pathlib.Path
    entry_points: dict[str, dict[str, t.Any]]
    defaults: dict[str, t.Any]
    galaxy: dict[str, t.Any]

    @property
    def short_description(self) -> str:
        """What the role does, in the words of its first entry point."""
        for point in self.entry_points.values():
            return str(point.get("short_description") or "")
        return ""

    @property
    def options(self) -> Options:
        """Options of all entry points; the first one that has a name wins, ``main`` is asked first."""
        merged: Options = {}
        for point in self.entry_points.values():
            for name, option in (point.get("options") or {}).items():
                merged.setdefault(name, option)
        return merged


def read_role(path: pathlib.Path) -> Role:
    """Read ``meta/`` and ``defaults/`` of the role in ``path``."""
    spec = load_yaml(path / "meta" / "argument_specs.yml")
    points = spec.get("argument_specs") or {}
    ordered = sorted(points, key=lambda name: (name != "main", name))
    files = [path / "defaults" / "main.yml", *sorted((path / "defaults" / "main").glob("*.yml"))]
    defaults: dict[str, t.Any] = {}
    for file in files:
        defaults.update(load_yaml(file))
    meta = load_yaml(path / "meta" / "main.yml")
    return Role(
        name=path.name,
        path=path,
        entry_points={name: points[name] or {} for name in ordered},
        defaults=defaults,
        galaxy=meta.get("galaxy_info") or {},
    )


def read_roles(root: pathlib.Path) -> tuple[list[Role], list[str]]:
    """All roles below ``root``/roles by name, and why others cannot be read."""
    found, broken = [], []
    for path in sorted((root / "roles").glob("*")):
        try:
            found += [read_role(path)] if (path / "tasks").is_dir() else []
        except SourceError as error:
            broken.append(str(error).replace(f"{root}/", ""))
    return found, broken


def _templated(value: t.Any) -> bool:
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, dict):
        return any(_templated(entry) for entry in value.values())
    return isinstance(value, list) and any(_templated(entry) for entry in value)


def _undescribed(options: Options, prefix: str) -> t.Iterator[str]:
    for name, option in options.items():
        where = f"option {prefix}{name}"
        if not isinstance(option, dict):
            yield f"{where} is no mapping"
            continue
        for key in ("description", "type"):
            if not option.get(key):
                yield f"{where} has no {key}"
        if option.get("type") == "list" and not option.get("elements"):
            yield f"{where} is a list without elements"
        if option.get("required") and "default" in option:
            yield f"{where} is required and has a default; it can be only one of both"
        yield from _undescribed(option.get("options") or {}, f"{prefix}{name}.")


def _different(name: str, value: t.Any, option: dict[str, t.Any]) -> t.Iterator[str]:
    """Where the value of a default disagrees with the option it belongs to."""
    if option.get("required"):
        yield f"{name} is required by the specification but has a default in defaults/main.yml"
    if "default" in option and option["default"] != value:
        yield (
            f"{name} defaults to {value!r} in defaults/main.yml, "
            f"but to {option['default']!r} in meta/argument_specs.yml"
        )
    below: Options = option.get("options") or {}
    entries = value if isinstance(value, list) else [value]
    for entry in entries if below else []:
        for key, inner in entry.items() if isinstance(entry, dict) else []:
            if key not in below:
                yield f"{name}.{key} has a default in defaults/main.yml but is no option of {name}"
            elif not _templated(inner) and not below[key].get("required"):
                yield from _different(f"{name}.{key}", inner, below[key])


def problems(role: Role) -> list[str]:
    """Everything that is wrong with the role's specification, one line each; empty when it is right."""
    spec = f"roles/{role.name}/meta/argument_specs.yml"
    if not role.entry_points:
        return [f"{spec}: there is no argument specification; write one, at least for the entry point main"]
    found: list[str] = []
    for point, content in role.entry_points.items():
        if not content.get("short_description"):
            found.append(f"entry point {point} has no short_description")
        if not content.get("description"):
            found.append(f"entry point {point} has no description")
        found += [f"entry point {point}: {line}" for line in _undescribed(content.get("options") or {}, "")]
    options = role.options
    for name, value in role.defaults.items():
        if name.startswith("__"):
            continue
        if name not in options:
            found.append(f"{name} has a default in defaults/main.yml but is no option of any entry point")
            continue
        option = options[name]
        if not _templated(value):
            found += _different(name, value, option)
            if "default" not in option and value is not None and not option.get("required"):
                found.append(f"{name} defaults to {value!r}, but meta/argument_specs.yml names no default")
        elif "default" in option and option["default"] != value:
            found += _different(name, value, {"default": option["default"]})
    for name, option in options.items():
        if option.get("default") is not None and name not in role.defaults:
            found.append(f"option {name} names a default that defaults/main.yml does not set (nothing applies it)")
    return [f"{spec}: {line}" for line in found]
