"""The lab as tests see it: its hosts, its network, and what happens to them."""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import socket
import subprocess
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "molecule" / "lab" / "lab"
MANAGERS = ("swarm1", "swarm2", "swarm3")
SERVICES = "services1"
_CLONE_NEWNET = 0x40000000
#: What the lab does to a host that no connection outlives; ssh itself would notice some of it only after a while.
_ENDS_CONNECTIONS = ("kill", "reboot", "reset", "cut")


def wait_for(what: str, condition: t.Callable[[], t.Any], seconds: float, pause: float = 1.0) -> t.Any:
    """The first true value of ``condition``; when there is none in time, an assertion with its last value."""
    deadline = time.monotonic() + seconds
    while True:
        last = condition()
        if last and not isinstance(last, Waiting):
            return last
        if time.monotonic() >= deadline:
            raise AssertionError(f"after {seconds:g} s still waiting for {what}; last seen: {last}")
        time.sleep(pause)


class Waiting(str):
    """Why a condition does not hold yet."""

    __slots__ = ()


def await_leader(managers: t.Callable[[], t.Mapping[str, str]]) -> str:
    """The host that leads a swarm; a manager that comes back may have the others elect one.

    Args:
        managers: asks for the manager status of each host, as ``docker node ls`` says it.
    """

    def found() -> t.Any:
        try:
            return next((host for host, status in managers().items() if status == "Leader"), None)
        except AssertionError as error:  # without a leader, a manager may also refuse to answer
            return Waiting(str(error))

    return wait_for("a leader", found, 120)


class Hosts:
    """The hosts of a lab that is up; one connection to each serves all commands, for a new one costs half a second."""

    def __init__(self, name: str = "") -> None:
        self.name = name or os.environ.get("LAB", "lab")
        self._inside = ThreadPoolExecutor(max_workers=1, initializer=self._enter)

    def lab(self, *words: str) -> None:
        """A command of the lab: kill, start, cut, ..."""
        if words[0] in _ENDS_CONNECTIONS:
            self._disconnect(*words[1:])
        done = subprocess.run([str(LAB), "--name", self.name, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"lab {' '.join(words)}: {done.stderr}"

    @cached_property
    def facts(self) -> dict[str, t.Any]:
        """What ``lab facts`` says."""
        done = subprocess.run([str(LAB), "--name", self.name, "facts"], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    @cached_property
    def _connections(self) -> Path:
        """Where this process keeps its connections, and from where `lab down` would end them."""
        place = Path(self.facts["ssh_config"]).parent / "connections"
        place.mkdir(exist_ok=True)
        atexit.register(self._disconnect, *self.facts["addresses"])
        return place

    def ssh(self, host: str) -> list[str]:
        """The words that come before a command on a host."""
        shared = {
            "ControlMaster": "auto",
            "ControlPath": f"{self._connections}/{os.getpid()}-%n",
            "ControlPersist": "60",
            "ServerAliveInterval": "5",
            "ConnectTimeout": "10",
        }
        options = [word for name, value in shared.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-F", self.facts["ssh_config"], *options, host]

    def ask(self, host: str, *command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """A command on a host, however it ends. A host that does not answer in time ended with 255."""
        words = [*self.ssh(host), *command]
        try:
            return subprocess.run(
                words, capture_output=True, text=True, check=False, timeout=timeout, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(words, 255, "", f"no answer within {timeout:g} s")

    def run(self, host: str, *command: str, timeout: float = 120) -> str:
        """The output of a command on a host that has to succeed."""
        done = self.ask(host, *command, timeout=timeout)
        assert done.returncode == 0, f"{host}: {' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}"
        return done.stdout

    def write(self, host: str, path: str, content: str) -> None:
        """A file on a host."""
        words = [*self.ssh(host), f"mkdir -p $(dirname {path}) && cat > {path}"]
        subprocess.run(words, input=content, text=True, check=True, timeout=60)

    def connect(self, host: str, port: int, timeout: float = 20) -> socket.socket:
        """A connection to a port of a host, made from inside of the lab's network."""
        address = self.facts["addresses"][host]
        return self._inside.submit(socket.create_connection, (address, port), timeout).result()

    def _disconnect(self, *hosts: str) -> None:
        """End what is connected to these hosts, if anything is."""
        for host in hosts:
            if (self._connections / f"{os.getpid()}-{host}").exists():
                subprocess.run([*self.ssh(host)[:-1], "-O", "exit", host], capture_output=True, check=False, timeout=30)

    def _enter(self) -> None:
        """Put this one thread into the lab's network."""
        with open(f"/run/netns/{self.facts['namespace']}", "rb") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "cannot enter the lab's network")
