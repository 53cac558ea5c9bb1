"""The preflight playbook asks of each host what it will have to carry, and no more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
MORE_THAN_ANY_HOST_HAS = 2**40  # MiB


def test_a_drained_manager_needs_no_memory_for_tasks(tmp_path: Path):
    variables: dict[str, object] = {
        "ansible_connection": "local",
        "ansible_become": False,
        "ansible_python_interpreter": sys.executable,
        "airflow_preflight_endpoints": False,
    }
    for path in (ROOT / "inventories/local/group_vars/all").glob("*.yml"):
        variables.update(yaml.safe_load(path.read_text()))
    variables["airflow_workers"] = [
        {
            "name": "default",
            "queues": ["default"],
            "memory_mb": MORE_THAN_ANY_HOST_HAS,
            "memory_reservation_mb": MORE_THAN_ANY_HOST_HAS,
        }
    ]
    groups = {
        "swarm_managers": {"hosts": {"resting": {"swarm_node_availability": "drain"}}},
        "swarm_workers": {"hosts": {"working": {}}},
        "local_services": {},
    }
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"vars": variables, "children": groups}}))

    done = subprocess.run(
        [str(PLAYBOOK), "playbooks/preflight.yml", "-i", str(inventory)],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": "ansible.cfg", "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode != 0
    assert "working: airflow_components" in done.stdout, done.stdout + done.stderr
    assert "resting: airflow_components" not in done.stdout
