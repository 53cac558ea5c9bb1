"""A bucket becomes the archive of task logs, beside Splunk."""

from __future__ import annotations

import json
import typing as t

import pytest
from airflow_api import Airflow, Run
from bucket import Bucket
from cluster import Cluster
from conftest_shared import play, refused, went_well
from lab_hosts import Hosts
from splunk import Splunk, log_path


@pytest.fixture(scope="module")
def bucket(hosts: Hosts) -> Bucket:
    """The bucket on the services host."""
    found = Bucket(hosts)
    found.start()
    return found


def logs(splunk: Splunk, bucket: Bucket, user: str = "airflow") -> dict[str, t.Any]:
    """``airflow_logs`` with both."""
    return {"tasks": {"splunk": splunk.variables, "s3": bucket.sink(user)}, "sweep_seconds": 15}


def test_a_bucket_where_airflow_may_not_write_stops_the_change_before_it_begins(
    cluster: Cluster, splunk: Splunk, bucket: Bucket
):
    cluster.await_strength()
    before = cluster.workers()
    wrong = logs(splunk, bucket, "reader")
    done = play("--extra-vars", json.dumps({"airflow_logs": wrong}), "--tags", "airflow")
    refused(done, "logs-bucket", "s3:PutObject")
    assert wrong["tasks"]["s3"]["secret_access_key"] not in done.stdout + done.stderr
    assert cluster.workers() == before


def test_lines_are_in_splunk_and_in_the_bucket(cluster: Cluster, airflow: Airflow, splunk: Splunk, bucket: Bucket):
    splunk.use(logs(splunk, bucket))
    went_well(play())
    cluster.await_strength()
    run = Run(airflow, tasks=3, seconds=3)
    run.await_success()
    for index in range(3):
        bucket.await_lines(log_path(run.id, index, 1), "of 3", 3)
        assert splunk.lines_of(run, index) == 3, "in both"
