"""The commands of the pipelines, run as the CI systems run them, from repositories laid out as docs/pipelines.md says.

The runner has nothing of this checkout but the tarball of the collection: `ci/install` brings Ansible, `ci/play` gets
key, host keys and vault password as secrets. `ci_systems` reads the files themselves, so what runs is what is copied.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from ci_systems import GitHub, GitLab, Jenkins, Runner, environment
from conftest_shared import INVENTORY
from lab_hosts import ROOT, Hosts
from report import Table
from test_releases import SALES, serving

VAULT = "the vault's password of this test"
BRANCH = "release/2026.11"
PIN = "inventories/prod/group_vars/all/image.yml"
GH = """#!/bin/sh
# As much of GitHub's program as the pipeline needs: refuses every other command.
case "$1 $2 $#" in
  "pr view 3") exit 1 ;;
  "pr create 10")
    [ "$3 $4 $5 $7 $9" = "--base main --head --title --body-file" ] && [ -s "${10}" ] && echo "created $6" ;;
  *) echo "gh: unknown: $*" >&2; exit 2 ;;
esac
"""


def git(where: Path, *words: str) -> str:
    """A git command that has to succeed; its output."""
    who = ["-c", "user.name=t", "-c", "user.email=t@invalid", "-c", "init.defaultBranch=main"]
    return subprocess.run(["git", *who, *words], cwd=where, capture_output=True, text=True, check=True).stdout.strip()


def commit(where: Path, remote: Path, *branches: str) -> None:
    """Everything there as the first commit, pushed to a new bare repository."""
    git(where, "init", "--quiet")
    git(where, "add", "--all")
    git(where, "commit", "--quiet", "--message", "first")
    git(where, "init", "--quiet", "--bare", str(remote))
    git(where, "remote", "add", "origin", f"file://{remote}")
    git(where, "push", "--quiet", "origin", *(f"HEAD:refs/heads/{name}" for name in ("main", *branches)))


class Repositories:
    """A platform's repository and a DAG repository, and a runner for each."""

    def __init__(self, root: Path, hosts: Hosts, secrets: t.Mapping[str, str]) -> None:
        self.root, self.hosts = root, hosts
        self.origins = root / "origins"
        self.platform, self.dags = root / "platform", root / "dags"
        self._platform(secrets)
        commit(self.platform, self.origins / "team" / "platform.git", "acceptance")
        self._dags()
        commit(self.dags, self.origins / "team" / "dags.git", BRANCH)

    def runner(self, workspace: Path, **more: str) -> Runner:
        """A machine with the secrets of the environment: as files here, as texts there; both have to work."""
        lab = Path(self.hosts.facts["ssh_config"]).parent
        double = self.root / "bin" / "gh"
        double.parent.mkdir(exist_ok=True)
        double.write_text(GH)
        double.chmod(0o755)
        base = environment(
            VAULT_PASSWORD=VAULT,
            SSH_KEY=str(lab / "key"),
            SSH_KNOWN_HOSTS=(lab / "known_hosts").read_text(),
            ANSIBLE_CORE=self._pin("ansible-core"),
            PIP_CONSTRAINT=str(ROOT / "requirements" / "controller.txt"),
            **more,
        )
        # What Ansible this machine has is not the runner's; its Python and git are.
        paths = [str(double.parent), str(Path(sys.base_prefix) / "bin"), "/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        return Runner(workspace, {**base, "PATH": ":".join(paths)})

    def fetch_platform(self) -> None:
        """What GitHub and Jenkins check out into the DAG repository's workspace; GitLab's file does it itself."""
        shutil.rmtree(self.dags / "platform", ignore_errors=True)
        git(self.root, "clone", "--quiet", f"file://{self.origins}/team/platform.git", str(self.dags / "platform"))

    def _dags(self) -> None:
        for source in ("ci", "dags/ci", "dags/github", "dags/gitlab", "dags/jenkins"):
            target = self.dags / "ci" if source.endswith("ci") else self.dags
            shutil.copytree(ROOT / "pipelines" / source, target, dirs_exist_ok=True)
        (self.dags / "dags").mkdir()
        (self.dags / "dags" / "sales.py").write_text(SALES)
        (self.dags / "dags" / "sales_version.py").write_text("VERSION = 'by pipeline'\n")

    def _platform(self, secrets: t.Mapping[str, str]) -> None:
        for source in ("ci", "image/ci"):
            shutil.copytree(ROOT / "pipelines" / source, self.platform / "ci", dirs_exist_ok=True)
        shutil.copy(ROOT / "ansible.cfg", self.platform)
        subprocess.run(
            [str(ROOT / ".venv/bin/ansible-galaxy"), "collection", "build", "--output-path", str(self.root), str(ROOT)],
            check=True,
            capture_output=True,
        )
        (tarball,) = self.root.glob("flowstead-airflow-*.tar.gz")
        wanted = [{"name": str(tarball), "type": "file"}]
        # In the place of Galaxy: the same collections from the package `ansible`.
        bundled = next(ROOT.glob(".venv/lib/python3*/site-packages/ansible_collections"))
        names = (
            "ansible/posix",
            "community/docker",
            "community/postgresql",
            "community/library_inventory_filtering_v1",
        )
        wanted += [{"name": str(bundled / name), "type": "dir"} for name in names]
        (self.platform / "requirements.yml").write_text(yaml.safe_dump({"collections": wanted}))
        for name in ("acceptance", "prod"):
            self._inventory(self.platform / "inventories" / name, secrets)

    def _inventory(self, place: Path, secrets: t.Mapping[str, str]) -> None:
        """inventories/lab as a team would have it: addresses, passwords in a vault, nothing about how to sign in."""
        shutil.copytree(INVENTORY, place, ignore=shutil.ignore_patterns(".secrets", "passwords.yml"))
        document = yaml.safe_load((place / "hosts.yml").read_text())
        groups = document["all"]["children"]["airflow"]["children"]
        for group in groups.values():
            for host in group.get("hosts", {}):
                group["hosts"][host] = {"ansible_host": self.hosts.facts["addresses"][host]}
        config = Path(self.hosts.facts["ssh_config"]).read_text()
        (way,) = re.findall(r"^\s*ProxyCommand (.+)$", config, re.MULTILINE)
        variables = document["all"]["vars"]
        del variables["ansible_ssh_common_args"]
        variables["lab_directory"] = str(Path(self.hosts.facts["ssh_config"]).parent)
        variables["ansible_control_path_dir"] = str(self.root / "connections")
        variables["ansible_user"] = "root"
        # The network of the hosts, which a runner would simply be in.
        variables["ansible_ssh_extra_args"] = f'-o ProxyCommand="{way}" -o ProxyUseFdpass=yes'
        (place / "hosts.yml").write_text(yaml.safe_dump(document))
        vault = place / "group_vars" / "all" / "vault.yml"
        vault.write_text(yaml.safe_dump({"lab_passwords": dict(secrets)}))
        password = self.root / "vault-password"
        password.write_text(f"{VAULT}\n")
        subprocess.run(
            [str(ROOT / ".venv/bin/ansible-vault"), "encrypt", "--vault-password-file", str(password), str(vault)],
            check=True,
            capture_output=True,
        )

    @staticmethod
    def _pin(name: str) -> str:
        lines = (ROOT / "requirements" / "controller.txt").read_text().splitlines()
        return next(line.split(" ")[0] for line in lines if line.startswith(f"{name}=="))


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory, hosts: Hosts, secrets: dict[str, str]) -> Repositories:
    """Both repositories, as a team would have them."""
    return Repositories(tmp_path_factory.mktemp("pipelines"), hosts, secrets)


