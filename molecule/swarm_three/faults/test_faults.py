"""What a platform on several hosts has to survive, one fault after the other on the same platform.

Each test leaves the platform at its full strength. Nothing is asserted about how long something takes, but for
deadlines that say that it does not happen at all; the times are in the table at the end.
"""

from __future__ import annotations

import time
import typing as t

from airflow_api import Airflow, Run
from cluster import Cluster
from conftest_shared import play
from lab_hosts import MANAGERS, SERVICES, Hosts, wait_for
from report import Table

#: Seconds that a host or a server is away.
AWAY = 120


def record(table: Table, fault: str, run: Run, work: float, strength: float) -> None:
    """One row: what the run lost, and the times from the fault on."""
    state = run.state()
    lost = [entry for entry in run.instances() if entry["state"] != "success"]
    finished, interrupted = run.lost_lines()
    table.add(fault, 0 if state == "success" else 1, len(lost), finished, interrupted, work, strength)
    assert (len(lost), state) == (0, "success")


def host_of(cluster: Cluster, instance: dict[str, t.Any]) -> str:
    """The host on which an instance runs."""
    workers = cluster.workers()
    assert instance["hostname"] in workers, f"{instance['hostname']} is none of {workers}"
    return workers[instance["hostname"]]


def test_tasks_of_a_host_that_loses_power_run_again_elsewhere(
    hosts: Hosts, cluster: Cluster, airflow: Airflow, faults: Table
):
    cluster.await_strength()
    run = Run(airflow, tasks=4, seconds=45)
    leader = cluster.leader()
    busy = {host_of(cluster, entry): entry for entry in run.await_running(4)}
    victim = next(host for host in busy if host != leader)
    began = time.monotonic()
    hosts.lab("kill", victim)
    run.await_success()
    work = time.monotonic() - began
    assert len(run.tries(busy[victim]["map_index"])) > 1, "the interrupted task has to have run again"
    hosts.lab("start", victim)
    cluster.await_strength()
    record(faults, f"power loss of {victim} with tasks", run, work, time.monotonic() - began)


def test_the_platform_goes_on_when_the_leader_loses_power(
    hosts: Hosts, cluster: Cluster, airflow: Airflow, faults: Table
):
    leader = cluster.leader()
    began = time.monotonic()
    hosts.lab("kill", leader)
    run = Run(airflow, tasks=4, seconds=5)
    run.await_success()
    work = time.monotonic() - began
    assert cluster.leader() != leader
    hosts.lab("start", leader)
    cluster.await_strength()
    record(faults, f"power loss of the leader ({leader})", run, work, time.monotonic() - began)


def test_a_first_manager_rebuilt_from_nothing_joins_the_swarm_that_is_there(
    hosts: Hosts, cluster: Cluster, airflow: Airflow, faults: Table
):
    before = hosts.run("swarm2", "docker", "info", "--format", "{{.Swarm.Cluster.ID}}").strip()
    began = time.monotonic()
    hosts.lab("reset", "swarm1")
    run = Run(airflow, tasks=4, seconds=5)
    run.await_success()
    work = time.monotonic() - began
    done = play()
    assert done.returncode == 0, done.stdout[-6000:]
    cluster.await_strength()
    strength = time.monotonic() - began
    assert {hosts.run(host, "docker", "info", "--format", "{{.Swarm.Cluster.ID}}").strip() for host in MANAGERS} == {
        before
    }
    nodes = cluster.nodes()
    assert sorted(node["Hostname"] for node in nodes) == list(MANAGERS), "the dead twin has to be gone"
    record(faults, "first manager rebuilt from nothing", run, work, strength)


def test_a_host_that_is_cut_off_for_two_minutes_costs_no_run(
    hosts: Hosts, cluster: Cluster, airflow: Airflow, faults: Table
):
    leader = cluster.leader()
    run = Run(airflow, tasks=4, seconds=45)
    busy = {host_of(cluster, entry) for entry in run.await_running(4)}
    # Swarm does not move services back to a host that returned: after other faults the leader may carry all of them.
    victim = min(busy, key=lambda host: host == leader)
    began = time.monotonic()
    hosts.lab("cut", victim)
    wait_for("the swarm to see that the host is gone", lambda: "down" in cluster.trouble(), 180)
    during = Run(airflow, tasks=2, seconds=5)
    during.await_success()
    wait_for("two minutes to pass", lambda: time.monotonic() - began >= AWAY, AWAY + 60)
    hosts.lab("heal", victim)
    run.await_success()
    work = time.monotonic() - began
    cluster.await_strength()
    assert during.state() == "success"
    record(faults, f"{victim} cut off for {AWAY} s", run, work, time.monotonic() - began)


def test_a_dead_share_deactivates_no_dag_and_stops_no_task(
    hosts: Hosts, cluster: Cluster, airflow: Airflow, faults: Table
):
    run = Run(airflow, tasks=3, seconds=60)
    run.await_running(3)
    began = time.monotonic()
    hosts.run(SERVICES, "systemctl", "stop", "nfs-server")
    while_away = Run(airflow, tasks=2, seconds=5)
    wait_for("two minutes to pass", lambda: time.monotonic() - began >= AWAY, AWAY + 60)
    assert active(airflow), "a lost share must never look like an empty DAG folder"
    hosts.run(SERVICES, "systemctl", "start", "nfs-server")
    run.await_success()
    while_away.await_success()
    work = time.monotonic() - began
    cluster.await_strength()
    assert active(airflow)
    record(faults, f"NFS server stopped for {AWAY} s", run, work, time.monotonic() - began)


def test_every_host_reboots_one_at_a_time_with_a_run_in_flight(
    hosts: Hosts, cluster: Cluster, airflow: Airflow, faults: Table
):
    run = Run(airflow, tasks=6, seconds=60)
    run.await_running(4)
    began = time.monotonic()
    for host in (*MANAGERS, SERVICES):
        hosts.lab("reboot", host)
        cluster.await_strength()
    strength = time.monotonic() - began
    run.await_success(900)
    work = time.monotonic() - began
    after = Run(airflow, tasks=3, seconds=2)
    after.await_success()
    assert active(airflow)
    record(faults, "reboot of every host, one at a time", run, work, strength)


def test_workers_consume_again_by_themselves_when_database_and_broker_restart(
    hosts: Hosts, cluster: Cluster, airflow: Airflow, faults: Table
):
    run = Run(airflow, tasks=6, seconds=45)
    run.await_running(4)
    began = time.monotonic()
    hosts.run(SERVICES, "systemctl", "restart", "rabbitmq-server", timeout=300)
    hosts.run(SERVICES, "systemctl", "restart", "postgresql", timeout=300)
    after = Run(airflow, tasks=6, seconds=2)
    run.await_success()
    after.await_success()
    work = time.monotonic() - began
    cluster.await_strength()
    record(faults, "broker and database restarted under load", run, work, time.monotonic() - began)


def active(airflow: Airflow) -> bool:
    """Whether Airflow still knows the DAGs of a directory and those of releases, and takes them for ones that exist."""
    return not any(
        airflow.keep_asking("GET", f"/api/v2/dags/{dag}")["is_stale"]
        for dag in ("probe", "sales_report", "finance_close")
    )
