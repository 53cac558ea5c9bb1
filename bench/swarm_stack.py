#!/usr/bin/env python3
"""Deployments with swarm_stack beside community.docker's modules: the same stack, the same engine, in one run.

    python bench/swarm_stack.py              all cases on a private engine: about ten minutes
    python bench/swarm_stack.py --rounds 5   more unchanged runs

Eight services with eight secrets, four configs and two networks are deployed, deployed again unchanged, with one
service changed, and with one secret rotated. The peer does what its documentation says: docker_secret and
docker_config with rolling versions, docker_network, and docker_stack that waits (detach: false). Both go through
ansible-playbook with the local connection and pipelining; the docker program is the one that is installed.

For each run: the time of its tasks (the start of ansible-playbook, which is the same for both, is left out); how often
a module was sent to the target, which is an SSH command each on a remote one; and the processes that were started.
These are counted without a tracer: each run has a PID namespace of its own, so the last number that was given out there
(the fifth field of /proc/loadavg) is how many there were, threads included. That of a playbook without tasks is taken
off; what is left holds Ansible's own fork for each task, which runs on the controller when the target is remote.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import typing as t
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/engine"))
from packages import engine_packages
from private_engine import swarm_of_one

SERVICES, SECRETS, CONFIGS, NETWORKS = 8, 8, 4, 2
GOAL = 25
UNSHARE = shutil.which("unshare") or "/usr/bin/unshare"
Definition = dict[str, t.Any]


class Run(t.NamedTuple):
    """What one run of a playbook cost."""

    seconds: float
    tasks: int
    calls: int
    processes: int


def definition() -> Definition:
    """The stack, in the Compose style that both take."""
    secrets = [f"secret-{number}" for number in range(SECRETS)]
    configs = [f"config-{number}" for number in range(CONFIGS)]
    networks = [f"net-{number}" for number in range(NETWORKS)]
    services = {
        f"service-{number}": {
            "image": "tiny:1",
            "init": True,
            "command": ["sleep", "100000"],
            "environment": {"LEVEL": "1"},
            "secrets": [secrets[number]],
            "configs": configs,
            "networks": networks,
            "stop_grace_period": "1s",
            "deploy": {"endpoint_mode": "dnsrr", "replicas": 1},
        }
        for number in range(SERVICES)
    }
    return {
        "services": services,
        "networks": {name: {"driver": "overlay"} for name in networks},
        "secrets": {name: {"data": f"test-value-{name}"} for name in secrets},
        "configs": {name: {"data": f"test-value-{name}"} for name in configs},
    }


def our_tasks(stack: Definition, socket: str) -> list[Definition]:
    """One task."""
    module = {"name": "ours", "definition": stack, "object_key": "a-test-key", "docker_socket": socket}
    return [{"flowstead.airflow.swarm_stack": {**module, "resolve_image": "never"}}]


def peer_tasks(stack: Definition, socket: str) -> list[Definition]:
    """What a play with community.docker looks like: objects first, whose versioned names the stack then refers to."""
    tasks: list[Definition] = []
    compose = {"version": "3.9", "services": stack["services"]}
    for kind in ("secret", "config"):
        entries = [{"name": f"peer_{name}", "data": entry["data"]} for name, entry in stack[f"{kind}s"].items()]
        module = {"name": "{{ item.name }}", "data": "{{ item.data }}", "rolling_versions": True, "versions_to_keep": 2}
        tasks.append(
            {
                f"community.docker.docker_{kind}": {**module, "docker_host": f"unix://{socket}"},
                "loop": entries,
                "loop_control": {"label": "{{ item.name }}"},
                "register": f"made_{kind}s",
            }
        )
        compose[f"{kind}s"] = {
            name: {"external": True, "name": f"{{{{ made_{kind}s.results[{index}].{kind}_name }}}}"}
            for index, name in enumerate(stack[f"{kind}s"])
        }
    tasks.append(
        {
            "community.docker.docker_network": {
                "name": "peer_{{ item }}",
                "driver": "overlay",
                "docker_host": f"unix://{socket}",
            },
            "loop": list(stack["networks"]),
        }
    )
    compose["networks"] = {name: {"external": True, "name": f"peer_{name}"} for name in stack["networks"]}
    module = {"name": "peer", "compose": [compose], "resolve_image": "never", "detach": False}
    return [*tasks, {"community.docker.docker_stack": module, "environment": {"DOCKER_HOST": f"unix://{socket}"}}]


class Bench:
    """Runs playbooks on one engine."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder, self.python = folder, python
        self.idle = 0
        self.idle = self.run([]).processes

    def run(self, tasks: list[Definition]) -> Run:
        """One playbook, which has to succeed.

        Raises:
            SystemExit: it did not.
        """
        playbook = self.folder / "play.json"
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
        playbook.write_text(json.dumps([play]))
        command = f"{ROOT}/.venv/bin/ansible-playbook -vvv -i localhost, {playbook} && cut -d' ' -f5 /proc/loadavg"
        done = subprocess.run(
            [UNSHARE, "--pid", "--fork", "--mount-proc", "/bin/sh", "-c", command],
            cwd=ROOT,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
                "ANSIBLE_PYTHON_INTERPRETER": str(self.python),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
        )
        if done.returncode != 0:
            raise SystemExit(f"bench: the playbook failed:\n{done.stdout[-4000:]}\n{done.stderr[-2000:]}")
        begin, end = done.stdout.rindex("\n{\n"), done.stdout.rindex("\n}\n")
        told = json.loads(done.stdout[begin : end + 3])["plays"]
        records = told[0]["tasks"] if told else []
        items = sum(len(record["hosts"]["localhost"].get("results", [1])) for record in records)
        calls = len(re.findall(r"^<localhost> (?:EXEC|PUT)", done.stdout, re.MULTILINE))
        processes = int(done.stdout.split()[-1]) - self.idle
        return Run(sum(seconds(record["task"]["duration"]) for record in records), items, calls, processes)


