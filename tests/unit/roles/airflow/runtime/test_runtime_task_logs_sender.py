"""The thread in a supervisor, as Airflow's chain of processors drives it."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import tracemalloc
import typing as t

import pytest
from flowstead_airflow.task_logs import sender as module
from flowstead_airflow.task_logs.sender import Sender
from task_logs_place import ATTEMPT, Place

TRIGGER = f"{ATTEMPT}.trigger.7.log"


class Logger:
    """As structlog's BytesLogger: the chain of processors first, then a line to the file, flushed."""

    def __init__(self, place: Place, sender: Sender, relative: str = ATTEMPT, mode: str = "ab") -> None:
        path = place.logs / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open(mode)
        self._place, self._sender = place, sender
        self._lines = 0

    def say(self, text: str, times: int = 1) -> None:
        for _time in range(times):
            event = {"event": text}
            assert self._sender.processor(self, "info", event) is event
            self._file.write(self._place.line(text, self._lines % 3600))
            self._file.flush()
            self._lines += 1

    def close(self) -> None:
        self._file.close()


@pytest.fixture(name="sender")
def _sender(place: Place) -> t.Iterator[Sender]:
    sender = Sender(place.given, place.logs)
    yield sender
    sender.stop()


def until(condition: t.Callable[[], t.Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def alive() -> bool:
    return any(thread.name == "task-logs" for thread in threading.enumerate())


def test_lines_arrive_while_the_task_runs_and_the_rest_at_its_end(place: Place, sender: Sender) -> None:
    logger = Logger(place, sender)
    logger.say("one")
    until(lambda: place.found() == ["one"])
    logger.say("two")
    logger.say("three")
    assert sender.finish(ATTEMPT)
    logger.close()
    assert place.found() == ["one", "two", "three"]


def test_the_first_line_after_a_pause_does_not_wait_for_a_batch_and_the_next_one_does(place: Place) -> None:
    sender = Sender(place.change(batch_seconds=60), place.logs)
    logger = Logger(place, sender)
    logger.say("first")
    until(lambda: place.found() == ["first"], 30)
    requests = len(place.splunk.requests)
    logger.say("second", 100)
    assert sender.finish(ATTEMPT)
    logger.close()
    assert place.found() == ["first"] + ["second"] * 100
    assert len(place.splunk.requests) == requests + 1


def test_a_line_that_is_written_late_after_its_ring_is_found_all_the_same(place: Place) -> None:
    """As when the thread is quicker than the supervisor: the chain of processors comes before the line."""
    sender = Sender(place.change(batch_seconds=0.2), place.logs)
    logger = Logger(place, sender)
    sender.processor(logger, "info", {})
    time.sleep(0.1)  # it has looked by then, and found nothing
    assert len(place.splunk.requests) == 0
    logger._file.write(place.line("late"))
    logger._file.flush()
    until(lambda: place.found() == ["late"])
    assert sender.finish(ATTEMPT)
    logger.close()


@pytest.mark.parametrize("pause", [0.0, 0.05, 0.4])
def test_a_line_that_is_written_in_pieces_does_not_wait_for_the_next_one(place: Place, pause: float) -> None:
    sender = Sender(place.change(batch_seconds=0.2), place.logs)
    logger = Logger(place, sender)
    line = place.line("whole")
    sender.processor(logger, "info", {})
    for piece in (line[:10], line[10:]):
        logger._file.write(piece)
        logger._file.flush()
        time.sleep(pause)
    until(lambda: place.found() == ["whole"])
    assert sender.finish(ATTEMPT)
    logger.close()


def test_a_line_arrives_also_when_another_file_ends_in_the_middle_of_one(place: Place) -> None:
    sender = Sender(place.change(batch_seconds=0.2), place.logs)
    other = Logger(place, sender, f"x/{ATTEMPT}")
    sender.processor(other, "info", {})
    other._file.write(b'{"event":')
    other._file.flush()
    time.sleep(0.5)
    logger = Logger(place, sender)
    sender.processor(logger, "info", {})
    time.sleep(0.02)
    logger._file.write(place.line("line"))
    logger._file.flush()
    until(lambda: place.found() == ["line"])
    sender.stop()
    for one in (other, logger):
        one.close()


def test_a_triggers_file_is_free_when_the_trigger_has_ended_and_others_go_on(place: Place) -> None:
    place.splunk.set_mode("down")
    sender = Sender(place.given, place.logs)
    names = [f"{ATTEMPT}.trigger.{number}.log" for number in range(6)]
    loggers = [Logger(place, sender, name) for name in names]
    for logger in loggers:
        logger.say("line")
    until(lambda: sender._away)
    for name, logger in zip(names, loggers):
        assert not sender.finish(name)
        file = sender.delivery.open(name)
        assert file is not None, f"{name} is still claimed"
        file.close()
        logger.close()


@pytest.mark.parametrize("mode", ["down", "hang"])
def test_lines_that_splunk_does_not_take_are_forced_to_the_disk(
    place: Place, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """They are in this file alone, and the host may lose its power."""
    synced: list[int] = []
    force = os.fdatasync

    def forced(descriptor: int) -> None:
        force(descriptor)
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fdatasync", forced)
    sender = Sender(place.given, place.logs)
    logger = Logger(place, sender)
    logger.say("taken")
    until(lambda: place.found() == ["taken"])
    assert synced == [], "what Splunk has is safe"
    place.splunk.set_mode(mode)
    for _time in range(3):
        logger.say("kept")
        size = logger._file.tell()
        until(lambda: size in synced)  # noqa: B023 - it ends within the turn
    assert place.found() == ["taken"]
    logger.say("last")
    size = logger._file.tell()
    assert not sender.finish(ATTEMPT)
    logger.close()
    until(lambda: size in synced)


def test_no_thread_is_left_when_airflow_forks_for_the_next_task(place: Place, sender: Sender) -> None:
    for number in range(3):
        assert not alive()
        logger = Logger(place, sender, f"dag_id=a/run_id=r/task_id=t{number}/attempt=1.log")
        assert not alive()
        logger.say("line")
        assert sender.finish(f"dag_id=a/run_id=r/task_id=t{number}/attempt=1.log")
        logger.close()
    assert not alive()
    assert place.found() == ["line"] * 3


@pytest.mark.parametrize("name", ["stdout", "socket", "elsewhere", "spool"])
def test_what_is_no_log_file_is_left_alone(place: Place, sender: Sender, name: str) -> None:
    read, write = os.pipe()
    spool = place.logs / ".flowstead"
    spool.mkdir()
    files = {
        "stdout": lambda: sys.__stdout__,
        "socket": lambda: os.fdopen(write, "wb", buffering=0, closefd=False),
        "elsewhere": lambda: (place.logs.parent / "x.log").open("wb"),
        "spool": lambda: (spool / "x.log").open("wb"),
    }
    logger = type("Other", (), {"_file": files[name]()})()
    for _time in range(3):
        sender.processor(logger, "info", {})
    sender.processor(object(), "info", {})
    assert not alive()
    os.close(read)
    os.close(write)


def test_a_task_is_not_held_up_while_splunk_is_away_and_the_lines_arrive_later(place: Place) -> None:
    place.splunk.set_mode("down")
    sender = Sender(place.change(batch_seconds=0.05), place.logs)
    logger = Logger(place, sender)
    began = time.monotonic()
    logger.say("line", 1000)
    assert time.monotonic() - began < 1
    until(lambda: sender._away)
    place.splunk.set_mode("up")
    until(lambda: len(place.found()) == 1000)
    until(lambda: not sender._away)  # which is so when Splunk's answer has arrived
    logger.say("last")
    assert sender.finish(ATTEMPT)
    assert place.found() == ["line"] * 1000 + ["last"]
    logger.close()


@pytest.mark.parametrize(("mode", "most"), [("down", 1.0), ("busy", 1.0), ("hang", 3.5)])
def test_the_end_of_a_task_does_not_wait_for_a_splunk_that_is_away(place: Place, mode: str, most: float) -> None:
    sender = Sender(place.change(flush_seconds=30), place.logs)
    place.splunk.set_mode(mode)
    logger = Logger(place, sender)
    logger.say("line")
    time.sleep(0.2)
    began = time.monotonic()
    assert not sender.finish(ATTEMPT)
    assert time.monotonic() - began < most
    logger.close()
    assert not alive()
    # The next task of the same process knows already.
    second = Logger(place, sender, f"x/{ATTEMPT}")
    second.say("line")
    began = time.monotonic()
    assert not sender.finish(f"x/{ATTEMPT}")
    assert time.monotonic() - began < 0.5
    second.close()
    assert not alive()


def test_the_end_of_a_task_waits_for_a_slow_splunk_only_so_long(place: Place) -> None:
    sender = Sender(place.change(flush_seconds=0.3), place.logs)
    place.splunk.set_mode("slow", delay=1.5)
    logger = Logger(place, sender)
    logger.say("line")
    began = time.monotonic()
    assert not sender.finish(ATTEMPT)
    assert time.monotonic() - began < 1.2
    logger.close()
    place.splunk.set_mode("up")


def test_the_pause_after_failures_grows_and_splunk_is_not_hammered(place: Place) -> None:
    place.splunk.set_mode("busy")
    sender = Sender(place.given, place.logs)
    logger = Logger(place, sender)
    for _time in range(40):
        logger.say("line")
        time.sleep(0.05)
    assert 1 <= len(place.splunk.requests) <= 5
    sender.stop()
    logger.close()


def test_a_child_begins_with_nothing_and_leaves_its_parent_alone(place: Place, sender: Sender) -> None:
    place.splunk.set_mode("slow", delay=0.3)
    logger = Logger(place, sender)
    logger.say("parent")
    time.sleep(0.15)  # the thread waits for an answer, with whatever locks it has
    child = os.fork()
    if child == 0:
        code = 1
        try:
            other = Logger(place, sender, f"child/{ATTEMPT}")
            other.say("child")
            code = 0 if sender.finish(f"child/{ATTEMPT}", 5) and not sender._tracked else 2
        finally:
            os._exit(code)
    logger.say("parent again")
    _pid, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert sender.finish(ATTEMPT)
    logger.close()
    assert sorted(place.found()) == ["child", "parent", "parent again"]


def test_a_file_that_another_process_is_sending_is_taken_over_when_that_one_is_done(
    place: Place, sender: Sender
) -> None:
    from flowstead_airflow.task_logs.delivery import Delivery  # noqa: PLC0415

    place.write(ATTEMPT, "before")
    other = Delivery(place.given, place.logs).open(ATTEMPT)
    assert other is not None
    logger = Logger(place, sender)
    logger.say("now")
    time.sleep(0.2)
    assert place.found() == []
    other.close()
    logger.say("then")
    until(lambda: place.found() == ["before", "now", "then"])
    logger.close()


def test_the_rest_of_a_closed_file_arrives_without_anybody_saying_so(place: Place, sender: Sender) -> None:
    logger = Logger(place, sender, "dag_processor/2026-11-26/sales/dag.py.log")
    logger.say("parsed")
    logger.close()
    until(lambda: place.found() == ["parsed"])
    until(lambda: not alive())
    assert place.splunk.events[0]["index"] == "airflow_sales"


def test_a_file_that_was_removed_while_it_is_written_still_arrives(place: Place, sender: Sender) -> None:
    logger = Logger(place, sender)
    (place.logs / ATTEMPT).unlink()
    logger.say("one")
    until(lambda: place.found() == ["one"])
    logger.say("two")
    assert sender.finish(ATTEMPT)
    logger.close()
    assert place.found() == ["one", "two"]


def test_many_files_of_one_process_take_turns(place: Place, sender: Sender) -> None:
    loggers = [Logger(place, sender, f"{ATTEMPT}.trigger.{number}.log") for number in range(20)]
    for logger in loggers:
        logger.say("x" * 200, 300)
    for number, logger in enumerate(loggers):
        assert sender.finish(f"{ATTEMPT}.trigger.{number}.log", 20)
        logger.close()
    assert len(place.found()) == 6000
    until(lambda: not alive())


def test_the_bundle_is_read_from_the_supervisor_on_the_stack(place: Place, sender: Sender) -> None:
    def supervise_task(bundle_info: t.Any) -> None:
        Logger(place, sender).say("line")

    supervise_task(type("BundleInfo", (), {"name": "sales"})())
    until(lambda: place.splunk.events)
    assert (place.splunk.events[0]["index"], place.splunk.events[0]["fields"]["bundle"]) == ("airflow_sales", "sales")


def test_a_full_or_unusable_spool_does_not_fail_the_task(
    place: Place, sender: Sender, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_room(*_: t.Any, **__: t.Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sender.delivery, "open", no_room)
    logger = Logger(place, sender)
    logger.say("line")
    assert not sender.finish(ATTEMPT, 0.2)
    logger.close()
    assert "No space left on device" in caplog.text


def test_memory_is_bounded_by_a_batch_while_splunk_is_away(place: Place) -> None:
    place.splunk.set_mode("hang")
    sender = Sender(place.given, place.logs)
    logger = Logger(place, sender)
    logger.say("x" * 200)
    time.sleep(0.2)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    logger.say("x" * 200, 20_000)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    sender.stop()
    logger.close()
    print(f"\n20,000 lines of 200 bytes while Splunk hangs: {grown} bytes of memory more")
    assert grown < place.given.batch_bytes


def test_a_task_that_prints_all_the_time_is_sent_in_batches_and_not_line_by_line(place: Place) -> None:
    pause = place.change(batch_seconds=0.2).batch_seconds
    sender = Sender(place.given, place.logs)
    logger = Logger(place, sender)
    lines, began = 0, time.monotonic()
    while len(place.splunk.requests) < 5:
        logger.say(f"line {lines}")
        lines += 1
        time.sleep(0.001)
    assert time.monotonic() - began > 4 * pause
    assert sender.finish(ATTEMPT)
    logger.close()
    assert place.found() == [f"line {number}" for number in range(lines)]


def test_what_the_sender_says_is_said_once(place: Place, sender: Sender, caplog: pytest.LogCaptureFixture) -> None:
    place.splunk.answer_next(9, 9)
    logger = Logger(place, sender)
    logger.say("line")
    until(lambda: place.found() == ["line"])
    until(lambda: "takes lines again" in caplog.text or not sender._away)
    assert caplog.text.count("Server is busy") == 1
    assert module.log.name == "flowstead_airflow.task_logs.sender"
    logger.close()
