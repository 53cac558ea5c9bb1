"""Pipelines that are ready to copy: valid files, sound shell, and only playbooks and variables that exist."""

from __future__ import annotations

import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from pipeline_files import FILES, GITHUB, GITLAB, JENKINS, PIPELINES, ROOT, SCRIPTS, name, plays, steps, tree

#: Playbooks and variables of others, in the shared design of DAG releases. Where the role is there, its own
#: specification counts and this list does not.
EXPECTED_PLAYBOOKS = frozenset({"dags"})
EXPECTED_VARIABLES = frozenset(
    f"dag_release_{word}"
    for word in ("action", "bundle", "source", "artifact", "repository", "ref", "subdirectory", "hash", "name", "dest")
)
RELEASE_SPEC = ROOT / "roles/dag_release/meta/argument_specs.yml"
EXPECTED_ACTIONS = frozenset({"publish", "build", "activate", "rollback", "prune", "status", "verify"})


def variables() -> set[str]:
    """Every option of every role's entry points."""
    found: set[str] = set()
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for point in yaml.safe_load(path.read_text())["argument_specs"].values():
            found.update(point.get("options") or {})
    return found if RELEASE_SPEC.exists() else found | EXPECTED_VARIABLES


def run(*command: str | Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], input=text, capture_output=True, text=True, check=False)


def schema(kind: str, *words: str | Path) -> None:
    done = run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{kind}", *words)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", GITHUB, ids=name)
def test_a_github_workflow_follows_its_schema(path: Path):
    schema("github-workflows", path)


@pytest.mark.parametrize("path", GITLAB, ids=name)
def test_a_gitlab_pipeline_follows_its_schema(path: Path):
    schema("gitlab-ci", "--data-transform", "gitlab-ci", path)


@pytest.mark.parametrize("path", JENKINS, ids=name)
def test_a_jenkinsfile_is_groovy(path: Path):
    """No linter of Jenkins runs without a Jenkins; a parser of the language and the next test stand in."""
    assert not tree(path).has_error


@pytest.mark.parametrize("path", JENKINS, ids=name)
def test_a_jenkinsfile_is_a_declarative_pipeline(path: Path):
    """Source: https://www.jenkins.io/doc/book/pipeline/syntax/, sections and directives."""
    pipeline = blocks(path)["pipeline"]
    assert set(pipeline) <= {"agent", "options", "environment", "parameters", "triggers", "tools", "stages", "post"}
    assert {"agent", "stages"} <= set(pipeline)
    stages = pipeline["stages"]
    assert stages
    for key, stage in stages.items():
        assert key.startswith("stage ")
        assert set(stage) <= {"agent", "when", "steps", "post", "environment", "options", "input", "stages"}
        assert "steps" in stage or "stages" in stage
        # Groovy that is no step has to be in a script block.
        assert not {"if", "for", "def"} & set(stage["steps"])


def blocks(path: Path) -> dict[str, t.Any]:
    """Blocks of a Jenkinsfile by their first word: nested dictionaries, by indentation of two spaces."""
    root: dict[str, t.Any] = {}
    levels: list[dict[str, t.Any]] = [root]
    text = re.sub(r"'''.*?'''", "''", path.read_text(), flags=re.S)
    for line in text.splitlines():
        match = re.match(r"( *)([A-Za-z]\w*)(?:\('([^']+)'\))?", line)
        if not match or len(match[1]) % 2:
            continue
        depth = len(match[1]) // 2
        key = f"{match[2]} {match[3]}" if match[2] == "stage" else match[2]
        del levels[depth + 1 :]
        if depth < len(levels):
            levels.append(levels[depth].setdefault(key, {}))
    return root


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_playbook_exists_and_every_variable_is_in_a_specification(path: Path):
    known = variables()
    found = [words for step in steps(path) for words in plays(step.text)]
    assert found, f"{name(path)} calls no playbook"
    for words in found:
        assert (ROOT / f"playbooks/{words[0]}.yml").exists() or words[0] in EXPECTED_PLAYBOOKS, words
        for flag, value in zip(words, words[1:]):
            if flag.endswith("-e") and not value.startswith("@"):
                assert value.partition("=")[0] in known, f"{name(path)}: {value}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_only_actions_that_the_playbook_dags_has_are_asked_for(path: Path):
    actions = EXPECTED_ACTIONS
    if RELEASE_SPEC.exists():
        options = yaml.safe_load(RELEASE_SPEC.read_text())["argument_specs"]["main"]["options"]
        actions = frozenset(options["dag_release_action"]["choices"])
    asked = set(re.findall(r"dag_release_action=(\w+)", path.read_text()))
    offered = re.findall(r"(?:options|choices): \[((?:'?\w+'?, )*'?rollback'?)\]", path.read_text())
    asked |= {word.strip(" '") for line in offered for word in line.split(",")}
    assert asked <= actions


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_piece_of_shell_is_sound(path: Path):
    shellcheck = Path(sys.executable).with_name("shellcheck")
    for step in steps(path):
        done = run("bash", "-n", text=step.text)
        assert done.returncode == 0, f"{step}\n{done.stderr}"
        # 2154: variables are the pipeline's. 2086 stays on: nothing of the pipeline is split into words.
        done = run(shellcheck, "--shell", "bash", "--exclude", "SC2154", "-", text=step.text + "\n")
        assert done.returncode == 0, f"{step}\n{done.stdout}"


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_every_script_is_sound_and_can_be_started(path: Path):
    done = run(Path(sys.executable).with_name("shellcheck"), path)
    assert done.returncode == 0, done.stdout
    assert run("sh", "-n", path).returncode == 0
    assert path.stat().st_mode & 0o111 == 0o111


