"""What is read of bundles: all pages, nothing missed, and which release a run needs."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.bundles import Bundles, parse_time
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.client import (
    AirflowClient,
    AirflowMisconfigured,
)
from bundle_double import BEGIN, BundleAirflow, stamp


@pytest.fixture
def airflow() -> Iterator[BundleAirflow]:
    server = BundleAirflow()
    yield server
    server.close()
    assert server.objections == []


@pytest.fixture
def bundles(airflow: BundleAirflow) -> Bundles:
    return Bundles(AirflowClient(airflow.url, "admin", "right", timeout=5.0))


def test_dags_of_all_pages_are_read_also_when_the_server_makes_them_shorter(
    airflow: BundleAirflow, bundles: Bundles
) -> None:
    for number in range(7):
        airflow.add(f"dag{number}", "a" if number % 2 else "b", is_stale=number == 3)
    airflow.page_limit = 2

    assert [dag.dag_id for dag in bundles.dags()] == [f"dag{number}" for number in range(7)]
    assert airflow.pages == 4
    own = bundles.dags("a")
    assert [(dag.dag_id, dag.stale) for dag in own] == [("dag1", False), ("dag3", True), ("dag5", False)]
    assert (own[0].bundle, own[0].version, own[0].file) == ("a", "r1", "dag1.py")


def test_an_airflow_without_dags_is_no_problem(bundles: Bundles) -> None:
    assert (bundles.dags(), bundles.import_errors(), bundles.unfinished_runs({})) == ([], [], [])


def test_the_line_of_an_import_error_is_that_of_the_file_and_not_of_a_library(
    airflow: BundleAirflow, bundles: Bundles
) -> None:
    trace = (
        'Traceback (most recent call last):\n  File "/opt/bundles/a/releases/r1/sales/x.py", line 7, in <module>\n'
        '    import lib\n  File "/usr/lib/other.py", line 99, in load\nValueError: bad\n'
    )
    airflow.error("a", "sales/x.py", 1.0, trace)
    airflow.error("b", "y.py", 2.0, "no trace")

    found = bundles.import_errors("a")

    assert [(error.file, error.line, error.error) for error in found] == [("sales/x.py", 7, "ValueError: bad")]
    assert [error.line for error in bundles.import_errors()] == [7, None]


def test_unfinished_runs_are_queued_running_or_have_tasks_that_did_not_end(
    airflow: BundleAirflow, bundles: Bundles
) -> None:
    airflow.add("d", "a")
    for run_id, state, version in (
        ("queued", "queued", "r3"),
        ("running", "running", "r2"),
        ("done", "success", "r1"),
        ("stopped", "failed", "r0"),
        ("loose", "running", None),
    ):
        airflow.add_run("d", run_id, state, version)
    airflow.add_task("d", "stopped", "running", "r0b")
    airflow.add_task("d", "running", "deferred", "r2")
    airflow.add_task("d", "done", "success", "r1")
    airflow.add_task("d", "deleted", "running", "r9")

    runs = {run.run_id: run for run in bundles.unfinished_runs({})}

    assert sorted(runs) == ["loose", "queued", "running", "stopped"]
    assert (runs["queued"].version, runs["queued"].bundle, runs["queued"].state) == ("r3", "a", "queued")
    assert runs["stopped"].versions == ("r0", "r0b")
    assert (runs["loose"].version, runs["loose"].versions) == (None, ())


def test_a_run_that_names_no_bundle_has_that_of_its_dag(airflow: BundleAirflow, bundles: Bundles) -> None:
    airflow.add("d", "a")
    airflow.add_run("d", "x", "running", "r1", dag_versions=[])

    assert bundles.unfinished_runs({"d": "a"})[0].bundle == "a"
    assert bundles.unfinished_runs({})[0].bundle == ""


def test_no_run_is_missed_when_others_end_between_two_pages(airflow: BundleAirflow, bundles: Bundles) -> None:
    airflow.add("d", "a")
    for number in range(250):
        airflow.add_run("d", f"run{number:03}", "running", "r1")

    def end_some() -> None:
        for run in airflow.all_runs[:60]:
            run["state"] = "success"

    airflow.after_page = end_some

    assert {run.run_id for run in bundles.unfinished_runs({})} == {f"run{number:03}" for number in range(250)}


def test_an_airflow_that_ignores_cursors_is_refused_instead_of_half_read(
    airflow: BundleAirflow, bundles: Bundles
) -> None:
    airflow.knows_cursors = False

    with pytest.raises(AirflowMisconfigured, match=r"3\.3\.2 or newer"):
        bundles.unfinished_runs({})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (stamp(1.5), BEGIN.timestamp() + 1.5),
        ("2026-11-26T14:00:00Z", BEGIN.timestamp()),
        ("2026-11-26T15:00:00.25+01:00", BEGIN.timestamp() + 0.25),
        ("2026-11-26T14:00:00.1234567Z", BEGIN.timestamp() + 0.123456),
        (None, 0.0),
    ],
)
def test_times_are_read_as_airflow_writes_them(text: t.Any, seconds: float) -> None:
    assert parse_time(text) == pytest.approx(seconds, abs=1e-6)


def test_the_server_tells_its_clock(bundles: Bundles) -> None:
    assert bundles.now() == 0.0
    bundles.client.version()
    assert bundles.now() > 0
