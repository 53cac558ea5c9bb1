"""Three managers as an operator sees them, and what tests ask and tell them."""

from __future__ import annotations

import contextlib
import json
import threading
import typing as t
from pathlib import Path

import pytest
import tiny_image
from conftest_shared import play, went_well
from lab_hosts import Hosts, await_leader, wait_for
from lab_inventory import write_inventory
from package_repository import Repository

HOSTS = ("swarm4", "swarm5", "swarm6")
UPGRADE, DAEMON, REMOVE = (f"playbooks/{name}.yml" for name in ("upgrade_engine", "change_daemon", "remove_node"))
SWARM, ROTATE = "playbooks/swarm.yml", "playbooks/rotate_swarm.yml"
BACKUP, RESTORE = "playbooks/backup_swarm.yml", "playbooks/restore_swarm.yml"
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

    def work(self) -> None:
        """Start a service whose tasks are always in the middle of something, in the place of an earlier one."""
        self.hosts.ask(HOSTS[0], "docker service rm work")
        self.hosts.write(HOSTS[0], "/tmp/work.sh", WORK)
        self.hosts.run(
            HOSTS[0],
            "docker service create --quiet --detach --no-resolve-image --name work --replicas 4",
            f'--stop-grace-period {GRACE}s --restart-delay 1s work:1 sh -c "$(cat /tmp/work.sh)"',
        )
        wait_for("four tasks that work", lambda: len(self.running()) == 4, 120)

    def nodes(self) -> dict[str, tuple[str, str, str]]:
        """Status, availability and manager status, by host name."""
        told = self.docker("node ls --format '{{.Hostname}} {{.Status}} {{.Availability}} {{.ManagerStatus}}'")
        return {words[0]: (words[1], words[2], " ".join(words[3:])) for words in map(str.split, told.splitlines())}

    def leader(self) -> str:
        """Host name of the leader."""
        return await_leader(lambda: {host: status for host, (_, _, status) in self.nodes().items()})

    def tasks(self) -> list[dict[str, t.Any]]:
        """All tasks that the swarm remembers."""
        for _again in range(2):
            with contextlib.suppress(AssertionError):  # one of them was forgotten between the questions
                return self._tasks()
        return self._tasks()

    def _tasks(self) -> list[dict[str, t.Any]]:
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


@pytest.fixture(scope="session")
def repository(hosts: Hosts) -> Repository:
    return Repository(hosts, HOSTS[1])


@pytest.fixture(scope="session")
def inventory(hosts: Hosts, repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three managers whose engine comes from there, in its last version but one."""
    variables = {"docker_engine_source": "upstream", "docker_engine_repository_url": repository.url}
    where = write_inventory(tmp_path_factory.mktemp("turns"), hosts, {"swarm_managers": list(HOSTS)}, variables)
    went_well(play(*pin(repository.versions[-2]), playbook="playbooks/engine.yml", inventory=where))
    went_well(play(playbook="playbooks/swarm.yml", inventory=where))
    return where


@pytest.fixture(scope="session")
def swarm(hosts: Hosts, inventory: Path) -> Swarm:
    """With a service whose tasks are always in the middle of something."""
    found = Swarm(hosts)
    # On a starved machine a node may be late with its heartbeats; Swarm would take it for dead after 15 seconds.
    found.docker("swarm update --dispatcher-heartbeat 15s")
    tiny_image.bring(hosts, HOSTS, "work:1")
    found.work()
    return found


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
