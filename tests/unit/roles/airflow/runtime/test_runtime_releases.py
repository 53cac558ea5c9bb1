"""The bundle class on a double of Airflow's; tests/airflow has the real one."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import types
import typing as t
from pathlib import Path

import pytest

OLD = "20261126T140100Z-000000000001"
NEW = "20261126T140200Z-000000000002"


class BaseDagBundle:
    """As Airflow 3.3.2: only keyword arguments, and no argument that it does not know."""

    def __init__(
        self,
        *,
        name: str,
        refresh_interval: int = 300,
        version: str | None = None,
        view_url_template: str | None = None,  # noqa: ARG002 - Airflow's own signature
    ) -> None:
        self.name, self.version, self.refresh_interval = name, version, refresh_interval
        self.is_initialized = False
        self.base_dir = STORAGE[0] / name
        self.versions_dir = self.base_dir / "versions"

    def initialize(self) -> None:
        self.is_initialized = True
        assert t.cast(t.Any, self).path.exists()


@dataclasses.dataclass(frozen=True)
class BundleVersion:
    version: str
    data: dict[str, t.Any] | None = None


STORAGE: list[Path] = []


@pytest.fixture(name="releases")
def _releases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[types.ModuleType]:
    base = types.ModuleType("airflow.dag_processing.bundles.base")
    vars(base).update(BaseDagBundle=BaseDagBundle, BundleVersion=BundleVersion)
    exceptions = types.ModuleType("airflow.exceptions")
    vars(exceptions).update(AirflowException=type("AirflowException", (Exception,), {}))
    for name in ("airflow", "airflow.dag_processing", "airflow.dag_processing.bundles"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "airflow.dag_processing.bundles.base", base)
    monkeypatch.setitem(sys.modules, "airflow.exceptions", exceptions)
    STORAGE[:] = [tmp_path / "storage"]
    yield importlib.import_module("flowstead_airflow.releases")
    sys.modules.pop("flowstead_airflow.releases")


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    root = tmp_path / "share/team"
    for release in (OLD, NEW):
        (root / "releases" / release).mkdir(parents=True)
        manifest = {"format": 1, "bundle": "team", "files": {}}
        (root / "releases" / release / "MANIFEST.json").write_text(json.dumps(manifest))
    (root / ".sentinel").write_text(json.dumps({"format": 1, "bundle": "team", "environment": "test"}))
    (root / "current").symlink_to(f"releases/{OLD}")
    return root


def flip(root: Path, target: str) -> None:
    (root / "current").unlink()
    (root / "current").symlink_to(target)


def test_making_a_bundle_touches_no_file(releases: types.ModuleType) -> None:
    made = releases.ReleaseBundle(name="team", path="/nowhere", refresh_interval=5)
    assert (made.is_initialized, made.refresh_interval) == (False, 5)


def test_a_flip_counts_from_the_next_refresh_on(releases: types.ModuleType, root: Path) -> None:
    made = releases.ReleaseBundle(name="team", path=str(root))
    made.initialize()
    assert made.path == root / "releases" / OLD
    flip(root, f"releases/{NEW}")
    assert made.get_current_version().version == OLD
    made.refresh()
    assert made.get_current_version().version == NEW
    assert made.path.resolve() == (root / "releases" / NEW).resolve()


def test_the_path_has_one_name_over_all_refreshes(releases: types.ModuleType, root: Path) -> None:
    made = releases.ReleaseBundle(name="team", path=str(root))
    made.refresh()
    before = made.path
    flip(root, f"releases/{NEW}")
    made.refresh()
    assert made.path == before
    assert before.resolve() == (root / "releases" / NEW).resolve()


def test_a_version_stays_where_it_is(releases: types.ModuleType, root: Path) -> None:
    flip(root, f"releases/{NEW}")
    made = releases.ReleaseBundle(name="team", path=str(root), version=OLD)
    made.initialize()
    assert (made.path, made.get_current_version().version) == (root / "releases" / OLD, OLD)
    with pytest.raises(releases.ReleaseError, match="cannot be refreshed"):
        made.refresh()


def test_a_path_can_be_asked_for_without_initialize(releases: types.ModuleType, root: Path) -> None:
    assert releases.ReleaseBundle(name="team", path=str(root)).path == root / "releases" / OLD


@pytest.mark.parametrize("version", ["20250101T000000Z-abcdefabcdef", "../../etc", "0123abc", "..", OLD + "/"])
def test_a_version_that_is_not_on_the_share_is_named_with_what_to_do(
    version: str, releases: types.ModuleType, root: Path
) -> None:
    made = releases.ReleaseBundle(name="team", path=str(root), version=version)
    with pytest.raises(releases.ReleaseError, match=r"is not in .* pruned.* Clear the run's tasks") as refused:
        made.initialize()
    assert version in str(refused.value)


def lose(path: Path) -> None:
    path.rename(path.with_name("hidden"))


FAULTS: dict[str, tuple[t.Callable[[Path], object], str]] = {
    "no mount": (lose, r"\.sentinel is missing.*findmnt"),
    "no sentinel": (lambda root: lose(root / ".sentinel"), r"\.sentinel is missing"),
    "torn sentinel": (lambda root: (root / ".sentinel").write_text('{"form'), "cannot be read"),
    "another bundle": (
        lambda root: (root / ".sentinel").write_text('{"format": 1, "bundle": "other"}'),
        "says bundle 'other'",
    ),
    "another format": (lambda root: (root / ".sentinel").write_text('{"format": 2}'), "not of format 1"),
    "no current": (lambda root: lose(root / "current"), "current is missing.*activate a release"),
    "no link": (lambda root: (lose(root / "current"), (root / "current").mkdir()), "current is no readable link"),
    "link elsewhere": (lambda root: flip(root, f"../{OLD}"), "not to releases/<release>"),
    "link to no release": (lambda root: flip(root, "releases/.."), "not to releases/<release>"),
    "no release": (lambda root: lose(root / "releases" / OLD), "MANIFEST.json cannot be read"),
    "no manifest": (lambda root: lose(root / "releases" / OLD / "MANIFEST.json"), "MANIFEST.json cannot be read"),
    "manifest of another bundle": (
        lambda root: (root / "releases" / OLD / "MANIFEST.json").write_text('{"format": 1, "bundle": "other"}'),
        "is of another bundle",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_share_raises_and_leaves_release_and_path_as_they_were(
    fault: str, releases: types.ModuleType, root: Path
) -> None:
    made = releases.ReleaseBundle(name="team", path=str(root))
    made.refresh()
    path = made.path
    damage, text = FAULTS[fault]
    damage(root)
    with pytest.raises(releases.ReleaseError, match=text) as refused:
        made.refresh()
    assert str(refused.value).startswith("bundle team: ")
    assert (made.path, made.get_current_version().version) == (path, OLD)
    fresh = releases.ReleaseBundle(name="team", path=str(root))
    for ask in (fresh.initialize, lambda: fresh.path, fresh.get_current_version):
        with pytest.raises(releases.ReleaseError):
            ask()
