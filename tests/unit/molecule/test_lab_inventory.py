"""The lab's inventory passes validation with what a lab says about itself, without a lab."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from _lab import access
from _lab.settings import load

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")

Validate = t.Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def validate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Validate:
    """Run the validate playbook on a copy of the inventory, with the facts of a lab that never ran."""
    monkeypatch.setenv("FLOWSTEAD_LAB_STATE", str(tmp_path))
    monkeypatch.setenv("LAB", "lab")
    inventory = tmp_path / "inventory"
    shutil.copytree(ROOT / "inventories/lab", inventory, ignore=shutil.ignore_patterns(".secrets"))
    lab = load("lab")
    assert lab.state.is_relative_to(tmp_path)
    (lab.state / "pki").mkdir(parents=True)
    authority = "-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"
    (lab.state / "pki" / "authority.pem").write_text(authority)
    (lab.state / "facts.json").write_text(json.dumps(access.facts(lab)))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PLAYBOOK), "playbooks/validate.yml", "-i", str(inventory), *words],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_CONFIG": "ansible.cfg", "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


def test_the_lab_inventory_passes_without_a_lab(validate: Validate):
    done = validate()
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_mistake_in_the_lab_inventory_is_found_without_a_lab(validate: Validate):
    done = validate("-e", json.dumps({"dag_share_nfs": {"hots": "services1"}, "local_services_enabled": ["rabitmq"]}))
    assert done.returncode != 0
    for words in ("dag_share_nfs.hots", "Did you mean host?", "local_services_enabled[0]", "Did you mean rabbitmq?"):
        assert words in done.stdout
