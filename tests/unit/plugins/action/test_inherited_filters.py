"""What Ansible's workers inherit from the process that forks them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
FILTERS = {path.stem for path in (ROOT / "plugins/filter").glob("*.py")}
CALLBACK = """
import sys
from ansible.plugins.callback import CallbackBase

class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_NAME = "told"

    def v2_playbook_on_stats(self, stats):
        prefix = "ansible_collections.flowstead.airflow.plugins.filter."
        found = [name.removeprefix(prefix) for name in sys.modules if name.startswith(prefix)]
        self._display.display(f"INHERITED {' '.join(sorted(found))}")
        self._display.display(f"LIBRARY {'cyclonedx' in sys.modules}")
"""
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - flowstead.airflow.{module}:
      when: false
"""


def told(where: Path, module: str) -> dict[str, str]:
    """What the process that forks has imported after a play with this task, which it skipped."""
    (where / "callbacks").mkdir()
    (where / "callbacks" / "told.py").write_text(CALLBACK)
    (where / "play.yml").write_text(PLAY.format(module=module))
    environment = {
        **os.environ,
        "ANSIBLE_CALLBACK_PLUGINS": str(where / "callbacks"),
        "ANSIBLE_CALLBACKS_ENABLED": "told",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
    }
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local", "play.yml"],
        cwd=where,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (line.partition(" ") for line in done.stdout.splitlines() if line.startswith(("INHERITED", "LIBRARY")))
    return {name: value for name, _space, value in lines}


@pytest.mark.parametrize(
    "module", ["host_preflight", "docker_host_info", "swarm_stack", "dag_release", "airflow_canary"]
)
def test_a_task_that_comes_early_brings_every_filter_once_for_all(tmp_path: Path, module: str):
    found = told(tmp_path, module)

    assert set(found["INHERITED"].split()) == FILTERS
    assert found["LIBRARY"] == "False", "only an SBOM needs it, and it is slow"


def test_a_module_alone_brings_none(tmp_path: Path):
    assert told(tmp_path, "engine_image")["INHERITED"] == ""
