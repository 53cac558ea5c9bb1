"""What swarm_stack does on a swarm of several nodes that it cannot show on the engine of one.

Docker 20.10, which tests/engine has, itself ended by a panic in one of five of these. It is the first file, because it
changes nothing of the hosts.
"""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_hosts import ROOT
from managers import HOSTS, Swarm

STACK = "findings"


@pytest.fixture(name="deploy")
def _deploy(swarm: Swarm, inventory: Path) -> Iterator[t.Callable[..., dict[str, t.Any]]]:
    """The module on a manager, as a task of a play; what it returned. Nothing of the stack is left afterwards."""
    del swarm  # that there is one

    def run(**given: t.Any) -> dict[str, t.Any]:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))
        }
        words = ["-m", "flowstead.airflow.swarm_stack", "-a", json.dumps({"name": STACK, **given})]
        done = subprocess.run(
            [str(ROOT / ".venv/bin/ansible"), HOSTS[0], "-i", str(inventory), *words],
            cwd=ROOT,
            env={**environment, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        ended, found, answer = done.stdout.partition(" => ")
        assert found, done.stdout + done.stderr
        result = json.JSONDecoder().raw_decode(answer)[0]
        return {**result, "failed": ended.endswith("FAILED!"), "said": " ".join((done.stdout + done.stderr).split())}

    yield run
    gone = run(state="absent")
    assert not gone["failed"], gone


def definition(command: str, **network: t.Any) -> dict[str, t.Any]:
    """A service on a network."""
    deploy = {"endpoint_mode": "dnsrr", "restart_policy": {"delay": "100ms"}, "update_config": {"monitor": "1s"}}
    web = {"image": "work:1", "command": ["sh", "-c", command], "stop_grace_period": "1s", "networks": ["front"]}
    return {"services": {"web": {**web, "deploy": deploy}}, "networks": {"front": network}}


def test_8_when_the_new_service_fails_on_its_new_network_the_old_one_comes_back(
    swarm: Swarm, deploy: t.Callable[..., dict[str, t.Any]]
):
    quick = {"resolve_image": "never", "task_failures": 1, "timeout": 300}
    good, bad = definition("sleep 100000"), definition("echo no database; exit 3", attachable=True)
    made = deploy(definition=good, **quick)
    assert not made["failed"], made

    done = deploy(definition=bad, recreate=True, **quick)

    assert (done["failed"], done["rolled_back"]) == (True, True), done
    assert "no database" in done["msg"]
    (service,) = json.loads(swarm.docker("service inspect", f"{STACK}_web"))
    assert service["Spec"]["TaskTemplate"]["ContainerSpec"]["Args"] == ["sh", "-c", "sleep 100000"]
    (network,) = json.loads(swarm.docker("network inspect", f"{STACK}_front"))
    assert network["Attachable"] is True
    assert "was made anew, and stays so" in done["said"], "the definition of before differs now"
    again = deploy(definition=good, recreate=True, **quick)
    assert not again["failed"], again
    unchanged = deploy(definition=good, **quick)
    assert (unchanged["failed"], unchanged["changed"]) == (False, False), unchanged
