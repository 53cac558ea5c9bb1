"""A host that is new to the platform: an engine from a repository like Docker's own, and swarms that cannot be right.

The tests on the engine follow each other on one host, as its life would go: each leaves it as the next one needs it.
The platform itself stays as it is.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
import typing as t
from pathlib import Path

import pytest
from cluster import Cluster
from conftest_shared import changed, play
from lab_hosts import MANAGERS, Hosts
from lab_inventory import write_inventory
from package_repository import Repository

HOST = "swarm4"
REPOSITORY = "swarm5"
ENGINE, SWARM = "playbooks/engine.yml", "playbooks/swarm.yml"
PACKAGES = {"docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin"}
PINNED = {"docker-ce", "docker-ce-cli"}


@pytest.fixture(scope="module")
def new_hosts(hosts: Hosts) -> t.Iterator[None]:
    """Two hosts that nothing was ever done to; their power goes off at the end."""
    hosts.lab("reset", HOST, REPOSITORY)
    yield
    hosts.lab("kill", HOST, REPOSITORY)


@pytest.fixture(scope="module")
def repository(hosts: Hosts, new_hosts: None) -> Repository:
    """What the one host serves."""
    return Repository(hosts, REPOSITORY)


@pytest.fixture(scope="module")
def alone(hosts: Hosts, repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inventory with nothing but the other host, which gets its engine from there."""
    variables = {"docker_engine_source": "upstream", "docker_engine_repository_url": repository.url}
    return write_inventory(tmp_path_factory.mktemp("alone"), hosts, {"swarm_managers": [HOST]}, variables)


