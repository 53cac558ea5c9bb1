"""The files in pipelines/, and the shell that is inside of them.

Other tests can run what pipelines run: ``[step.text for step in steps(FILES["dags/gitlab"])]``.
"""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import tree_sitter
import tree_sitter_groovy
import yaml

ROOT = Path(__file__).resolve().parents[3]
PIPELINES = ROOT / "pipelines"
GITHUB = sorted(PIPELINES.glob("*/github/.github/workflows/*.yml"))
GITLAB = sorted(PIPELINES.glob("*/gitlab/.gitlab-ci.yml"))
JENKINS = sorted(PIPELINES.glob("*/jenkins/Jenkinsfile"))
SCRIPTS = sorted(path for path in PIPELINES.glob("**/ci/*") if path.read_text().startswith("#!/bin/sh"))
FILES = [*GITHUB, *GITLAB, *JENKINS]


class Step(t.NamedTuple):
    """A piece of shell, and the job or stage that it is in."""

    job: str
    text: str


def name(path: Path) -> str:
    """How a test is called for a file."""
    return str(path.relative_to(PIPELINES))


def steps(path: Path) -> list[Step]:
    """Every piece of shell of a pipeline file, in order."""
    if path in GITHUB:
        jobs = yaml.safe_load(path.read_text())["jobs"]
        return [Step(job, step["run"]) for job, body in jobs.items() for step in body.get("steps", []) if "run" in step]
    if path in GITLAB:
        found = []
        for job, body in yaml.safe_load(path.read_text()).items():
            if isinstance(body, dict):
                parts = [*body.get("before_script", []), *body.get("script", [])]
                found += [Step(job, "\n".join(parts))] if parts else []
        return found
    return [Step(stage, text) for stage, text in _jenkins(path)]


def tree(path: Path) -> tree_sitter.Node:
    """The syntax tree of a Jenkinsfile."""
    language = tree_sitter.Language(tree_sitter_groovy.language())
    return tree_sitter.Parser(language).parse(path.read_bytes()).root_node


def _jenkins(path: Path) -> t.Iterator[tuple[str, str]]:
    """(Stage, text) of every step `sh`; Groovy takes backslashes away, and with one its newline."""
    stage = ""
    pattern = re.compile(
        r"stage\('(?P<stage>[^']+)'\)|\bsh\b\s*\(?(?:script:\s*)?(?P<quotes>'''|'|\")(?P<text>.*?)(?P=quotes)", re.S
    )
    for match in pattern.finditer(path.read_text()):
        if match["stage"]:
            stage = match["stage"]
        else:
            yield stage, match["text"].replace("\\\n", " ").replace("\\\\", "\\")


def plays(text: str) -> list[list[str]]:
    """The words behind each `ci/play` in a piece of shell, without quotes."""
    joined = text.replace("\\\n", " ")
    return [
        re.sub(r"[\"'{}]", "", line.partition("ci/play ")[2]).split()
        for line in joined.splitlines()
        if "ci/play " in line
    ]
