"""A node's life as an operator leads it: emptied while tasks run, rebooted, and given back.

Nothing is asserted about how long something takes; the times are in the tables at the end.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from airflow_api import Airflow, Run
from cluster import Cluster
from conftest_shared import changed, play, went_well
from lab_hosts import MANAGERS, Hosts, wait_for
from recovery import record
from report import Table

LABEL = "flowstead.airflow.drained-from"
#: Seconds that tasks run while their node is drained: less than their workers' grace period, more than Docker's own.
BUSY = 40


@pytest.fixture(scope="module")
def node(cluster: Cluster) -> str:
    """The node that is emptied: one with a worker, because Swarm moves nothing back after other faults."""
    cluster.await_strength()
    return next(host for host in MANAGERS if host in cluster.workers().values())


def node_life(verb: str, node: str, *words: str) -> str:
    """Run the playbook `drain` or `activate`; its output."""
    given = json.dumps({"swarm_drain_node": node})
    return went_well(play("--extra-vars", given, *words, playbook=f"playbooks/{verb}.yml")).stdout


def spec(cluster: Cluster, node: str) -> tuple[str, dict[str, str]]:
    """Availability and labels of a node."""
    found = json.loads(cluster.docker("node", "inspect", node, "--format", "'{{json .Spec}}'"))
    return found["Availability"], found.get("Labels") or {}


def test_a_node_is_emptied_without_a_lost_or_repeated_task_rebooted_and_given_back(
    hosts: Hosts, cluster: Cluster, airflow: Airflow, node: str, faults: Table, figures: Table
):
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
    work = time.monotonic() - began
    assert run.interrupted() == 0, "every task ended in its first attempt"

    hosts.lab("reboot", node)
    wait_for("the node to be back", lambda: cluster.trouble() == "", 300)
    assert changed(node_life("drain", node), hosts=3) == 0, "it is still drained, and empty"
    assert changed(node_life("activate", node), hosts=3) == 1
    assert spec(cluster, node) == before
    assert changed(node_life("activate", node), hosts=3) == 0
    cluster.await_strength()
    record(faults, f"{node} emptied, rebooted and given back", run, (work, time.monotonic() - began), hosts)
