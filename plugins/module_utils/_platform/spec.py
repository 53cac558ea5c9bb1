# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values by a role's argument spec: types, defaults, required and unknown keys, all problems in one pass.

PRIVATE to the collection.

Ansible's own check of an argument spec prints the values it refuses, and says nothing about what the user
may have meant; this one hides secrets and proposes names. The format is that of meta/argument_specs.yml.
"""

from __future__ import annotations

import re
import typing as t

from .problems import Problem, describe, did_you_mean, show, type_name

#: Keys whose values are secrets, wherever they stand in a variable.
SECRET_KEYS = frozenset(
    {
        "password",
        "fernet",
        "api_secret",
        "jwt",
        "object_names",
        "private_key",
        "secret_access_key",
        "token",
        "search_token",
    }
)

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)")
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_WANTED = {
    "str": "a string (in quotes)",
    "path": "a path",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "dict": "a dictionary",
    "list": "a list",
}

Option = t.Mapping[str, t.Any]


class _Refused(Exception):
    """The value has not the type that the spec asks for."""


def holds_secrets(option: Option) -> bool:
    """Whether some key below the option is a secret."""
    below = option.get("options") or {}
    return any(name in SECRET_KEYS or holds_secrets(inner) for name, inner in below.items())


def _text(value: object) -> str:
    if isinstance(value, str):
        return str(value)
    raise _Refused


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _BOOLEANS:
        return _BOOLEANS[value.strip().lower()]
    raise _Refused


def _whole_number(value: object) -> int:
    if isinstance(value, bool):
        raise _Refused
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value.strip()):
        return int(value)
    raise _Refused


def _number(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        return float(value)
    raise _Refused


def _dictionary(value: object) -> dict[t.Any, t.Any]:
    if isinstance(value, t.Mapping):
        return {(str(key) if isinstance(key, str) else key): inner for key, inner in value.items()}
    raise _Refused


def _list(value: object) -> list[t.Any]:
    if isinstance(value, t.Sequence) and not isinstance(value, (str, bytes)):
        return list(value)
    raise _Refused


#: Numbers and booleans may come as strings, from -e or from a survey.
_CONVERT: dict[str, t.Callable[[object], t.Any]] = {
    "str": _text,
    "path": _text,
    "int": _whole_number,
    "float": _number,
    "bool": _boolean,
    "dict": _dictionary,
    "list": _list,
    "raw": lambda value: value,  # whoever reads it checks it
}


class SpecReader:
    """Reads values by their spec and collects every problem.

    Attributes:
        problems: what was found so far.
        refused: paths of the values that are missing or have the wrong type; their place holds None.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.refused: set[str] = set()

    def add(self, variable: str, value: str, problem: str, fix: str) -> None:
        """Note one problem. value is text from :func:`show` or :func:`describe`."""
        self.problems.append(Problem(variable, value, problem, fix))

    def shown(self, value: object, option: Option, path: str) -> str:
        """A refused value as a message may show it: of a secret, or what holds one, only its type and size."""
        secret = path.rsplit(".", 1)[-1] in SECRET_KEYS
        return describe(value) if secret or holds_secrets(option) else show(value)

    def read_options(
        self, values: t.Mapping[str, t.Any], options: t.Mapping[str, Option], path: str
    ) -> dict[str, t.Any]:
        """All options of one dictionary, with defaults; unknown keys are problems.

        Args:
            values: what the user wrote.
            options: name to spec.
            path: where the dictionary stands, for example ``airflow_broker``; empty for the variables.

        Returns:
            Every option of the spec; None where a value is missing or refused.
        """
        for key in values:
            if key not in options:
                hint = did_you_mean(str(key), options)
                known = "Known keys are " + ", ".join(sorted(options))
                self.add(f"{path}.{key}", describe(values[key]), "nobody knows this key", f"{hint} {known}".strip())
        return {
            name: self.read(values.get(name), option, f"{path}.{name}" if path else name)
            for name, option in options.items()
        }

    def read(self, value: object, option: Option, path: str) -> t.Any:
        """One value by its spec; None when it is missing or refused."""
        kind = str(option.get("type", "str"))
        if value is None and option.get("default") is not None:
            value = option["default"]
        if value is None and not option.get("required"):
            return self.read_options({}, option["options"], path) if kind == "dict" and "options" in option else None
        if value is None:
            self._missing(path, option)
            return None
        try:
            converted = _CONVERT[kind](value)
        except _Refused:
            fix = f"Write {_WANTED[kind]} instead of {type_name(value)}"
            self._refuse(path, self.shown(value, option, path), f"this has to be {_WANTED[kind]}", fix)
            return None
        return self._inside(converted, option, path)

    def _inside(self, value: t.Any, option: Option, path: str) -> t.Any:
        choices = option.get("choices")
        if choices and not isinstance(value, list) and value not in choices:
            hint = did_you_mean(str(value), [str(choice) for choice in choices])
            allowed = "Choose one of " + ", ".join(str(choice) for choice in choices)
            self._refuse(
                path, self.shown(value, option, path), "this is not one of the choices", f"{hint} {allowed}".strip()
            )
            return None
        if isinstance(value, dict) and "options" in option:
            return self.read_options(value, option["options"], path)
        if isinstance(value, list):
            inherited = {name: option[name] for name in ("options", "choices", "description") if name in option}
            element = {**inherited, "type": option.get("elements", "str"), "required": True}
            return [self.read(item, element, f"{path}[{index}]") for index, item in enumerate(value)]
        return value

    def _missing(self, path: str, option: Option) -> None:
        description = option.get("description") or ""
        first = description if isinstance(description, str) else str(description[0])
        kind = _WANTED[str(option.get("type", "str"))]
        meaning = f" ({first.rstrip('.')})" if first else ""
        keys = ", ".join(name for name, inner in (option.get("options") or {}).items() if inner.get("required"))
        fix = f"Set {path} to {kind}" + (f" with at least the keys {keys}" if keys else "")
        self._refuse(path, "not set", f"this is required{meaning}", fix)

    def _refuse(self, path: str, value: str, problem: str, fix: str) -> None:
        self.refused.add(path)
        self.add(path, value, problem, fix)


def check_name(reader: SpecReader, name: str, value: str, known: t.Iterable[str], prefix: str) -> None:
    """Note a variable that nobody knows. value is text; names that begin with prefix are the collection's."""
    fix = did_you_mean(name, known) or f"Remove it; names with {prefix} are kept for this collection"
    reader.add(name, value, "nobody knows this variable", fix)
