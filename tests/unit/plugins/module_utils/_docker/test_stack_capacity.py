"""Sums about nodes and addresses, names that two nodes have, ports that others publish."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.capacity import addresses, scheduling
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.compile import compile_stack
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.lint import hints
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.placement import check_placement, check_ports
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.waiting import Limits, Memory, judge
from fake_engine import node

GIB = 2**30


def service(memory: int = 0, **placement: t.Any) -> dict[str, t.Any]:
    template = {
        "Resources": {"Reservations": {"MemoryBytes": memory}},
        "Placement": placement,
        "Networks": [{"Target": "net1"}],
    }
    return {"ID": "s1", "Spec": {"Name": "shop_web", "TaskTemplate": template}}


def task(node_id: str, memory: int = 0, state: str = "running", owner: str = "other", address: str = "") -> t.Any:
    return {
        "NodeID": node_id,
        "ServiceID": owner,
        "Status": {"State": state},
        "Spec": {"Resources": {"Reservations": {"MemoryBytes": memory}}},
        "NetworksAttachments": [{"Network": {"ID": "net1"}, "Addresses": [address]}] if address else [],
    }


def test_the_sum_names_what_is_asked_for_and_what_each_node_has_left() -> None:
    down, drained, labelled = node("n3", "gamma"), node("n4", "delta"), node("n2", "beta", zone="b")
    down["Status"]["State"] = "down"
    drained["Spec"]["Availability"] = "drain"
    tasks = [task("n1", 3 * GIB), task("n1", GIB, "complete")]

    lines = scheduling(
        service(2 * GIB, Constraints=["node.labels.zone != b"]), [node("n1", "alpha"), labelled, down, drained], tasks
    )

    assert lines == [
        "a task asks for 2048 MiB of memory",
        "alpha: 1024 MiB of memory free: it has 4096, and 3072 are reserved",
        "beta: does not meet node.labels.zone != b",
        "gamma: is down",
        "delta: availability is drain",
    ]


def test_the_sum_counts_the_service_s_own_tasks_where_their_number_is_limited() -> None:
    lines = scheduling(service(MaxReplicas=1), [node("n1", "alpha"), node("n2", "beta")], [task("n1", owner="s1")])

    assert lines == ["alpha: runs 1 of at most 1 (max_replicas_per_node)", "beta: has room"]


def test_the_sum_of_addresses_counts_tasks_and_virtual_addresses() -> None:
    network = {"Id": "net1", "Name": "shop_front", "IPAM": {"Config": [{"Subnet": "10.1.0.0/29"}]}}
    other = {"Id": "net2", "Name": "shop_back", "IPAM": {"Config": []}}
    virtual = {"Endpoint": {"VirtualIPs": [{"NetworkID": "net1", "Addr": "10.1.0.2/29"}]}}
    tasks = [task("n1", address="10.1.0.3/29"), task("n1", address="10.1.0.4/29", state="failed")]

    assert addresses(service(), [virtual], [network, other], tasks) == [
        "network shop_front (10.1.0.0/29): 5 addresses, 1 held by tasks, 1 by services, and one for each node that "
        "uses it"
    ]


def test_tasks_that_stay_new_have_no_address() -> None:
    live = {**service(), "Spec": {**service()["Spec"], "Mode": {"Replicated": {"Replicas": 1}}}}
    live["Spec"]["TaskTemplate"]["ContainerSpec"] = {}
    new = [{"ID": "t1", "Status": {"State": "new"}, "DesiredState": "running"}]
    memory, verdicts = Memory(), []
    for now in (0.0, 19.0, 20.0):
        verdict, memory = judge(live, new, touched=True, memory=memory, limits=Limits(3, 20.0), now=now)
        verdicts.append((verdict.state, verdict.cause))

    assert verdicts == [("waiting", ""), ("waiting", ""), ("failed", "address_exhaustion")]


def stack(**keys: t.Any) -> t.Any:
    return compile_stack("shop", {"services": {"web": {"image": "x:1", **keys}}}, "key", {"web": "x:1"}, (1, 41))


def test_a_constraint_on_a_name_that_two_nodes_have_is_refused_with_their_ids() -> None:
    old = node("n1", "alpha")
    old["Status"]["State"] = "down"
    wanted = stack(deploy={"placement": {"constraints": ["node.hostname == alpha"]}})

    (problem,) = check_placement(wanted, [old, node("n2", "alpha"), node("n3", "beta")])

    assert problem.path == "services.web.deploy.placement.constraints"
    assert "2 nodes are called alpha: n1 (down), n2 (ready)" in problem.what
    assert check_placement(wanted, [node("n2", "alpha"), node("n3", "beta")]) == []


def test_a_port_of_the_mesh_that_another_stack_has_is_refused() -> None:
    def live(stack_name: str, mode: str = "ingress") -> dict[str, t.Any]:
        port = {"PublishedPort": 80, "Protocol": "tcp", "PublishMode": mode}
        labels = {"com.docker.stack.namespace": stack_name}
        return {"Spec": {"Name": f"{stack_name}_web", "Labels": labels, "EndpointSpec": {"Ports": [port]}}}

    wanted = stack(ports=[{"target": 8080, "published": 80}])

    assert [problem.what for problem in check_ports(wanted, [live("other")])] == [
        "port 80/tcp is already published by the service other_web"
    ]
    assert check_ports(wanted, [live("shop"), live("other", "host")]) == []
    assert check_ports(stack(ports=[{"target": 8080, "published": 81}]), [live("other")]) == []


@pytest.mark.parametrize(
    ("name", "service", "word"),
    [
        ("worker", {"image": "x:1"}, "stop_grace_period"),
        ("celery-default", {"image": "x:1"}, "stop_grace_period"),
        ("database", {"image": "postgres:16"}, "virtual IP"),
        ("cache", {"image": "registry.test/library/redis:7@sha256:00"}, "virtual IP"),
        ("web", {"image": "x:1", "ports": [{"target": 80}]}, "no healthcheck"),
    ],
)
def test_traps_of_swarm_are_named(name: str, service: dict[str, t.Any], word: str) -> None:
    (hint,) = hints(name, service, {}, 3)

    assert hint.startswith(f"{name}: ")
    assert word in hint


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("worker", {"image": "x:1", "stop_grace_period": "1h"}),
        ("coworking", {"image": "x:1"}),
        ("worker", {"image": "x:1", "deploy": {"mode": "replicated-job"}}),
        ("database", {"image": "postgres:16", "deploy": {"endpoint_mode": "dnsrr"}}),
        ("exporter", {"image": "postgres-exporter:1"}),
        ("web", {"image": "x:1", "ports": [{"target": 80}], "healthcheck": {"test": ["CMD", "true"]}}),
    ],
)
def test_what_is_no_trap_is_not_called_one(name: str, service: dict[str, t.Any]) -> None:
    assert hints(name, service, {}, 3) == []
