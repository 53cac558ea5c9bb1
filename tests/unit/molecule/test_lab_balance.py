from __future__ import annotations

import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from _lab import balance, guests
from _lab.balance import Use, move
from _lab.run import wait_for
from _lab.settings import Lab, load


@pytest.mark.parametrize(
    ("busy", "uses", "found"),
    [
        pytest.param(
            {0: 1.0, 1: 0.6}, {"a": Use(0, 0.5), "b": Use(0, 0.2), "c": Use(1, 0.2)}, ("b", 1), id="half of it"
        ),
        pytest.param({0: 0.5, 3: 1.0}, {"a": Use(3, 0.3), "b": Use(3, 0.1)}, ("a", 0), id="to the other one"),
        pytest.param({0: 1.0, 1: 0.85}, {"a": Use(0, 0.1)}, None, id="nearly alike"),
        pytest.param({0: 0.7, 1: 0.1}, {"a": Use(0, 0.3)}, None, id="there is room for all"),
        pytest.param({0: 1.0, 1: 0.7}, {"a": Use(0, 0.9)}, None, id="it would only turn it round"),
        pytest.param({0: 1.0, 1: 0.2}, {"a": Use(0, 0.01), "b": Use(1, 0.2)}, None, id="nobody there uses anything"),
        pytest.param({0: 1.0}, {"a": Use(0, 0.9)}, None, id="one CPU"),
        pytest.param({0: 1.0, 1: 0.0}, {}, None, id="no guest"),
    ],
)
def test_who_moves_where(busy: dict[int, float], uses: dict[str, Use], found: tuple[str, int] | None) -> None:
    assert move(busy, uses) == found


@pytest.fixture(name="lab")
def _lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("FLOWSTEAD_LAB_STATE", str(tmp_path))
    lab = load(f"balance{os.getpid()}")
    lab.state.mkdir()
    return lab


@pytest.fixture(name="guest")
def _guest(lab: Lab) -> t.Iterator[tuple[str, int]]:
    """A host's name, and what stands for its processes: a busy one with a thread, and its child of another name."""
    host = lab.hosts[0]
    program = (
        "import os, threading\n"
        "if os.fork() == 0:\n    os.execvp('sleep', ['sleep', '600'])\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "print(flush=True)\n"
        "while True: pass\n"
    )
    words = [sys.executable, "-c", program, f"umid={lab.umid(host)}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout
        process.stdout.readline()
        yield host.name, process.pid
        os.killpg(process.pid, 9)


def bound(lab: Lab, name: str) -> set[int]:
    """CPUs of all threads of a host."""
    found: set[int] = set()
    umid = lab.umid(lab.select([name])[0])
    for pid in balance.families([umid])[umid]:
        for entry in Path(f"/proc/{pid}/task").iterdir():
            found |= os.sched_getaffinity(int(entry.name))
    return found


def test_a_guest_moves_with_all_processes_and_threads_and_goes_home_when_it_is_held(
    lab: Lab, guest: tuple[str, int]
) -> None:
    name, _pid = guest
    host = lab.select([name])[0]
    cpus = sorted(os.sched_getaffinity(0))
    balance.put(lab.umid(host), cpus[-1])
    assert len(guests.processes(lab.umid(host))) == 1
    assert len(balance.families([lab.umid(host)])[lab.umid(host)]) == 2
    assert bound(lab, name) == {cpus[-1]}
    balance.hold(lab)
    assert balance.held(lab)
    assert bound(lab, name) == {guests.cpu(lab, host, cpus)}
    balance.free(lab)
    assert not balance.held(lab)


def test_what_a_guest_uses_is_told_with_the_cpu_on_which_it_does(lab: Lab, guest: tuple[str, int]) -> None:
    name, pid = guest
    cpus = sorted(os.sched_getaffinity(0))
    balance.put(lab.umid(lab.select([name])[0]), cpus[-1])
    first = balance._Look(lab, cpus)
    assert wait_for(lambda: balance._worked(pid) - first.worked[name] >= 0.3, 60)
    busy, uses = balance._Look(lab, cpus).since(first)
    assert set(busy) == set(cpus)
    assert busy[cpus[-1]] > 0.2
    assert list(uses) == [name]
    assert uses[name].cpu == cpus[-1]
    assert 0 < uses[name].share <= 1.1
