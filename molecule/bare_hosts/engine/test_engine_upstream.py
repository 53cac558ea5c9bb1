"""An engine from a repository like Docker's own, and swarms that cannot be right.

The tests on the engine follow each other on one host, as its life would go: each leaves it as the next one needs it.
"""

from __future__ import annotations

import ipaddress
import json
import typing as t
from pathlib import Path

import pytest
from conftest_shared import changed, play, refused, said, went_well
from lab_hosts import Hosts
from lab_inventory import write_inventory
from package_repository import Repository

HOST, NEIGHBOUR = "swarm4", "swarm5"
ENGINE, SWARM = "playbooks/engine.yml", "playbooks/swarm.yml"
PACKAGES = {"docker-ce", "docker-ce-cli", "containerd.io", "docker-buildx-plugin"}
PINNED = {"docker-ce", "docker-ce-cli"}


@pytest.fixture(scope="module")
def repository(hosts: Hosts) -> Repository:
    """What the neighbour serves."""
    return Repository(hosts, NEIGHBOUR)


@pytest.fixture(scope="module")
def alone(hosts: Hosts, repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inventory with nothing but one host, which gets its engine from there."""
    return write_inventory(tmp_path_factory.mktemp("alone"), hosts, {"swarm_managers": [HOST]}, upstream(repository))


@pytest.fixture(scope="module")
def both(hosts: Hosts, repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inventory with both hosts as managers, which have an engine and no swarm."""
    where = write_inventory(
        tmp_path_factory.mktemp("both"), hosts, {"swarm_managers": [HOST, NEIGHBOUR]}, upstream(repository)
    )
    went_well(play(*pin(repository.versions[1]), playbook=ENGINE, inventory=where))
    return where


# --- the engine -------------------------------------------------------------------------------------------------


def test_check_mode_on_the_untouched_host_foretells_the_engine(hosts: Hosts, repository: Repository, alone: Path):
    before = packages(hosts)
    done = play("--check", "--diff", *pin(repository.versions[0]), playbook=ENGINE, inventory=alone)
    went_well(done)
    assert changed(done.stdout, hosts=1) > 0
    assert "Would install docker-ce, docker-ce-cli, containerd.io, docker-buildx-plugin" in said(done)
    assert packages(hosts) == before
    assert hosts.ask(HOST, "ls /etc/docker /etc/apt/sources.list.d/docker.sources").stdout == ""


def test_the_engine_comes_in_its_pinned_version_and_is_held(hosts: Hosts, repository: Repository, alone: Path):
    done = play(*pin(repository.versions[0]), playbook=ENGINE, inventory=alone)
    went_well(done)
    installed = packages(hosts)
    assert installed.keys() >= PACKAGES
    assert {installed[name] for name in PINNED} == {repository.versions[0]}
    assert held(hosts) == PACKAGES
    assert hosts.run(HOST, "docker info --format '{{.Swarm.LocalNodeState}}'").strip() == "inactive"
    assert hosts.run(HOST, "systemctl is-enabled docker").strip() == "enabled"


def test_a_second_run_changes_nothing(repository: Repository, alone: Path):
    done = play(*pin(repository.versions[0]), playbook=ENGINE, inventory=alone)
    went_well(done)
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
    went_well(done)
    assert packages(hosts) == before | dict.fromkeys(PINNED, repository.versions[1])
    assert held(hosts) == PACKAGES
    assert hosts.run(HOST, "systemctl is-active docker").strip() == "active"


def test_a_lowered_pin_is_refused(hosts: Hosts, repository: Repository, alone: Path):
    before = packages(hosts)
    old, new = repository.versions[:2]
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


def test_address_pools_that_hold_the_hosts_network_are_refused(hosts: Hosts, alone: Path):
    pool = str(ipaddress.ip_network(hosts.facts["network"]).supernet(new_prefix=16))
    refused(
        play(*extra(swarm_address_pools=[pool]), playbook=SWARM, inventory=alone),
        f"swarm_address_pools is {pool}. Overlay networks would overlap with networks that hosts have",
        hosts.facts["network"],
    )
    assert cluster_id(hosts) == ""


def test_an_even_number_of_managers_is_warned_about(hosts: Hosts, both: Path):
    done = play("--check", playbook=SWARM, inventory=both)
    went_well(done)
    assert "The inventory has 2 managers, an even number" in said(done)
    assert (cluster_id(hosts, HOST), cluster_id(hosts, NEIGHBOUR)) == ("", "")


def test_two_swarms_in_one_inventory_are_refused(hosts: Hosts, both: Path):
    for host in (HOST, NEIGHBOUR):
        hosts.run(host, "docker swarm init --advertise-addr", hosts.facts["addresses"][host])
    before = {host: cluster_id(hosts, host) for host in (HOST, NEIGHBOUR)}
    refused(
        play(playbook=SWARM, inventory=both),
        "manage 2 different swarms",
        *(f"{swarm}: {host}" for host, swarm in before.items()),
    )
    for host, swarm in before.items():
        assert cluster_id(hosts, host) == swarm
        assert hosts.run(host, "docker node ls --format '{{.Hostname}}'").split() == [host]


# --- helpers ----------------------------------------------------------------------------------------------------


def upstream(repository: Repository) -> dict[str, str]:
    """Variables of a host whose engine comes from there."""
    return {"docker_engine_source": "upstream", "docker_engine_repository_url": repository.url}


def extra(**variables: t.Any) -> tuple[str, str]:
    """Words of ansible-playbook that set variables."""
    return "--extra-vars", json.dumps(variables)


def pin(version: str, **variables: t.Any) -> tuple[str, str]:
    """Words that ask for a version of the engine."""
    return extra(docker_engine_version=version, **variables)


def packages(hosts: Hosts) -> dict[str, str]:
    """Version of every package on the host."""
    listed = hosts.run(HOST, r"dpkg-query --show --showformat '${Package} ${Version}\n'")
    return dict(line.split() for line in listed.splitlines())


def held(hosts: Hosts) -> set[str]:
    """Packages there that an upgrade leaves where they are."""
    return set(hosts.run(HOST, "apt-mark showhold").split())


def cluster_id(hosts: Hosts, host: str = HOST) -> str:
    """The swarm that a host manages, or nothing."""
    return hosts.run(host, "docker info --format '{{with .Swarm.Cluster}}{{.ID}}{{end}}'").strip()
