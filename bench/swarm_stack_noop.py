#!/usr/bin/env python3
"""Time an unchanged deployment: swarm_stack beside community.docker.docker_stack, same stack, same run.

A private Docker Engine carries eight services with eight secrets, four configs and two networks. Both modules
deploy it once and are then run again and again with nothing to do, in turn, through the same ansible-playbook.
The figure is a ratio: what one machine takes in seconds says nothing about another.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/engine"))
from packages import engine_packages
from private_engine import swarm_of_one

ROUNDS = 5
SERVICES = 8
SECRETS = 8
CONFIGS = 4
NETWORKS = 2
OURS = "flowstead.airflow.swarm_stack"
PEER = "community.docker.docker_stack"


def definition() -> dict[str, Any]:
    """The stack, in the Compose-style that swarm_stack takes."""
    secrets = [f"secret-{number}" for number in range(SECRETS)]
    configs = [f"config-{number}" for number in range(CONFIGS)]
    networks = [f"net-{number}" for number in range(NETWORKS)]
    service = {
        "image": "tiny:1",
        "init": True,
        "command": ["sleep", "100000"],
        "secrets": secrets,
        "configs": configs,
        "networks": networks,
        "stop_grace_period": "1s",
        "deploy": {"endpoint_mode": "dnsrr", "replicas": 1},
    }
    return {
        "services": {f"service-{number}": {**service, "environment": {"N": str(number)}} for number in range(SERVICES)},
        "networks": {name: {"driver": "overlay"} for name in networks},
        "secrets": {name: {"data": f"test-value-{name}"} for name in secrets},
        "configs": {name: {"data": f"test-value-{name}"} for name in configs},
    }


def compose_file(folder: Path) -> Path:
    """The same stack as a file for ``docker stack deploy``."""
    stack = {"version": "3.9", **definition()}
    for kind in ("secrets", "configs"):
        for name, value in stack[kind].items():
            (folder / name).write_text(value["data"])
            stack[kind][name] = {"file": str(folder / name)}
    path = folder / "compose.json"  # JSON is YAML
    path.write_text(json.dumps(stack))
    return path


def playbook(folder: Path, socket: Path) -> Path:
    """Deploy with both, then measure both in turn."""
    ours = {
        "name": "swarm_stack",
        OURS: {
            "name": "ours",
            "definition": definition(),
            "object_key": "a-test-key",
            "resolve_image": "never",
            "docker_socket": str(socket),
        },
    }
    peer = {
        "name": "docker_stack",
        PEER: {"name": "peer", "compose": [str(compose_file(folder))], "resolve_image": "never", "detach": False},
        "environment": {"DOCKER_HOST": f"unix://{socket}"},
    }
    tasks = [{**ours, "name": "first"}, {**peer, "name": "first"}, *[ours, peer] * ROUNDS]
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]
    path = folder / "bench.json"
    path.write_text(json.dumps(play))
    return path


def measure(folder: Path, socket: Path) -> dict[str, list[float]]:
    """Seconds of each unchanged run, by module, from Ansible's own record of when tasks began and ended."""
    done = subprocess.run(
        [str(ROOT / ".venv/bin/ansible-playbook"), "-i", "localhost,", str(playbook(folder, socket))],
        cwd=ROOT,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    report = done.stdout[done.stdout.find("{") :]
    if done.returncode != 0:
        raise SystemExit(f"bench: the playbook failed:\n{report[-3000:]}\n{done.stderr[-2000:]}")
    times: dict[str, list[float]] = {"swarm_stack": [], "docker_stack": []}
    for task in json.loads(report)["plays"][0]["tasks"]:
        name = task["task"]["name"]
        if name in times:
            times[name].append(seconds(task["task"]["duration"]))
    return times


def seconds(duration: dict[str, str]) -> float:
    """Length of a task as the callback records it."""
    from datetime import datetime  # noqa: PLC0415

    start, end = (datetime.fromisoformat(duration[key].replace("Z", "+00:00")) for key in ("start", "end"))
    return (end - start).total_seconds()


def main() -> None:
    """Print both medians and their ratio."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, engine_packages(), swarm_of_one() as engine:
        times = measure(Path(folder), engine.socket)
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"An unchanged stack of {SERVICES} services, {SECRETS} secrets, {CONFIGS} configs, {NETWORKS} networks:")
    for name, values in times.items():
        shown = ", ".join(f"{value:.2f}" for value in values)
        print(f"  {name:<14} {medians[name]:7.2f} s median of {len(values)} ({shown})")
    print(f"  docker_stack takes {medians['docker_stack'] / medians['swarm_stack']:.1f} times as long as swarm_stack")


if __name__ == "__main__":
    main()
