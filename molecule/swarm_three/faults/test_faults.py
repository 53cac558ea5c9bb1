"""What a platform on several hosts has to survive, one fault after the other on the same platform.

Each test leaves the platform at its full strength. Nothing is asserted about how long something takes, but for
deadlines that say that it does not happen at all; the times are in the table at the end.
"""

from __future__ import annotations

import time
import typing as t

from airflow_api import ENDED, Airflow, Run
from cluster import Cluster
from conftest_shared import play, said
from lab_hosts import MANAGERS, SERVICES, Hosts, Waiting, wait_for
from recovery import active, lines_on_disk, record
from report import Table
from splunk import Splunk

#: Seconds that a host or a server is away.
AWAY = 120
#: The same of Splunk, and lines a second meanwhile.
SPLUNK_AWAY, RATE = 300, 500
#: Seconds for which the broker is away.
BROKER_AWAY = 30


def host_of(cluster: Cluster, instance: dict[str, t.Any]) -> str:
    """The host on which an instance runs."""
    workers = cluster.workers()
    assert instance["hostname"] in workers, f"{instance['hostname']} is none of {workers}"
    return workers[instance["hostname"]]


def test_tasks_run_again_elsewhere_when_their_host_loses_power_or_their_supervisor_is_killed(
    hosts: Hosts, cluster: Cluster, airflow: Airflow, splunk: Splunk, faults: Table, losses: Table
):
    cluster.await_strength()
    run = Run(airflow, tasks=4, seconds=45)
    leader = cluster.leader()
    busy = {host_of(cluster, entry): entry["map_index"] for entry in run.await_running(4)}
    victim = next(host for host in busy if host != leader)
    other = next(host for host in busy if host != victim)
    for host in (victim, other):
        wait_for(f"lines from {host} in Splunk", lambda index=busy[host]: splunk.lines_of(run, index) >= 5, 120)
    killed = time.time()
    hosts.run(other, "pids=$(pgrep -f '^airflow supervisor') && kill -9 $(pgrep -P \"$(echo $pids | tr ' ' ,)\") $pids")
    began, at = time.monotonic(), time.time()
    hosts.lab("kill", victim)
    at_once = {host: splunk.lines_of(run, busy[host]) for host in (victim, other)}
    run.await_success()
    work = time.monotonic() - began
    for host in (victim, other):
        assert len(run.tries(busy[host])) > 1, f"the interrupted task of {host} has to have run again"
    hosts.lab("start", victim)
    cluster.await_strength()
    for host, when, what in (
        (other, killed, "kill -9 of a task and its supervisor"),
        (victim, at, "power loss of the host, which comes back"),
    ):
        wait_for(
            f"the rest of the log from {host}", lambda host=host: undelivered(hosts, splunk, host, run, busy[host]), 300
        )
        found, printed = splunk.lines_of(run, busy[host]), run.printed(busy[host], 1, [when])
        losses.add(what, printed, max(0, printed - at_once[host]), max(0, printed - found))
    record(faults, f"power loss of {victim} with tasks", run, (work, time.monotonic() - began), hosts, at=[killed, at])


def undelivered(hosts: Hosts, splunk: Splunk, host: str, run: Run, index: int) -> t.Any:
    """Whether Splunk has all lines that the host's disk has of the first attempt; grep says how many those are."""
    written = lines_on_disk(hosts, host, run, index, 1)
    found = splunk.lines_of(run, index)
    return Waiting(f"{found} of {written} lines") if found < written else True


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
    record(faults, f"power loss of the leader ({leader})", run, (work, time.monotonic() - began), hosts)


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
    record(faults, "first manager rebuilt from nothing", run, (work, strength), hosts)


def test_a_host_that_is_cut_off_for_two_minutes_costs_no_run(
    hosts: Hosts, cluster: Cluster, airflow: Airflow, faults: Table
):
    leader = cluster.leader()
    run = Run(airflow, tasks=4, seconds=45)
    busy = {host_of(cluster, entry) for entry in run.await_running(4)}
    # Swarm does not move services back to a host that returned: after other faults the leader may carry all of them.
    victim = min(busy, key=lambda host: host == leader)
    began, at = time.monotonic(), time.time()
    hosts.lab("cut", victim)
    wait_for("the swarm to see that the host is gone", lambda: "down" in cluster.trouble(), 180)
    during = Run(airflow, tasks=2, seconds=5)
    during.await_success()
    told = play(playbook="playbooks/status.yml")
    assert told.returncode != 0, "a platform that lacks a host is not healthy"
    for text in (f"node {victim} is down", f"not compared: {victim} cannot be reached"):
        assert text in said(told), said(told)[-3000:]
    wait_for("two minutes to pass", lambda: time.monotonic() - began >= AWAY, AWAY + 60)
    hosts.lab("heal", victim)
    run.await_success()
    work = time.monotonic() - began
    cluster.await_strength()
    assert during.state() == "success"
    record(faults, f"{victim} cut off for {AWAY} s", run, (work, time.monotonic() - began), hosts, at=[at])


