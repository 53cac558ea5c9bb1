"""How long `site.yml` takes when there is nothing to do, and how that grows with the number of hosts.

    python bench/site_growth.py

Deploys the lab's platform on one swarm host, then on three, then on six (three managers and three workers), each beside
the host with the stand-ins, and times an unchanged run of each. Needs root, like the lab; takes about 20 minutes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
LAB = ROOT / "molecule" / "lab" / "lab"
NAME = "growth"
STEPS = (
    (("swarm1",), ()),
    (("swarm1", "swarm2", "swarm3"), ()),
    (("swarm1", "swarm2", "swarm3"), ("swarm4", "swarm5", "swarm6")),
)
#: The same platform in every step, small enough for one host.
PLATFORM = {
    "airflow_components": {
        name: {"replicas": 1, "memory_mb": 1024, "memory_reservation_mb": 128}
        for name in ("api_server", "scheduler", "dag_processor", "triggerer")
    },
    "airflow_workers": [
        {
            "name": "default",
            "queues": ["default"],
            "replicas": 1,
            "concurrency": 2,
            "memory_mb": 1536,
            "memory_reservation_mb": 128,
        }
    ],
}


def inventory(directory: Path, managers: tuple[str, ...], workers: tuple[str, ...]) -> Path:
    """The lab's inventory with these hosts."""
    target = directory / "inventory"
    if not target.exists():
        shutil.copytree(ROOT / "inventories" / "lab", target)
    document = yaml.safe_load((ROOT / "inventories" / "lab" / "hosts.yml").read_text())
    groups = document["all"]["children"]["airflow"]["children"]
    groups["swarm_managers"] = {"hosts": dict.fromkeys(managers)}
    groups["swarm_workers"] = {"hosts": dict.fromkeys(workers)}
    (target / "hosts.yml").write_text(yaml.safe_dump(document))
    (target / "group_vars" / "all" / "size.yml").write_text(yaml.safe_dump(PLATFORM))
    return target


def play(where: Path, *words: str) -> tuple[float, str]:
    """Seconds and output of a whole run, which has to succeed."""
    began = time.monotonic()
    done = subprocess.run(
        [str(ROOT / ".venv/bin/ansible-playbook"), "site.yml", "-i", str(where), *words],
        cwd=ROOT,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "LAB": NAME,
            "FLOWSTEAD_LAB_STATE": str(ROOT / ".cache" / "lab"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"site.yml failed:\n{done.stdout[-4000:]}\n{done.stderr[-2000:]}")
    return time.monotonic() - began, done.stdout


def lab(*words: str) -> None:
    """A command of the lab."""
    subprocess.run([str(LAB), "--name", NAME, *words], check=True)


def main() -> None:
    rows = []
    print("swarm hosts  deployed  nothing to do  ratio to one host  tasks  commands over ssh  changed", flush=True)
    with tempfile.TemporaryDirectory() as name:
        try:
            for managers, workers in STEPS:
                hosts = [*managers, *workers]
                lab("up", "services1", *hosts)
                where = inventory(Path(name), managers, workers)
                deployed, _output = play(where)
                seconds, output = min((play(where, "-vvv") for _ in range(2)), key=lambda done: done[0])
                changed = sum(map(int, re.findall(r"changed=(\d+) ", output)))
                commands = len(re.findall(r"SSH: EXEC", output))
                tasks = len(re.findall(r"^TASK \[", output, re.MULTILINE))
                rows.append((len(hosts), seconds))
                times = f"{len(hosts):>11}  {deployed:6.0f} s  {seconds:11.1f} s  {seconds / rows[0][1]:17.2f}"
                print(f"{times}  {tasks:>5}  {commands:>17}  {changed:>7}", flush=True)
        finally:
            lab("down")
    worst = max(seconds / rows[0][1] / count for count, seconds in rows[1:])
    print(f"growth beside the number of hosts: {worst:.2f} (goal: below 1)")


if __name__ == "__main__":
    main()
