# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Would this release work here? ``python -m flowstead_airflow.release_check --bundle NAME --path DIRECTORY ...``

Runs in the production image before a release becomes current. The answer is one line on standard output, MARK and
a JSON object::

    {"problems": [{"kind", "file", "line", "message", "fix"}], "dags": {dag_id: {"file", "queues", "tasks"}},
     "files": {file: seconds}, "seconds": seconds}

Exit status 0: it could check, with problems or without. 2: it could not, and the reason is on standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
import typing as t
from pathlib import Path

from flowstead_airflow import release_parse
from flowstead_airflow.release_parse import Parsed

MARK = "FLOWSTEAD-RELEASE-CHECK "
_FRAME = re.compile(r'^\s*File "(?P<path>[^"]+)", line (?P<line>\d+)', re.MULTILINE)
#: How Airflow names the DAG in errors that have no traceback.
_DAG_NAMED = re.compile(r"(?:Ignoring DAG|Cycle detected in Dag:) (\S+)")
_MESSAGE_LIMIT = 600
_SYNTAX = ("import_error", "Correct the syntax; mind that the image's Python may be older than yours")
_IMPORT = ("import_error", "Add the module to the release, or its package to the core image; look for a misspelling")
_END = ("import_error", "Do not end the process at the file's top level")
_OTHER = ("import_error", "Correct the file; it fails in the image that production runs")
_KINDS = {
    "AirflowDagCycleException": ("cycle", "Take one of these dependencies out"),
    "AirflowDagDuplicatedIdException": (
        "duplicate_dag_id",
        "Give each DAG an ID of its own; of two with the same ID one would not exist",
    ),
    "AirflowTaskTimeout": ("slow_file", "Move slow calls and imports out of the file's top level into the tasks"),
    "ModuleNotFoundError": _IMPORT,
    "ImportError": _IMPORT,
    "SyntaxError": _SYNTAX,
    "IndentationError": _SYNTAX,
    "TabError": _SYNTAX,
    "SystemExit": _END,
}

Problem = dict[str, t.Any]


class Check:
    """Judges what parsing gave.

    Args:
        release: the release's directory.
        bundle: the bundle's name.
        queues: that workers consume.
        parse_seconds: allowed for one file.
        known: DAG IDs of all bundles, with the bundle.
    """

    def __init__(
        self, release: Path, bundle: str, queues: t.Sequence[str], parse_seconds: float, known: t.Mapping[str, str]
    ) -> None:
        self._release = release
        self._bundle = bundle
        self._queues = queues
        self._parse_seconds = parse_seconds
        self._known = known
        self.problems: list[Problem] = []
        self.dags: dict[str, dict[str, t.Any]] = {}
        self.files: dict[str, float] = {}

    def add(self, parsed: Parsed) -> None:
        """Judge one file."""
        self.files[parsed.file] = round(parsed.seconds, 3)
        if parsed.died:
            self._problem(
                "import_error",
                parsed.file,
                f"the file cannot be parsed: {parsed.died}",
                "Take out what ends the process or never returns (os._exit, signals, native libraries, endless waits)",
            )
        for file, text in parsed.errors.items():
            self._error(file, text)
        slow = any(one["kind"] == "slow_file" and one["file"] == parsed.file for one in self.problems)
        if parsed.seconds > self._parse_seconds and not parsed.died and not slow:
            message = f"parsing took {parsed.seconds:.1f} s, allowed are {self._parse_seconds:g} s"
            fix = "Move slow calls and imports out of the file's top level into the tasks, or divide the file"
            self._problem("slow_file", parsed.file, message, fix)
        for dag in sorted(parsed.dags, key=lambda one: one.dag_id):
            self._dag(parsed.file, dag)

    def answer(self, seconds: float) -> dict[str, t.Any]:
        """The result; problems in the order of files and lines."""
        problems = sorted(self.problems, key=lambda one: (one["file"], one["line"] or 0, one["kind"], one["message"]))
        files = dict(sorted(self.files.items()))
        dags = dict(sorted(self.dags.items()))
        return {"problems": problems, "dags": dags, "files": files, "seconds": round(seconds, 3)}

    def missing(self, root: Path | None) -> None:
        """There is no such directory; the bundle's root tells whether the release or the share is missing."""
        message = f"{self._release} is no directory that this container sees"
        fix = "Stage the release; if other nodes see it, look at this node's mount of the share"
        if root is not None and not (root / ".sentinel").exists():
            message += f", and {root} is not the share: it has no .sentinel"
            fix = "Mount the share on this node (role dag_share)"
        self._problem("no_such_path", ".", message, fix)

    def loop(self, error: Exception) -> None:
        """A link leads back to a directory above it."""
        self._problem("cycle", ".", str(error), "Remove the link that leads back to a directory above it")

    def _dag(self, file: str, dag: release_parse.Dag) -> None:
        other = self._known.get(dag.dag_id, self._bundle)
        before = self.dags.get(dag.dag_id)
        if other != self._bundle:
            message = f"the bundle {other} has a DAG {dag.dag_id} already"
            fix = f"Rename this DAG; to move it from {other}, release that bundle without it first"
            self._problem("duplicate_dag_id", file, message, fix, self._quoted(file, dag.dag_id))
        if before:
            # Files end in any order; the answer must not depend on it.
            first, second = sorted((before["file"], file))
            message = f"{first} has a DAG {dag.dag_id} too"
            self._problem("duplicate_dag_id", second, message, "Rename one", self._quoted(second, dag.dag_id))
        unknown: dict[str, list[str]] = {}
        for task, queue in dag.queues.items():
            if queue not in self._queues:
                unknown.setdefault(queue, []).append(task)
        for queue, tasks in sorted(unknown.items()):
            message = f"no worker consumes the queue {queue} of {dag.dag_id}: {_some(tasks)}"
            fix = f"Name a queue that workers have ({', '.join(self._queues) or 'there is none'}), or add it to one"
            self._problem("unknown_queue", file, message, fix, self._quoted(file, queue))
        if not before or file < before["file"]:
            queues = sorted(set(dag.queues.values()))
            self.dags[dag.dag_id] = {"file": file, "queues": queues, "tasks": dag.tasks}

    def _error(self, file: str, text: str) -> None:
        path = Path(file)
        if path.is_absolute() and self._release in path.parents:
            file = path.relative_to(self._release).as_posix()
        message = _message(text)
        kind, fix = _explain(message)
        if kind == "slow_file":
            message = message.partition(" Please take a look")[0]
        frames = [
            (Path(found["path"]).relative_to(self._release).as_posix(), int(found["line"]))
            for found in _FRAME.finditer(text)
            if self._release in Path(found["path"]).parents
        ]
        # The deepest frame within the release is where somebody can change something.
        where, line = frames[-1] if frames else (file, None)
        if where != file:
            message = f"{message} (imported by {file})"
        if not frames and kind in ("duplicate_dag_id", "cycle"):
            line = self._quoted(file, *(name.rstrip(".") for name in _DAG_NAMED.findall(message)))
        self._problem(kind, where, message.replace(f"{self._release}/", ""), fix, line)

    def _problem(self, kind: str, file: str, message: str, fix: str, line: int | None = None) -> None:
        problem = {"kind": kind, "file": file, "line": line, "message": message[:_MESSAGE_LIMIT], "fix": fix}
        if problem not in self.problems:
            self.problems.append(problem)

    def _quoted(self, file: str, *names: str) -> int | None:
        """The first line that holds one of the names in quotes; None when it is made up in code."""
        try:
            lines = (self._release / file).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:  # in an archive
            return None
        wanted = [quote + name + quote for name in names for quote in "\"'"]
        return next((number for number, line in enumerate(lines, 1) if any(text in line for text in wanted)), None)


