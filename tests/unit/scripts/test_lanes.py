"""Lanes of commands."""

from __future__ import annotations

import signal
import sys
import typing as t
from pathlib import Path

import pytest
from _lanes import Lanes, Step


@pytest.fixture(autouse=True)
def _interruptible() -> t.Iterator[None]:
    """What is started in the background by a shell ignores SIGINT, and so would all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def python(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", text)


def test_lanes_run_side_by_side_and_steps_of_a_lane_one_after_the_other(tmp_path: Path):
    said: list[str] = []
    # Each lane waits for the other: they only end when both run at once.
    meet = (
        "import pathlib,sys,time\npathlib.Path(sys.argv[1]).touch()\n"
        "while not pathlib.Path(sys.argv[2]).exists(): time.sleep(.02)"
    )
    lanes = Lanes(
        {
            "a": (Step("one", (*python(meet), "left", "right")), Step("two", python("print('second')"))),
            "b": (Step("three", (*python(meet), "right", "left")),),
        },
        tmp_path,
        said.append,
    )
    assert lanes.run()
    assert {(done.name, done.result) for done in lanes.done} == {("one", "ok"), ("two", "ok"), ("three", "ok")}
    assert said.index("a | == one: ok\n") < said.index("a | second\n") < said.index("a | == two: ok\n")


def test_the_first_failure_ends_the_other_lane_which_cleans_up_and_starts_nothing_more(tmp_path: Path):
    waits = (
        "import pathlib,time\ntry:\n  pathlib.Path('here').touch()\n  time.sleep(3600)\n"
        "finally: pathlib.Path('cleaned').touch()"
    )
    fails = "import pathlib,sys,time\nwhile not pathlib.Path('here').exists(): time.sleep(.02)\nsys.exit('broken')"
    said: list[str] = []
    lanes = Lanes(
        {"a": (Step("waits", python(waits)), Step("never", python("pass"))), "b": (Step("fails", python(fails)),)},
        tmp_path,
        said.append,
    )
    assert not lanes.run()
    assert {(done.name, done.result) for done in lanes.done} == {("waits", "stopped"), ("fails", "FAILED")}
    assert (tmp_path / "cleaned").exists()
    assert "b | broken\n" in said


def test_asked_to_go_on_a_failure_ends_nothing_else_and_is_told_all_the_same(tmp_path: Path):
    lanes = Lanes(
        {
            "a": (Step("fails", python("raise SystemExit(3)")), Step("next", python("pass"))),
            "b": (Step("b", python("")),),
        },
        tmp_path,
        lambda _text: None,
        keep_going=True,
    )
    assert not lanes.run()
    assert {(done.name, done.result) for done in lanes.done} == {("fails", "FAILED"), ("next", "ok"), ("b", "ok")}


def test_tests_that_failed_are_kept_by_name(tmp_path: Path):
    fails = tmp_path / "test_it.py"
    fails.write_text("def test_good(): print('FAILED by hand')\ndef test_bad(): assert [1] == [2]\n")
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir=.", "--color=yes", "test_it.py")
    lanes = Lanes({"a": (Step("tests", command),)}, tmp_path, lambda _text: None)
    assert not lanes.run()
    (failure,) = lanes.failures
    assert failure.startswith("FAILED")
    assert "test_bad" in failure


def test_a_test_that_molecule_set_in_its_margin_is_named_too(tmp_path: Path):
    says = "  \x1b[2m│\x1b[0m FAILED tests/test_it.py::test_bad - AssertionError: no"
    lanes = Lanes(
        {"a": (Step("tests", python(f"print({says!r}); raise SystemExit(1)")),)}, tmp_path, lambda _text: None
    )
    assert not lanes.run()
    assert lanes.failures == ["FAILED tests/test_it.py::test_bad - AssertionError: no"]


def test_a_step_that_failed_without_naming_a_test_is_told_by_its_last_lines(tmp_path: Path):
    steps = (Step("counts", python("for i in range(100): print(i)\nraise SystemExit(1)")), Step("next", python("")))
    lanes = Lanes({"a": steps}, tmp_path, lambda _text: None)
    assert not lanes.run()
    assert lanes.failures == [f"counts: {line}" for line in range(88, 100)]


def test_a_step_yields_to_others_with_all_that_it_starts(tmp_path: Path):
    asks = (
        "import os,pathlib,subprocess,sys,time\n"
        "deadline = time.monotonic() + 30\n"
        "while os.getpriority(os.PRIO_PROCESS, 0) != 7 and time.monotonic() < deadline: time.sleep(.02)\n"
        "subprocess.run([sys.executable, '-c', 'import os; print(os.nice(0))'], check=True)\n"
        "group = pathlib.Path('/proc/self/autogroup')\n"
        "print(group.read_text().split()[-1] if group.exists() else 7)"
    )
    said: list[str] = []
    assert Lanes({"a": (Step("asks", python(asks), nice=7),)}, tmp_path, said.append).run()
    assert said[1:3] == ["a | 7\n", "a | 7\n"]


def test_what_a_step_left_running_does_not_hold_its_lane(tmp_path: Path):
    left = (
        "import pathlib,time\nend = time.monotonic() + 300\n"
        "while not pathlib.Path('over').exists() and time.monotonic() < end: time.sleep(.05)\n"
        "pathlib.Path('ended').touch()"
    )
    leaves = f"import subprocess,sys; subprocess.Popen([sys.executable,'-c',{left!r}])"
    lanes = Lanes({"a": (Step("leaves", python(leaves)),)}, tmp_path, lambda _text: None)
    assert lanes.run()
    assert not (tmp_path / "ended").exists()
    (tmp_path / "over").touch()
