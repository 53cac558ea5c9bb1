# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell where the DAGs of a branch go: python3 ci/environment.py BRANCH

Reads ci/environments.yml. Prints NAME=VALUE lines: BUNDLE, SOURCE, PUBLISH, PUBLISH_ASKS, PROMOTE. Needs PyYAML, which
comes with Ansible.
"""

from __future__ import annotations

import fnmatch
import pathlib
import re
import sys
import typing as t

import yaml

TABLE = pathlib.Path(__file__).with_name("environments.yml")
#: A name becomes a directory of inventories, an environment of the pipeline, and a line of its output.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")


def problems(table: dict[str, t.Any]) -> list[str]:
    """Everything that is wrong with the table."""
    found = [f"{key}: unknown; there are bundle, source, branches and approval" for key in table if key not in KEYS]
    found += [f"{key}: missing or empty" for key in ("bundle", "source", "branches") if not table.get(key)]
    values = [("bundle", table.get("bundle")), ("source", table.get("source"))]
    values += [("approval", entry) for entry in table.get("approval") or []]
    for number, line in enumerate(table.get("branches") or [], start=1):
        found += [f"branches, line {number}: {key} is unknown" for key in line if key not in LINE]
        found += [f"branches, line {number}: {key} is missing" for key in ("branch", "publish") if not line.get(key)]
        values += [(f"branches, line {number}", line[key]) for key in ("publish", "promote") if line.get(key)]
    return found + [
        f"{where}: {value!r} is no name" for where, value in values if value and not NAME.fullmatch(str(value))
    ]


KEYS = ("bundle", "source", "branches", "approval")
LINE = ("branch", "publish", "promote")


def route(table: dict[str, t.Any], branch: str) -> dict[str, str]:
    """The environment of a branch: empty values when no line fits."""
    fits = [line for line in table["branches"] if fnmatch.fnmatchcase(branch, line["branch"])]
    line = fits[0] if fits else {}
    publish = line.get("publish", "")
    return {
        "BUNDLE": table["bundle"],
        "SOURCE": table["source"],
        "PUBLISH": publish,
        "PUBLISH_ASKS": "true" if publish in (table.get("approval") or []) else "false",
        "PROMOTE": line.get("promote", ""),
    }


def main(arguments: list[str]) -> int:
    """Print the lines; what is wrong with the table goes to standard error."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8")) or {}
    found = problems(table)
    for line in found:
        print(f"{TABLE}: {line}", file=sys.stderr)
    if found:
        return 1
    for name, value in route(table, arguments[1]).items():
        print(f"{name}={value}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
