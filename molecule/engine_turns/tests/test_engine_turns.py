"""The engines of a swarm of three managers change while it works."""

from __future__ import annotations

import time
from pathlib import Path

from conftest_shared import changed, play, refused, said, went_well
from lab_hosts import Hosts, wait_for
from managers import DAEMON, HOSTS, UPGRADE, Swarm, Watch, extra, labels, max_file, pin, versions
from package_repository import Repository
from report import Table


def test_the_plan_is_told_and_nothing_changes(swarm: Swarm, repository: Repository, inventory: Path):
    before, running = swarm.nodes(), swarm.running()
    done = went_well(play("--check", *pin(repository.versions[-1]), playbook=UPGRADE, inventory=inventory))
    assert changed(done.stdout, hosts=3) == 3, "one for each host that a real run changes"
    leader = swarm.leader()
    order = [said(done).index(f"{host} (") for host in sorted(HOSTS, key=lambda host: host == leader)]
    assert order == sorted(order), "the leader is the last one"
    assert (swarm.nodes(), swarm.running()) == (before, running)


def test_an_ordinary_run_changes_no_member_and_names_the_playbook_that_does(
    hosts: Hosts, swarm: Swarm, repository: Repository, inventory: Path
):
    running, before = swarm.running(), versions(hosts)
    done = play(*pin(repository.versions[-1]), playbook="playbooks/engine.yml", inventory=inventory)
    refused(done, "Run the playbook upgrade_engine")
    assert (swarm.running(), versions(hosts)) == (running, before)


def test_a_version_that_cannot_be_had_stops_it_before_a_node_is_emptied(swarm: Swarm, inventory: Path):
    running = swarm.running()
    done = play(*pin("5:99.0.0-1"), playbook=UPGRADE, inventory=inventory)
    refused(done, "did not install docker-ce=5:99.0.0-1", "Versions that this host can get")
    assert swarm.running() == running


def test_engines_are_upgraded_one_at_a_time_without_a_lost_task(
    hosts: Hosts, swarm: Swarm, repository: Repository, inventory: Path, figures: Table
):
    leader = swarm.leader()
    began = time.monotonic()
    with Watch(swarm) as watch:
        done = went_well(play(*pin(repository.versions[-1]), playbook=UPGRADE, inventory=inventory))
    assert changed(done.stdout, hosts=3) > 0
    assert set(versions(hosts).values()) == {repository.versions[-1]}
    assert watch.together == 1, "never two nodes out of service together"
    assert [set(watch.order), watch.order[-1]] == [set(HOSTS), leader], watch.order
    figures.add("engines of three managers are upgraded, with work in flight", time.monotonic() - began)
    assert swarm.lost() == []
    assert swarm.finished() >= 4, "tasks were in flight on all nodes"
    figures.add("... tasks that ended with their work done, and those that were lost", f"{swarm.finished()}, 0")
    assert len(swarm.running()) == 4
    assert {node[:2] for node in swarm.nodes().values()} == {("Ready", "Active")}
    assert labels(swarm) == {}


def test_a_second_run_changes_nothing_and_empties_nobody(swarm: Swarm, repository: Repository, inventory: Path):
    running = swarm.running()
    with Watch(swarm) as watch:
        done = went_well(play(*pin(repository.versions[-1]), playbook=UPGRADE, inventory=inventory))
    assert (changed(done.stdout, hosts=3), watch.order) == (0, [])
    assert swarm.running() == running


def test_a_failure_stops_it_and_the_next_run_goes_on_with_locked_managers_and_a_node_that_a_person_drained(
    hosts: Hosts, swarm: Swarm, inventory: Path, figures: Table
):
    leader = swarm.leader()
    first, second = (host for host in HOSTS if host != leader)
    swarm.docker(f"node update --availability drain {first}")
    wait_for("the node to be empty", lambda: not hosts.run(first, "docker ps -q").split(), 180)
    swarm.docker("swarm update --autolock=true")
    key = swarm.docker("swarm unlock-key --quiet").strip()
    words = extra(docker_engine_daemon={"log-opts": {"max-file": "7"}})
    settings = "/etc/docker/daemon.json"
    hosts.run(second, f"mount --bind {settings} {settings} && mount -o remount,bind,ro {settings}")
    try:
        stopped = play("-vvv", *words, playbook=DAEMON, inventory=inventory)
    finally:
        hosts.run(second, f"umount {settings}")
    refused(stopped, f"{second} (node {second}) is where this stopped", "Run this again once the reason is gone")
    assert [max_file(hosts, host) for host in (first, second, leader)] == ["7", "5", "5"]
    availability = {host: node[1] for host, node in swarm.nodes().items()}
    assert availability == {first: "Drain", second: "Drain", leader: "Active"}

    began = time.monotonic()
    done = went_well(play("-vvv", *words, playbook=DAEMON, inventory=inventory))
    figures.add("a changed setting of two engines that restart, with work in flight", time.monotonic() - began)
    assert {max_file(hosts, host) for host in HOSTS} == {"7"}
    assert {host: node[:2] for host, node in swarm.nodes().items()} == {
        first: ("Ready", "Drain"),  # as the person left it
        second: ("Ready", "Active"),
        leader: ("Ready", "Active"),
    }
    assert key not in "".join((stopped.stdout, stopped.stderr, done.stdout, done.stderr))
    swarm.docker("swarm update --autolock=false")
    swarm.docker(f"node update --availability active {first}")
    assert (labels(swarm), swarm.lost()) == ({}, [])
    assert changed(play(*words, playbook=DAEMON, inventory=inventory).stdout, hosts=3) == 0


def test_what_a_running_engine_takes_over_empties_nobody(hosts: Hosts, swarm: Swarm, inventory: Path):
    running = swarm.running()
    words = extra(docker_engine_daemon={"log-opts": {"max-file": "7"}, "debug": True})
    with Watch(swarm) as watch:
        done = went_well(play(*words, playbook=DAEMON, inventory=inventory))
    assert (changed(done.stdout, hosts=3) > 0, watch.order, swarm.running()) == (True, [], running)
    assert {hosts.run(host, "docker info --format '{{.Debug}}'").strip() for host in HOSTS} == {"true"}


def test_all_that_speaks_against_it_is_told_at_once_and_nothing_changes(hosts: Hosts, swarm: Swarm, inventory: Path):
    node = next(host for host in HOSTS if host != swarm.leader())
    hosts.run(node, "systemctl stop docker.socket docker", timeout=180)
    try:
        wait_for("the swarm to see that the node is away", lambda: swarm.nodes()[node][0] == "Down", 120)
        words = extra(docker_engine_daemon={"log-opts": {"max-file": "9"}})
        done = play(*words, playbook=DAEMON, inventory=inventory)
        refused(
            done, f"{node}: ", f"Node {node} (", "is down", "2 of 3 managers are reachable", f"Not reachable: {node}"
        )
        assert {max_file(hosts, host) for host in HOSTS} == {"7"}
        assert {found[1] for found in swarm.nodes().values()} == {"Active"}
    finally:
        hosts.run(node, "systemctl start docker", timeout=180)
    wait_for("the node to be back", lambda: swarm.nodes()[node][2] in ("Reachable", "Leader"), 120)
    # What its engine took along, which nobody had emptied, is no task that a later turn has lost.
    swarm.work()