def seconds(duration: dict[str, str]) -> float:
    """Length of a task as the callback records it."""
    start, end = (datetime.fromisoformat(duration[key].replace("Z", "+00:00")) for key in ("start", "end"))
    return (end - start).total_seconds()


def interpreter() -> Path:
    """A Python with what the peer needs, made once for each state of the pins."""
    pins = ROOT / "requirements/peer.txt"
    made = ROOT / ".cache" / f"peer-{hashlib.sha256(pins.read_bytes()).hexdigest()[:12]}"
    if not (made / "complete").exists():
        shutil.rmtree(made, ignore_errors=True)
        uv = str(ROOT / ".venv/bin/uv")
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(made)], check=True)
        target = ["--quiet", "--python", str(made / "bin/python")]
        subprocess.run([uv, "pip", "install", *target, "-r", str(pins)], check=True)
        (made / "complete").touch()
    return made / "bin/python"


def cases(rounds: int) -> t.Iterator[tuple[str, list[Definition]]]:
    """Name, and the stack of each run; the figures of a case are medians."""
    stack = definition()
    yield "first deployment", [stack]
    yield "nothing to do", [stack] * rounds
    changed = copy.deepcopy(stack)
    changed["services"]["service-0"]["environment"]["LEVEL"] = "2"
    yield "one service changed", [changed]
    rotated = copy.deepcopy(changed)
    rotated["secrets"]["secret-1"]["data"] = "another-test-value"
    yield "one secret rotated", [rotated]


def main() -> None:
    """Print a table, and how much longer the peer takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="unchanged runs of each")
    rounds = parser.parse_args().rounds
    ratios: dict[str, float] = {}
    python = interpreter()
    print(f"{'':<22}{'':<18}{'tasks took':>12}{'tasks':>8}{'module runs':>14}{'processes':>12}", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, engine_packages(), swarm_of_one() as engine:
        bench = Bench(Path(folder), python)
        for case, stacks in cases(rounds):
            medians = {}
            runs: dict[str, list[Run]] = {"swarm_stack": [], "community.docker": []}
            for stack in stacks:
                runs["swarm_stack"].append(bench.run(our_tasks(stack, engine.socket)))
                runs["community.docker"].append(bench.run(peer_tasks(stack, engine.socket)))
            for name, done in runs.items():
                medians[name] = Run(*(statistics.median(values) for values in zip(*done)))  # type: ignore[arg-type]
                took, tasks, calls, processes = medians[name]
                print(f"{case:<22}{name:<18}{took:>10.2f} s{tasks:>8}{calls:>14}{processes:>12}", flush=True)
            ratios[case] = medians["community.docker"].seconds / medians["swarm_stack"].seconds
    print(f"{SERVICES} services, {SECRETS} secrets, {CONFIGS} configs, {NETWORKS} networks, one node")
    for case, ratio in ratios.items():
        goal = f" (goal: {GOAL})" if case == "nothing to do" else " (goal: 1 or more)"
        print(f"{case}: community.docker takes {ratio:.1f} times as long{goal}")


if __name__ == "__main__":
    main()
