"""When a release counts as read, and which import errors are its own."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow import release_watch
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.bundles import Bundles
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.client import AirflowClient, AirflowError
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.release_watch import ReleaseWatch
from bundle_double import BEGIN, BundleAirflow

SINCE = BEGIN.timestamp() + 10


class Scene:
    """Airflow, a clock, and what happens in each second of waiting."""

    def __init__(self, airflow: BundleAirflow) -> None:
        self.airflow = airflow
        self.now = 0.0
        self.steps: list[t.Callable[[], t.Any]] = []
        self.asked: list[list[str]] = []

    def watch(self, *dags: str, **changes: t.Any) -> ReleaseWatch:
        client = AirflowClient(self.airflow.url, "admin", "right", timeout=5.0)
        given = {"timeout": 30.0, "since": SINCE, **changes}
        made = ReleaseWatch(Bundles(client), "a", "r2", dags or ("d",), now=lambda: self.now, sleep=self.sleep, **given)
        made.run()
        return made

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.asked.append(sorted(self.airflow.parse_requests))
        self.airflow.parse_requests.clear()
        if self.steps:
            self.steps.pop(0)()


@pytest.fixture
def scene() -> Iterator[Scene]:
    server = BundleAirflow()
    yield Scene(server)
    server.close()
    assert server.objections == []


def test_a_dag_counts_when_its_parsing_began_after_the_bundle_had_moved_on(scene: Scene) -> None:
    airflow = scene.airflow
    airflow.add("d", "a", "r1", parsed=5)
    scene.steps = [
        lambda: airflow.parse("d", "r2", 12.0, 3.0),  # began with the old content, stored as the new release
        lambda: airflow.parse("d", "r2", 12.4, 0.5),
        lambda: airflow.parse("d", "r2", 14.0, 0.5),
    ]

    watch = scene.watch()

    assert (watch.proved, watch.timed_out, watch.seconds) == ({"d"}, False, 3.0)
    assert scene.asked[0] == ["token-d.py"]
    assert scene.asked[1] == ["token-d.py"], "a request from before the move proves nothing and is made again"


def test_a_dag_that_the_old_release_did_not_have_counts_at_once(scene: Scene) -> None:
    airflow = scene.airflow
    airflow.add("old", "a", "r1", parsed=5)
    scene.steps = [lambda: airflow.add("d", "a", "r2", parsed=12.0, duration=3.0)]

    assert scene.watch().proved == {"d"}


def test_a_dag_that_was_stale_and_is_alive_again_counts_at_once(scene: Scene) -> None:
    airflow = scene.airflow
    airflow.add("d", "a", "r1", parsed=5, is_stale=True)
    scene.steps = [lambda: airflow.parse("d", "r2", 12.0, 3.0)]

    assert scene.watch().proved == {"d"}


def test_what_was_stored_under_the_release_before_it_was_activated_again_does_not_count(scene: Scene) -> None:
    airflow = scene.airflow
    airflow.add("d", "a", "r2", parsed=5)
    airflow.add("e", "a", "r2", parsed=1)

    watch = scene.watch("d", "e", timeout=2.0)

    assert (watch.proved, watch.timed_out) == (set(), True)
    assert "may have read its file while the bundle moved on" in watch.missing()["d"]


def test_a_dag_whose_form_for_new_runs_is_of_another_release_does_not_count(scene: Scene) -> None:
    airflow = scene.airflow
    airflow.add("d", "a", "r1", parsed=5, is_stale=True)
    airflow.stored["d"] = "r3"

    def store() -> None:
        airflow.stored.clear()
        airflow.parse("d", "r2", 44.0)

    scene.steps = [lambda: airflow.parse("d", "r2", 12.0), lambda: None, store]
    watch = scene.watch()
    assert (watch.proved, watch.seconds) == ({"d"}, 3.0)


def test_a_dag_that_stays_unstored_is_told_with_airflow_s_setting(scene: Scene) -> None:
    scene.airflow.add("d", "a", "r1", parsed=5, is_stale=True)
    scene.airflow.stored["d"] = "r3"
    scene.steps = [lambda: scene.airflow.parse("d", "r2", 12.0)]

    watch = scene.watch(timeout=2.0)

    assert watch.timed_out
    assert "min_serialized_dag_update_interval" in watch.missing()["d"]


def test_an_empty_release_has_nothing_to_wait_for(scene: Scene) -> None:
    client = AirflowClient(scene.airflow.url, "admin", "right", timeout=5.0)
    watch = ReleaseWatch(Bundles(client), "a", "r2", [], timeout=5.0)
    watch.run()

    assert (watch.timed_out, watch.missing(), watch.errors) == (False, {}, [])


def test_a_new_import_error_ends_the_wait(scene: Scene) -> None:
    scene.airflow.add("d", "a", "r1", parsed=5)
    scene.steps = [lambda: scene.airflow.error("b", "d.py", 12.0), lambda: scene.airflow.error("a", "d.py", 13.0)]

    watch = scene.watch()

    assert [error.file for error in watch.errors] == ["d.py"]
    assert (watch.timed_out, watch.seconds) == (False, 2.0)


def test_an_error_of_the_release_before_does_not_undo_the_one_that_mends_it(scene: Scene) -> None:
    airflow = scene.airflow
    airflow.add("d", "a", "r1", parsed=5, is_stale=True)
    airflow.error("a", "d.py", 5.0)

    def mend() -> None:
        airflow.errors.clear()
        airflow.parse("d", "r2", 14.0)

    scene.steps = [lambda: airflow.error("a", "d.py", 12.0), lambda: airflow.error("a", "d.py", 13.0), mend]

    watch = scene.watch()

    assert (watch.proved, watch.errors) == ({"d"}, [])


def test_an_error_that_stays_through_new_parsings_is_of_the_release(scene: Scene) -> None:
    airflow = scene.airflow
    airflow.add("d", "a", "r1", parsed=5, is_stale=True)
    airflow.error("a", "d.py", 5.0)
    scene.steps = [lambda n=n: airflow.error("a", "d.py", 12.0 + n) for n in range(release_watch.NEW_PARSING)]

    watch = scene.watch()

    assert [error.file for error in watch.errors] == ["d.py"]
    assert watch.seconds == release_watch.NEW_PARSING
    assert scene.asked == [["token-d.py"]] * release_watch.NEW_PARSING


def test_thousands_of_files_are_asked_for_in_portions(scene: Scene) -> None:
    airflow = scene.airflow
    names = [f"d{number:03}" for number in range(100)]
    for name in names:
        airflow.add(name, "a", "r1", parsed=5)
    scene.steps = [lambda: airflow.parse("d000", "r2", 12.0)]

    watch = scene.watch(*names, timeout=3.0)

    assert [len(asked) for asked in scene.asked] == [1, release_watch.WINDOW, 0]
    assert len(watch.missing()) == 100


def test_dags_that_are_missing_come_with_the_reason(scene: Scene) -> None:
    airflow = scene.airflow
    airflow.add("old", "a", "r1", parsed=5)
    airflow.add("theirs", "b", "r1")
    airflow.add("stale", "a", "r1", is_stale=True)

    missing = scene.watch("old", "theirs", "stale", "none", timeout=0.0).missing()

    assert missing["old"] == "Airflow has it from release r1"
    assert missing["theirs"] == "it belongs to bundle b"
    assert missing["none"] == "Airflow does not know it"
    assert "stale" in missing["stale"]


def test_an_api_server_that_restarts_is_waited_for_and_one_that_stays_away_is_told(scene: Scene) -> None:
    scene.airflow.add("d", "a", "r1", parsed=5)
    scene.steps = [lambda: scene.airflow.outage.append(503), lambda: scene.airflow.add("d", "a", "r2", parsed=14)]
    scene.steps.append(lambda: scene.airflow.parse("d", "r2", 16.0))
    watch = scene.watch()
    assert (watch.proved, watch.trouble) == ({"d"}, "")

    scene.airflow.outage = [502] * 9
    watch = scene.watch(timeout=2.0)
    assert watch.timed_out
    assert "502" in watch.trouble


def test_a_refusal_is_not_waited_for(scene: Scene) -> None:
    scene.airflow.add("d", "a", "r1", parsed=5)
    scene.airflow.outage = [403]

    with pytest.raises(AirflowError, match="403"):
        scene.watch()
