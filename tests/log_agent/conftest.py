"""A real syslog-ng that reads a real journal and sends to the strict double of Splunk.

    .venv/bin/pytest tests/log_agent

The programs come from the distribution's packages, unpacked below ``.cache``: nothing is installed, and no logger of
this machine is replaced. The journal is one of the test's own, seen by the agent in a mount namespace.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "collections"), str(ROOT / "molecule" / "doubles")]

from ansible_collections.flowstead.airflow.plugins.module_utils._logs.agent import Agent
from ansible_collections.flowstead.airflow.plugins.module_utils._logs.agent_configs import render
from splunk_double import SplunkDouble, Token

PACKAGES = ("syslog-ng-core", "syslog-ng-mod-http", "systemd-journal-remote")
#: Generous: what is waited for happens at once, or not at all.
DEADLINE = 90.0


def wait_for(what: str, condition: t.Callable[[], bool], told: t.Callable[[], object] = str) -> None:
    """Wait for a condition.

    Args:
        told: says more when it does not come about.
    """
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE:.0f} s for {what}: {told()}"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def programs() -> Path:
    """A directory with the packages' files, made once."""
    place = ROOT / ".cache" / "log-agent"
    if not (place / "complete").exists():
        shutil.rmtree(place, ignore_errors=True)
        (place / "debs" / "partial").mkdir(parents=True)
        words = ["-y", "-qq", "--download-only", "--no-install-recommends", "--reinstall"]
        where = ["-o", f"Dir::Cache::archives={place / 'debs'}", "-o", "Debug::NoLocking=1"]
        # Other tests use apt, too; a list that is being written can be read a moment later.
        for attempt in range(5):
            done = subprocess.run(
                ["apt-get", *words, *where, "install", *PACKAGES], capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                break
            time.sleep(2**attempt)
        assert done.returncode == 0, done.stdout + done.stderr
        for package in sorted((place / "debs").glob("*.deb")):
            subprocess.run(["dpkg", "-x", package, place], check=True)
        (place / "complete").touch()
    return place


class Journal:
    """A journal of the test's own, written entry by entry."""

    def __init__(self, programs: Path, directory: Path) -> None:
        self.directory = directory
        machine = Path("/etc/machine-id").read_text().strip()
        (directory / machine).mkdir(parents=True)
        self._count = 0
        self._process = subprocess.Popen(
            [
                programs / "lib/systemd/systemd-journal-remote",
                f"--output={directory / machine / 'system.journal'}",
                "--split-mode=none",
                "-",
            ],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LD_LIBRARY_PATH": str(programs / "usr/lib/x86_64-linux-gnu")},
        )

    def write(self, *entries: t.Mapping[str, str]) -> None:
        """Append entries: fields of the journal."""
        assert self._process.stdin is not None
        for entry in entries:
            self._count += 1
            fields = {
                "__CURSOR": f"s=1;i={self._count}",
                "__REALTIME_TIMESTAMP": str(int(time.time() * 1e6)),
                "__MONOTONIC_TIMESTAMP": str(self._count),
                "_BOOT_ID": "0123456789abcdef" * 2,
                **entry,
            }
            for name, value in fields.items():
                raw = value.encode()
                if b"\n" in raw or any(byte < 32 for byte in raw):
                    text = name.encode() + b"\n" + len(raw).to_bytes(8, "little") + raw
                else:
                    text = f"{name}=".encode() + raw
                self._process.stdin.write(text + b"\n")
            self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """No more entries."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def _read(directory: Path) -> str:
    (machine,) = directory.iterdir()
    command = ["journalctl", "--quiet", "--directory", machine, "--output=cat"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


class Runner:
    """Starts and ends agents; what they say is in ``log``."""

    def __init__(self, programs: Path, journal: Journal, directory: Path) -> None:
        self._programs = programs
        self._journal = journal
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.log = directory / "agent.log"

    def start(self, agent: Agent) -> None:
        """Start it and wait until it reads the journal."""
        configuration = self._directory / "agent.conf"
        configuration.write_text(render(agent))
        root, libraries = self._programs, self._programs / "usr/lib"
        paths = (libraries / "syslog-ng", libraries / "x86_64-linux-gnu", root / "lib/x86_64-linux-gnu")
        command = [
            *(root / "usr/sbin/syslog-ng", "-F", "--no-caps", "-e", "-v"),
            *("--module-path", libraries / "syslog-ng/3.38"),
            *("-f", configuration, "-R", f"{agent.state}/place", "-c", f"{agent.state}/control"),
            *("-p", f"{agent.state}/pid"),
        ]
        script = 'mount --bind "$1" /var/log/journal && shift && exec "$@"'
        before = self._said()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", script, "sh", self._journal.directory, *command],
                stdout=log,
                stderr=log,
                env={**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, paths))},
            )
        process = self._process
        wait_for(
            "the agent to start",
            lambda: process.poll() is not None or "syslog-ng starting up" in self._said()[len(before) :],
            self._said,
        )
        assert process.poll() is None, self._said()

    def command_line(self) -> str:
        """What everybody on the host can read of it."""
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}/cmdline").read_text() + Path(
            f"/proc/{self._process.pid}/environ"
        ).read_text(errors="replace")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it, by power loss as far as it is concerned with SIGKILL."""
        process, self._process = self._process, None
        if process:
            process.send_signal(number)
            process.wait(30)

    def _said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


@pytest.fixture
def splunk(tmp_path: Path) -> t.Iterator[SplunkDouble]:
    """Splunk with two indexes."""
    token = Token("a-token", indexes=["airflow", "hosts"], index="airflow")
    with SplunkDouble(indexes=["airflow", "hosts"], tokens=[token]) as double:
        yield double


@pytest.fixture
def journal(programs: Path, tmp_path: Path) -> t.Iterator[Journal]:
    """The journal of a host that has just begun."""
    one = Journal(programs, tmp_path / "journal")
    # A host's journal is never empty: it begins with the boot.
    a_minute_ago = str(int((time.time() - 60) * 1e6))
    one.write({"MESSAGE": "boot", "_TRANSPORT": "kernel", "__REALTIME_TIMESTAMP": a_minute_ago})
    wait_for("the first entry", lambda: "boot" in _read(one.directory))
    yield one
    one.close()


@pytest.fixture
def runner(programs: Path, journal: Journal, tmp_path: Path) -> t.Iterator[Runner]:
    """For agents, which end with the test."""
    one = Runner(programs, journal, tmp_path)
    yield one
    one.end(signal.SIGKILL)


@pytest.fixture
def agent(splunk: SplunkDouble, tmp_path: Path) -> Agent:
    """syslog-ng that sends all from now on."""
    state = tmp_path / "state"
    state.mkdir()
    since = tmp_path / "since.conf"
    since.write_text(f'@define since "{int(time.time())}"\n')
    return Agent(
        kind="syslog_ng",
        node="node1",
        environment="test",
        url=splunk.hec_url,
        token="a-token",
        index="airflow",
        sourcetype="airflow:component",
        host_index="hosts",
        host_sourcetype="journald",
        host_lines=True,
        ca_file="",
        history=False,
        buffer_mb=64,
        state=str(state),
        since_file=str(since),
    )