@pytest.fixture(scope="module")
def built(repositories: Repositories) -> dict[str, str]:
    """What the first build said, so that others can be compared with it."""
    return {}


def kept_no_secret(runner: Runner, secrets: t.Mapping[str, str]) -> None:
    """No step printed a secret: neither the pipeline's own nor one out of the vault."""
    told = "\n".join(runner.told)
    assert VAULT not in told
    assert not {name for name, value in secrets.items() if value in told}


def test_github_builds_publishes_where_the_branch_goes_and_looks(
    hosts: Hosts, repositories: Repositories, secrets: dict[str, str], built: dict[str, str]
):
    before = serving(hosts)
    repositories.fetch_platform()
    system = GitHub(repositories.runner(repositories.dags), "dags")
    about = {"github__ref_name": BRANCH, "github__sha": git(repositories.dags, "rev-parse", "HEAD")}
    outputs = system.job("dags.yml", "build", **about)
    found = {name: outputs[f"steps.branch.outputs.{name}"] for name in ("BUNDLE", "PUBLISH", "PROMOTE")}
    assert found == {"BUNDLE": "sales", "PUBLISH": "acceptance", "PROMOTE": "prod"}
    built["hash"] = outputs["steps.build.outputs.hash"]
    inputs = {
        "inputs__environment": "acceptance",
        "inputs__bundle": "sales",
        "inputs__hash": built["hash"],
        "inputs__release": "",
    }
    system.job("dags-play.yml", "play", inputs__action="publish", **inputs, **about)
    assert serving(hosts) != before
    assert serving(hosts).endswith(built["hash"])
    built["release"] = serving(hosts)
    system.job("dags-play.yml", "play", inputs__action="status", **inputs, **about)
    assert built["release"] in system.runner.told[-1]
    kept_no_secret(system.runner, secrets)


