"""The example inventories and the one in README pass validation, and say no to placeholders."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")


def validate(inventory: Path) -> subprocess.CompletedProcess[str]:
    """Run the validate playbook, which looks at no host."""
    return subprocess.run(
        [str(PLAYBOOK), "playbooks/validate.yml", "-i", str(inventory)],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": "ansible.cfg", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def vault() -> dict[str, dict[str, str]]:
    """Values of the right shape for every secret of the production example."""
    example = yaml.safe_load((ROOT / "inventories/prod/group_vars/all/vault.example.yml").read_text())
    names = example["vault_airflow"]
    values = {name: f"{name}-{index}-test-value-of-no-use-anywhere-0123456789" for index, name in enumerate(names)}
    values["fernet"] = base64.urlsafe_b64encode(b"thirty-two-bytes-of-test-value-!").decode()
    return {"vault_airflow": values}


@pytest.fixture
def production(tmp_path: Path) -> Path:
    """A copy of the production example with a filled vault."""
    inventory = tmp_path / "prod"
    shutil.copytree(ROOT / "inventories/prod", inventory)
    (inventory / "group_vars/all/vault.yml").write_text(yaml.safe_dump(vault()))
    return inventory


def test_the_production_example_passes_once_its_vault_is_filled(production: Path):
    done = validate(production)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_production_example_is_refused_as_long_as_its_vault_is_not_filled():
    done = validate(ROOT / "inventories/prod")
    assert done.returncode != 0
    for variable in (
        "airflow_database.password",
        "airflow_broker.password",
        "airflow_keys.jwt",
        "airflow_admin.password",
    ):
        assert variable in done.stdout


def test_the_inventory_in_readme_is_the_production_example(production: Path):
    block = re.search(r"```yaml\n(airflow_environment: prod.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block
    shown = block.group(1)
    assert len(shown.splitlines()) <= 40
    assert yaml.safe_load(shown) == yaml.safe_load((production / "group_vars/all/airflow.yml").read_text())


def test_the_local_inventory_passes(tmp_path: Path):
    inventory = tmp_path / "local"
    shutil.copytree(ROOT / "inventories/local", inventory, ignore=shutil.ignore_patterns(".secrets"))
    done = validate(inventory)
    assert done.returncode == 0, done.stdout + done.stderr
