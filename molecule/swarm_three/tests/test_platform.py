"""What a user and an operator find on the platform."""

from __future__ import annotations

import re
import time

import pytest
from airflow_api import Airflow, Run
from cluster import STACK, Cluster
from conftest_shared import changed, play
from lab_hosts import MANAGERS, SERVICES, Hosts
from report import Table
from splunk import Splunk

LONG_RUNNING = {"api-server", "scheduler", "dag-processor", "triggerer", "worker-default"}


@pytest.mark.parametrize("host", MANAGERS)
def test_airflow_answers_on_every_host_through_the_routing_mesh(airflow: Airflow, host: str):
    assert airflow.answers(host)


def test_every_service_has_its_replicas_and_an_image_by_digest_from_the_registry(cluster: Cluster):
    cluster.await_strength()
    services = cluster.services()
    assert set(services) >= LONG_RUNNING
    for name in LONG_RUNNING:
        image = cluster.docker(
            "service", "inspect", f"{STACK}_{name}", "--format", "'{{.Spec.TaskTemplate.ContainerSpec.Image}}'"
        ).strip()
        assert re.fullmatch(r"services1\.lab\.test:5000/flowstead/airflow:\S+@sha256:[0-9a-f]{64}", image), image


def test_workers_run_on_more_than_one_host(cluster: Cluster):
    assert len(set(cluster.workers().values())) > 1


def test_every_worker_reads_dags_from_the_share_and_cannot_write_there(hosts: Hosts, airflow: Airflow):
    seen = 0
    for host in MANAGERS:
        for container in hosts.run(host, "docker", "ps", "-q", "--filter", "name=worker-default").split():
            mounts = hosts.run(host, "docker", "exec", container, "cat", "/proc/mounts")
            (bundle,) = [line.split() for line in mounts.splitlines() if line.split()[1].endswith("/examples")]
            assert bundle[2] == "nfs4"
            assert hosts.ask(host, "docker", "exec", container, "test", "-r", f"{bundle[1]}/probe.py").returncode == 0
            assert hosts.ask(host, "docker", "exec", container, "touch", f"{bundle[1]}/no").returncode != 0
            seen += 1
    assert seen >= 3


def test_tasks_spread_over_the_hosts_and_their_logs_are_read_from_any(
    cluster: Cluster, airflow: Airflow, figures: Table
):
    began = time.monotonic()
    run = Run(airflow, tasks=6, seconds=10)
    run.await_success()
    workers = cluster.workers()
    assert len({workers[entry["hostname"]] for entry in run.instances()}) > 1
    assert run.lost_lines() == (0, 0)
    figures.add("a run of six tasks of 10 s on three hosts", time.monotonic() - began)


@pytest.mark.parametrize("host", [*MANAGERS, SERVICES])
def test_no_secret_shows_in_process_lists_inspect_or_logs(
    hosts: Hosts, secrets: dict[str, str], splunk: Splunk, host: str
):
    seen = hosts.run(host, "sh", "-c", '\'cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" " "\'')
    seen += hosts.run(host, "journalctl", "--no-pager", "--output=cat", timeout=300)
    if host in MANAGERS:
        seen += hosts.run(
            host, "docker ps -aq | xargs -r docker inspect; docker service ls -q | xargs -r docker service inspect"
        )
        seen += hosts.run(host, "docker secret ls -q | xargs -r docker secret inspect")
    assert not {name for name, value in hidden(secrets, splunk).items() if value in seen}


def test_another_run_changes_nothing_shows_no_secret_and_is_quick(
    secrets: dict[str, str], splunk: Splunk, figures: Table
):
    began = time.monotonic()
    done = play("-vvv")
    seconds = time.monotonic() - began
    assert done.returncode == 0, done.stdout[-4000:]
    assert changed(done.stdout) == 0
    assert not {name for name, value in hidden(secrets, splunk).items() if value in done.stdout + done.stderr}
    tasks = len(re.findall(r"^TASK \[", done.stdout, re.MULTILINE))
    commands = len(re.findall(r"SSH: EXEC", done.stdout + done.stderr))
    figures.add("site.yml with nothing to do on four hosts", seconds)
    figures.add("... tasks, and commands over ssh", f"{tasks}, {commands}")


def test_check_mode_on_the_finished_platform_predicts_nothing():
    done = play("--check", "--diff")
    assert done.returncode == 0, done.stdout[-4000:]
    assert changed(done.stdout) == 0


def hidden(secrets: dict[str, str], splunk: Splunk) -> dict[str, str]:
    """What nobody may see."""
    return {**secrets, **{name: splunk.variables[name] for name in ("token", "search_token")}}
