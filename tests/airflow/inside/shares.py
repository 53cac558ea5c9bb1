"""A share with releases, and Airflow's own DAG processor driven step by step."""

from __future__ import annotations

import json
import time
import typing as t
from pathlib import Path


def dag_text(dag_id: str, note: str) -> str:
    """A DAG file with one task; ``note`` tells one release from the other."""
    return (
        "from airflow.sdk import DAG\n"
        "from airflow.providers.standard.operators.bash import BashOperator\n"
        f"with DAG({dag_id!r}, description={note!r}, schedule=None):\n"
        f"    BashOperator(task_id='say', bash_command='echo {note}')\n"
    )


class Share:
    """What dag_release leaves on the share, made by hand: an independent second reading of the layout."""

    def __init__(self, root: Path, bundle: str) -> None:
        self.root = root
        self.bundle = bundle
        self._made = 0

    def prepare(self) -> None:
        (self.root / "releases").mkdir(parents=True)
        sentinel = {"format": 1, "bundle": self.bundle, "environment": "test"}
        (self.root / ".sentinel").write_text(json.dumps(sentinel) + "\n")

    def stage(self, files: dict[str, str]) -> str:
        self._made += 1
        release = f"20261126T14{self._made:02}00Z-{self._made:012x}"
        where = self.root / "releases" / release
        where.mkdir()
        for name, text in files.items():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            (where / name).write_text(text)
        manifest = {"format": 1, "bundle": self.bundle, "hash": "", "created": "", "source": {}, "files": {}}
        (where / "MANIFEST.json").write_text(json.dumps(manifest))
        return release

    def activate(self, release: str) -> None:
        aside = self.root / ".current.new"
        aside.symlink_to(f"releases/{release}")
        aside.replace(self.root / "current")

    def publish(self, files: dict[str, str]) -> str:
        release = self.stage(files)
        self.activate(release)
        return release


class _Finished(Exception):
    """The script of a test is at its end."""


class Processor:
    """Airflow's DagFileProcessorManager, whole; a script of conditions says when it may stop.

    Args:
        settings: of the manager, for example parallelism.
    """

    def __init__(self, **settings: t.Any) -> None:
        self._settings = settings

    def follow(self, script: t.Iterator[t.Callable[[], bool]], seconds: float = 60) -> None:
        """Run until each condition of the script was true, one after the other.

        A generator may do something between two conditions, while the manager is at work.
        """
        from airflow.dag_processing.manager import DagFileProcessorManager  # noqa: PLC0415

        deadline = time.monotonic() + seconds
        condition = next(script)

        def beat() -> None:
            nonlocal condition
            assert time.monotonic() < deadline, "the condition did not come true in time"
            try:
                while condition():
                    condition = next(script)
            except StopIteration:
                raise _Finished from None

        manager = DagFileProcessorManager(max_runs=-1, heartbeat=beat)
        for name, value in self._settings.items():
            assert hasattr(manager, name), name
            setattr(manager, name, value)
        self.manager = manager
        try:
            manager.run()
        except _Finished:
            pass
        finally:
            manager.terminate()


def model(dag_id: str) -> t.Any:
    """What the database holds of a DAG; None when nothing."""
    from airflow.models.dag import DagModel  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415

    with create_session() as session:
        found = session.get(DagModel, dag_id)
        if found is not None:
            session.expunge(found)
        return found


def state(dag_id: str) -> tuple[str | None, str | None, bool]:
    """(release, description, whether it is there) of a DAG."""
    found = model(dag_id)
    return (None, None, False) if found is None else (found.bundle_version, found.description, not found.is_stale)
