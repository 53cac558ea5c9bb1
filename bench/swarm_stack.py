#!/usr/bin/env python3
"""Deployments with swarm_stack beside community.docker's modules: the same stack, the same engine, in one run.

    python bench/swarm_stack.py              all cases on a private engine: about ten minutes
    python bench/swarm_stack.py --rounds 5   more unchanged runs
    python bench/swarm_stack.py --lab        on three managers of the lab, over ssh: about eight minutes, as root

Eight services with eight secrets, four configs and two networks are deployed, deployed again unchanged, with one
service changed, and with one secret rotated. The peer does what its documentation says: docker_secret and
docker_config with rolling versions, docker_network, and docker_stack that waits (detach: false), if the docker program
there can wait. Both go through ansible-playbook with pipelining, with the local connection or over ssh.

For each run: the time of its tasks (the start of ansible-playbook, which is the same for both, is left out); how often
a module was sent to the target, which is an SSH command each on a remote one; and the processes that were started
there. These are counted without a tracer: the last number that was given out in a PID namespace (the fifth field of
/proc/loadavg) grows with each, threads included. On this machine each run has a namespace of its own, and the number
of a playbook without tasks is taken off; what is left holds Ansible's own fork for each task. On a host of the lab it
is the host's own, and what the host starts by itself in as long a time is taken off.
"""

from __future__ import annotations

import argparse
import contextlib
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
import time
import typing as t
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/engine"))
from packages import engine_packages
from private_engine import swarm_of_one

SERVICES, SECRETS, CONFIGS, NETWORKS = 8, 8, 4, 2
GOAL = 25
#: Seconds for which a host of the lab is watched while nothing is asked of it.
REST = 30
ANSIBLE = f"{ROOT}/.venv/bin/ansible-playbook"
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


class Target(t.Protocol):
    """Where modules run."""

    socket: str
    #: Nodes of the swarm, for the last line.
    nodes: str

    def command(self, playbook: Path) -> list[str]:
        """Runs the playbook, whose hosts are all, and prints as its last word the number of processes."""

    def environment(self) -> dict[str, str]:
        """Variables of that command."""

    def processes(self, printed: int, seconds: float) -> int:
        """Of that number and the seconds that the run took, those of the run itself."""


class HereTarget:
    """A private engine on this machine."""

    nodes = "one node"

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self.idle = 0
        self._python = interpreter()

    def command(self, playbook: Path) -> list[str]:
        shell = f"{ANSIBLE} -vvv -i localhost, -c local {playbook} && cut -d' ' -f5 /proc/loadavg"
        return [UNSHARE, "--pid", "--fork", "--mount-proc", "/bin/sh", "-c", shell]

    def environment(self) -> dict[str, str]:
        return {"ANSIBLE_PYTHON_INTERPRETER": str(self._python)}

    def processes(self, printed: int, seconds: float) -> int:
        del seconds
        return printed - self.idle


class LabTarget:
    """A manager of a swarm of three hosts in the lab."""

    socket = "/var/run/docker.sock"
    nodes = "three managers in the lab"
    NAME, HOSTS = "bench", ("swarm4", "swarm5", "swarm6")

    def __init__(self, folder: Path) -> None:
        os.environ["LAB"] = self.NAME
        sys.path.insert(0, str(ROOT / "molecule/support"))
        import tiny_image  # noqa: PLC0415 - only this target needs what the lab's tests share
        from conftest_shared import play, went_well  # noqa: PLC0415
        from lab_hosts import Hosts  # noqa: PLC0415
        from lab_inventory import write_inventory  # noqa: PLC0415

        self._hosts = Hosts()
        place = folder / "inventory"
        place.mkdir()
        inventory = write_inventory(place, self._hosts, {"swarm_managers": list(self.HOSTS)}, {})
        for playbook in ("engine", "swarm"):
            went_well(play(playbook=f"playbooks/{playbook}.yml", inventory=inventory))
        tiny_image.bring(self._hosts, self.HOSTS, "tiny:1")
        proxy = self._hosts.facts["proxy"]
        packages = "python3-docker python3-requests python3-yaml python3-jsondiff"
        self._ask(
            f"http_proxy={proxy} https_proxy={proxy} DEBIAN_FRONTEND=noninteractive"
            f" apt-get -qq install --no-install-recommends {packages} >/dev/null"
        )
        self._inventory = inventory
        first = self._count()
        self._ask(f"sleep {REST}")
        self._each_second = (self._count() - first) / REST

    def command(self, playbook: Path) -> list[str]:
        ssh = f"ssh -F {self._hosts.facts['ssh_config']} {self.HOSTS[0]} cat /proc/loadavg | cut -d' ' -f5"
        inventory = f"-i {self._inventory} --limit {self.HOSTS[0]}"
        shell = f"before=$({ssh}) && {ANSIBLE} -vvv {inventory} {playbook} && after=$({ssh}) && echo $((after-before))"
        return ["/bin/sh", "-c", shell]

    def environment(self) -> dict[str, str]:
        return {}

    def processes(self, printed: int, seconds: float) -> int:
        return max(0, round(printed - self._each_second * seconds))

    def _ask(self, command: str) -> str:
        return self._hosts.run(self.HOSTS[0], command, timeout=600)

    def _count(self) -> int:
        return int(self._ask("cat /proc/loadavg").split()[4])


