from __future__ import annotations

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.networks import (
    WantedNetwork,
    check_networks,
    create_networks,
    network_body,
    plan_networks,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem
from fake_swarm_engine import FakeEngine


def live(wanted, **given):
    """What the engine says about a network that was made as wanted."""
    body = network_body(wanted)
    options = {**body["Options"], "com.docker.network.driver.overlay.vxlanid_list": "4097"}
    return {**body, "Options": options, "IPAM": body.get("IPAM", {"Config": [{"Subnet": "10.0.1.0/24"}]}), **given}


MON = WantedNetwork("mon", encrypted=True, driver_opts={"com.docker.network.driver.mtu": "1350"})


def test_what_is_missing_is_created():
    assert plan_networks([], [MON]) == ([MON], [])


def test_what_is_there_as_wanted_is_left_alone():
    assert plan_networks([live(MON)], [MON]) == ([], [])


def test_encryption_as_the_command_line_writes_it_is_encryption():
    there = live(MON)
    there["Options"]["encrypted"] = ""
    assert plan_networks([there], [MON]) == ([], [])


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (WantedNetwork("mon"), "encrypted is true and is to be not set"),
        (WantedNetwork("mon", attachable=False, encrypted=True), "attachable is true and is to be false"),
        (WantedNetwork("mon", internal=True, encrypted=True), "internal is false and is to be true"),
        (WantedNetwork("mon", encrypted=True, subnet="10.9.0.0/24"), "subnet is 10.0.1.0/24 and is to be 10.9.0.0/24"),
        (WantedNetwork("mon", encrypted=True, driver_opts={"a": "b"}), "driver_opts.a is not set and is to be b"),
        (
            WantedNetwork("mon", encrypted=True),
            "driver_opts.com.docker.network.driver.mtu is 1350 and is to be not set",
        ),
    ],
)
def test_each_option_that_differs_is_a_problem_and_nothing_is_recreated(wanted, said):
    create, problems = plan_networks([live(MON)], [wanted])
    assert create == []
    assert said in problems[0]
    assert "docker network rm mon" in problems[0]


def test_a_local_network_of_the_same_name_is_a_problem():
    _create, problems = plan_networks([{"Name": "mon", "Driver": "bridge", "Scope": "local"}], [MON])
    assert "is a network of the driver bridge and the scope local" in problems[0]


def test_a_subnet_of_another_network_is_a_problem():
    wanted = WantedNetwork("new", subnet="10.0.1.128/25")
    assert "overlaps with 10.0.1.0/24 of the network mon" in plan_networks([live(MON)], [wanted])[1][0]


def test_mistakes_are_told_together():
    wanted = [
        MON,
        MON,
        WantedNetwork("ingress"),
        WantedNetwork("x", subnet="10.0.0.1/8", driver_opts={"encrypted": ""}),
    ]
    problems = check_networks(wanted)
    assert [problem.split(":")[0] for problem in problems] == ["mon", "ingress", "x", "x"]


def test_a_network_that_gets_no_addresses_is_an_error_that_names_it():
    with pytest.raises(SwarmProblem, match=r"accepted the network mon .* within 20 s.*swarm_address_pools"):
        create_networks(FakeEngine(state="active", manager=True), [MON], wait=lambda _condition, _seconds: False)


def test_networks_are_there_when_each_has_its_driver():
    engine = FakeEngine(state="active", manager=True)
    create_networks(engine, [MON], wait=lambda condition, _seconds: condition())
    assert [network["Name"] for network in engine.networks] == ["mon"]


def test_a_network_without_addresses_is_a_problem_the_next_time():
    assert "has no addresses" in plan_networks([live(MON, Driver="")], [MON])[1][0]
