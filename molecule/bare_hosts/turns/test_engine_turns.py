"""The engines of a swarm of three managers change while it works, and a node leaves it.

The tests follow each other on one swarm, as its life would go.
"""

from __future__ import annotations

import json
import threading
import time
import typing as t
from pathlib import Path

import pytest
import tiny_image
from conftest_shared import changed, play, refused, said, went_well
from lab_hosts import Hosts, wait_for
from lab_inventory import write_inventory
from package_repository import Repository
from report import Table

HOSTS = ("swarm4", "swarm5", "swarm6")
UPGRADE, DAEMON, REMOVE = (f"playbooks/{name}.yml" for name in ("upgrade_engine", "change_daemon", "remove_node"))
#: Seconds of one piece of work: more than a restart of the engine grants, less than the service's grace period.
PIECE, GRACE = 25, 90
WORK = f"""
trap 'last=yes' TERM
while test -z "$last"; do
  left={PIECE}; while test $left -gt 0; do sleep 1; left=$((left-1)); done
done
"""


class Swarm:
    """A swarm as an operator sees it, by Docker's command line on any manager that answers."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts

    def docker(self, *words: str, on: t.Sequence[str] = HOSTS) -> str:
        """The output of a docker command that has to succeed on one of these hosts."""
        for host in on:
            done = self.hosts.ask(host, "docker", *words, timeout=30)
            if done.returncode == 0:
                return done.stdout
        raise AssertionError(f"docker {' '.join(words)}: {done.stderr}")

    def nodes(self) -> dict[str, tuple[str, str, str]]:
        """Status, availability and manager status, by host name."""
        told = self.docker("node ls --format '{{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}}'")
        return {words[0]: (words[1], words[2], " ".join(words[3:])) for words in map(str.split, told.splitlines())}

    def leader(self) -> str:
        return next(host for host, (_, _, status) in self.nodes().items() if status == "Leader")

    def tasks(self) -> list[dict[str, t.Any]]:
        """All tasks that the swarm remembers."""
        names = self.docker("service ls --quiet").split()
        found = self.docker("service ps --quiet --no-trunc", *names).split() if names else []
        return json.loads(self.docker("inspect --type task", *found)) if found else []

    def running(self) -> set[str]:
        return {task["ID"] for task in self.tasks() if task["Status"]["State"] == "running"}

    def lost(self) -> list[str]:
        """Tasks that ended otherwise than with their work done."""
        ended = [task for task in self.tasks() if task["Status"]["State"] not in ("running", "starting", "preparing")]
        return [
            f"{task['ID']} {task['Status']}"
            for task in ended
            if task["Status"]["State"] not in ("shutdown", "complete")
            or task["Status"].get("ContainerStatus", {}).get("ExitCode", 0) != 0
        ]

    def finished(self) -> int:
        """Tasks that ended with their work done."""
        return sum(task["Status"]["State"] in ("shutdown", "complete") for task in self.tasks())


class Watch:
    """Sees, while it is open, which nodes are out of service together and in which order they are emptied."""

    def __init__(self, swarm: Swarm) -> None:
        self.swarm, self.together, self.order = swarm, 0, []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)

    def _look(self) -> None:
        while not self._over.wait(0.5):
            try:
                nodes = self.swarm.nodes()
            except AssertionError:
                continue  # nobody leads at this moment
            out = [
                host
                for host, (status, availability, _) in nodes.items()
                if (status, availability) != ("Ready", "Active")
            ]
            self.together = max(self.together, len(out))
            self.order += [host for host in out if host not in self.order[-1:]]


@pytest.fixture(scope="module")
def repository(hosts: Hosts) -> Repository:
    return Repository(hosts, HOSTS[1])


@pytest.fixture(scope="module")
def inventory(hosts: Hosts, repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three managers whose engine comes from there, in its last version but one."""
    variables = {"docker_engine_source": "upstream", "docker_engine_repository_url": repository.url}
    where = write_inventory(tmp_path_factory.mktemp("turns"), hosts, {"swarm_managers": list(HOSTS)}, variables)
    for host in HOSTS:  # of another test, perhaps
        hosts.ask(host, "docker swarm leave --force")
    went_well(play(*pin(repository.versions[-2]), playbook="playbooks/engine.yml", inventory=where))
    went_well(play(playbook="playbooks/swarm.yml", inventory=where))
    return where


