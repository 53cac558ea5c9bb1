"""What others deploy stacks with: Docker's own command line, and community.docker through ansible-playbook."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Seconds after which a command that should have ended is stuck.
STUCK = 120.0


class DockerCli:
    """`docker` on the private engine; every call of it is counted, whoever makes it."""

    def __init__(self, socket: str, folder: Path) -> None:
        program = shutil.which("docker")
        if program is None:
            pytest.fail("Docker's command line is needed: apt-get install docker-cli", pytrace=False)
        self.folder = folder
        self.calls = folder / "calls"
        shim = folder / "bin" / "docker"
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/sh\necho "$*" >> {self.calls}\nexec {program} "$@"\n')
        shim.chmod(0o755)
        self.environ = {
            **os.environ,
            "DOCKER_HOST": f"unix://{socket}",
            "DOCKER_CONFIG": str(folder / "config"),
            "PATH": f"{shim.parent}:{os.environ['PATH']}",
        }
        told = subprocess.run([program, "stack", "deploy", "--help"], capture_output=True, text=True, check=True)
        #: Older ones always return at once.
        self.waits = "--detach" in told.stdout

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", *words], env=self.environ, capture_output=True, text=True, check=False, timeout=STUCK
        )

    def file(self, name: str, services: dict[str, t.Any], **more: t.Any) -> Path:
        """A Compose file."""
        path = self.folder / f"{name}.json"  # JSON is YAML
        path.write_text(json.dumps({"version": "3.9", "services": services, **more}))
        return path

    def command(self, path: Path, stack: str, *options: str, wait: bool = False) -> list[str]:
        detach = [f"--detach={'false' if wait else 'true'}"] if self.waits else []
        return ["stack", "deploy", "--resolve-image", "never", *detach, *options, "-c", str(path), stack]

    def deploy(self, path: Path, stack: str, *options: str, wait: bool = False) -> subprocess.CompletedProcess[str]:
        return self.run(*self.command(path, stack, *options, wait=wait))

    def start(self, path: Path, stack: str) -> subprocess.Popen[str]:
        """A deployment that is told to wait, in the background."""
        return subprocess.Popen(
            ["docker", *self.command(path, stack, wait=True)],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def count(self) -> int:
        """How often it was called since the last time that was asked."""
        seen = len(self.calls.read_text().splitlines()) if self.calls.exists() else 0
        self.calls.unlink(missing_ok=True)
        return seen

    def docker_stack(self, path: Path, stack: str) -> tuple[int, dict[str, int]]:
        """community.docker.docker_stack that waits: exit status of the playbook, and its counts."""
        module = {"name": stack, "compose": [str(path)], "resolve_image": "never", "detach": not self.waits}
        task = {"community.docker.docker_stack": module}
        play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}]
        playbook = self.folder / "peer.json"
        playbook.write_text(json.dumps(play))
        done = subprocess.run(
            [str(ROOT / ".venv/bin/ansible-playbook"), "-i", "localhost,", str(playbook)],
            cwd=ROOT,
            env={
                **self.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
                "ANSIBLE_NOCOLOR": "1",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=STUCK,
        )
        counts = dict(re.findall(r"(ok|changed|failed)=(\d+)", done.stdout))
        assert counts, done.stdout + done.stderr
        return done.returncode, {word: int(number) for word, number in counts.items()}
