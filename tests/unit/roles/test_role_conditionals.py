"""``-e name=true`` is a string: a condition that takes an option's value for a boolean refuses it, or is always
true.
"""

from __future__ import annotations

import functools
import re
import typing as t
from pathlib import Path

import pytest
import yaml

ROLES = Path(__file__).resolve().parents[3] / "roles"
FILES = sorted(path for path in ROLES.glob("*/tasks/**/*.yml"))


@functools.cache
def booleans() -> set[str]:
    """Every boolean option of every role's entry points."""
    found: set[str] = set()
    for path in ROLES.glob("*/meta/argument_specs.yml"):
        for point in yaml.safe_load(path.read_text())["argument_specs"].values():
            found.update(name for name, option in (point.get("options") or {}).items() if option.get("type") == "bool")
    return found


def conditions(tasks: t.Any) -> t.Iterator[str]:
    """Every condition of these tasks, with those inside of blocks."""
    for task in tasks or ():
        for key in ("when", "failed_when", "changed_when", "until"):
            value = task.get(key, [])
            yield from (str(line) for line in (value if isinstance(value, list) else [value]))
        for key in ("block", "rescue", "always"):
            yield from conditions(task.get(key))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROLES)))
def test_a_boolean_option_is_made_one_before_it_is_a_condition(path: Path):
    names = "|".join(sorted(booleans()))
    bare = re.compile(rf"\b(?:{names})\b(?!\s*(?:\|\s*default\([^)]*\)\s*)?\|\s*bool\b)")
    assert [line for line in conditions(yaml.safe_load(path.read_text())) if bare.search(line)] == []
