"""What the lab can do, one function per command."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from . import access, guests, image, kernel, network
from .run import TOOLS, missing_tools, say, wait_for
from .settings import HERE, Host, Lab, LabError

#: Seconds; generous, since a machine may be busy with other things.
_SSH_PATIENCE, _REBOOT_PATIENCE, _GATEWAY_PATIENCE = 180, 300, 20
_MEMORY = Path("/dev/shm")  # noqa: S108  where guests keep their memory


@contextlib.contextmanager
def locked(lab: Lab) -> t.Iterator[None]:
    """Only one command at a time changes a lab."""
    lab.state.parent.mkdir(parents=True, exist_ok=True)
    with (lab.state.parent / f"{lab.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say(f"waiting for another command that changes lab {lab.name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def building(lab: Lab) -> t.Iterator[None]:
    """Labs that come up side by side wait for the one that makes the kernel or the image, and take what it made."""
    lab.cache.mkdir(parents=True, exist_ok=True)
    with (lab.cache / "building.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def check_needs(lab: Lab, hosts: t.Sequence[Host]) -> None:
    """Refuse, with all reasons at once, to start what cannot work here."""
    problems = []
    if os.geteuid() != 0:
        problems.append("network namespaces need root: run this as root")
    lacking = needs(lab)
    if lacking:
        problems.append(f"run: apt-get install {' '.join(lacking)}")
    if shutil.which("apt-get") is None:
        problems.append("the base image is made with apt: use a machine with Debian or Ubuntu")
    wanted = sum(host.memory for host in hosts if not guests.processes(lab.umid(host)))
    free = shutil.disk_usage(_MEMORY).free // 2**20
    if wanted // 2 > free:
        problems.append(f"{_MEMORY} has {free} MiB free, and the hosts may use {wanted}: stop other labs")
    if problems:
        raise LabError("the lab cannot start here:\n  " + "\n  ".join(problems))


def needs(lab: Lab) -> list[str]:
    """Debian packages that the lab needs on this machine and that are missing."""
    lacking = {TOOLS[tool] for tool in missing_tools(TOOLS)} | kernel.packages(lab.cache)
    if not Path(image.KEYRING).exists():
        lacking.add("debian-archive-keyring")
    return sorted(lacking)


def up(lab: Lab, names: list[str]) -> None:
    """Start hosts (those in ``names``, or the default ones), each reachable by ssh at the end."""
    hosts = lab.select(names)
    began = time.monotonic()
    with locked(lab):
        check_needs(lab, hosts)
        if guests.allow_maps():
            say(f"raised vm.max_map_count to {guests.MAP_COUNT}: guests with large processes need it")
        with building(lab):
            parts = guests.Parts(kernel.find(lab.cache), image.find(lab.cache), access.prepare(lab))
        network.create(lab)
        _start_gateway(lab)
        started = [host for host in hosts if not guests.processes(lab.umid(host))]
        for host in started:
            guests.start(lab, host, parts)
        for host in hosts:
            _await_ssh(lab, host)
    say(f"{', '.join(host.name for host in hosts)} up after {time.monotonic() - began:.0f} s")


def down(lab: Lab) -> None:
    """End everything that belongs to the lab and remove what it wrote, also after a crash."""
    with locked(lab):
        for host in lab.hosts:
            guests.kill(lab, host)
        for stray in _strays(lab):
            guests.kill(lab, stray)
        _end_ssh(lab)
        network.remove(lab)
        if lab.state.exists():
            shutil.rmtree(lab.state)
    (lab.state.parent / f"{lab.name}.lock").unlink(missing_ok=True)


def kill(lab: Lab, names: list[str]) -> None:
    """Power loss."""
    for host in _running(lab, names):
        guests.kill(lab, host)


def start(lab: Lab, names: list[str]) -> None:
    """Switch hosts on again, with their disks as they were."""
    _need_names(names)
    up(lab, names)


def reset(lab: Lab, names: list[str]) -> None:
    """Power loss, and a new disk: the host is a new machine with the old name and address."""
    _need_names(names)
    for host in lab.select(names):
        guests.kill(lab, host)
        guests.forget_disk(lab, host)
        access.forget_host_key(lab, host)
    up(lab, names)


def reboot(lab: Lab, names: list[str]) -> None:
    """Restart hosts in an orderly way; they are reachable by ssh afterwards."""
    for host in _running(lab, names):
        before = _boot_id(lab, host)
        ssh(lab, host, ["systemctl", "reboot"], capture=True)

        def again(host: Host = host, before: str = before) -> bool:
            return _boot_id(lab, host) not in ("", before)

        if not wait_for(again, _REBOOT_PATIENCE, pause=1):
            raise LabError(f"{host.name} did not come back after a reboot. Its console:\n{guests.console(lab, host)}")


def cut(lab: Lab, names: list[str]) -> None:
    """Pull network cables."""
    _need_names(names)
    for host in lab.select(names):
        network.cut(lab, host)


def heal(lab: Lab, names: list[str]) -> None:
    """Put network cables back, and end :func:`slow`."""
    for host in lab.select(names):
        network.heal(lab, host)
        if guests.processes(lab.umid(host)):
            _await_ssh(lab, host)
            done = ssh(lab, host, ["tc qdisc del dev vec0 root 2>&1 | grep -v 'handle of zero' || true"], capture=True)
            if done.stdout.strip():
                raise LabError(f"{host.name}: {done.stdout.strip()}")


def slow(lab: Lab, names: list[str], delay_ms: int, loss_percent: float) -> None:
    """Delay what hosts send, and lose some of it. Their own kernels do it: this machine's may not know how.

    Args:
        delay_ms: milliseconds added to each packet.
        loss_percent: share of packets that are lost, 0 to 50.
    """
    if not 0 <= loss_percent <= 50:
        raise LabError(
            f"--loss is {loss_percent:g}; with more than 50 % a host cannot be reached to heal it: use `lab cut`"
        )
    for host in _running(lab, names):
        words = ["delay", f"{delay_ms}ms"] + (["loss", f"{loss_percent:g}%"] if loss_percent else [])
        done = ssh(lab, host, ["tc", "qdisc", "replace", "dev", "vec0", "root", "netem", *words], capture=True)
        if done.returncode:
            raise LabError(f"{host.name}: {done.stderr.strip()}")


def status(lab: Lab) -> list[dict[str, t.Any]]:
    """State of every host that was ever started: ``on``, ``off`` or ``cut``, and MiB of memory in use."""
    rows = []
    for host in lab.hosts:
        pids = guests.processes(lab.umid(host))
        if not pids and not lab.directory(host).exists():
            continue
        state = "off" if not pids else "cut" if network.is_cut(lab, host) else "on"
        rows.append(
            {
                "host": host.name,
                "address": lab.address(host),
                "state": state,
                "memory": host.memory,
                "disk_used": _used(lab.directory(host) / "disk.cow"),
                "groups": list(host.groups),
            }
        )
    return rows


def ssh(lab: Lab, host: Host, command: list[str], *, capture: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command on a host, or a shell."""
    words = ["ssh", "-F", str(lab.state / "ssh_config"), host.name, *command]
    return subprocess.run(words, capture_output=capture, text=True, check=False, timeout=60 if capture else None)