class Bench:
    """Runs playbooks on one target."""

    def __init__(self, folder: Path, target: Target) -> None:
        self.folder, self.target = folder, target

    def run(self, tasks: list[Definition]) -> Run:
        """One playbook, which has to succeed.

        Raises:
            SystemExit: it did not.
        """
        playbook = self.folder / "play.json"
        playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
        began = time.monotonic()
        done = subprocess.run(
            self.target.command(playbook),
            cwd=ROOT,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
                **self.target.environment(),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
        )
        spent = time.monotonic() - began
        if done.returncode != 0:
            raise SystemExit(f"bench: the playbook failed:\n{done.stdout[-4000:]}\n{done.stderr[-2000:]}")
        begin, end = done.stdout.rindex("\n{\n"), done.stdout.rindex("\n}\n")
        told = json.loads(done.stdout[begin : end + 3])["plays"]
        records = told[0]["tasks"] if told else []
        items = sum(len(result.get("results", [1])) for record in records for result in record["hosts"].values())
        calls = len(re.findall(r"^<\S+> (?:SSH: )?(?:EXEC|PUT)", done.stdout, re.MULTILINE))
        processes = self.target.processes(int(done.stdout.split()[-1]), spent)
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


@contextlib.contextmanager
def here() -> t.Iterator[Bench]:
    """On this machine."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, engine_packages(), swarm_of_one() as engine:
        target = HereTarget(engine.socket)
        bench = Bench(Path(name), target)
        target.idle = bench.run([]).processes
        yield bench


@contextlib.contextmanager
def in_the_lab() -> t.Iterator[Bench]:
    """On hosts of the lab, which are taken away at the end."""
    lab = [str(ROOT / "molecule/lab/lab"), "--name", LabTarget.NAME]
    subprocess.run([str(ROOT / "scripts/lab_needs")], check=True)
    try:
        subprocess.run([*lab, "up", *LabTarget.HOSTS], check=True)
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            yield Bench(Path(name), LabTarget(Path(name)))
    finally:
        subprocess.run([*lab, "down"], check=True)


def main() -> None:
    """Print a table, and how much longer the peer takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="unchanged runs of each")
    parser.add_argument("--lab", action="store_true", help="on hosts of the lab")
    given = parser.parse_args()
    ratios: dict[str, float] = {}
    with in_the_lab() if given.lab else here() as bench:
        print(f"{'':<22}{'':<18}{'tasks took':>12}{'tasks':>8}{'module runs':>14}{'processes':>12}", flush=True)
        for case, stacks in cases(given.rounds):
            medians = {}
            runs: dict[str, list[Run]] = {"swarm_stack": [], "community.docker": []}
            for stack in stacks:
                runs["swarm_stack"].append(bench.run(our_tasks(stack, bench.target.socket)))
                runs["community.docker"].append(bench.run(peer_tasks(stack, bench.target.socket)))
            for name, done in runs.items():
                medians[name] = Run(*(statistics.median(values) for values in zip(*done)))  # type: ignore[arg-type]
                took, tasks, calls, processes = medians[name]
                print(f"{case:<22}{name:<18}{took:>10.2f} s{tasks:>8}{calls:>14}{processes:>12}", flush=True)
            ratios[case] = medians["community.docker"].seconds / medians["swarm_stack"].seconds
        nodes = bench.target.nodes
    print(f"{SERVICES} services, {SECRETS} secrets, {CONFIGS} configs, {NETWORKS} networks, {nodes}")
    for case, ratio in ratios.items():
        goal = f" (goal: {GOAL})" if case == "nothing to do" else " (goal: 1 or more)"
        print(f"{case}: community.docker takes {ratio:.1f} times as long{goal}")


if __name__ == "__main__":
    main()
