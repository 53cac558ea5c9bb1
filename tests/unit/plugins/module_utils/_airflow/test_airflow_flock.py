"""Behaviour of canaries on their way through Airflow."""

from __future__ import annotations

import typing as t

import pytest
from airflow_double import Airflow, Dag
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.canary import RUN_PREFIX, Canary
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.client import (
    AirflowClient,
    AirflowMisconfigured,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.flock import Flock
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.report import failure_message, short_error


class Clock:
    """Time that passes only when somebody sleeps. ``at`` runs something at a second."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.at: dict[float, t.Callable[[], None]] = {}

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        for moment in [one for one in self.at if 1000 + one <= self.seconds]:
            self.at.pop(moment)()


@pytest.fixture
def clock() -> Clock:
    """A clock at second 1000."""
    return Clock()


def flock(airflow: Airflow, clock: Clock, *canaries: Canary, timeout: float = 60, password: str = "") -> Flock:
    """Canaries before their start; without any, that of queue default."""
    session = AirflowClient(airflow.url, "admin", password or "right", timeout=5)
    return Flock(session, canaries or (Canary("default", "canary", ["w1"]),), timeout, clock.now, clock.sleep)


def test_a_canary_passes_when_task_queue_worker_and_log_are_right(airflow: Airflow, clock: Clock) -> None:
    birds = flock(airflow, clock)

    assert birds.run()

    result = birds.canaries[0].result()
    assert result == {
        "passed": True,
        "queue": "default",
        "dag_id": "canary",
        "run_id": RUN_PREFIX + birds.canaries[0].nonce,
        "state": "success",
        "worker": "w1",
        "host": "worker-1",
        "problem": "",
        "advice": "",
        "log": [],
        "seconds": 4.0,
    }


def test_every_change_is_told_once(airflow: Airflow, clock: Clock) -> None:
    birds = flock(airflow, clock)
    birds.run()

    assert birds.take_lines() == [
        f"canary: Airflow 3.3.2 answers at {airflow.url}",
        "canary: default DAG not known yet -> triggered",
        "canary: default triggered -> scheduled",
        "canary: default scheduled -> queued",
        "canary: default queued -> running",
        "canary: default passed in 4 s on worker w1, log readable",
    ]
    assert birds.take_lines() == []


def test_canaries_run_at_the_same_time(airflow: Airflow, clock: Clock) -> None:
    airflow.dags["second"] = Dag(queue="big")
    birds = flock(airflow, clock, Canary("default", "canary", []), Canary("big", "second", []))

    birds.run()

    posts = [index for index, request in enumerate(airflow.requests) if request.startswith("POST /af/api")]
    first_end = airflow.requests.index("GET /af/api/v2/dags/canary/dagRuns/" + birds.canaries[0].run_id)
    assert len(posts) == 2
    assert max(posts) < first_end
    assert [canary.result()["passed"] for canary in birds.canaries] == [True, True]


def test_it_waits_for_airflow_to_answer_and_for_the_dag_to_be_known(airflow: Airflow, clock: Clock) -> None:
    dag = airflow.dags.pop("canary")
    airflow.outage = [503, 503]
    clock.at[10] = lambda: airflow.dags.update(canary=dag)
    birds = flock(airflow, clock)

    birds.run()

    assert birds.canaries[0].result()["passed"]
    assert "503" in birds.take_lines()[0]


def test_a_paused_dag_is_unpaused(airflow: Airflow, clock: Clock) -> None:
    airflow.dags["canary"].is_paused = True
    birds = flock(airflow, clock)

    birds.run()

    assert birds.canaries[0].result()["passed"]


def test_a_stale_dag_is_asked_to_be_read_again_once(airflow: Airflow, clock: Clock) -> None:
    airflow.dags["canary"].is_stale = True
    birds = flock(airflow, clock)

    birds.run()

    assert birds.canaries[0].result()["passed"]
    assert airflow.requests.count("PUT /af/api/v2/parseDagFile/token") == 1


def test_a_log_that_arrives_later_is_waited_for(airflow: Airflow, clock: Clock) -> None:
    airflow.dags["canary"].log_delay = 5
    birds = flock(airflow, clock)

    birds.run()

    assert birds.canaries[0].result()["passed"]


def test_a_log_that_stays_unreadable_fails_with_what_airflow_says(airflow: Airflow, clock: Clock) -> None:
    airflow.dags["canary"].log_delay = 1000
    birds = flock(airflow, clock, timeout=300)

    birds.run()

    result = birds.canaries[0].result()
    assert not result["passed"]
    assert "Could not read served logs" in result["problem"]
    assert "8793" in result["advice"]
    assert clock.seconds - 1000 < 60


@pytest.mark.parametrize(
    ("dag", "words"),
    [
        (Dag(queue="other"), "ran on queue other, not on default"),
        (Dag(queue="default", answer={"worker": "stranger"}), "ran on worker stranger, not on w1"),
        (Dag(queue="default", answer={"queues": "a, b"}), "consumes a, b, which lacks default"),
        (Dag(queue="default", answer={"nonce": "old"}), "answered for another run"),
    ],
)
def test_a_task_that_ran_elsewhere_does_not_pass(airflow: Airflow, clock: Clock, dag: Dag, words: str) -> None:
    airflow.dags["canary"] = dag
    birds = flock(airflow, clock)

    birds.run()

    assert words in birds.canaries[0].problem
    assert birds.canaries[0].advice


def test_a_failed_task_brings_its_last_log_lines(airflow: Airflow, clock: Clock) -> None:
    airflow.dags["canary"] = Dag("default", states=[("running", "running"), ("failed", "failed")], log="boom {nonce}")
    birds = flock(airflow, clock)

    birds.run()

    assert birds.canaries[0].problem == "the task ended as failed"
    assert birds.canaries[0].log[-1] == f"boom {birds.canaries[0].nonce}"


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ([("queued", None)], "the scheduler did not queue the task"),
        ([("running", "queued")], "no worker took it within 20 s"),
        ([("running", "running")], "still running after 20 s"),
    ],
)
def test_a_task_that_does_not_end_is_explained_by_where_it_hangs(
    airflow: Airflow, clock: Clock, states: list[tuple[str, str | None]], words: str
) -> None:
    airflow.dags["canary"].states = states
    birds = flock(airflow, clock, timeout=20)

    assert birds.run()

    assert words in birds.canaries[0].problem


def test_one_unknown_dag_does_not_keep_the_others_from_passing(airflow: Airflow, clock: Clock) -> None:
    birds = flock(airflow, clock, Canary("big", "missing", []), Canary("default", "canary", []), timeout=20)

    birds.run()

    assert "does not know a usable DAG missing after 20 s" in birds.canaries[0].problem
    assert birds.canaries[1].result()["passed"]


def test_a_wrong_password_fails_at_once(airflow: Airflow, clock: Clock) -> None:
    with pytest.raises(AirflowMisconfigured, match="refuses the password"):
        flock(airflow, clock, password="wrong").run()

    assert clock.seconds == 1000


def test_airflow_that_never_answers_is_reported_with_the_last_trouble(airflow: Airflow, clock: Clock) -> None:
    airflow.outage = [503] * 1000

    with pytest.raises(AirflowMisconfigured, match=r"did not answer within 20 s: .*503"):
        flock(airflow, clock, timeout=20).run()


def test_another_server_at_the_url_is_reported_long_before_the_timeout(airflow: Airflow, clock: Clock) -> None:
    session = AirflowClient(airflow.url + "/home", "admin", "right")
    airflow.outage = [404] * 1000
    birds = Flock(session, [Canary("default", "canary", [])], 600, clock.now, clock.sleep)

    with pytest.raises(AirflowMisconfigured, match="not as Airflow 3"):
        birds.run()

    assert clock.seconds - 1000 < 40


def test_an_outage_on_the_way_is_survived(airflow: Airflow, clock: Clock) -> None:
    clock.at[2] = lambda: airflow.outage.extend([503, 500])
    birds = flock(airflow, clock)

    birds.run()

    assert birds.canaries[0].result()["passed"]


def test_it_pauses_to_tell_a_change_and_goes_on_in_another_process(airflow: Airflow, clock: Clock) -> None:
    birds = flock(airflow, clock)
    lines: list[str] = []
    slices = 0
    while not birds.run(seconds=15):
        lines += birds.take_lines()
        birds = Flock.unpack(birds.client, birds.pack())
        birds.now, birds.sleep = clock.now, clock.sleep
        slices += 1

    assert slices == 4
    assert lines[-1] == "canary: default queued -> running"
    assert birds.canaries[0].result()["passed"]
    assert sum(request.startswith("POST /af/api") for request in airflow.requests) == 1


def test_nothing_to_tell_pauses_after_the_slice(airflow: Airflow, clock: Clock) -> None:
    airflow.dags["canary"].states = [("running", "queued")]
    birds = flock(airflow, clock, timeout=100)
    while birds.take_lines() or not clock.seconds > 1001:
        birds.run(seconds=15)
    before = clock.seconds

    assert not birds.run(seconds=15)

    assert clock.seconds - before == 15


def test_canaries_that_hang_from_earlier_are_ended_first(airflow: Airflow, clock: Clock) -> None:
    dag = airflow.dags["canary"]
    dag.runs = {
        RUN_PREFIX + "old": {"dag_run_id": RUN_PREFIX + "old", "state": "running", "conf": {}},
        "manual__x": {"dag_run_id": "manual__x", "state": "running", "conf": {}},
    }

    flock(airflow, clock).run()

    assert dag.runs[RUN_PREFIX + "old"]["state"] == "failed"
    assert dag.runs["manual__x"]["state"] == "running"


def test_only_the_newest_five_canary_runs_are_kept(airflow: Airflow, clock: Clock) -> None:
    dag = airflow.dags["canary"]
    for name in ["manual__x", *(f"{RUN_PREFIX}{number}" for number in range(6))]:
        dag.runs[name] = {"dag_run_id": name, "state": "success", "conf": {}}
    birds = flock(airflow, clock)
    birds.run()

    birds.tidy()

    assert birds.deleted_runs == 2
    assert list(dag.runs) == [
        "manual__x",
        *(f"{RUN_PREFIX}{number}" for number in range(2, 6)),
        birds.canaries[0].run_id,
    ]


def test_the_report_holds_every_canary_the_health_and_the_import_errors() -> None:
    failed = Canary("big", "canary_big", [], run_id="r1", log=["one", "two"])
    failed.fail("it hangs", "Look")
    passed = Canary("default", "canary", [], phase="done")
    error = {"bundle_name": "etl", "filename": "a.py", "stack_trace": "Traceback\nImportError: no b\n"}

    text = failure_message(
        "http://a", [failed.result(), passed.result()], {"scheduler": "unhealthy"}, [short_error(error)]
    )

    assert text.splitlines() == [
        "1 of 2 canaries did not pass at http://a:",
        "1. queue big (DAG canary_big, run r1): it hangs",
        "   Advice: Look.",
        "   | one",
        "   | two",
        "Health: scheduler unhealthy",
        "Import error in etl/a.py: ImportError: no b",
    ]
