"""What GitHub, GitLab and Jenkins do with the files in pipelines/, as far as these files need it: run their shell.

Each takes the job out of the file itself, gives its steps the variables that the system would, and stops at the first
step that fails. What a file uses and this module does not know is an error, never skipped.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from lab_hosts import ROOT

sys.path.insert(0, str(ROOT / "tests" / "unit" / "pipelines"))

from pipeline_files import PIPELINES, steps

Variables = dict[str, str]


@dataclass
class Runner:
    """A machine that a system's jobs run on, one after the other, in one workspace."""

    workspace: Path
    base: Variables  # environment of every step, secrets of the environment included
    told: list[str] = field(default_factory=list)  # output of every step that ran

    def shell(self, text: str, variables: t.Mapping[str, str], command: t.Sequence[str] = ("bash", "-e")) -> str:
        """Run a piece of shell, which has to succeed; its standard output."""
        done = subprocess.run(
            [*command, "-c", text],
            cwd=self.workspace,
            env={**self.base, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
        )
        self.told.append(done.stdout + done.stderr)
        assert done.returncode == 0, (
            f"{text}\nended with {done.returncode}:\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        )
        return done.stdout


class GitHub:
    """Jobs of a workflow. The runner keeps the workspace, so artifacts stay where they were made."""

    def __init__(self, runner: Runner, kind: str) -> None:
        self.runner = runner
        self._where = PIPELINES / kind / "github" / ".github" / "workflows"

    def job(self, workflow: str, job: str, **context: str) -> Variables:
        """Run a job; what its steps put out, as ``steps.ID.outputs.NAME``.

        Args:
            context: values of expressions, with ``__`` for the dots, for example ``inputs__action="status"``.
        """
        values = {name.replace("__", "."): value for name, value in context.items()}
        body = yaml.safe_load((self._where / workflow).read_text(encoding="utf-8"))["jobs"][job]
        shared = self._resolve(body.get("env", {}), values)
        for number, step in enumerate(body["steps"]):
            if "uses" in step:
                assert re.match(r"actions/(checkout|upload-artifact|download-artifact)@v\d+$", step["uses"])
            elif self._wanted(step.get("if", ""), values):
                output = self.runner.workspace / f".output-{number}"
                output.touch()
                given = {"GITHUB_REF_NAME": values["github.ref_name"], "GITHUB_SHA": values["github.sha"]}
                given |= {**shared, **self._resolve(step.get("env", {}), values), "GITHUB_OUTPUT": str(output)}
                self.runner.shell(step["run"], given)
                values |= {
                    f"steps.{step.get('id')}.outputs.{name}": value
                    for name, _equals, value in (line.partition("=") for line in output.read_text().splitlines())
                }
                output.unlink()
        return values

    @staticmethod
    def _resolve(variables: t.Mapping[str, str], values: t.Mapping[str, str]) -> Variables:
        def resolve(match: re.Match[str]) -> str:
            # Secrets and variables of the repository are in the runner's environment already.
            return values[match[1]] if not match[1].startswith(("secrets.", "vars.")) else "\0"

        found = {name: re.sub(r"\$\{\{ (\S+) \}\}", resolve, value) for name, value in variables.items()}
        return {name: value for name, value in found.items() if value != "\0"}

    @staticmethod
    def _wanted(condition: str, values: t.Mapping[str, str]) -> bool:
        if not condition:
            return True
        match = re.fullmatch(r"(\S+) (==|!=) '(\w+)'", condition)
        assert match, f"a condition that this module does not know: {condition}"
        return (values[match[1]] == match[3]) == (match[2] == "==")


class GitLab:
    """Jobs of a pipeline."""

    def __init__(self, runner: Runner, kind: str, **variables: str) -> None:
        self.runner = runner
        self._document = yaml.safe_load((PIPELINES / kind / "gitlab" / ".gitlab-ci.yml").read_text(encoding="utf-8"))
        self._variables = variables

    def job(self, name: str, **variables: str) -> Variables:
        """Run a job; the variables that it hands on in a dotenv report."""
        body = self._body(name)
        scopes = (self._document.get("variables", {}), self._variables, variables, body.get("variables", {}))
        given: Variables = {}
        for scope in scopes:
            for key, value in scope.items():
                text = value["value"] if isinstance(value, dict) else value
                given[key] = re.sub(r"\$(\w+)", lambda match: given[match[1]], text)
        before = body.get("before_script", self._document["default"]["before_script"])
        self.runner.shell("\n".join([*before, *body["script"]]), given, ("bash", "-eo", "pipefail"))
        report = body.get("artifacts", {}).get("reports", {}).get("dotenv")
        lines = (self.runner.workspace / report).read_text().splitlines() if report else []
        return dict(line.split("=", 1) for line in lines)

    def _body(self, name: str) -> dict[str, t.Any]:
        own = self._document[name]
        return {**(self._body(own["extends"]) if "extends" in own else {}), **own}


class Jenkins:
    """Steps `sh` of a Jenkinsfile, by the stage they are in; those of its functions have the stage ''."""

    def __init__(self, runner: Runner, kind: str, **variables: str) -> None:
        self.runner = runner
        self._steps = steps(PIPELINES / kind / "jenkins" / "Jenkinsfile")
        self.variables = variables

    def stage(self, name: str, **variables: str) -> list[str]:
        """Run a stage's steps; what each printed."""
        found = [step.text for step in self._steps if step.job == name]
        assert found, f"no step in stage {name!r}"
        return [self.runner.shell(text, {**self.variables, **variables}, ("sh", "-xe")) for text in found]


def environment(**more: str) -> Variables:
    """What a runner of a CI system has of this machine: how to reach package indexes, and nothing of a test's own."""
    kept = ("PATH", "HOME", "LANG", "PIP_", "SSL_", "REQUESTS_", "http", "HTTP", "no_proxy", "NO_PROXY")
    return {name: value for name, value in os.environ.items() if name.startswith(kept)} | more