def execute(lab: Lab, command: list[str]) -> int:
    """Run a command of this machine inside of the lab's network."""
    if not network.exists(lab):
        raise LabError(f"lab {lab.name} is not up: run `lab up` first")
    return subprocess.run([*network.inside(lab), *command], check=False).returncode


# --- helpers ----------------------------------------------------------------------------------------------------


def _need_names(names: list[str]) -> None:
    if not names:
        raise LabError("name the hosts")


def _running(lab: Lab, names: list[str]) -> list[Host]:
    _need_names(names)
    hosts = lab.select(names)
    dead = [host.name for host in hosts if not guests.processes(lab.umid(host))]
    if dead:
        raise LabError(f"not running: {', '.join(dead)}; `lab start` switches hosts on")
    return hosts


def _start_gateway(lab: Lab) -> None:
    ready = lab.state / "gateway.pid"
    if ready.exists() and _alive(int(ready.read_text()), b"gateway"):
        return
    ready.unlink(missing_ok=True)
    with (lab.state / "gateway.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "lab"), *_identity(lab), "gateway"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    if not wait_for(lambda: ready.exists() or process.poll() is not None, _GATEWAY_PATIENCE) or not ready.exists():
        raise LabError(f"the lab's gateway did not start:\n{(lab.state / 'gateway.log').read_text()[-2000:]}")


def _identity(lab: Lab) -> list[str]:
    return ["--name", lab.name, "--hosts", str(lab.source.resolve()), "--marker", lab.namespace]


def _alive(pid: int, word: bytes) -> bool:
    try:
        return word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _await_ssh(lab: Lab, host: Host) -> None:
    def answers() -> bool:
        # Right after its start the kernel executes itself once more, and has no words for a moment.
        if not wait_for(lambda: bool(guests.processes(lab.umid(host))), 5):
            raise LabError(f"{host.name} ended. Its console:\n{guests.console(lab, host)}")
        return ssh(lab, host, ["true"], capture=True).returncode == 0

    if not wait_for(answers, _SSH_PATIENCE, pause=0.5):
        raise LabError(f"{host.name} does not answer ssh. Its console:\n{guests.console(lab, host)}")


def _boot_id(lab: Lab, host: Host) -> str:
    try:
        return ssh(lab, host, ["cat", "/proc/sys/kernel/random/boot_id"], capture=True).stdout.strip()
    except subprocess.TimeoutExpired:
        return ""


def _strays(lab: Lab) -> list[Host]:
    """Guests of this lab that its hosts file does not name any more."""
    prefix = f"umid={lab.namespace}-".encode()
    known = {host.name for host in lab.hosts}
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found |= {
                word[len(prefix) :].decode() for word in entry.read_bytes().split(b"\0") if word.startswith(prefix)
            }
    return [Host(name, 2) for name in sorted(found - known)]


def _end_ssh(lab: Lab) -> None:
    """End the gateway and connections that ssh keeps open for later commands."""
    marker, config = lab.namespace.encode(), str(lab.state / "ssh_config").encode()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = entry.read_bytes().split(b"\0")
            master = words[0].startswith(b"ssh: ") and str(lab.state).encode() in words[0]
            if marker in words or master or (words[0].endswith(b"ssh") and config in words):
                os.kill(int(entry.parent.name), signal.SIGTERM)


def _used(path: Path) -> int:
    """MiB that a sparse file takes."""
    return path.stat().st_blocks * 512 // 2**20 if path.exists() else 0
