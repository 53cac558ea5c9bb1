"""The executor between Airflow's own scheduler, its tables, and kombu's transport over a folder."""

from __future__ import annotations

import datetime
import os
import typing as t
import zlib
from pathlib import Path

import pytest
from shares import Processor, Share, dag_text, state

DAG = "sent"
BROKER = Path(os.environ["AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__DATA_FOLDER_OUT"])
#: A port at which nobody listens: that of another host's superuser.
NOBODY = "amqp://airflow:test-password@127.0.0.1:1//"


class Clock:
    """The time that the executor sees."""

    now = 1000.0


@pytest.fixture(name="clock", autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    from flowstead_airflow import executor  # noqa: PLC0415

    clock = Clock()
    monkeypatch.setattr(executor.time, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture(name="run")
def _run(share: Share, processor: type[Processor], request: pytest.FixtureRequest) -> t.Iterator[str]:
    """A run of one task, and a broker without messages."""
    from airflow.models.serialized_dag import SerializedDagModel  # noqa: PLC0415
    from airflow.sdk import timezone  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from airflow.utils.types import DagRunTriggeredByType, DagRunType  # noqa: PLC0415

    named = f"r{zlib.crc32(request.node.name.encode())}"
    BROKER.mkdir(exist_ok=True)
    share.prepare()
    share.publish({"team/dag.py": dag_text(DAG, named)})

    def script() -> t.Iterator[t.Callable[[], bool]]:
        yield lambda: state(DAG)[1:] == (named, True)

    processor().follow(script())
    with create_session() as session:
        session.query(_models()["DagModel"]).where(_models()["DagModel"].dag_id == DAG).update({"is_paused": False})
        SerializedDagModel.get_dag(DAG, session=session).create_dagrun(
            run_id=named,
            run_type=DagRunType.MANUAL,
            run_after=timezone.utcnow() - datetime.timedelta(seconds=9),  # SQLite compares seconds
            triggered_by=DagRunTriggeredByType.TEST,
            state="running",
            session=session,
        )
    yield named
    with create_session() as session:
        for model in (_models()["DagRun"], _models()["Job"]):
            session.query(model).delete()
    for message in messages():
        message.unlink()


def _models() -> dict[str, t.Any]:
    from airflow.jobs.job import Job  # noqa: PLC0415
    from airflow.models.dag import DagModel  # noqa: PLC0415
    from airflow.models.dagrun import DagRun  # noqa: PLC0415
    from airflow.models.log import Log  # noqa: PLC0415
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415

    return {"Job": Job, "DagModel": DagModel, "DagRun": DagRun, "Log": Log, "TaskInstance": TaskInstance}


def messages() -> list[Path]:
    """What the broker has."""
    return sorted(BROKER.glob("*.default.msg"))


class Scheduler:
    """Airflow's scheduler with an executor of its own, step by step."""

    def __init__(self, kind: str = "ours") -> None:
        from airflow.jobs.job import Job  # noqa: PLC0415
        from airflow.jobs.scheduler_job_runner import SchedulerJobRunner  # noqa: PLC0415
        from airflow.providers.celery.executors import celery_executor  # noqa: PLC0415
        from airflow.utils.session import create_session  # noqa: PLC0415
        from flowstead_airflow import executor  # noqa: PLC0415

        self.executor = (executor if kind == "ours" else celery_executor).CeleryExecutor(parallelism=8)
        self.job = Job()
        self.runner = SchedulerJobRunner(job=self.job, executors=[self.executor])
        with create_session() as session:
            self.job.prepare_for_execution(session=session)

    def queue(self) -> None:
        """What it does first in each round: tasks that may run are queued, in its tables and in its executor."""
        from airflow.utils.session import create_session  # noqa: PLC0415

        for _ in range(2):  # one schedules, the other one queues
            with create_session() as session:
                self.runner._do_scheduling(session)

    def send(self) -> None:
        """What it does next: the executor sends, and says what it knows."""
        from airflow.utils.session import create_session  # noqa: PLC0415

        self.executor.heartbeat()
        with create_session() as session:
            self.runner._process_executor_events(executor=self.executor, session=session)

    def adopt(self) -> None:
        self.runner.adopt_or_reset_orphaned_tasks()

    def die(self) -> None:
        from airflow.utils.session import create_session  # noqa: PLC0415

        with create_session() as session:
            session.query(type(self.job)).where(type(self.job).id == self.job.id).update({"state": "failed"})


def task(run: str) -> tuple[str | None, int, str | None]:
    """State, try and message of the run's task."""
    from airflow.utils.session import create_session  # noqa: PLC0415

    model = _models()["TaskInstance"]
    with create_session() as session:
        found = session.query(model).where(model.run_id == run).one()
        return found.state, found.try_number, found.external_executor_id


def told(run: str) -> list[str]:
    """What the audit log says of lost messages."""
    from airflow.utils.session import create_session  # noqa: PLC0415

    model = _models()["Log"]
    with create_session() as session:
        return [row.extra for row in session.query(model).where(model.run_id == run, model.event == "message lost")]


def orphan(run: str, *, sent: bool = False) -> str:
    """A task whose scheduler died before it sent the message, or after; its message's id."""
    first = Scheduler()
    first.queue()
    if sent:
        first.send()
    first.die()
    where, attempt, message = task(run)
    assert (where, attempt, len(messages())) == ("queued", 1, int(sent))
    assert message
    return message


def wait(scheduler: Scheduler, clock: Clock, seconds: int) -> None:
    """So many seconds of rounds that queue nothing, one in five seconds."""
    for _ in range(seconds // 5):
        clock.now += 5
        scheduler.send()


def test_a_task_whose_scheduler_died_before_it_was_sent_is_sent_by_the_next_one(run: str, clock: Clock) -> None:
    message = orphan(run)
    second = Scheduler()
    second.adopt()
    wait(second, clock, 40)
    assert task(run) == ("queued", 1, message)
    assert not told(run)
    wait(second, clock, 20)
    assert task(run)[:2] == ("scheduled", 1)
    assert len(told(run)) == 1
    assert "default is empty" in told(run)[0]
    second.queue()
    second.send()
    where, attempt, other = task(run)
    assert (where, attempt) == ("queued", 1), "the same try"
    assert other
    assert other != message
    assert len(messages()) == 1
    wait(second, clock, 300)
    assert task(run) == ("queued", 1, other), "it waits for a worker now"


def test_airflows_own_executor_leaves_it_queued(run: str, clock: Clock) -> None:
    message = orphan(run)
    second = Scheduler("stock")
    second.adopt()
    wait(second, clock, 300)
    assert task(run) == ("queued", 1, message)
    assert not messages()


def test_a_message_that_waits_for_a_worker_is_left_alone(run: str, clock: Clock) -> None:
    message = orphan(run, sent=True)
    second = Scheduler()
    second.adopt()
    wait(second, clock, 300)
    assert task(run) == ("queued", 1, message)
    assert not told(run)


def test_a_broker_that_loses_its_messages_costs_no_task(run: str, clock: Clock) -> None:
    scheduler = Scheduler()
    scheduler.queue()
    scheduler.send()
    wait(scheduler, clock, 120)
    assert not told(run)
    for message in messages():
        message.unlink()
    wait(scheduler, clock, 30)
    assert task(run)[0] == "scheduled"
    scheduler.queue()
    scheduler.send()
    assert len(messages()) == 1


def test_what_is_lost_again_and_again_is_left_to_airflows_own_timeout(run: str, clock: Clock) -> None:
    scheduler = Scheduler()
    for _ in range(5):
        scheduler.queue()
        scheduler.send()
        for message in messages():
            message.unlink()
        wait(scheduler, clock, 120)
    assert task(run)[0] == "queued"
    assert len(told(run)) == 3


@pytest.mark.parametrize("begun", ["celery says so", "airflow says so"])
def test_a_task_that_a_worker_has_begun_with_is_left_alone(begun: str, run: str, clock: Clock) -> None:
    from airflow.utils.session import create_session  # noqa: PLC0415

    message = orphan(run)
    second = Scheduler()
    second.adopt()
    wait(second, clock, 40)
    if begun == "celery says so":
        second.executor.celery_app.backend.store_result(message, None, "STARTED")
    else:
        with create_session() as session:
            model = _models()["TaskInstance"]
            session.query(model).where(model.run_id == run).update({"state": "running"})
    before = task(run)
    wait(second, clock, 120)
    assert task(run) == before
    assert not told(run)


def test_a_worker_that_takes_more_than_it_can_begin_with_is_believed(
    run: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER", "4")
    message = orphan(run)
    second = Scheduler()
    second.adopt()
    wait(second, clock, 300)
    assert task(run) == ("queued", 1, message)


def test_a_broker_that_is_away_costs_no_task_and_is_told_once(
    run: str, clock: Clock, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from kombu import Connection  # noqa: PLC0415

    scheduler = Scheduler()
    scheduler.queue()
    with monkeypatch.context() as away:
        # Only where it asks; what it would send all the same would arrive.
        away.setattr(scheduler.executor.celery_app, "connection_for_write", lambda: Connection(NOBODY))
        for _ in range(3):
            scheduler.send()
        clock.now += 40
        scheduler.send()
        assert not messages()
        assert task(run)[:2] == ("queued", 1)
    scheduler.send()
    assert len(messages()) == 1
    assert task(run)[:2] == ("queued", 1)
    said = capfd.readouterr().out
    assert said.count("cannot be used") == 1
    assert "127.0.0.1:1" in said
    assert "can be used again, after 40 s" in said
    assert "test-password" not in said


def test_with_airflows_own_executor_it_costs_a_try(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.celery.executors import celery_executor_utils  # noqa: PLC0415
    from kombu import pools  # noqa: PLC0415

    scheduler = Scheduler("stock")
    scheduler.queue()
    monkeypatch.setenv("CELERY_BROKER_URL", NOBODY)
    app = celery_executor_utils.app  # with which messages are sent; it has to connect anew
    monkeypatch.setattr(app.amqp, "_producer_pool", None)
    pools.reset()
    scheduler.send()
    assert task(run)[0] == "failed"
