# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of dag_release, for the module and for its part on the controller.

PRIVATE to the collection. Pure.
"""

from __future__ import annotations

import typing as t

from . import manifest as manifests
from .errors import ReleaseProblems

#: The only actions that take a source.
WITH_SOURCE = ("build", "stage")

ARGUMENT_SPEC: dict[str, t.Any] = {
    "action": {
        "type": "str",
        "required": True,
        "choices": ["build", "prepare", "stage", "activate", "rollback", "discard", "prune", "status", "verify"],
    },
    "bundle": {"type": "str", "required": True},
    "path": {"type": "str"},
    "environment": {"type": "str", "default": ""},
    "source": {
        "type": "dict",
        "mutually_exclusive": [("directory", "repository", "artifact")],
        "required_one_of": [("directory", "repository", "artifact")],
        "required_by": {"ref": ("repository",), "subdirectory": ("repository",)},
        "options": {
            "directory": {"type": "str"},
            "repository": {"type": "str"},
            "ref": {"type": "str"},
            "subdirectory": {"type": "str"},
            "artifact": {"type": "str"},
        },
    },
    "dest": {"type": "str"},
    "hash": {"type": "str"},
    "check_syntax": {"type": "bool", "default": True},
    "limits": {
        "type": "dict",
        "apply_defaults": True,
        "options": {
            "max_file_mb": {"type": "int", "default": 10},
            "max_files": {"type": "int", "default": 20000},
            "max_total_mb": {"type": "int", "default": 500},
        },
    },
    "release": {"type": "str"},
    "expected": {"type": "str"},
    "keep": {"type": "int", "default": 5},
    "in_use": {"type": "list", "elements": "str", "default": []},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "str"},
    "lock_timeout": {"type": "int", "default": 60},
    # From the controller's part. no_log keeps what is in them out of the host's log.
    "_manifest": {"type": "str", "no_log": True},
    "_content": {"type": "str", "no_log": True},
    "_upload": {"type": "str", "no_log": False},
}

REQUIRED_IF = [
    ("action", "build", ("source", "dest")),
    ("action", "stage", ("path", "source")),
    ("action", "activate", ("path", "release")),
    ("action", "discard", ("path", "release")),
    ("action", "prepare", ("path",)),
    ("action", "rollback", ("path",)),
    ("action", "prune", ("path",)),
    ("action", "status", ("path",)),
    ("action", "verify", ("path",)),
]


def refuse_bad(params: t.Mapping[str, t.Any]) -> None:
    """Check what types cannot say.

    Raises:
        ReleaseProblems: something is wrong with the options.
    """
    problems = []
    if not manifests.BUNDLE.fullmatch(params["bundle"]):
        problems.append(
            f"bundle: {params['bundle']!r} is no name of a bundle. Use letters, digits, '.', '_' and '-', and begin "
            "with a letter or digit."
        )
    path = params["path"]
    if path is not None and (not path.startswith("/") or ".." in path.split("/") or not path.strip("/")):
        problems.append(f"path: {path!r} is no absolute path of a directory. Give one without '..'.")
    for name, least in (("keep", 1), ("lock_timeout", 0)):
        if params[name] < least:
            problems.append(f"{name}: {params[name]} is not allowed. Give {least} or more.")
    for name in ("max_file_mb", "max_files", "max_total_mb"):
        if params["limits"][name] < 1:
            problems.append(f"limits.{name}: {params['limits'][name]} is not allowed. Give 1 or more.")
    if params["hash"] is not None and not is_hash(params["hash"]):
        problems.append(f"hash: {params['hash']!r} is no hash. Give 12 to 64 digits of it, in lower case.")
    if problems:
        raise ReleaseProblems("Nothing was changed.", problems)


def is_hash(text: str) -> bool:
    """Whether a text is a hash, or its first 12 digits at least."""
    return 12 <= len(text) <= 64 and set(text) <= set("0123456789abcdef")