@pytest.fixture(scope="module")
def beside(
    hosts: Hosts, cluster: Cluster, new_hosts: None, tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[Path]:
    """An inventory in which it is one more manager of the platform's swarm, which it must not become."""
    yield write_inventory(tmp_path_factory.mktemp("beside"), hosts, {"swarm_managers": [*MANAGERS, HOST]}, {})
    for node in cluster.nodes():
        if node["Hostname"] == HOST:
            cluster.docker("node", "demote", node["ID"])
            cluster.docker("node", "rm", "--force", node["ID"])


# --- the engine -------------------------------------------------------------------------------------------------


def test_check_mode_on_the_untouched_host_foretells_the_engine(hosts: Hosts, repository: Repository, alone: Path):
    before = packages(hosts)
    done = play("--check", "--diff", *pin(repository.versions[0]), playbook=ENGINE, inventory=alone)
    assert done.returncode == 0, done.stdout[-4000:]
    assert changed(done.stdout, hosts=1) > 0
    assert "Would install docker-ce, docker-ce-cli, containerd.io, docker-buildx-plugin" in said(done)
    assert packages(hosts) == before
    assert hosts.ask(HOST, "ls /etc/docker /etc/apt/sources.list.d/docker.sources").stdout == ""


def test_the_engine_comes_in_its_pinned_version_and_is_held(hosts: Hosts, repository: Repository, alone: Path):
    done = play(*pin(repository.versions[0]), playbook=ENGINE, inventory=alone)
    assert done.returncode == 0, done.stdout[-4000:]
    installed = packages(hosts)
    assert installed.keys() >= PACKAGES
    assert {installed[name] for name in PINNED} == {repository.versions[0]}
    assert held(hosts) == PACKAGES
    assert hosts.run(HOST, "docker info --format '{{.Swarm.LocalNodeState}}'").strip() == "inactive"
    assert hosts.run(HOST, "systemctl is-enabled docker").strip() == "enabled"


def test_a_second_run_changes_nothing(repository: Repository, alone: Path):
    done = play(*pin(repository.versions[0]), playbook=ENGINE, inventory=alone)
    assert done.returncode == 0, done.stdout[-4000:]
    assert changed(done.stdout, hosts=1) == 0


def test_a_key_that_signed_nothing_is_refused_by_name(hosts: Hosts, repository: Repository, alone: Path):
    before = packages(hosts)
    wrong = f"{repository.url}/wrong.gpg"
    words = pin(repository.versions[1], docker_engine_repository_key_url=wrong)
    done = play(*words, playbook=ENGINE, inventory=alone)
    refused(done, f"refuses {repository.url}: it is not signed by the key from {wrong}")
    assert packages(hosts) == before
    assert held(hosts) == PACKAGES
    assert hosts.ask(HOST, "ls /etc/apt/sources.list.d/docker.sources").stdout == ""


def test_a_raised_pin_upgrades_exactly_what_it_pins(hosts: Hosts, repository: Repository, alone: Path):
    before = packages(hosts)
    done = play(*pin(repository.versions[1]), playbook=ENGINE, inventory=alone)
    assert done.returncode == 0, done.stdout[-4000:]
    assert packages(hosts) == before | dict.fromkeys(PINNED, repository.versions[1])
    assert held(hosts) == PACKAGES
    assert hosts.run(HOST, "systemctl is-active docker").strip() == "active"


def test_a_lowered_pin_is_refused(hosts: Hosts, repository: Repository, alone: Path):
    before = packages(hosts)
    old, new = repository.versions
    done = play(*pin(old), playbook=ENGINE, inventory=alone)
    refused(done, f"{HOST} runs Docker {new}, and docker_engine_version asks for the older {old}")
    assert packages(hosts) == before


def test_a_version_that_nobody_has_lists_those_that_there_are(hosts: Hosts, repository: Repository, alone: Path):
    before = packages(hosts)
    refused(
        play(*pin("5:99.0.0-1"), playbook=ENGINE, inventory=alone),
        f"apt on {HOST} did not install docker-ce=5:99.0.0-1",
        f"Versions that this host can get: {', '.join(reversed(repository.versions))}.",
    )
    assert packages(hosts) == before
    assert held(hosts) == PACKAGES


# --- swarms that cannot be right --------------------------------------------------------------------------------


@pytest.fixture
def own_swarm(hosts: Hosts) -> t.Iterator[str]:
    """The ID of a swarm that somebody founded on the other host."""
    hosts.run(HOST, "docker swarm init --advertise-addr", hosts.facts["addresses"][HOST])
    yield cluster_id(hosts)
    hosts.run(HOST, "docker swarm leave --force")


def test_address_pools_that_hold_the_hosts_network_are_refused(hosts: Hosts, alone: Path):
    pool = str(ipaddress.ip_network(hosts.facts["network"]).supernet(new_prefix=16))
    refused(
        play(*extra(swarm_address_pools=[pool]), playbook=SWARM, inventory=alone),
        f"swarm_address_pools is {pool}. Overlay networks would overlap with networks that hosts have",
        hosts.facts["network"],
    )
    assert cluster_id(hosts) == ""


def test_an_even_number_of_managers_is_warned_about(hosts: Hosts, cluster: Cluster, beside: Path):
    before = members(cluster)
    done = play("--check", playbook=SWARM, inventory=beside)
    assert done.returncode == 0, done.stdout[-4000:]
    assert f"The inventory has {len(MANAGERS) + 1} managers, an even number" in said(done)
    assert (members(cluster), cluster_id(hosts)) == (before, "")


def test_two_swarms_in_one_inventory_are_refused(hosts: Hosts, cluster: Cluster, beside: Path, own_swarm: str):
    before = members(cluster)
    platform = cluster.docker("info", "--format", "'{{.Swarm.Cluster.ID}}'").strip()
    refused(
        play(playbook=SWARM, inventory=beside),
        "manage 2 different swarms",
        f"{platform}: {', '.join(MANAGERS)}",
        f"{own_swarm}: {HOST}",
    )
    assert (members(cluster), cluster_id(hosts)) == (before, own_swarm)
    assert hosts.run(HOST, "docker node ls --format '{{.Hostname}}'").split() == [HOST]


# --- helpers ----------------------------------------------------------------------------------------------------


def extra(**variables: t.Any) -> tuple[str, str]:
    """Words of ansible-playbook that set variables."""
    return "--extra-vars", json.dumps(variables)


def pin(version: str, **variables: t.Any) -> tuple[str, str]:
    """Words that ask for a version of the engine."""
    return extra(docker_engine_version=version, **variables)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """All output in one line: where Ansible wraps it depends on the terminal."""
    return " ".join((done.stdout + done.stderr).split())


def refused(done: subprocess.CompletedProcess[str], *phrases: str) -> None:
    """A run that must have failed, and must have said why."""
    told = said(done)
    assert done.returncode == 2, told[-4000:]
    missing = [phrase for phrase in phrases if phrase not in told]
    assert not missing, f"lacks {missing}: {told[-4000:]}"


def packages(hosts: Hosts) -> dict[str, str]:
    """Version of every package on the other host."""
    listed = hosts.run(HOST, r"dpkg-query --show --showformat '${Package} ${Version}\n'")
    return dict(line.split() for line in listed.splitlines())


def held(hosts: Hosts) -> set[str]:
    """Packages there that an upgrade leaves where they are."""
    return set(hosts.run(HOST, "apt-mark showhold").split())


def cluster_id(hosts: Hosts) -> str:
    """The swarm that the other host manages, or nothing."""
    return hosts.run(HOST, "docker info --format '{{with .Swarm.Cluster}}{{.ID}}{{end}}'").strip()


def members(cluster: Cluster) -> set[tuple[str, str, str]]:
    """The platform's nodes: ID, host name and availability."""
    return {(node["ID"], node["Hostname"], node["Availability"]) for node in cluster.nodes()}
