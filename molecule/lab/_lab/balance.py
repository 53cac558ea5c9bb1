"""Guests change CPUs when one CPU has more to do than another.

A guest runs on one CPU (:func:`_lab.guests.cpu`), which is cheap and blind: with several labs at work side by side, one
CPU is full while another one waits. So each lab's gateway looks every few seconds and moves one of its guests.
"""

from __future__ import annotations

import os
import random
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

from . import guests
from .settings import Host, Lab

#: Seconds between two looks.
PAUSE = 5.0
#: A CPU that works for this share of the time has no room; below it, nobody waits for it.
FULL = 0.9
#: How much more one CPU has to work than another, as a share of the time, for a move to be worth its while.
GAP = 0.2
#: What a guest has to use for its move to change anything.
LEAST = 0.05
_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True)
class Use:
    """Where a guest runs, and the share of a CPU that it uses."""

    cpu: int
    share: float


def move(busy: t.Mapping[int, float], uses: t.Mapping[str, Use]) -> tuple[str, int] | None:
    """The guest that should go to another CPU, and to which; None when no move makes them more alike.

    Args:
        busy: the share of the time for which each CPU worked, with everything that it does.
        uses: guests by name.
    """
    crowded, free = max(busy, key=lambda cpu: busy[cpu]), min(busy, key=lambda cpu: busy[cpu])
    gap = busy[crowded] - busy[free]
    if busy[crowded] < FULL or gap < GAP:
        return None
    # Half of the difference is what should move. Whoever uses more than all of it would only turn it round.
    fitting = {name: use for name, use in uses.items() if use.cpu == crowded and LEAST <= use.share < gap}
    if not fitting:
        return None
    return min(fitting, key=lambda name: abs(fitting[name].share - gap / 2)), free


def follow(lab: Lab) -> t.NoReturn:
    """Balance the guests of a lab for as long as this process lives."""
    cpus = sorted(os.sched_getaffinity(0))
    before = _Look(lab, cpus)
    while True:
        # Other labs look, too; not all at the same moment.
        time.sleep(random.uniform(PAUSE, 1.5 * PAUSE))  # noqa: S311 - no secret
        after = _Look(lab, cpus)
        if held(lab):
            # One may have been on its way when that was said; whoever measures wants nothing else to be done here.
            _home(lab, cpus, [host for host in lab.hosts if host.name in after.cpus], after.cpus)
        else:
            found = move(*after.since(before))
            if found:
                put(lab.umid(lab.select([found[0]])[0]), found[1])
                after = _Look(lab, cpus)
        before = after


def hold(lab: Lab) -> None:
    """Put each guest back where it began, and leave it there until :func:`free`."""
    _hold_file(lab).touch()
    _home(lab, sorted(os.sched_getaffinity(0)), lab.hosts)


def _home(lab: Lab, cpus: t.Sequence[int], hosts: t.Iterable[Host], where: t.Mapping[str, int] | None = None) -> None:
    """Put hosts where they began, apart from those that are known to be there."""
    for host in hosts:
        home = guests.cpu(lab, host, cpus)
        if where is None or where[host.name] != home:
            put(lab.umid(host), home)


def free(lab: Lab) -> None:
    """Let guests change CPUs again."""
    _hold_file(lab).unlink(missing_ok=True)


def held(lab: Lab) -> bool:
    """Whether guests stay where they are."""
    return _hold_file(lab).exists()


def put(umid: str, cpu: int) -> None:
    """Have a guest run on a CPU with all that it does; what it starts later runs there, too."""
    # The kernel comes first, so that its next children are there already; twice, for those that were on their way.
    for _ in range(2):
        for pid in families([umid])[umid]:
            try:
                threads = [int(entry.name) for entry in (_PROC / str(pid) / "task").iterdir()]
                for thread in threads:
                    if os.sched_getaffinity(thread) != {cpu}:
                        os.sched_setaffinity(thread, {cpu})
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile


def families(umids: t.Sequence[str]) -> dict[str, list[int]]:
    """Process IDs of guests: the kernel of each, and after it all that carry the guest's own processes."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = {}
    for umid, kernels in guests.processes_of(umids).items():
        family = list(kernels)
        for pid in family:  # it grows meanwhile
            family += [child for child in children.get(pid, []) if child not in kernels]
        found[umid] = family
    return found


class _Look:
    """How much every CPU and every guest has worked so far, in seconds."""

    def __init__(self, lab: Lab, cpus: t.Sequence[int]) -> None:
        self.at = time.monotonic()
        self.idle = {cpu: seconds for cpu, seconds in _idle().items() if cpu in cpus}
        self.worked: dict[str, float] = {}
        self.cpus: dict[str, int] = {}
        found = families([lab.umid(host) for host in lab.hosts])
        for host in lab.hosts:
            if mine := found[lab.umid(host)]:
                self.worked[host.name] = sum(_worked(pid) for pid in mine)
                self.cpus[host.name] = _cpu_of(mine)

    def since(self, before: _Look) -> tuple[dict[int, float], dict[str, Use]]:
        """Shares of the time since another look, as :func:`move` wants them."""
        seconds = self.at - before.at
        busy = {cpu: 1 - (idle - before.idle[cpu]) / seconds for cpu, idle in self.idle.items()}
        uses = {
            name: Use(self.cpus[name], (worked - before.worked[name]) / seconds)
            for name, worked in self.worked.items()
            if name in before.worked and self.cpus[name] in busy
        }
        return busy, uses


def _idle() -> dict[int, float]:
    """Seconds for which each CPU had nothing to do. Source: proc_stat(5)."""
    rows = (line.split() for line in (_PROC / "stat").read_text(encoding="ascii").splitlines())
    return {
        int(row[0][3:]): (int(row[4]) + int(row[5])) / _TICKS for row in rows if row[0].startswith("cpu") and row[0][3:]
    }


def _worked(pid: int) -> float:
    """Seconds of a process and of its children that have ended."""
    return sum(int(field) for field in _stat(pid)[11:15]) / _TICKS


def _stat(pid: int) -> list[str]:
    """What is known of a process, from its state on; nothing when it has ended. Source: proc_pid_stat(5)."""
    try:
        return (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _cpu_of(processes: t.Sequence[int]) -> int:
    """The CPU to which a guest is bound; -1 when it ended meanwhile, or is bound to none."""
    for pid in processes:
        try:
            bound = os.sched_getaffinity(pid)
        except ProcessLookupError:
            continue
        return next(iter(bound)) if len(bound) == 1 else -1
    return -1


def _hold_file(lab: Lab) -> Path:
    return lab.state / "hold"