@pytest.mark.parametrize("path", [*FILES, *SCRIPTS], ids=name)
def test_no_secret_stands_in_a_command_line(path: Path):
    words = r"(VAULT_PASSWORD|SSH_KEY|PUSH_TOKEN|CI_JOB_TOKEN|GH_TOKEN)\b"
    text = path.read_text() if path in SCRIPTS else "\n".join(step.text for step in steps(path))
    for line in text.splitlines():
        if re.search(rf"\$\{{?{words}", line):
            # printf, test and functions are the shell's own: no process begins.
            assert re.match(r"\s*(if \[|keep |basic=\$\(printf )", line), line


@pytest.mark.parametrize("path", GITHUB, ids=name)
def test_github_puts_no_input_into_shell_but_through_the_environment(path: Path):
    for step in steps(path):
        assert "${{" not in step.text


def test_dags_are_built_once_and_published_by_hash_in_every_system():
    for path in (path for path in FILES if "dags" in path.parts):
        found = [words for step in steps(path) for words in plays(step.text)]
        publishing = [words for words in found if "dag_release_action=publish" in words]
        assert sum("dag_release_action=build" in words for words in found) == (path.name != "dags-play.yml")
        for words in publishing:
            assert any(word.startswith("dag_release_artifact=") for word in words)
            assert any(word.startswith("dag_release_hash=") for word in words)
            assert not any(word.startswith(("dag_release_source=", "dag_release_repository=")) for word in words)


def test_production_runs_an_image_by_digest_in_every_system():
    for path in (path for path in FILES if "image" in path.parts):
        text = "\n".join(step.text for step in steps(path))
        production = text[text.index("grep '@sha256:' inventories/prod/group_vars/all/image.yml") :]
        assert "ci/play airflow -i inventories/prod" in production
        assert "ci/play image -i inventories/prod" not in text


def test_one_job_at_a_time_changes_an_environment():
    for path in (*GITLAB, *(path for path in GITHUB if path.name != "dags.yml")):
        document = yaml.safe_load(path.read_text())
        for job, body in (document.get("jobs") or document).items():
            if isinstance(body, dict) and "environment" in body and not job.startswith("."):
                assert "concurrency" in body or "resource_group" in body, f"{name(path)}: {job}"
                assert (body.get("concurrency") or {}).get("cancel-in-progress", False) is False
    for path in JENKINS:
        assert "lock(" in path.read_text()
        assert "disableConcurrentBuilds()" in path.read_text()


def test_production_waits_for_a_person_in_every_system():
    for path in GITLAB:
        document = yaml.safe_load(path.read_text())
        jobs = [job for job in ("publish", "promote", "production") if job in document]
        assert jobs
        for job in jobs:
            assert any(rule.get("when") == "manual" for rule in document[job]["rules"])
    for path in JENKINS:
        assert "input message:" in path.read_text()
    for path in GITHUB:
        if path.name != "dags.yml":
            assert "environment:" in path.read_text()


def test_gitlab_has_the_table_of_the_other_systems():
    table = yaml.safe_load((PIPELINES / "dags/ci/environments.yml").read_text())
    document = yaml.safe_load((PIPELINES / "dags/gitlab/.gitlab-ci.yml").read_text())
    expected = []
    for line in table["branches"]:
        branch = line["branch"]
        condition = (
            f"=~ /^{branch[:-1]}/".replace("release/", r"release\/") if branch.endswith("*") else f'== "{branch}"'
        )
        wanted = {"PUBLISH": line["publish"]}
        if line["publish"] in table["approval"]:
            wanted["PUBLISH_ASKS"] = "true"
        if "promote" in line:
            wanted["PROMOTE"] = line["promote"]
        expected.append({"if": f"$CI_COMMIT_BRANCH {condition}", "variables": wanted})
    assert document["workflow"]["rules"] == [*expected, {"if": "$CI_COMMIT_BRANCH"}]
    assert (document["variables"]["BUNDLE"], document["variables"]["SOURCE"]) == (table["bundle"], table["source"])
