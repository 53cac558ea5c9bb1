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


def validate(inventory: Path, extra: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the validate playbook, which looks at no host; extra is a file with more variables."""
    return subprocess.run(
        [str(PLAYBOOK), "playbooks/validate.yml", "-i", str(inventory), *(["-e", f"@{extra}"] if extra else [])],
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
    assert f"{len(vault()['vault_airflow'])} problems in the variables. Nothing was changed." in done.stdout
    for variable in (
        "airflow_database.password",
        "airflow_result_backend.password",
        "airflow_broker.password",
        "airflow_keys.fernet",
        "airflow_keys.api_secret",
        "airflow_keys.jwt",
        "airflow_keys.object_names",
        "airflow_admin.password",
        "airflow_image_registry.password",
        "airflow_logs.tasks.splunk.token",
        "airflow_logs.tasks.splunk.search_token",
    ):
        assert variable in done.stdout


def test_a_secret_that_the_vault_forgets_is_named(production: Path):
    forgetful = vault()
    del forgetful["vault_airflow"]["broker"]
    (production / "group_vars/all/vault.yml").write_text(yaml.safe_dump(forgetful))
    done = validate(production)
    assert done.returncode != 0
    assert "vault_airflow.broker" in done.stdout + done.stderr, "with the file and the line that ask for it"


def test_what_the_production_example_shows_in_comments_passes_too(production: Path, tmp_path: Path):
    shown: dict[str, object] = {}
    for path in (production / "group_vars").rglob("*.yml"):
        blocks = re.findall(r"^# [a-z]+_[a-z_]+:.*\n(?:#   .*\n)*", path.read_text(), re.MULTILINE)
        shown.update(yaml.safe_load(re.sub(r"^# ", "", "".join(blocks), flags=re.MULTILINE)) or {})
    assert {"docker_engine_proxy", "docker_engine_ca_certificates", "docker_engine_registry_cas"} <= set(shown)
    assert {"dag_share_type", "dag_share_efs", "dag_share_proxy", "swarm_advertise_address"} <= set(shown)
    extra = tmp_path / "extra.yml"
    extra.write_text(yaml.safe_dump(shown))
    done = validate(production, extra)
    assert done.returncode == 0, done.stdout + done.stderr


def test_three_hosts_in_all_need_only_what_the_production_example_says(production: Path):
    (production / "group_vars/swarm_managers.yml").unlink()
    hosts = yaml.safe_load((production / "hosts.yml").read_text())
    hosts["all"]["children"]["airflow"]["children"]["swarm_workers"] = {}
    (production / "hosts.yml").write_text(yaml.safe_dump(hosts))
    done = validate(production)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_production_example_has_one_publisher_and_it_is_a_manager():
    share = (ROOT / "inventories/prod/group_vars/all/share.yml").read_text()
    named = re.findall(r"inventory_hostname == '([^']+)'", share)
    hosts = yaml.safe_load((ROOT / "inventories/prod/hosts.yml").read_text())
    managers = hosts["all"]["children"]["airflow"]["children"]["swarm_managers"]["hosts"]
    assert len(named) == 1
    assert named[0] in managers


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