def test_a_dead_share_deactivates_no_dag_a_dead_splunk_holds_up_no_task_and_workers_come_back_to_a_restarted_broker(
    hosts: Hosts, cluster: Cluster, airflow: Airflow, splunk: Splunk, faults: Table, losses: Table
):
    talker = Run(airflow, tasks=1, seconds=SPLUNK_AWAY, lines=RATE)
    run = Run(airflow, tasks=3, seconds=60)
    run.await_running(3)
    talker.await_running(1)
    began = time.monotonic()
    try:
        splunk.mode("hang")
        hosts.run(SERVICES, "systemctl", "stop", "nfs-server")
        while_away = Run(airflow, tasks=2, seconds=5)
        wait_for("two minutes to pass", lambda: time.monotonic() - began >= AWAY, AWAY + 60)
        assert active(airflow), "a lost share must never look like an empty DAG folder"
        splunk.mode("down")
        hosts.run(SERVICES, "systemctl", "start", "nfs-server")
        run.await_success()
        while_away.await_success()
        work = time.monotonic() - began
        cluster.await_strength()
        assert active(airflow)
        strength = time.monotonic() - began
        # Splunk's five minutes go on, and so does the task that prints.
        loaded, restarted = restart_broker_and_database(hosts, cluster, airflow)
        talker.await_success()
        wait_for("five minutes to pass", lambda: time.monotonic() - began >= SPLUNK_AWAY, SPLUNK_AWAY)
        at_once = splunk.lines_of(talker, 0)
    finally:
        splunk.mode("up")
        hosts.run(SERVICES, "systemctl", "start", "nfs-server")
    whole = Run(airflow, tasks=6, seconds=30)
    whole.await_running(6)  # two on each of three workers: none has lost a part of its concurrency with its connection
    lines = SPLUNK_AWAY * RATE

    def arrived() -> t.Any:
        found = splunk.lines_of(talker, 0)
        return found if found == lines else Waiting(found)

    # The double counts by reading all that it has, on the only processor that it could take lines with.
    found = wait_for("every line", arrived, 900, 15)
    what = f"Splunk hangs for {AWAY} s and refuses until {SPLUNK_AWAY} s, {RATE} lines a second"
    losses.add(what, lines, lines - at_once, lines - found)
    record(faults, f"NFS server stopped for {AWAY} s, Splunk for {SPLUNK_AWAY} s", run, (work, strength), hosts)
    record(faults, "broker and database restarted under load", loaded, restarted, hosts)
    whole.await_success()
    splunk.forget()


def restart_broker_and_database(hosts: Hosts, cluster: Cluster, airflow: Airflow) -> tuple[Run, tuple[float, float]]:
    """The run that was under way, and the seconds until the work was done and until all had their full strength.

    The broker also loses the messages that wait in it, and is away while tasks are due.
    """
    run = Run(airflow, tasks=6, seconds=45)
    run.await_running(5)  # beside the one that prints: these are all places, and the sixth task waits in the broker
    waits = Run(airflow, tasks=3, seconds=2)
    wait_for("messages that wait in the broker", lambda: waiting(hosts) >= 2, 120)
    began = time.monotonic()
    hosts.run(SERVICES, "rabbitmqctl", "-q", "purge_queue", "-p", "airflow", "default")
    hosts.run(SERVICES, "systemctl", "stop", "rabbitmq-server", timeout=300)
    meanwhile = Run(airflow, tasks=6, seconds=2)
    wait_for("a broker that is away for half a minute", lambda: time.monotonic() - began >= BROKER_AWAY, 300)
    assert meanwhile.state() not in ENDED
    hosts.run(SERVICES, "systemctl", "start", "rabbitmq-server", timeout=300)
    hosts.run(SERVICES, "systemctl", "restart", "postgresql", timeout=300)
    for each in (run, waits, meanwhile):
        # Much sooner than scheduler.task_queued_timeout, half an hour, after which Airflow itself would try again.
        each.await_success()
        assert each.never_begun() == 0, "a try that no worker began with: the broker cost it"
    work = time.monotonic() - began
    cluster.await_strength()
    return run, (work, time.monotonic() - began)


def waiting(hosts: Hosts) -> int:
    """Messages in the workers' queue that none of them has."""
    columns = ("name", "messages_ready")
    said = hosts.run(SERVICES, "rabbitmqctl", "-q", "list_queues", "-p", "airflow", "--no-table-headers", *columns)
    return sum(int(count) for name, count in (line.split() for line in said.splitlines()) if name == "default")


def test_every_host_reboots_with_a_run_in_flight(hosts: Hosts, cluster: Cluster, airflow: Airflow, faults: Table):
    cluster.await_strength()
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
    record(faults, "reboot of every host, one at a time", run, (work, strength), hosts)