def _message(text: str) -> str:
    """The end of a traceback: type and text of the error, in one line."""
    lines = text.splitlines()
    frames = [number for number, line in enumerate(lines) if line.startswith('  File "')]
    if not frames:
        return " ".join(text.split())
    rest = lines[frames[-1] + 1 :]
    # Source lines and marks below a frame have four columns before them, notes about repetition two and a bracket.
    while rest and rest[0].startswith(("    ", "  [")):
        rest = rest[1:]
    return " ".join(" ".join(rest).split())


def _explain(message: str) -> tuple[str, str]:
    """Kind of problem and what to do, from how the error's text begins."""
    return _KINDS.get(message.partition(":")[0].rpartition(".")[2], _OTHER)


def _some(names: t.Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _known(text: str) -> dict[str, str]:
    """``-`` is standard input, ``{...}`` the object itself, anything else a file."""
    if text == "-":
        text = sys.stdin.read()
    elif not text.lstrip().startswith("{"):
        text = Path(text).read_text(encoding="utf-8")
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("--known is no JSON object of DAG ID and bundle")
    return {str(dag_id): str(bundle) for dag_id, bundle in found.items()}


def _arguments(arguments: t.Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="flowstead_airflow.release_check", description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", required=True, help="the bundle's name")
    parser.add_argument("--path", required=True, type=Path, help="the release's directory")
    parser.add_argument("--root", type=Path, help="the bundle's root, to tell a missing release from a missing share")
    parser.add_argument("--queues", required=True, help="the queues that workers consume, with commas")
    parser.add_argument("--parse-seconds", type=float, default=30.0, help="allowed for one file")
    parser.add_argument("--parallel", type=int, default=2, help="files at a time")
    parser.add_argument("--known", "--others", default="{}", help='{"dag_id": "bundle"}: JSON, a file, or - for stdin')
    return parser.parse_args(arguments)


def check(options: argparse.Namespace) -> dict[str, t.Any]:
    """Parse and judge the release."""
    began = time.monotonic()
    queues = [name.strip() for name in options.queues.split(",") if name.strip()]
    release = options.path.absolute()
    judge = Check(release, options.bundle, queues, options.parse_seconds, _known(options.known))
    if not release.is_dir():
        judge.missing(options.root)
        return judge.answer(time.monotonic() - began)
    release_parse.prepare()
    try:
        files = release_parse.dag_files(release)
    except RuntimeError as error:
        judge.loop(error)
        files = []
    for parsed in release_parse.parse(release, options.bundle, files, max(1, options.parallel)):
        judge.add(parsed)
    return judge.answer(time.monotonic() - began)


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Answer on standard output; returns the exit status."""
    options = _arguments(arguments)
    # Whatever Airflow or a DAG prints goes to standard error: the answer must stay one line.
    sys.stdout.flush()
    answer = os.dup(1)
    os.dup2(2, 1)
    # "python -m" puts the working directory first; the DAG processor does not have it there.
    if sys.path and sys.path[0] in ("", os.getcwd()):
        del sys.path[0]
    try:
        found = check(options)
    except Exception as error:  # whatever goes wrong, the reason is one line and exit status 2
        print(f"release_check: cannot check: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    with os.fdopen(answer, "w", encoding="utf-8") as stream:
        stream.write(MARK + json.dumps(found, ensure_ascii=True) + "\n")
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # Threads of Airflow's execution API would hold the process.
    os._exit(code)
