"""The executor between Airflow's own scheduler, its tables, and kombu's transport over a folder."""

from __future__ import annotations

import base64
import datetime
import json
import os
import socket
import struct
import threading
import types
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
    monkeypatch.setattr(executor, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
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
        self.executor.start()
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


def change(run: str, **values: str) -> None:
    """What somebody else does to the run's task."""
    from airflow.utils.session import create_session  # noqa: PLC0415

    model = _models()["TaskInstance"]
    with create_session() as session:
        session.query(model).where(model.run_id == run).update(values)


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
    assert not told(run)
    wait(second, clock, 20)
    assert len(told(run)) == 1
    assert "default is empty" in told(run)[0]
    assert len(messages()) == 1
    assert task(run) == ("queued", 1, message), "the same try, and the same message"
    wait(second, clock, 300)
    assert len(messages()) == len(told(run)) == 1, "it waits for a worker now"


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
    (first,) = messages()
    content = json.loads(first.read_text())
    first.unlink()
    wait(scheduler, clock, 60)
    (second,) = messages()
    assert json.loads(second.read_text())["headers"]["id"] == content["headers"]["id"] == task(run)[2]


def test_what_is_lost_again_and_again_is_left_to_airflows_own_timeout(run: str, clock: Clock) -> None:
    scheduler = Scheduler()
    scheduler.queue()
    scheduler.send()
    for _ in range(5):
        for message in messages():
            message.unlink()
        wait(scheduler, clock, 120)
    assert task(run)[0] == "queued"
    assert len(told(run)) == 3


@pytest.mark.parametrize("begun", ["celery says so", "airflow says so"])
def test_a_task_that_a_worker_has_begun_with_is_left_alone(begun: str, run: str, clock: Clock) -> None:
    message = orphan(run)
    second = Scheduler()
    second.adopt()
    wait(second, clock, 40)
    if begun == "celery says so":
        second.executor.celery_app.backend.store_result(message, None, "STARTED")
    else:
        change(run, state="running")
    before = task(run)
    wait(second, clock, 120)
    assert task(run) == before
    assert not told(run)
    assert second.executor.running, "it is still this scheduler's"


@pytest.mark.parametrize("values", [{"external_executor_id": "another"}, {"state": "success"}])
def test_a_task_that_is_no_longer_its_own_takes_no_place_in_a_scheduler(
    values: dict[str, str], run: str, clock: Clock
) -> None:
    orphan(run)
    second = Scheduler()
    second.adopt()
    change(run, **values)
    wait(second, clock, 120)
    assert not messages()
    assert not told(run)
    assert not second.executor.running


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER", "4"),
        ("AIRFLOW__CELERY__TASK_ACKS_LATE", "False"),
        ("AIRFLOW__CELERY__TASK_TRACK_STARTED", "False"),
        ("AIRFLOW__CELERY__EXTRA_CELERY_CONFIG", '{"worker_prefetch_multiplier": 4}'),
        ("AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__GLOBAL_KEYPREFIX", "team-a:"),
    ],
)
def test_where_an_empty_queue_proves_nothing_nothing_is_sent_anew(
    option: str, value: str, run: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(option, value)
    orphan(run)
    second = Scheduler()
    second.adopt()
    wait(second, clock, 300)
    assert not told(run)


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        ("NOT_FOUND - no queue 'default' in vhost '/'", True),
        ("NOT_FOUND - home node 'rabbit@one' of durable queue 'default' in vhost '/' is down or inaccessible", False),
        ("ACCESS_REFUSED - access to queue 'default' refused", False),
    ],
)
def test_a_queue_of_which_the_broker_cannot_tell_is_not_taken_for_an_empty_one(
    answer: str, lost: bool, run: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kombu.exceptions import ChannelError  # noqa: PLC0415
    from kombu.transport.filesystem import Channel  # noqa: PLC0415

    orphan(run)
    second = Scheduler()
    second.adopt()

    def refuse(_self: t.Any, queue: str, passive: bool) -> None:
        assert (queue, passive) == ("default", True)
        raise ChannelError(answer)

    with monkeypatch.context() as asked:
        asked.setattr(Channel, "queue_declare", refuse)
        for _ in range(20):
            clock.now += 5
            second.executor.sync()
    assert bool(told(run)) == lost


def test_a_database_that_fails_at_that_does_not_end_the_scheduler(
    run: str, clock: Clock, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from airflow.executors.workloads import ExecuteTask  # noqa: PLC0415

    orphan(run)
    second = Scheduler()
    second.adopt()
    with monkeypatch.context() as broken:
        broken.setattr(ExecuteTask, "make", None)
        wait(second, clock, 60)
    assert "Lost messages cannot be looked for" in capfd.readouterr().out
    assert not told(run)
    wait(second, clock, 60)
    assert len(messages()) == len(told(run)) == 1


class Silent:
    """A broker that takes connections and, with AMQP, everything up to the first channel; then it says nothing more."""

    def __init__(self, scheme: str, *, greets: bool) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"{scheme}://127.0.0.1:{self._server.getsockname()[1]}//"
        self._taken: list[socket.socket] = []
        threading.Thread(target=self._serve, args=(greets,), daemon=True).start()

    def _serve(self, greets: bool) -> None:
        while True:
            try:
                taken, _address = self._server.accept()
            except OSError:
                return
            self._taken.append(taken)
            if greets:
                threading.Thread(target=self._greet, args=(taken,), daemon=True).start()

    @staticmethod
    def _greet(taken: socket.socket) -> None:
        """The handshake. Source: AMQP 0-9-1, 2.2.4 and 1.4."""
        from amqp.serialization import dumps  # noqa: PLC0415

        def answer(channel: int, method: tuple[int, int], layout: str = "", *values: t.Any) -> None:
            payload = struct.pack(">HH", *method) + (dumps(layout, values) if layout else b"")
            taken.sendall(struct.pack(">BHI", 1, channel, len(payload)) + payload + b"\xce")

        steps = {
            (10, 11): lambda: answer(0, (10, 30), "BlB", 0, 131072, 0),  # start-ok: tune
            (10, 40): lambda: answer(0, (10, 41), "s", ""),  # open: open-ok
            (20, 10): lambda: answer(1, (20, 11), "S", ""),  # the first channel
        }
        stream = taken.makefile("rb")
        stream.read(8)
        answer(0, (10, 10), "ooFSS", 0, 9, {}, "PLAIN AMQPLAIN", "en_US")
        while header := stream.read(7):
            _kind, _channel, size = struct.unpack(">BHI", header)
            payload = stream.read(size + 1)
            step = steps.get(struct.unpack(">HH", payload[:4]))
            if step:
                step()

    def close(self) -> None:
        self._server.close()
        for taken in self._taken:
            taken.close()


@pytest.fixture(name="silent")
def _silent() -> t.Iterator[t.Callable[..., Silent]]:
    made: list[Silent] = []

    def make(scheme: str, *, greets: bool) -> Silent:
        made.append(Silent(scheme, greets=greets))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_a_broker_that_takes_a_connection_and_says_nothing_does_not_hold_up_the_scheduler(
    scheme: str,
    run: str,
    monkeypatch: pytest.MonkeyPatch,
    silent: t.Callable[..., Silent],
    capfd: pytest.CaptureFixture[str],
) -> None:
    from flowstead_airflow import executor  # noqa: PLC0415
    from kombu import Connection  # noqa: PLC0415

    monkeypatch.setattr(executor, "TIMEOUT", 0.5)
    scheduler = Scheduler()
    scheduler.queue()
    url = silent(scheme, greets=False).url
    monkeypatch.setattr(scheduler.executor.celery_app, "connection_for_write", lambda: Connection(url))
    scheduler.send()
    assert task(run)[0] == "queued"
    assert not messages()
    assert "cannot be used" in capfd.readouterr().out


def test_a_broker_that_falls_silent_does_not_hold_up_whoever_asks_for_its_queues(
    run: str,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    silent: t.Callable[..., Silent],
    capfd: pytest.CaptureFixture[str],
) -> None:
    from flowstead_airflow import executor  # noqa: PLC0415
    from kombu import Connection  # noqa: PLC0415

    monkeypatch.setattr(executor, "TIMEOUT", 1.0)
    orphan(run)
    second = Scheduler()
    second.adopt()
    url = silent("amqp", greets=True).url
    monkeypatch.setattr(second.executor.celery_app, "connection_for_read", lambda: Connection(url))
    wait(second, clock, 60)
    said = capfd.readouterr().out
    assert "TimeoutError('no answer within 1 s')" in said
    assert not told(run)


def test_a_broker_that_falls_silent_holds_up_no_more_than_one_message(
    run: str,
    sends_over: t.Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    silent: t.Callable[..., Silent],
) -> None:
    from airflow.providers.celery.executors import celery_executor_utils  # noqa: PLC0415

    monkeypatch.setattr(celery_executor_utils, "OPERATION_TIMEOUT", 1.0)
    scheduler = Scheduler()
    scheduler.queue()
    beside(scheduler, 7)
    sends_over(silent("amqp", greets=True).url)
    calls: list[t.Any] = []
    plain = celery_executor_utils.send_workload_to_executor
    monkeypatch.setattr(
        celery_executor_utils, "send_workload_to_executor", lambda one: calls.append(one[0]) or plain(one)
    )
    for _ in range(3):
        scheduler.send()
    assert len(calls) == 3, "one in each round"
    assert task(run)[0] == "queued"
    assert len(scheduler.executor.queued_tasks) == 2


def beside(scheduler: Scheduler, index: int) -> t.Any:
    """Another task, queued beside the one that is: the same for the same queue."""
    key, workload = next(iter(scheduler.executor.queued_tasks.items()))
    made = workload.model_copy(deep=True)
    made.ti.map_index = index
    scheduler.executor.queued_tasks[key._replace(map_index=index)] = made
    return made


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


@pytest.fixture(name="sends_over")
def _sends_over(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[t.Callable[[str], None]]:
    """Has whoever sends, and nobody else, use another broker; with "", its own again."""
    from airflow.providers.celery.executors import celery_executor_utils  # noqa: PLC0415
    from kombu import Connection, pools  # noqa: PLC0415

    app = celery_executor_utils._get_celery_app_for_workload(None)
    plain = app.connection_for_write

    def use(url: str) -> None:
        monkeypatch.setattr(app, "connection_for_write", (lambda *_a, **_k: Connection(url)) if url else plain)
        monkeypatch.setattr(app.amqp, "_producer_pool", pools.Producers(limit=1)[app.connection_for_write()])

    yield use
    use("")


def test_messages_that_fail_on_their_way_to_the_broker_cost_no_task(
    run: str, sends_over: t.Callable[[str], None], capfd: pytest.CaptureFixture[str]
) -> None:
    scheduler = Scheduler()
    scheduler.queue()
    beside(scheduler, 7)
    for workload in scheduler.executor.queued_tasks.values():
        workload.token = "too-old"
    sends_over(NOBODY)
    for _ in range(5):
        scheduler.send()
    assert task(run)[:2] == ("queued", 1)
    said = capfd.readouterr().out
    assert said.count("did not take a task for default") == 1
    assert "test-password" not in said
    sends_over("")
    scheduler.send()
    assert len(messages()) == 1, "one tries for all"
    scheduler.send()
    assert len(messages()) == 2
    assert task(run)[:2] == ("queued", 1)
    assert "too-old" not in "".join(base64_text(message) for message in messages())


def base64_text(message: Path) -> str:
    """What a message says."""
    return base64.b64decode(json.loads(message.read_text())["body"]).decode()


def test_a_queue_that_takes_nothing_holds_up_no_other_one(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.celery.executors import celery_executor  # noqa: PLC0415
    from airflow.providers.celery.executors.celery_executor_utils import ExceptionWithTraceback  # noqa: PLC0415
    from kombu.exceptions import OperationalError  # noqa: PLC0415

    scheduler = Scheduler()
    scheduler.queue()
    queued = scheduler.executor.queued_tasks
    for index in range(5, 9):
        bad = beside(scheduler, index)
        bad.ti.queue, bad.ti.priority_weight = "full", 9
    tried: list[str] = []

    def send(_self: t.Any, given: t.Sequence[t.Any]) -> list[t.Any]:
        tried.extend(one[2] for one in given)
        error = ExceptionWithTraceback(OperationalError("reject-publish"), "")
        return [(one[0], one[1], error if one[2] == "full" else None) for one in given]

    monkeypatch.setattr(celery_executor.CeleryExecutor, "_send_workloads_to_celery", send)
    scheduler.executor.trigger_tasks(4)
    assert tried == ["full"], "what matters most comes first, and one tries for all"
    beside(scheduler, 1)
    tried.clear()
    scheduler.executor.trigger_tasks(4)
    assert tried == ["default", "default", "full"], "all that the others take, and one that tries"
    assert [one.ti.queue for one in queued.values()] == ["full"] * 4


def test_with_airflows_own_executor_it_costs_a_try(
    run: str,
    sends_over: t.Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from airflow.providers.celery.executors import celery_executor_utils  # noqa: PLC0415

    monkeypatch.setattr(celery_executor_utils, "OPERATION_TIMEOUT", 60.0)
    scheduler = Scheduler("stock")
    scheduler.queue()
    sends_over(NOBODY)
    scheduler.send()
    assert task(run)[0] == "failed"
    assert "refused" in capfd.readouterr().out
