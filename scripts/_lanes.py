"""Commands side by side in lanes: one after the other in each, all ended by the first failure unless asked to go on."""

from __future__ import annotations

import collections
import os
import re
import signal
import subprocess
import sys
import threading
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

#: Seconds that a command gets to take away what it made, for example hosts of the lab and a deployment.
GRACE = 300.0
#: Seconds to read on after a command's end: what it left running may hold its output open.
REST = 5.0
#: Last lines of a step that failed, where pytest did not name a test.
TAIL = 12
#: A line of pytest's summary, with colours or without, and with the margin in which Molecule sets it.
_FAILURE = re.compile(r"(?:\x1b\[[\d;]*m|[\s│])*((?:FAILED|ERROR)(?:\x1b\[[\d;]*m)* \S+\.py\S*.*)")


class Step(t.NamedTuple):
    """A command, and what it proves."""

    name: str
    command: tuple[str, ...]
    nice: int = 0  # 1 to 19: it yields to other steps where both want the processor


class Done(t.NamedTuple):
    """A step that ended: ``ok``, ``FAILED``, or ``stopped`` because of another's failure."""

    name: str
    seconds: float
    result: str


@dataclass
class Lanes:
    """The lanes, and what became of their steps; every line of output begins with its lane's name."""

    lanes: t.Mapping[str, t.Sequence[Step]]
    directory: Path
    write: t.Callable[[str], object] = sys.stdout.write
    keep_going: bool = False  # a failure then ends nothing else
    done: list[Done] = field(default_factory=list)
    _running: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    #: Each test that failed, by pytest's name for it, and the last lines of a step that failed without naming one.
    failures: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: bool = False

    def run(self) -> bool:
        """Run all lanes to their end, or to the first failure; whether every step was green."""
        threads = [threading.Thread(target=self._lane, args=item) for item in self.lanes.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        green = {done.name for done in self.done if done.result == "ok"}
        return green == {step.name for steps in self.lanes.values() for step in steps}

    def stop(self) -> None:
        """Ask every running step to end as Ctrl-C would, wait until it has cleaned up, and start no other."""
        with self._lock:
            self._stopped = True
            running = list(self._running.values())
        for process in running:
            _signal(process, signal.SIGINT)
        deadline = time.monotonic() + GRACE
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)

    def _lane(self, lane: str, steps: t.Sequence[Step]) -> None:
        for step in steps:
            began = time.monotonic()
            process = self._start(lane, step)
            if process is None:
                return
            named: list[str] = []
            last: collections.deque[str] = collections.deque(maxlen=TAIL)
            reader = threading.Thread(target=self._copy, args=(lane, process, named, last), daemon=True)
            reader.start()
            status = process.wait()
            reader.join(REST)
            with self._lock:
                result = "ok" if status == 0 else "stopped" if self._stopped else "FAILED"
                del self._running[lane]
            self.done.append(Done(step.name, time.monotonic() - began, result))
            self._say(lane, f"== {step.name}: {result}")
            self.failures += named
            if result == "FAILED" and not named:
                self.failures += [f"{step.name}: {line}" for line in last]
            if result == "FAILED" and not self.keep_going:
                self.stop()
            if result == "stopped" or (result == "FAILED" and not self.keep_going):
                return

    def _start(self, lane: str, step: Step) -> subprocess.Popen[str] | None:
        with self._lock:
            if self._stopped:
                return None
            self._say(lane, f"== {step.name}: {' '.join(step.command)}")
            process = subprocess.Popen(
                step.command,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # so that a signal reaches whatever the step has started
            )
            self._running[lane] = process
            _yield(process, step.nice)
            return process

    def _copy(self, lane: str, process: subprocess.Popen[str], named: list[str], last: collections.deque[str]) -> None:
        for line in process.stdout or ():
            self._say(lane, line.rstrip("\n"))
            last.append(line.rstrip("\n"))
            found = _FAILURE.match(line)
            if found:
                named.append(found.group(1))

    def _say(self, lane: str, line: str) -> None:
        self.write(f"{lane} | {line}\n")


def _yield(process: subprocess.Popen[str], nice: int) -> None:
    """Let a step's session yield. Where the kernel shares by sessions, a process's niceness counts only within its own.

    Source: sched(7), "The autogroup feature".
    """
    if not nice:
        return
    session = Path(f"/proc/{process.pid}/autogroup")
    try:
        if session.exists():
            session.write_text(str(nice))
        os.setpriority(os.PRIO_PGRP, process.pid, nice)
    except (ProcessLookupError, FileNotFoundError):
        return  # it has ended


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # it has ended
