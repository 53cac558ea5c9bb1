"""The scripts that pipelines share, run for real with doubles of the programs they call."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import types
import typing as t
from pathlib import Path

import pytest
import yaml
from pipeline_files import PIPELINES

SECRET = "correct horse\nbattery $staple"
#: Says how it was called, what the secrets' files hold, and whether any process has the secret among its arguments.
ANSIBLE = f"""#!{sys.executable}
import json, os, pathlib, sys
files = {{name: os.environ.get(name) for name in ("ANSIBLE_VAULT_PASSWORD_FILE", "ANSIBLE_PRIVATE_KEY_FILE")}}
seen = [path.read_bytes() for path in pathlib.Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
print(json.dumps({{
    "argv": sys.argv[1:],
    "files": {{
        name: [pathlib.Path(path).read_text(), oct(os.stat(path).st_mode)] for name, path in files.items() if path
    }},
    "directory": os.path.dirname(files["ANSIBLE_VAULT_PASSWORD_FILE"] or ""),
    "ssh": os.environ.get("ANSIBLE_SSH_COMMON_ARGS"),
    "config": os.environ.get("ANSIBLE_CONFIG"),
    "leaked": any(b"battery" in line for line in seen) or "battery" in str(dict(os.environ)),
}}))
sys.exit(int(os.environ.get("STATUS", "0")))
"""


@pytest.fixture(name="repository")
def _repository(tmp_path: Path) -> Path:
    """A repository with copies of the files, as docs/pipelines.md says."""
    root = tmp_path / "repository"
    for source in ("ci", "dags/ci", "image/ci"):
        shutil.copytree(PIPELINES / source, root / "ci", dirs_exist_ok=True)
    double = tmp_path / "bin/ansible-playbook"
    double.parent.mkdir()
    double.write_text(ANSIBLE)
    double.chmod(0o755)
    return root


def play(repository: Path, *words: str, **secrets: str) -> tuple[int, dict[str, t.Any]]:
    path = f"{repository.parent / 'bin'}:{os.environ['PATH']}"
    environment = {"PATH": path, "TMPDIR": str(repository.parent), **secrets}
    done = subprocess.run(
        ["ci/play", *words], cwd=repository, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}


def test_secrets_reach_ansible_as_files_that_are_gone_afterwards(repository: Path):
    status, said = play(
        repository, "dags", "-i", "x", "-e", "a=b c", VAULT_PASSWORD=SECRET, SSH_KEY="key", SSH_KNOWN_HOSTS="h"
    )

    assert (status, said["argv"]) == (0, ["flowstead.airflow.dags", "-i", "x", "-e", "a=b c"])
    assert said["files"] == {
        "ANSIBLE_VAULT_PASSWORD_FILE": [f"{SECRET}\n", "0o100600"],
        "ANSIBLE_PRIVATE_KEY_FILE": ["key\n", "0o100600"],
    }
    assert "StrictHostKeyChecking=yes" in said["ssh"]
    assert said["leaked"] is False
    assert said["directory"].startswith(str(repository.parent))
    assert not Path(said["directory"]).exists()


def test_a_secret_can_be_the_path_of_a_file_that_everybody_reads(repository: Path):
    vault = repository.parent / "vault"
    vault.write_text("from a file\n")
    vault.chmod(0o666)

    _status, said = play(repository, "dags", VAULT_PASSWORD=str(vault))

    assert said["files"] == {"ANSIBLE_VAULT_PASSWORD_FILE": ["from a file\n", "0o100600"]}
    assert vault.exists()


def test_a_playbook_that_fails_fails_the_job_and_leaves_no_secret(repository: Path):
    status, said = play(repository, "dags", VAULT_PASSWORD=SECRET, STATUS="2")

    assert status == 2
    assert not Path(said["directory"]).exists()


def test_a_job_without_secrets_needs_none(repository: Path):
    status, said = play(repository, "dags", "-i", "localhost,")

    assert (status, said["files"], said["ssh"]) == (0, {}, None)


def test_the_platforms_own_ansible_configuration_counts(repository: Path):
    (repository / "platform").mkdir()
    (repository / "platform/ansible.cfg").write_text("[defaults]\n")

    assert play(repository, "dags")[1]["config"] == f"{repository}/platform/ansible.cfg"


def test_play_without_a_playbook_says_how_it_is_used(repository: Path):
    status, said = play(repository)

    assert status != 0
    assert "usage: ci/play" in said["error"]


@pytest.fixture(name="environment")
def _environment() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("environment", PIPELINES / "dags/ci/environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("branch", "expected"),
    [
        ("develop", ("dev", "false", "")),
        ("release/2026.11", ("acceptance", "false", "prod")),
        ("main", ("prod", "true", "")),
        ("feature/main", ("", "false", "")),
        ("releases", ("", "false", "")),
    ],
)
def test_a_branch_goes_where_the_table_says(branch: str, expected: tuple[str, ...]):
    done = subprocess.run(
        [sys.executable, str(PIPELINES / "dags/ci/environment.py"), branch], capture_output=True, text=True, check=True
    )
    said = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert (said["BUNDLE"], said["SOURCE"]) == ("sales", "dags")
    assert (said["PUBLISH"], said["PUBLISH_ASKS"], said["PROMOTE"]) == expected


def test_all_mistakes_in_the_table_are_told_at_once(environment: types.ModuleType):
    table = {"bundle": "sales\nPUBLISH=prod", "branch": [], "branches": [{"branch": "x", "publihs": "dev"}]}
    assert environment.problems(table) == [
        "branch: unknown; there are bundle, source, branches and approval",
        "source: missing or empty",
        "branches, line 1: publihs is unknown",
        "branches, line 1: publish is missing",
        "bundle: 'sales\\nPUBLISH=prod' is no name",
    ]


def test_the_example_table_has_no_mistake(environment: types.ModuleType):
    assert environment.problems(yaml.safe_load((PIPELINES / "dags/ci/environments.yml").read_text())) == []


def test_a_broken_table_ends_the_job(environment: types.ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    environment.TABLE = tmp_path / "environments.yml"
    environment.TABLE.write_text("bundle: sales\n")
    assert environment.main(["x", "main"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "branches: missing or empty" in captured.err


DIGEST = "0123456789ab" * 5 + "0123"
PLACE = "inventories/prod/group_vars/all/image.yml"


def git(where: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@invalid", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *identity, *words], cwd=where, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(name="clone")
def _clone(repository: Path) -> Path:
    """A shallow clone on the branch acceptance, of an origin that has main too."""
    origin = repository.parent / "origin.git"
    git(repository, "init", "--quiet")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "first")
    git(repository, "branch", "acceptance")
    git(repository, "clone", "--quiet", "--bare", str(repository), str(origin))
    clone = repository.parent / "clone"
    git(repository.parent, "clone", "--quiet", "--depth", "1", "--branch", "acceptance", f"file://{origin}", str(clone))
    (clone / "dist").mkdir()
    reference = f"registry.example.com/airflow@sha256:{DIGEST}"
    text = f"# airflow:1\n---\nairflow_image:\n  source: existing\n  reference: {reference}\n"
    (clone / "dist/image.yml").write_text(text)
    return clone


def propose(clone: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["ci/propose", "dist/image.yml", PLACE], cwd=clone, capture_output=True, text=True, check=False
    )


def test_an_image_is_proposed_on_a_branch_with_one_commit_on_main(clone: Path):
    done = propose(clone)

    assert (done.returncode, done.stdout) == (0, "image/0123456789ab\n"), done.stderr
    origin = clone.parent / "origin.git"
    assert git(origin, "diff", "--name-only", "main", "image/0123456789ab") == PLACE
    assert git(origin, "rev-parse", "image/0123456789ab^") == git(origin, "rev-parse", "main")
    assert git(clone, "branch", "--show-current") == "acceptance"
    assert git(clone, "worktree", "list").count("\n") == 0


def test_an_image_is_proposed_again_without_harm_and_not_at_all_when_main_has_it(clone: Path):
    assert propose(clone).returncode == 0
    assert propose(clone).stdout == "image/0123456789ab\n"
    origin = clone.parent / "origin.git"
    git(origin, "update-ref", "refs/heads/main", "refs/heads/image/0123456789ab")

    done = propose(clone)

    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_an_image_without_a_digest_is_not_proposed(clone: Path):
    (clone / "dist/image.yml").write_text("airflow_image:\n  reference: registry.example.com/airflow:latest\n")

    done = propose(clone)

    assert done.returncode == 1
    assert "names no image by digest" in done.stderr
