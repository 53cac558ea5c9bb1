from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROLES = Path(__file__).resolve().parents[4] / "roles"
LOCKS = sorted((ROLES / "airflow_image/files/locks").glob("airflow-*.txt"))


def platform_version() -> str:
    defaults = yaml.safe_load((ROLES / "airflow/defaults/main.yml").read_text(encoding="utf-8"))
    return str(defaults["airflow_version"])


def test_the_platforms_default_version_has_a_lock() -> None:
    assert f"airflow-{platform_version()}.txt" in [lock.name for lock in LOCKS]


def test_image_and_platform_have_the_same_default_version() -> None:
    defaults = yaml.safe_load((ROLES / "airflow_image/defaults/main.yml").read_text(encoding="utf-8"))
    (found,) = re.findall(r"default\('([^']+)'\)", defaults["airflow_image_airflow_version"])
    assert found == platform_version()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_pins_everything_with_hashes_and_names_no_index(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    entries = re.split(r"\n(?=[a-z0-9])", re.sub(r"(?m)^#.*\n", "", text))
    assert len(entries) > 100
    for entry in entries:
        assert re.match(r"[a-z0-9][a-z0-9.-]*==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_holds_its_airflow_and_a_celery_that_its_provider_can_use(lock: Path) -> None:
    pins = dict(re.findall(r"(?m)^([a-z0-9-]+)==([^\s;]+)", lock.read_text(encoding="utf-8")))
    assert lock.name == f"airflow-{pins['apache-airflow']}.txt"
    assert tuple(int(part) for part in pins["celery"].split(".")[:2]) < (5, 7)
