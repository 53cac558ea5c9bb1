from __future__ import annotations

import typing as t

import pytest
from shares import Processor, Share, dag_text, model, state

Script = t.Iterator[t.Callable[[], bool]]


def bundle(share: Share, version: str | None = None) -> t.Any:
    """A bundle as scheduler, API server and task runner get it."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager  # noqa: PLC0415

    return DagBundlesManager().get_bundle(share.bundle, version)


def loops(count: int) -> t.Callable[[], bool]:
    """Comes true after so many rounds of the manager."""
    left = iter(range(count))
    return lambda: next(left, None) is None


def test_a_component_without_the_share_can_make_the_bundle_and_ask_for_its_address(share: Share) -> None:
    from airflow.dag_processing.bundles.manager import DagBundlesManager  # noqa: PLC0415

    assert not share.root.exists()
    assert bundle(share).view_url_template() is None
    with pytest.warns(DeprecationWarning, match="view_url"):
        assert DagBundlesManager().view_url(share.bundle, "20261126T140100Z-000000000001") is None
    DagBundlesManager().sync_bundles_to_db(deactivate_missing=False)


def test_a_run_stays_on_its_release_while_the_next_run_gets_the_new_one(
    share: Share, processor: type[Processor]
) -> None:
    from airflow.models.serialized_dag import SerializedDagModel  # noqa: PLC0415
    from airflow.utils import timezone  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from airflow.utils.types import DagRunTriggeredByType, DagRunType  # noqa: PLC0415

    def begin(run_id: str) -> str | None:
        with create_session() as session:
            run = SerializedDagModel.get_dag("pinned", session=session).create_dagrun(
                run_id=run_id,
                run_type=DagRunType.MANUAL,
                run_after=timezone.utcnow(),
                triggered_by=DagRunTriggeredByType.TEST,
                state="running",
                session=session,
            )
            return t.cast("str | None", run.bundle_version)

    share.prepare()
    old = share.publish({"team/dag.py": dag_text("pinned", "old")})
    runs: list[str | None] = []

    def script() -> Script:
        yield lambda: state("pinned") == (old, "old", True)
        runs.append(begin("first"))
        new = share.publish({"team/dag.py": dag_text("pinned", "new")})
        yield lambda: state("pinned") == (new, "new", True)
        runs.append(begin("second"))
        share.activate(old)
        yield lambda: state("pinned") == (old, "old", True)
        assert runs == [old, new]

    processor().follow(script())
    for version, note in zip(runs, ("old", "new")):
        pinned = bundle(share, version)
        pinned.initialize()
        assert f"echo {note}" in (pinned.path / "team/dag.py").read_text()
        assert pinned.get_current_version().version == version
    assert model("pinned").relative_fileloc == "team/dag.py"


@pytest.mark.parametrize("how", ["share gone", "mount point empty", "no sentinel", "no current", "no manifest"])
def test_no_dag_is_lost_while_the_share_is_not_what_it_should_be(
    how: str, share: Share, processor: type[Processor]
) -> None:
    dag_id = f"kept_{how.replace(' ', '_')}"
    share.prepare()
    release = share.publish({"dag.py": dag_text(dag_id, "kept")})
    away = share.root.with_name("away")

    def script() -> Script:
        yield lambda: state(dag_id) == (release, "kept", True)
        if how in ("share gone", "mount point empty"):
            share.root.rename(away)
        if how == "mount point empty":
            share.root.mkdir()
        broken = {"no sentinel": ".sentinel", "no current": "current", "no manifest": "current/MANIFEST.json"}.get(how)
        if broken:
            (share.root / broken).rename(share.root / "hidden")
        # Rounds take up to a second: more than the threshold after which Airflow calls a DAG stale.
        yield loops(4)
        assert state(dag_id) == (release, "kept", True)
        if how == "mount point empty":
            share.root.rmdir()
        if broken:
            (share.root / "hidden").rename(share.root / broken)
        else:
            away.rename(share.root)
        new = share.publish({"dag.py": dag_text(dag_id, "again")})
        yield lambda: state(dag_id) == (new, "again", True)

    processor().follow(script())


def test_a_processor_that_starts_without_the_share_keeps_dags_and_takes_up_work_when_it_comes(
    share: Share, processor: type[Processor]
) -> None:
    share.prepare()
    release = share.publish({"dag.py": dag_text("late", "late")})
    processor().follow(iter([lambda: state("late") == (release, "late", True)]))
    share.root.rename(share.root.with_name("away"))

    def script() -> Script:
        yield loops(3)
        assert state("late") == (release, "late", True)
        share.root.with_name("away").rename(share.root)
        new = share.publish({"dag.py": dag_text("late", "back")})
        yield lambda: state("late") == (new, "back", True)

    processor().follow(script())


def test_a_dag_that_a_release_leaves_out_goes_away(share: Share, processor: type[Processor]) -> None:
    share.prepare()
    share.publish({"one.py": dag_text("stays", "1"), "two.py": dag_text("goes", "1")})

    def script() -> Script:
        yield lambda: state("stays")[2] and state("goes")[2]
        share.publish({"one.py": dag_text("stays", "2")})
        yield lambda: state("stays")[1:] == ("2", True) and not state("goes")[2]

    processor().follow(script())


def test_files_still_in_the_queue_at_a_flip_are_read_from_the_new_release(
    share: Share, processor: type[Processor]
) -> None:
    names = [f"queued_{number}" for number in range(8)]
    share.prepare()
    old = share.publish({f"{name}.py": dag_text(name, "old") for name in names})
    made = processor(_parallelism=1)
    mixed: set[str] = set()

    def script() -> Script:
        yield lambda: all(state(name) == (old, "old", True) for name in names)
        yield lambda: len(made.manager._file_queue) > 4
        new = share.publish({f"{name}.py": dag_text(name, "new") for name in names})

        def done() -> bool:
            states = {name: state(name) for name in names}
            mixed.update(name for name, (version, note, _there) in states.items() if version == new and note == "old")
            return all(found == (new, "new", True) for found in states.values())

        yield done

    made.follow(script())
    # Airflow labels what it is parsing at that moment with the new version: at most one file for each process.
    assert len(mixed) <= 1


def test_a_pruned_release_is_named_with_what_to_do(share: Share) -> None:
    from airflow.exceptions import AirflowException  # noqa: PLC0415

    share.prepare()
    share.publish({})
    gone = bundle(share, "20250101T000000Z-abcdefabcdef")
    with pytest.raises(AirflowException, match=r"release 20250101T000000Z-abcdefabcdef is not in .* pruned.* Clear"):
        gone.initialize()


def test_airflow_can_forget_versions_that_are_no_longer_used(
    share: Share, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow.dag_processing.bundles.base import (  # noqa: PLC0415
        BundleUsageTrackingManager,
        BundleVersionLock,
        get_bundle_tracking_file,
    )

    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_MIN_VERSIONS", "0")
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_AGE_THRESHOLD", "0")
    share.prepare()
    release = share.publish({"dag.py": dag_text("used", "used")})
    bundle(share, release).initialize()
    with BundleVersionLock(share.bundle, release):
        assert get_bundle_tracking_file(share.bundle, release).exists()
    BundleUsageTrackingManager().remove_stale_bundle_versions()
    assert not get_bundle_tracking_file(share.bundle, release).exists()
    assert (share.root / "releases" / release / "dag.py").exists()


def test_an_empty_release_is_valid(share: Share) -> None:
    share.prepare()
    release = share.publish({})
    made = bundle(share)
    made.initialize()
    made.refresh()
    assert made.get_current_version().version == release
    assert [path.name for path in made.path.iterdir()] == ["MANIFEST.json"]
