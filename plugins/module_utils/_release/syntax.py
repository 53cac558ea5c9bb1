# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Syntax errors of Python files, found without running them. Also a program: paths in, JSON out.

PRIVATE to the collection. Runs on the controller, with the controller's Python.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
import warnings

#: From this many files on, other processes help.
_MANY = 100


def find_errors(paths: t.Mapping[str, str]) -> list[str]:
    """What cannot be compiled, one line each.

    Args:
        paths: name to show, to the file's path. Other files than Python's are passed over.
    """
    names = sorted(name for name in paths if name.endswith(".py"))
    helpers = min(len(os.sched_getaffinity(0)), 8)
    if len(names) < _MANY or helpers == 1:
        return [error for name in names if (error := _check(name, paths[name]))]
    parts = [names[start::helpers] for start in range(helpers)]
    running = []
    for part in parts:
        process = subprocess.Popen([sys.executable, "-I", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        stdin = t.cast("t.IO[bytes]", process.stdin)
        stdin.write(json.dumps([[name, paths[name]] for name in part]).encode())
        stdin.close()
        running.append(process)
    errors: list[str] = []
    for process in running:
        answer = t.cast("t.IO[bytes]", process.stdout).read()
        if process.wait():
            raise OSError(f"the check of syntax ended with {process.returncode}")
        errors += json.loads(answer)
    return sorted(errors)


def _check(name: str, path: str) -> str:
    with open(path, "rb") as stream:
        text = stream.read()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(text, name, "exec", dont_inherit=True)
    except SyntaxError as error:
        line = "" if error.lineno is None else f":{error.lineno}"
        return f"{name}{line}: {error.msg} (Python {sys.version_info[0]}.{sys.version_info[1]} of the controller)."
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        return f"{name}: cannot be compiled ({error})."
    return ""


def _main() -> None:
    errors = filter(None, (_check(name, path) for name, path in json.load(sys.stdin)))
    sys.stdout.write(json.dumps(list(errors)))


if __name__ == "__main__":
    _main()
