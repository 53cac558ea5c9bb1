# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkers for plain data: each looks at one value and adds what is wrong to a list.

PRIVATE to the collection.
"""

from __future__ import annotations

import difflib
import re
import typing as t

from . import units

Checker = t.Callable[[str, t.Any, "list[Problem]"], None]


class Problem(t.NamedTuple):
    """One thing that is wrong: where, what, and how to put it right."""

    path: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}; {self.fix}"


def shown(value: t.Any) -> str:
    """A value for an error message, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def kind(value: t.Any) -> str:
    """What sort of value stands there, without showing it: it may be a secret in the wrong place."""
    if value is None:
        return "nothing"
    names = {str: "a text", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "a mapping"}
    return names.get(type(value), f"a {type(value).__name__}")


def did_you_mean(wrong: str, known: t.Iterable[str]) -> str:
    """``did you mean 'x'?``, or the list of what is known."""
    names = sorted(known)
    close = difflib.get_close_matches(str(wrong), names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known here: {', '.join(names)}" if names else "nothing is known here"


def text(pattern: str = "", hint: str = "write a text", empty: bool = False) -> Checker:
    """A string; with a pattern, one that matches it as a whole."""
    compiled = re.compile(pattern) if pattern else None

    def check(path: str, value: t.Any, problems: list[Problem]) -> None:
        good = isinstance(value, str) and (empty or value != "")
        if not good or (compiled is not None and not compiled.fullmatch(value)):
            problems.append(Problem(path, f"{shown(value)} is not allowed", hint))

    return check


def whole(low: int = 0, high: int | None = None) -> Checker:
    """A whole number in a range; a string of digits counts, as templates produce them."""

    def check(path: str, value: t.Any, problems: list[Problem]) -> None:
        good = not isinstance(value, bool) and re.fullmatch(r"-?\d+", str(value).strip()) is not None
        if not good or int(value) < low or (high is not None and int(value) > high):
            limits = f"from {low} to {high}" if high is not None else f"of {low} or more"
            problems.append(Problem(path, f"{shown(value)} is not allowed", f"write a whole number {limits}"))

    return check


def fraction(path: str, value: t.Any, problems: list[Problem]) -> None:
    """A number from 0 to 1."""
    try:
        good = not isinstance(value, bool) and 0 <= float(value) <= 1
    except (TypeError, ValueError):
        good = False
    if not good:
        problems.append(Problem(path, f"{shown(value)} is not allowed", "write a number from 0 to 1"))


def flag(path: str, value: t.Any, problems: list[Problem]) -> None:
    """A boolean; the strings true and false count, as templates produce them."""
    if not isinstance(value, bool) and str(value).lower() not in ("true", "false"):
        problems.append(Problem(path, f"{shown(value)} is not allowed", "write true or false"))


def truth(value: t.Any) -> bool:
    """The boolean that :func:`flag` accepted."""
    return value if isinstance(value, bool) else str(value).lower() == "true"


def scalar(path: str, value: t.Any, problems: list[Problem]) -> None:
    """A string or a number; a boolean is refused because its spelling would be a guess."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        problems.append(Problem(path, f"{shown(value)} is not a text", "write it as a quoted string"))


def one_of(*choices: str) -> Checker:
    """One of a few words."""

    def check(path: str, value: t.Any, problems: list[Problem]) -> None:
        if value not in choices:
            problems.append(Problem(path, f"{shown(value)} is not allowed", f"choose {' or '.join(choices)}"))

    return check


def converted(convert: t.Callable[[t.Any], t.Any], hint: str) -> Checker:
    """Whatever ``convert`` takes without ValueError."""

    def check(path: str, value: t.Any, problems: list[Problem]) -> None:
        try:
            convert(value)
        except (TypeError, ValueError):
            problems.append(Problem(path, f"{shown(value)} is not allowed", hint))

    return check


duration = converted(units.nanoseconds, "write a duration such as 30s or 1h30m")
size = converted(units.byte_count, "write a size such as 512M or 2G, or a number of bytes")
cpus = converted(units.nano_cpus, "write a number of CPUs above zero, such as 0.5")


def list_of(item: Checker, least: int = 0) -> Checker:
    """A list whose items all pass."""

    def check(path: str, value: t.Any, problems: list[Problem]) -> None:
        if not isinstance(value, (list, tuple)):
            problems.append(Problem(path, f"{kind(value)} is not a list", "write a list"))
            return
        if len(value) < least:
            problems.append(Problem(path, "the list is too short", f"give at least {least}"))
        for index, entry in enumerate(value):
            item(f"{path}[{index}]", entry, problems)

    return check


def map_of(item: Checker, names: str = "", hint: str = "") -> Checker:
    """A mapping whose values all pass, and whose names match a pattern."""
    compiled = re.compile(names) if names else None

    def check(path: str, value: t.Any, problems: list[Problem]) -> None:
        if not isinstance(value, t.Mapping):
            problems.append(Problem(path, f"{kind(value)} is not a mapping", "write name: value pairs"))
            return
        for name, entry in value.items():
            if compiled is not None and not compiled.fullmatch(str(name)):
                problems.append(Problem(f"{path}.{name}", "this name is not allowed", hint))
            item(f"{path}.{name}", entry, problems)

    return check


def record(
    fields: t.Mapping[str, Checker],
    required: t.Iterable[str] = (),
    nothing: bool = False,
    refused: t.Mapping[str, str] | None = None,
) -> Checker:
    """A mapping with known keys. With ``nothing``, an empty value (None) stands for no keys.

    ``refused`` are keys that mean something elsewhere, and what to do instead.
    """

    def check(path: str, value: t.Any, problems: list[Problem]) -> None:
        if value is None and nothing:
            value = {}
        if not isinstance(value, t.Mapping):
            problems.append(Problem(path, f"{kind(value)} is not a mapping", "write key: value pairs"))
            return
        prefix = f"{path}." if path else ""
        for key, entry in value.items():
            if key in fields:
                fields[key](f"{prefix}{key}", entry, problems)
            elif refused and key in refused:
                problems.append(Problem(f"{prefix}{key}", "Swarm does not honour this key", refused[key]))
            else:
                problems.append(Problem(f"{prefix}{key}", "unknown key", did_you_mean(key, fields)))
        for key in required:
            if key not in value:
                problems.append(Problem(f"{prefix}{key}", "is missing", "add it"))

    return check


def short_or_long(short: Checker, long: Checker) -> Checker:
    """A string in its short form, or a mapping in its long form."""

    def check(path: str, value: t.Any, problems: list[Problem]) -> None:
        (long if isinstance(value, t.Mapping) else short)(path, value, problems)

    return check
