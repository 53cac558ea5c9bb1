"""Nodes leave the swarm, one of them dead."""

from __future__ import annotations

from pathlib import Path

from conftest_shared import changed, play, refused, said, went_well
from lab_hosts import Hosts, wait_for
from managers import DAEMON, HOSTS, REMOVE, Swarm, extra


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
    wait_for("all tasks to be elsewhere", lambda: len(swarm.running()) == 4, 120)
    assert swarm.lost() == []
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
