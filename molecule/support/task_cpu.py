"""Processor time of Airflow's tasks in one container, by thread, for as long as somebody watches."""

from __future__ import annotations

import json
import shlex
import subprocess
import typing as t

from lab_hosts import Hosts

# Runs on the host with its own Python: looks at the threads of each process whose name says supervisor, and at the
# processes below it, twice a second until its input ends; then it prints the last that it has seen of each.
_PROGRAM = """
import json, os, select, sys

def threads(pid):
    found = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/stat") as stream:
            words = stream.read().rsplit(")", 1)[1].split()
        found[thread] = int(words[11]) + int(words[12])
    return found

seen, before = {}, None
while True:
    parents = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cgroup") as stream:
                if sys.argv[1] not in stream.read():
                    continue
            with open(f"/proc/{pid}/cmdline") as stream:
                supervises = stream.read().startswith("airflow supervisor")
            with open(f"/proc/{pid}/stat") as stream:
                parent = stream.read().rsplit(")", 1)[1].split()[1]
            parents[pid] = (parent, supervises, threads(pid))
        except (FileNotFoundError, ProcessLookupError):
            continue
    if before is None:  # a process of the pool takes one task after the other
        before = {thread: count for _parent, _is, ticks in parents.values() for thread, count in ticks.items()}
    for pid, (parent, supervises, ticks) in parents.items():
        ticks = {thread: count - before.get(thread, 0) for thread, count in ticks.items()}
        if supervises:
            seen.setdefault(pid, {"own": {}, "below": {}})["own"].update(ticks)
        elif parents.get(parent, ("", False))[1]:
            seen.setdefault(parent, {"own": {}, "below": {}})["below"][pid] = sum(ticks.values())
    if select.select([sys.stdin], [], [], 0.5)[0]:
        break
for pid, ticks in seen.items():
    main = ticks["own"].pop(pid, 0)
    print(json.dumps({"main": main, "others": sum(ticks["own"].values()), "below": sum(ticks["below"].values())}))
"""


class TaskCpu:
    """Watches between its beginning and its end."""

    def __init__(self, hosts: Hosts, host: str, container: str) -> None:
        words = [*hosts.ssh(host), f"python3 -c {shlex.quote(_PROGRAM)} {container}"]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._seen: list[dict[str, int]] = []

    def __enter__(self) -> TaskCpu:
        return self

    def __exit__(self, *_error: object) -> None:
        said, _errors = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, "the program on the host failed"
        self._seen = [json.loads(line) for line in said.splitlines()]

    def share(self) -> float:
        """Processor time of the supervisors' threads beside their first, as a part of all that the tasks took.

        Raises:
            AssertionError: nothing was seen of any task.
        """
        return sum(ticks["others"] for ticks in self._seen) / self.ticks()

    def ticks(self) -> int:
        """Processor time of everything that belongs to the tasks, in ticks of the kernel's clock.

        Raises:
            AssertionError: nothing was seen of any task.
        """
        whole = sum(sum(ticks.values()) for ticks in self._seen)
        assert whole, "no task was seen"
        return whole

    def seen(self) -> t.Sequence[t.Mapping[str, int]]:
        """Ticks of each task: its supervisor's first thread, other threads, and the processes below."""
        return self._seen
