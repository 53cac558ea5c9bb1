"""One Airflow on SQLite for all tests of this directory; each test has its own share and its own bundles."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import typing as t
import zlib
from pathlib import Path

import pytest

RUNTIME = Path(__file__).resolve().parents[3] / "roles/airflow/files/runtime"
HOME = Path(tempfile.mkdtemp(prefix="flowstead-airflow-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
# Before the first import of Airflow, which reads them once.
os.environ.update(
    AIRFLOW_HOME=str(HOME),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH=str(HOME / "storage"),
    AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST="[]",
    AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL="0",
    AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL="0",
    AIRFLOW__DAG_PROCESSOR__STALE_DAG_THRESHOLD="1",
    AIRFLOW__SCHEDULER__PARSING_CLEANUP_INTERVAL="0",
    AIRFLOW__LOGGING__BASE_LOG_FOLDER=str(HOME / "logs"),
    AIRFLOW__CORE__EXECUTOR="flowstead_airflow.executor.CeleryExecutor",
    AIRFLOW__CELERY__BROKER_URL="filesystem://",
    AIRFLOW__CELERY__RESULT_BACKEND=f"db+sqlite:///{HOME}/results.db",
    AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__DATA_FOLDER_IN=str(HOME / "broker"),
    AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__DATA_FOLDER_OUT=str(HOME / "broker"),
    AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__CONTROL_FOLDER=str(HOME / "control"),
    PYTHONPATH=str(RUNTIME),
)
sys.path[:0] = [str(RUNTIME), str(RUNTIME.parents[3] / "molecule/doubles")]

from shares import Processor, Share
from splunk_double import SplunkDouble, Token


@pytest.fixture(name="database", scope="session", autouse=True)
def _database() -> None:
    kept = Path(os.environ.get("FLOWSTEAD_TEST_DATABASE", "none"))
    if kept.exists():
        shutil.copyfile(kept, HOME / "airflow.db")
        return
    migrated = subprocess.run(
        [str(Path(sys.executable).with_name("airflow")), "db", "migrate"], check=False, capture_output=True, text=True
    )
    assert migrated.returncode == 0, migrated.stdout + migrated.stderr
    if kept.is_absolute():
        shutil.copyfile(HOME / "airflow.db", kept)


@pytest.fixture(name="share")
def _share(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Share:
    """The share of a bundle that is configured as the platform configures it; named by the test, so never seen."""
    name = f"b{zlib.crc32(request.node.name.encode())}"
    share = Share(tmp_path / name, name)
    bundles = [
        {
            "name": name,
            "classpath": "flowstead_airflow.releases.ReleaseBundle",
            "kwargs": {"path": str(share.root), "refresh_interval": 0},
        }
    ]
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
    return share


@pytest.fixture(name="processor")
def _processor() -> type[Processor]:
    """Makes DAG processors; a manager's settings can be given by name."""
    return Processor


@pytest.fixture(name="splunk")
def _splunk() -> t.Iterator[SplunkDouble]:
    with SplunkDouble(indexes=["airflow"], tokens=[Token("hec-token", indexes=["airflow"], index="airflow")]) as splunk:
        yield splunk
