"""The validate playbook checks the variables of every role, on every host, before anything is changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")


def validate(
    tmp_path: Path, extra: dict[str, object], host_vars: dict[str, dict[str, object]] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the playbook on the local example's variables, with hosts and extra variables."""
    hosts: dict[str, object] = {"one": {}, **(host_vars or {})}
    variables: dict[str, object] = {"ansible_connection": "local"}
    for path in (ROOT / "inventories/local/group_vars/all").glob("*.yml"):
        variables.update(yaml.safe_load(path.read_text()))
    groups = {"swarm_managers": {"hosts": hosts}, "swarm_workers": {}, "local_services": {}}
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"vars": variables, "children": groups}}))
    return subprocess.run(
        [str(PLAYBOOK), "playbooks/validate.yml", "-i", str(inventory), "-e", json.dumps(extra)],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": "ansible.cfg", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_mistakes_in_variables_of_every_role_are_in_one_message(tmp_path: Path):
    done = validate(
        tmp_path,
        {
            "airflow_image": {"sorce": "x", "push": True},
            "airflow_swarm_timeout": "soon",
            "airflow_swarm_publish_mode": "hosst",
            "docker_engine_versoin": "1",
        },
    )

    assert done.returncode != 0
    assert "5 problems in the variables. Nothing was changed." in done.stdout
    for variable in (
        "airflow_image.sorce",
        "airflow_image.registry",
        "airflow_swarm_timeout",
        "airflow_swarm_publish_mode",
        "docker_engine_versoin",
    ):
        assert variable in done.stdout


def test_values_that_need_facts_pass_without_facts(tmp_path: Path):
    address = "{{ ansible_facts['default_ipv4']['address'] }}"

    done = validate(
        tmp_path, {"swarm_advertise_address": address, "local_services_listen_addresses": ["127.0.0.1", address]}
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_mistake_in_the_variables_of_another_host_is_found(tmp_path: Path):
    image = {"source": "existing", "reference": "registry.example.com/airflow:1"}

    done = validate(tmp_path, {"airflow_image": image}, {"two": {"swarm_node_availability": "drian"}})

    assert done.returncode != 0
    assert "1 problem in the variables" in done.stdout
    assert 'swarm_node_availability ("drian", on two)' in done.stdout


def test_an_image_that_is_not_pushed_is_refused_for_two_hosts(tmp_path: Path):
    done = validate(tmp_path, {}, {"two": {}})

    assert done.returncode != 0
    assert "1 problem in the variables" in done.stdout
    assert "airflow_image.push" in done.stdout


def test_what_the_share_needs_by_its_type_is_missed_on_every_host_at_once(tmp_path: Path):
    image = {"source": "existing", "reference": "registry.example.com/airflow:1"}
    hosts: dict[str, dict[str, object]] = {
        "one": {"dag_share_type": "nfs", "dag_share_nfs": {"host": "share.example.com"}},
        "two": {"dag_share_type": "efs"},
        "three": {},
    }

    done = validate(tmp_path, {"airflow_image": image}, hosts)

    assert done.returncode != 0
    assert "3 problems in the variables. Nothing was changed." in done.stdout
    assert "dag_share_nfs.path (not set, on one)" in done.stdout
    assert "dag_share_efs.file_system (not set, on two)" in done.stdout
    for words in ("dag_share_type (", "nfs on one", "efs on two", "local on three"):
        assert words in done.stdout


def test_an_even_number_of_managers_is_no_mistake_of_the_inventory(tmp_path: Path):
    image = {"source": "existing", "reference": "registry.example.com/airflow:1"}

    done = validate(tmp_path, {"airflow_image": image}, {"two": {}})

    assert done.returncode == 0, done.stdout + done.stderr
