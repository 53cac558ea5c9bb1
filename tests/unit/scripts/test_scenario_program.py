"""``scripts/scenario``: which program a command line ends in."""

from __future__ import annotations

import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[3] / "scripts" / "scenario"


@pytest.fixture
def run(tmp_path: Path) -> t.Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the program in a checkout with one scenario, where pytest and molecule say how they were called."""
    (tmp_path / "molecule" / "three" / "releases").mkdir(parents=True)
    (tmp_path / "molecule" / "three" / "faults").mkdir()
    (tmp_path / "molecule" / "three" / "molecule.yml").touch()
    (tmp_path / "scripts").mkdir()
    shutil.copy(PROGRAM, tmp_path / "scripts" / "scenario")
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("pytest", "molecule"):
        (programs / name).write_text('#!/bin/sh\necho "${0##*/} $*"\n')
        (programs / name).chmod(0o755)

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(tmp_path / "scripts" / "scenario"), "three", *words], capture_output=True, text=True, check=False
        )

    return call


def test_one_directory_of_tests_runs_with_words_for_pytest(run: t.Callable[..., subprocess.CompletedProcess[str]]):
    done = run("verify", "releases", "-k", "pruned")
    assert done.stdout == "pytest -q -x --durations=10 molecule/three/releases -k pruned\n"
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("words", "called"),
    [
        (["verify"], "verify --scenario-name three"),
        (["verify", "--report"], "verify --scenario-name three --report"),
        (["converge"], "converge --scenario-name three"),
    ],
)
def test_everything_else_is_molecules(
    run: t.Callable[..., subprocess.CompletedProcess[str]], words: list[str], called: str
):
    assert run(*words).stdout == f"molecule {called}\n"


def test_a_directory_that_is_not_there_is_refused_with_those_that_are(
    run: t.Callable[..., subprocess.CompletedProcess[str]],
):
    done = run("verify", "operation")
    assert (done.returncode, done.stdout) == (2, "")
    assert "three has no tests in operation/" in done.stderr
    assert "faults releases" in done.stderr
