"""Processor time of Airflow's tasks in one container, by thread, for as long as somebody watches."""

from __future__ import annotations

import json
import shlex
import subprocess
import typing as t

from lab_hosts import Hosts

# Runs on the host with its own Python: looks twice a second at each process of the container whose name says
# supervisor, until its input ends; then it prints what each of them has used since the first look, which a line
# announces. Threads that have ended are in their process's time, and processes that have ended in their parent's.
_PROGRAM = """
import json, os, select, sys

def ticks(path):
    with open(path) as stream:
        words = stream.read().rsplit(")", 1)[1].split()
    return words[1], int(words[11]) + int(words[12]), int(words[13]) + int(words[14])

before, seen, supervise, parents = None, {}, set(), {}
while True:
    now = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cgroup") as stream:
                if sys.argv[1] not in stream.read():
                    continue
            with open(f"/proc/{pid}/cmdline") as stream:
                if stream.read().startswith("airflow supervisor"):
                    supervise.add(pid)
            parents[pid], whole, below = ticks(f"/proc/{pid}/stat")
            now[pid] = (ticks(f"/proc/{pid}/task/{pid}/stat")[1], whole, below)
        except (FileNotFoundError, ProcessLookupError):
            continue
    if before is None:  # a process of the pool takes one task after the other
        before = now
        print("watching", flush=True)
    for pid in supervise & set(now):  # also of one that is called otherwise now: its last task is in its time
        if parents[pid] not in supervise:  # a task has its supervisor's name until it takes its own
            seen[pid] = [new - old for new, old in zip(now[pid], before.get(pid, (0, 0, 0)))]
    if select.select([sys.stdin], [], [], 0.5)[0]:
        break
for main, whole, below in seen.values():
    print(json.dumps({"main": main, "others": whole - main, "below": below}))
"""


class TaskCpu:
    """Watches between its beginning and its end.

    Args:
        container: its ID.
    """

    def __init__(self, hosts: Hosts, host: str, container: str) -> None:
        assert container, "there is no container to watch"
        words = [*hosts.ssh(host), f"python3 -c {shlex.quote(_PROGRAM)} {container}"]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._seen: list[dict[str, int]] = []

    def __enter__(self) -> TaskCpu:
        assert self._process.stdout
        assert self._process.stdout.readline() == "watching\n", "the program on the host failed"
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
        whole = sum(sum(ticks.values()) for ticks in self._seen)
        assert whole, "no task was seen"
        return sum(ticks["others"] for ticks in self._seen) / whole

    def seen(self) -> t.Sequence[t.Mapping[str, int]]:
        """Ticks of each supervisor: its first thread, its other threads, and the processes below it."""
        return self._seen
