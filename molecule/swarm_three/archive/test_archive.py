"""A bucket becomes the archive of task logs, beside Splunk."""

from __future__ import annotations

import json
import re
import subprocess
import typing as t
from pathlib import Path

import pytest
from airflow_api import Airflow, Run
from bucket import GcsBucket, S3Bucket, Store, await_lines
from cluster import Cluster
from conftest_shared import play, refused, went_well
from lab_hosts import ROOT, SERVICES, Hosts
from splunk import Splunk, log_path

#: Airflow's version, and the provider that the collection's lock does not have, as docs/task-logs.md adds it.
VERSION = "3.3.2"
PROVIDER = re.compile(r"^apache-airflow-providers-google==\S+", re.MULTILINE)


@pytest.fixture(name="s3", scope="module")
def _s3(hosts: Hosts) -> S3Bucket:
    """The bucket with S3's interface on the services host."""
    found = S3Bucket(hosts)
    found.start()
    return found


@pytest.fixture(name="gcs", scope="module")
def _gcs(hosts: Hosts) -> GcsBucket:
    """The bucket of Google Cloud Storage on the services host."""
    found = GcsBucket(hosts)
    found.start()
    return found


@pytest.fixture(name="_again", scope="module", autouse=True)
def _splunk_alone(splunk: Splunk, cluster: Cluster) -> t.Iterator[None]:
    """The platform is as it was before, also after a failure: what comes next has no bucket and the usual image."""
    yield
    splunk.use()
    went_well(play())
    cluster.await_strength()


@pytest.fixture(name="lock", scope="module")
def _lock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lock with Google's provider."""
    made = tmp_path_factory.mktemp("lock") / "google-lock.txt"
    provider = PROVIDER.search((ROOT / "requirements/google.in").read_text())
    assert provider
    subprocess.run([ROOT / "scripts/lock_image", VERSION, "--add", provider[0], "--output", made], check=True)
    return made


def logs(splunk: Splunk, **bucket: t.Any) -> dict[str, t.Any]:
    """``airflow_logs`` with both."""
    return {"tasks": {"splunk": splunk.variables, **bucket}, "sweep_seconds": 15}


def in_both(airflow: Airflow, splunk: Splunk, bucket: Store) -> None:
    """Every line of a run is in Splunk and in the bucket."""
    run = Run(airflow, tasks=3, seconds=3)
    run.await_success()
    for index in range(3):
        await_lines(bucket, log_path(run.id, index, 1), "of 3", 3)
        assert splunk.lines_of(run, index) == 3, "in both"


def test_a_bucket_where_airflow_may_not_write_stops_the_change_before_it_begins(
    cluster: Cluster, splunk: Splunk, s3: S3Bucket
):
    cluster.await_strength()
    before = cluster.workers()
    wrong = logs(splunk, s3=s3.sink("reader"))
    done = play("--extra-vars", json.dumps({"airflow_logs": wrong}), "--tags", "airflow")
    refused(done, "logs-bucket", "s3:PutObject")
    assert wrong["tasks"]["s3"]["secret_access_key"] not in done.stdout + done.stderr
    assert cluster.workers() == before


def test_lines_are_in_splunk_and_in_s3(cluster: Cluster, airflow: Airflow, splunk: Splunk, s3: S3Bucket):
    splunk.use(logs(splunk, s3=s3.sink()))
    went_well(play())
    cluster.await_strength()
    in_both(airflow, splunk, s3)


def test_lines_are_in_splunk_and_in_gcs(
    hosts: Hosts, cluster: Cluster, airflow: Airflow, splunk: Splunk, gcs: GcsBucket, lock: Path
):
    image = {"source": "bootstrap", "registry": f"{SERVICES}.{hosts.facts['domain']}:5000", "push": True}
    google = {"airflow_image": {**image, "lock": str(lock)}, "airflow_extra_environment": gcs.environment}
    before = cluster.workers()
    wrong = logs(splunk, gcs=gcs.sink("stranger"))
    done = play("--extra-vars", json.dumps({**google, "airflow_logs": wrong}))
    refused(done, "logs-bucket", "storage.objects.list")
    assert "BEGIN PRIVATE KEY" not in done.stdout + done.stderr
    assert cluster.workers() == before

    splunk.use(logs(splunk, gcs=gcs.sink()))
    went_well(play("--extra-vars", json.dumps(google)))
    cluster.await_strength()
    in_both(airflow, splunk, gcs)