@pytest.fixture(scope="module")
def swarm(hosts: Hosts, inventory: Path) -> Swarm:
    """With a service whose tasks are always in the middle of something."""
    found = Swarm(hosts)
    # On a starved machine a node may be late with its heartbeats; Swarm would take it for dead after 15 seconds.
    found.docker("swarm update --dispatcher-heartbeat 15s")
    tiny_image.bring(hosts, HOSTS, "work:1")
    hosts.write(HOSTS[0], "/tmp/work.sh", WORK)
    hosts.run(
        HOSTS[0],
        "docker service create --quiet --detach --no-resolve-image --name work --replicas 4",
        f'--stop-grace-period {GRACE}s --restart-delay 1s work:1 sh -c "$(cat /tmp/work.sh)"',
    )
    wait_for("four tasks that work", lambda: len(found.running()) == 4, 120)
    return found


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


def test_a_failure_stops_it_names_the_node_and_the_next_run_goes_on(
    hosts: Hosts, swarm: Swarm, inventory: Path, figures: Table
):
    leader = swarm.leader()
    first, second = (host for host in HOSTS if host != leader)
    words = extra(docker_engine_daemon={"log-opts": {"max-file": "7"}})
    settings = "/etc/docker/daemon.json"
    hosts.run(second, f"mount --bind {settings} {settings} && mount -o remount,bind,ro {settings}")
    try:
        done = play(*words, playbook=DAEMON, inventory=inventory)
    finally:
        hosts.run(second, f"umount {settings}")
    refused(done, f"{second} (node {second}) is where this stopped", "Run this again once the reason is gone")
    assert [max_file(hosts, host) for host in (first, second, leader)] == ["7", "5", "5"]
    assert {host: node[1] for host, node in swarm.nodes().items()} == {
        first: "Active",
        second: "Drain",
        leader: "Active",
    }

    began = time.monotonic()
    went_well(play(*words, playbook=DAEMON, inventory=inventory))
    figures.add("a changed setting of two engines that restart, with work in flight", time.monotonic() - began)
    assert {max_file(hosts, host) for host in HOSTS} == {"7"}
    assert {node[:2] for node in swarm.nodes().values()} == {("Ready", "Active")}
    assert (labels(swarm), swarm.lost()) == ({}, [])
    assert changed(play(*words, playbook=DAEMON, inventory=inventory).stdout, hosts=3) == 0


def test_what_a_running_engine_takes_over_empties_nobody(hosts: Hosts, swarm: Swarm, inventory: Path):
    running = swarm.running()
    words = extra(docker_engine_daemon={"log-opts": {"max-file": "7"}, "debug": True})
    with Watch(swarm) as watch:
        done = went_well(play(*words, playbook=DAEMON, inventory=inventory))
    assert (changed(done.stdout, hosts=3) > 0, watch.order, swarm.running()) == (True, [], running)
    assert {hosts.run(host, "docker info --format '{{.Debug}}'").strip() for host in HOSTS} == {"true"}


def test_a_node_that_a_person_drained_is_changed_and_stays_drained_and_locked_managers_are_opened(
    hosts: Hosts, swarm: Swarm, inventory: Path
):
    node = next(host for host in HOSTS if host != swarm.leader())
    swarm.docker(f"node update --availability drain {node}")
    wait_for("the node to be empty", lambda: not hosts.run(node, "docker ps -q").split(), 180)
    swarm.docker("swarm update --autolock=true")
    key = swarm.docker("swarm unlock-key --quiet").strip()
    words = extra(docker_engine_daemon={"log-opts": {"max-file": "8"}})
    done = went_well(play("-vvv", *words, playbook=DAEMON, inventory=inventory))
    assert {max_file(hosts, host) for host in HOSTS} == {"8"}
    assert {found[0] for found in swarm.nodes().values()} == {"Ready"}
    assert key not in done.stdout + done.stderr
    swarm.docker("swarm update --autolock=false")
    assert {host for host, found in swarm.nodes().items() if found[1] == "Drain"} == {node}
    swarm.docker(f"node update --availability active {node}")
    assert swarm.lost() == []


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
        assert {max_file(hosts, host) for host in HOSTS} == {"8"}
        assert {found[1] for found in swarm.nodes().values()} == {"Active"}
    finally:
        hosts.run(node, "systemctl start docker", timeout=180)
    wait_for("the node to be back", lambda: swarm.nodes()[node][2] in ("Reachable", "Leader"), 120)


