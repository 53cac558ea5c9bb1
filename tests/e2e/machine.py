"""What the end-to-end test needs to know about the machine it runs on: commands, processes, state."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STACK = "airflow-local"
URL = "http://localhost:8080"
RECAP = re.compile(
    r"^(?P<host>\S+)\s+: ok=(?P<ok>\d+)\s+changed=(?P<changed>\d+)\s+unreachable=(?P<unreachable>\d+)"
    r"\s+failed=(?P<failed>\d+)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Run:
    """A finished command: what it said, how it ended, how long it took in seconds."""

    command: list[str]
    returncode: int
    output: str
    seconds: float

    @property
    def changed(self) -> int:
        """Changed tasks over all hosts, from Ansible's recap."""
        recaps = list(RECAP.finditer(self.output))
        assert recaps, f"no recap in the output of {self.command}:\n{self.output[-3000:]}"
        return sum(int(recap["changed"]) for recap in recaps)

    def succeeded(self) -> Run:
        """This run, if it ended well; else an assertion with the end of its output."""
        assert self.returncode == 0, f"{' '.join(self.command)} ended with {self.returncode}:\n{self.output[-6000:]}"
        return self

    def failed(self) -> Run:
        """This run, if it ended badly, as a test wanted."""
        assert self.returncode != 0, f"{' '.join(self.command)} was expected to fail:\n{self.output[-3000:]}"
        return self


def run(*command: str, cwd: Path, environment: dict[str, str] | None = None, timeout: float = 1500) -> Run:
    """Run a command to its end, with its output in one string."""
    began = time.monotonic()
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Run(list(command), done.returncode, done.stdout, time.monotonic() - began)


@dataclass
class Checkout:
    """A clean clone, its commands, and the times they took."""

    path: Path
    durations: dict[str, float] = field(default_factory=dict)

    @property
    def secrets(self) -> dict[str, str]:
        """The generated passwords of the local inventory, by name."""
        folder = self.path / "inventories/local/.secrets"
        return {entry.name: entry.read_text().split()[0] for entry in sorted(folder.iterdir())}

    def make(self, *arguments: str, name: str | None = None) -> Run:
        """``make`` with arguments; its time is kept under ``name``."""
        done = run("make", *arguments, cwd=self.path)
        if name:
            self.durations[name] = done.seconds
        return done

    def play(
        self, *arguments: str, playbook: str = "site.yml", inventory: str = "inventories/local", name: str | None = None
    ) -> Run:
        """A playbook of the clone, run with its own .venv and ansible.cfg."""
        done = run(
            ".venv/bin/ansible-playbook",
            playbook,
            "-i",
            inventory,
            *arguments,
            cwd=self.path,
            environment={"ANSIBLE_CONFIG": "ansible.cfg"},
        )
        if name:
            self.durations[name] = done.seconds
        return done


def docker(*arguments: str) -> str:
    """Output of a docker command that has to succeed."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def services() -> dict[str, dict]:
    """The stack's services as the engine describes them, by short name."""
    names = docker(
        "service", "ls", "--filter", f"label=com.docker.stack.namespace={STACK}", "--format", "{{.Name}}"
    ).split()
    if not names:
        return {}
    found = json.loads(docker("service", "inspect", *names))
    return {service["Spec"]["Name"].removeprefix(f"{STACK}_"): service for service in found}


def versions() -> dict[str, int]:
    """Version index of each service: it grows with every write, also with one that changes nothing."""
    return {name: service["Version"]["Index"] for name, service in services().items()}


def specs() -> dict[str, dict]:
    """What each service is asked to be, without counters that a write moves."""
    return {name: service["Spec"] for name, service in services().items()}


def written(before: dict[str, dict], after: dict[str, dict]) -> set[str]:
    """Names of services whose specification differs."""
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def containers(service: str) -> list[str]:
    """IDs of the running containers of one service."""
    return docker("ps", "-q", "--filter", f"label=com.docker.swarm.service.name={STACK}_{service}").split()


def processes(*names: str) -> list[str]:
    """Running processes with one of these names, as ``pid name``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name = (entry / "comm").read_text().strip()
            except OSError:
                continue  # it ended while we looked
            if name in names:
                found.append(f"{entry.name} {name}")
    return found


def footprint() -> dict[str, t.Any]:
    """What a deployment would leave on this machine: packages, files, processes."""
    packages = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Package}=${Version}\n"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    watched = [
        "/etc/docker",
        "/var/lib/docker",
        "/etc/postgresql",
        "/etc/redis",
        "/srv/airflow/dags/local/examples",
        "/opt/flowstead/uv",
        "/var/cache/flowstead",
        "/var/lib/flowstead",
        "/var/lib/postgresql",
        "/var/lib/redis",
        "/run/docker.pid",
    ]
    return {
        "packages": packages,
        "files": files_below(watched),
        "processes": [entry.split()[1] for entry in processes("dockerd", "containerd", "postgres", "redis-server")],
        "gateway": Path("/sys/class/net/docker_gwbridge").exists(),
    }


def files_below(paths: list[str]) -> set[str]:
    """All files that are or lie below one of these paths; empty directories are nobody's data."""
    found = set()
    for path in map(Path, paths):
        found |= {str(entry) for entry in (path, *path.rglob("*")) if entry.is_file()}
    return found


def clean_clone(target: Path) -> Path:
    """Copy what git tracks or would track, as a clone of the commit to come would hold it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        source, copy = ROOT / name, target / name
        if source.is_file() or source.is_symlink():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)
    return target
