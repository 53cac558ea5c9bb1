"""Guests: a kernel process each, with a disk of its own over the shared base image."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import typing as t
from dataclasses import dataclass
from pathlib import Path

from . import network
from .run import wait_for
from .settings import Host, Lab, LabError

#: A guest's kernel maps every page of a process by itself, and the host allows this many maps to a process.
MAP_COUNT = 1048576
MAP_COUNT_FILE = Path("/proc/sys/vm/max_map_count")


@dataclass(frozen=True)
class Parts:
    """What a guest is started from: its kernel, the base image, and the public key that opens it."""

    kernel: Path
    image: Path
    public_key: str


def processes(umid: str) -> list[int]:
    """Process IDs of a guest's kernel. What carries the guest's own processes are children that end with it."""
    return processes_of([umid])[umid]


def processes_of(umids: t.Sequence[str]) -> dict[str, list[int]]:
    """The same of several guests, at one look."""
    found: dict[str, list[int]] = {umid: [] for umid in umids}
    wanted = {f"umid={umid}".encode(): umid for umid in umids}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue  # it ended while we looked
            for word in wanted.keys() & set(words):
                found[wanted[word]].append(int(entry.name))
    return found


def start(lab: Lab, host: Host, parts: Parts) -> None:
    """Switch a host on. Its disk is as it was; a host without one gets an empty one over the base image.

    Raises:
        LabError: it runs already.
    """
    if processes(lab.umid(host)):
        raise LabError(f"{host.name} runs already")
    directory = lab.directory(host)
    directory.mkdir(parents=True, exist_ok=True)
    interface = network.plug(lab, host)
    with (directory / "console.log").open("ab") as console:
        process = subprocess.Popen(
            [*network.inside(lab), *_pinned(lab, host), str(parts.kernel), *_arguments(lab, host, parts, interface)],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={"TMPDIR": "/dev/shm", "HOME": str(directory), "PATH": os.environ.get("PATH", os.defpath)},  # noqa: S108
            start_new_session=True,
        )
    _yield(process.pid, os.nice(0))


def cpu(lab: Lab, host: Host, cpus: t.Sequence[int]) -> int:
    """The CPU of this machine on which a host begins, with all that it does; neighbours in the file get different ones.

    A system call of a guest is two switches, from the guest's process to its kernel's and back. On one CPU they cost a
    few microseconds; across two, the second of which has gone to sleep meanwhile, several times as much.

    Args:
        cpus: numbers of the CPUs that this process may use.
    """
    return cpus[lab.hosts.index(host) % len(cpus)]


def _pinned(lab: Lab, host: Host) -> list[str]:
    return ["taskset", "--cpu-list", str(cpu(lab, host, sorted(os.sched_getaffinity(0))))]


def _yield(pid: int, nice: int) -> None:
    """Let a guest yield as much as whoever started it, where the kernel shares the processor by sessions.

    Source: sched(7), "The autogroup feature".
    """
    session = Path(f"/proc/{pid}/autogroup")
    if nice and session.exists():
        session.write_text(str(nice), encoding="ascii")


def _arguments(lab: Lab, host: Host, parts: Parts, interface: str) -> list[str]:
    resolver = f"f /etc/resolv.conf 0644 - - - search {lab.domain}\\nnameserver {lab.gateway}\\n"
    mac = f"02:00:0a:00:00:{host.number:02x}"
    return [
        f"mem={host.memory}M",
        f"umid={lab.umid(host)}",
        f"uml_dir={lab.directory(host)}",
        f"ubd0={lab.directory(host) / 'disk.cow'},{parts.image}",
        "root=/dev/ubda",
        "rw",
        f"vec0:transport=raw,ifname={interface},depth=128,gro=1,mac={mac}",
        "con0=null,fd:1",
        "con=null",
        "console=tty0",
        "seccomp=on",
        f"ip={lab.address(host)}::{lab.gateway}:255.255.255.0:{host.name}:vec0:none:{lab.gateway}",
        f"systemd.hostname={host.name}",
        _credential("ssh.authorized_keys.root", parts.public_key),
        _credential("tmpfiles.extra", resolver),
        "panic=-1",
        "quiet",
    ]


def _credential(name: str, value: str) -> str:
    """A word of the kernel's command line that hands something to systemd (see systemd.system-credentials(7))."""
    return f"systemd.set_credential_binary={name}:{base64.b64encode(value.encode()).decode()}"


def kill(lab: Lab, host: Host) -> None:
    """Take the host's power away: nothing is written any more.

    Raises:
        LabError: a process of it cannot be ended.
    """
    umid = lab.umid(host)

    def gone() -> bool:
        for pid in processes(umid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not processes(umid)

    if not wait_for(gone, 20):
        raise LabError(f"processes {processes(umid)} of {host.name} cannot be ended")


def forget_disk(lab: Lab, host: Host) -> None:
    """Remove what the host wrote, so that it starts as a new machine."""
    for name in ("disk.cow", "console.log"):
        (lab.directory(host) / name).unlink(missing_ok=True)


def console(lab: Lab, host: Host, lines: int = 15) -> str:
    """The end of what the host's kernel printed."""
    path = lab.directory(host) / "console.log"
    if not path.exists():
        return "(it printed nothing)"
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def allow_maps() -> bool:
    """Let processes of this machine have as many memory maps as guests need; returns whether that was changed."""
    if int(MAP_COUNT_FILE.read_text()) >= MAP_COUNT:
        return False
    MAP_COUNT_FILE.write_text(f"{MAP_COUNT}\n")
    return True