def test_gitlab_builds_the_same_bytes_promotes_them_and_goes_back(
    hosts: Hosts, repositories: Repositories, secrets: dict[str, str], built: dict[str, str]
):
    runner = repositories.runner(repositories.dags)
    system = GitLab(
        runner,
        "dags",
        CI_SERVER_URL=f"file://{repositories.origins}",
        CI_JOB_TOKEN="the token of this job",
        CI_COMMIT_SHA=git(repositories.dags, "rev-parse", "HEAD"),
        PLATFORM_PROJECT="team/platform",
        PUBLISH="acceptance",
        PROMOTE="prod",
    )
    shutil.rmtree(repositories.dags / "platform")
    shutil.rmtree(repositories.dags / "dist")
    handed_on = system.job("build")
    assert handed_on == {"HASH": built["hash"]}
    shutil.rmtree(repositories.dags / "platform")
    system.job("promote", **handed_on)
    assert serving(hosts) == built["release"], "it serves already"
    shutil.rmtree(repositories.dags / "platform")
    system.job("by hand", DAG_ACTION="rollback")
    assert serving(hosts) != built["release"]
    kept_no_secret(runner, secrets)


def test_jenkins_builds_the_same_bytes_publishes_them_and_verifies(
    hosts: Hosts, repositories: Repositories, secrets: dict[str, str], built: dict[str, str]
):
    repositories.fetch_platform()
    runner = repositories.runner(repositories.dags)
    system = Jenkins(runner, "dags", BRANCH_NAME=BRANCH, SOURCE="dags", BUNDLE="sales")
    _installed, told, _play, digits = system.stage("Build")
    branch = dict(line.split("=", 1) for line in told.splitlines())
    assert (branch["PUBLISH"], branch["BUNDLE"]) == ("acceptance", "sales")
    assert digits.strip() == built["hash"]
    system.stage("", ENVIRONMENT=branch["PUBLISH"], HASH=digits.strip())
    assert serving(hosts) == built["release"], "the same release serves again, not a copy of it"
    system.stage("By hand", ENVIRONMENT=branch["PUBLISH"], DAG_ACTION="verify", DAG_RELEASE="")
    kept_no_secret(runner, secrets)


def test_the_image_is_built_tested_deployed_and_proposed_for_production_by_digest(
    repositories: Repositories, secrets: dict[str, str], figures: Table
):
    clone = repositories.platform
    git(clone, "checkout", "--quiet", "-b", "acceptance")
    runner = repositories.runner(clone)
    system = GitHub(runner, "image")
    about = {"github__ref_name": "acceptance", "github__sha": git(clone, "rev-parse", "HEAD"), "github__token": "token"}
    system.job("image.yml", "acceptance", **about)
    report = json.loads((clone / "dist" / "report.json").read_text())
    assert report["problems"] == []
    figures.add("size of the core image, MB", report["image"]["size_mb"])
    figures.add("the tests in the core image", float(sum(report["seconds"].values())))
    sbom = json.loads((clone / "dist" / "sbom.cdx.json").read_text())
    assert {"apache-airflow-core", "celery"} <= {part["name"] for part in sbom["components"]}
    pinned = yaml.safe_load((clone / "dist" / "image.yml").read_text())["airflow_image"]
    digest = pinned["reference"].partition("@sha256:")[2]
    assert f"created image/{digest[:12]}" in runner.told[-1]
    origin = repositories.origins / "team" / "platform.git"
    assert git(origin, "diff", "--name-only", "main", f"image/{digest[:12]}") == PIN
    kept_no_secret(runner, secrets)


def test_production_deploys_the_merged_digest_and_nothing_else_changes(
    repositories: Repositories, secrets: dict[str, str]
):
    clone, origin = repositories.platform, repositories.origins / "team" / "platform.git"
    (branch,) = git(origin, "for-each-ref", "--format=%(refname)", "refs/heads/image").split()
    git(origin, "update-ref", "refs/heads/main", branch)
    git(clone, "fetch", "--quiet", "origin", "main")
    git(clone, "checkout", "--quiet", "FETCH_HEAD")
    runner = repositories.runner(clone)
    about = {"github__ref_name": "main", "github__sha": git(clone, "rev-parse", "HEAD")}
    GitHub(runner, "image").job("image.yml", "production", **about)
    deployed = next(told for told in runner.told if "PLAY [Deploy Airflow" in told)
    assert set(re.findall(r"changed=(\d+)", deployed)) == {"0"}, deployed[-4000:]
    kept_no_secret(runner, secrets)
