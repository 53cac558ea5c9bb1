"""What operators do to nodes of a platform that works meanwhile."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

from airflow_api import Airflow, Run
from cluster import Cluster
from conftest_shared import changed, play, refused, went_well
from lab_hosts import MANAGERS, Hosts, wait_for
from report import Table

LABEL = "flowstead.airflow.drained-from"
#: Seconds that tasks run while their node is drained: less than their workers' grace period, more than Docker's own.
BUSY = 40


def node_life(verb: str, node: str, *words: str, **variables: object) -> str:
    """Run the playbook `drain` or `activate`; its output."""
    given = json.dumps({"swarm_drain_node": node, **variables})
    return went_well(play("--extra-vars", given, *words, playbook=f"playbooks/{verb}.yml")).stdout


def spec(cluster: Cluster, node: str) -> tuple[str, dict[str, str]]:
    """Availability and labels of a node."""
    found = json.loads(cluster.docker("node", "inspect", node, "--format", "'{{json .Spec}}'"))
    return found["Availability"], found.get("Labels") or {}


def test_a_node_is_emptied_without_a_lost_or_repeated_task_and_given_back(
    hosts: Hosts, cluster: Cluster, airflow: Airflow, figures: Table
):
    cluster.await_strength()
    node = next(host for host in MANAGERS if host in cluster.workers().values())
    before = spec(cluster, node)
    assert changed(node_life("drain", node, "--check", "--diff"), hosts=3) == 1
    assert spec(cluster, node) == before

    run = Run(airflow, tasks=6, seconds=BUSY)
    workers = cluster.workers()
    there = [entry["map_index"] for entry in run.await_running(6) if workers[entry["hostname"]] == node]
    assert there, f"none of six tasks runs on {node}"
    began = time.monotonic()
    with ThreadPoolExecutor(max_workers=1) as beside:
        draining = beside.submit(node_life, "drain", node)
        wait_for("the order to drain", lambda: spec(cluster, node)[0] == "drain", 180)
        busy = [entry for entry in run.running() if entry["map_index"] in there]
        told = draining.result()
    assert busy, "tasks have to have been in flight"
    figures.add("a node with tasks in flight is emptied", time.monotonic() - began)
    assert changed(told, hosts=3) == 1
    assert "worker-default" in told
    assert spec(cluster, node) == ("drain", {**before[1], LABEL: "active"})
    containers = hosts.run(node, "docker", "ps", "-q", "--filter", "label=com.docker.swarm.task.id").split()
    assert containers == [], "it returns when the node is empty"
    assert cluster.trouble() == "", "and when its services are at full strength elsewhere"
    run.await_success()
    assert run.interrupted() == 0, "every task ended in its first attempt"
    assert run.lost_lines() == (0, 0)
    assert changed(node_life("drain", node), hosts=3) == 0

    assert changed(node_life("activate", node), hosts=3) == 1
    assert spec(cluster, node) == before
    assert changed(node_life("activate", node), hosts=3) == 0
    cluster.await_strength()


def test_a_node_that_nobody_knows_is_refused_with_those_that_there_are(cluster: Cluster):
    given = json.dumps({"swarm_drain_node": "swarm9"})
    refused(play("--extra-vars", given, playbook="playbooks/drain.yml"), "no node swarm9", *MANAGERS)
    refused(play(playbook="playbooks/drain.yml"), "swarm_drain_node is empty")
    assert {spec(cluster, host)[0] for host in MANAGERS} == {"active"}