def test_a_node_is_removed_once_and_what_speaks_against_it_is_told_before(hosts: Hosts, swarm: Swarm, inventory: Path):
    last = HOSTS[2]
    refused(play(playbook=REMOVE, inventory=inventory), "swarm_remove_node is empty")
    words = extra(swarm_remove_node=last)
    before = swarm.nodes()
    assert changed(went_well(play("--check", *words, playbook=REMOVE, inventory=inventory)).stdout, hosts=3) > 0
    assert swarm.nodes() == before
    went_well(play(*words, playbook=REMOVE, inventory=inventory))
    assert set(swarm.nodes()) == set(HOSTS[:2])
    assert hosts.run(last, "docker info --format '{{.Swarm.LocalNodeState}}'").strip() == "inactive"
    assert (len(swarm.running()), swarm.lost()) == (4, [])
    assert changed(play(*words, playbook=REMOVE, inventory=inventory).stdout, hosts=3) == 0

    went_well(play(playbook="playbooks/swarm.yml", inventory=inventory))
    hosts.lab("kill", last)
    wait_for("the swarm to see that the host is dead", lambda: swarm.nodes()[last][0] == "Down", 120)
    refused(play(*words, playbook=REMOVE, inventory=inventory), f"Node {last} (", "-e swarm_remove_gone=true")
    other = extra(docker_engine_daemon={"log-opts": {"max-file": "9"}})
    refused(play(*other, playbook=DAEMON, inventory=inventory), f"{last}: cannot be reached", f"Node {last} (")
    gone = extra(swarm_remove_node=last, swarm_remove_gone=True)
    done = play(*gone, playbook=REMOVE, inventory=inventory)
    assert set(swarm.nodes()) == set(HOSTS[:2]), said(done)

    went_well(
        play(*extra(swarm_remove_node=HOSTS[1]), "--limit", ",".join(HOSTS[:2]), playbook=REMOVE, inventory=inventory)
    )
    refused(
        play(*extra(swarm_remove_node=HOSTS[0]), "--limit", HOSTS[0], playbook=REMOVE, inventory=inventory),
        f"Node {HOSTS[0]} is the last manager",
    )


# --- helpers ----------------------------------------------------------------------------------------------------


def extra(**variables: t.Any) -> tuple[str, str]:
    """Words of ansible-playbook that set variables."""
    return "--extra-vars", json.dumps(variables)


def pin(version: str) -> tuple[str, str]:
    """Words that ask for a version of the engine."""
    return extra(docker_engine_version=version)


def versions(hosts: Hosts) -> dict[str, str]:
    """Version of the engine's package on each host."""
    return {host: hosts.run(host, r"dpkg-query --show --showformat '${Version}' docker-ce") for host in HOSTS}


def max_file(hosts: Hosts, host: str) -> str:
    """One of the settings there."""
    return json.loads(hosts.run(host, "cat /etc/docker/daemon.json"))["log-opts"]["max-file"]


def labels(swarm: Swarm) -> dict[str, dict[str, str]]:
    """Labels of the nodes that have some of this collection."""
    found = json.loads(swarm.docker("node inspect", *HOSTS))
    kept = {node["Description"]["Hostname"]: node["Spec"].get("Labels") or {} for node in found}
    return {host: own for host, own in kept.items() if any(name.startswith("flowstead.") for name in own)}
