from __future__ import annotations

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import EngineError
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.membership import (
    Membership,
    enter,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem
from fake_swarm_engine import FakeEngine, make_node

FREE = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
HERE = Membership(advertise_address="192.0.2.1", found=True)


def at_once(condition, seconds):
    return condition()


def never(condition, seconds):
    return False


def open_ports(host, port):
    return ""


def posted(engine):
    return [path for path, _body in engine.posts]


def test_a_host_that_is_told_to_found_a_swarm_does_so_with_its_settings():
    engine = FakeEngine()
    wanted = Membership(
        "192.0.2.1",
        found=True,
        address_pools=("10.20.0.0/16",),
        subnet_size=25,
        data_path_port=7777,
        data_path_address="10.1.1.1",
    )
    outcome = enter(engine, wanted, wait=at_once)
    assert outcome.actions == ["init"]
    path, body = engine.posts[0]
    assert path == "/swarm/init"
    assert body["AdvertiseAddr"] == "192.0.2.1"
    assert (body["DefaultAddrPool"], body["SubnetSize"], body["DataPathPort"]) == (["10.20.0.0/16"], 25, 7777)
    assert body["DataPathAddr"] == "10.1.1.1"


def test_settings_that_nobody_asks_for_are_left_to_docker():
    engine = FakeEngine()
    enter(engine, HERE, wait=at_once)
    assert not {"DefaultAddrPool", "SubnetSize", "DataPathPort", "DataPathAddr"} & set(engine.posts[0][1])


def test_pools_are_never_given_without_a_subnet_size_since_such_a_swarm_makes_no_networks():
    engine = FakeEngine()
    enter(engine, Membership("192.0.2.1", found=True, address_pools=("172.20.0.0/14",)), wait=at_once)
    assert engine.posts[0][1]["SubnetSize"] == 24
    engine = FakeEngine()
    enter(engine, Membership("192.0.2.1", found=True, subnet_size=26), wait=at_once)
    assert engine.posts[0][1]["DefaultAddrPool"] == ["10.0.0.0/8"]


def test_a_host_with_join_addresses_joins_through_them():
    engine = FakeEngine()
    wanted = Membership("192.0.2.2", join_addresses=("192.0.2.1:2377",), join_token="SWMTKN-w", availability="drain")
    assert enter(engine, wanted, wait=at_once, probe=open_ports).actions == ["join"]
    body = engine.posts[0][1]
    assert body["RemoteAddrs"] == ["192.0.2.1:2377"]
    assert (body["JoinToken"], body["Availability"]) == ("SWMTKN-w", "drain")


def test_a_host_with_nobody_to_join_is_an_error_and_founds_nothing():
    engine = FakeEngine()
    wanted = Membership("192.0.2.2", join_token="SWMTKN-w", gwbridge_subnet="10.209.0.0/24")
    with pytest.raises(SwarmProblem, match=r"join_addresses is empty.*found"):
        enter(engine, wanted, wait=at_once, routes=FREE)
    assert engine.posts == []


def test_a_member_needs_nobody_to_join():
    assert not enter(FakeEngine(state="active"), Membership("192.0.2.1")).changed


@pytest.mark.parametrize("reachable", [True, False])
def test_check_mode_predicts_a_join_to_a_swarm_that_is_yet_to_be_founded(reachable):
    outcome = enter(FakeEngine(reachable=reachable), Membership("192.0.2.2"), check_mode=True)
    assert outcome.actions == ["join"]


def test_a_member_stays_as_it_is_and_nothing_is_posted():
    engine = FakeEngine(state="active", manager=True, nodes=[make_node("me", "here", "manager")])
    outcome = enter(engine, HERE, wait=at_once)
    assert not outcome.changed
    assert outcome.warnings == []
    assert engine.posts == []


def test_check_mode_predicts_and_posts_nothing():
    engine = FakeEngine()
    wanted = Membership("192.0.2.1", found=True, gwbridge_subnet="10.209.0.0/24")
    outcome = enter(engine, wanted, check_mode=True, routes=FREE)
    assert outcome.actions == ["create docker_gwbridge", "init"]
    assert engine.posts == []


def test_check_mode_takes_a_host_without_an_engine_for_a_new_one():
    outcome = enter(FakeEngine(reachable=False), HERE, check_mode=True)
    assert outcome.actions == ["init"]
    assert "No Docker Engine answers" in outcome.warnings[0]


def test_a_host_without_an_engine_is_an_error_outside_of_check_mode():
    with pytest.raises(SwarmProblem, match="does not answer"):
        enter(FakeEngine(reachable=False), HERE)


def test_the_bridge_is_made_before_the_host_enters():
    engine = FakeEngine()
    enter(engine, Membership("192.0.2.1", found=True, gwbridge_subnet="10.209.0.0/24"), wait=at_once, routes=FREE)
    assert posted(engine) == ["/networks/create", "/swarm/init"]


def test_a_bridge_with_another_subnet_stops_before_anything_is_posted():
    live = {"Name": "docker_gwbridge", "IPAM": {"Config": [{"Subnet": "172.18.0.0/16"}]}}
    engine = FakeEngine(networks=[live])
    with pytest.raises(SwarmProblem, match=r"172\.18\.0\.0/16.*docker network rm docker_gwbridge"):
        enter(engine, Membership("192.0.2.1", found=True, gwbridge_subnet="10.209.0.0/24"), routes=FREE)
    assert engine.posts == []


@pytest.mark.parametrize(
    ("state", "advice"),
    [("pending", "leave --force"), ("locked", "docker swarm unlock"), ("error", "log of its engine")],
)
def test_a_state_that_only_a_person_can_resolve_names_the_way_out(state, advice):
    with pytest.raises(SwarmProblem, match=advice):
        enter(FakeEngine(state=state), HERE)


def test_a_manager_of_another_swarm_is_refused():
    engine = FakeEngine(state="active", manager=True, cluster_id="theirs", nodes=[make_node("me", "here", "manager")])
    with pytest.raises(SwarmProblem, match=r"theirs.*ours"):
        enter(engine, Membership("192.0.2.1", cluster_id="ours"))


def test_settings_that_were_fixed_when_the_swarm_was_founded_only_warn():
    engine = FakeEngine(state="active", manager=True, subnet_size=24, nodes=[make_node("me", "here", "manager")])
    outcome = enter(engine, Membership("192.0.2.1", subnet_size=26, address_pools=("10.20.0.0/16",)))
    assert not outcome.changed
    assert [warning.split()[0] for warning in outcome.warnings] == ["swarm_address_pools", "swarm_subnet_size"]


def test_another_advertised_address_only_warns():
    engine = FakeEngine(state="active")
    assert "192.0.2.9" in enter(engine, Membership("192.0.2.9")).warnings[0]


def test_a_join_that_goes_on_in_the_background_is_waited_for():
    engine = FakeEngine()
    engine.fail["/swarm/join"] = EngineError(503, "Timeout was reached before node joined.", "POST /swarm/join")

    def join_later(condition, seconds):
        if condition():
            return True
        engine.state = "active"
        return condition()

    wanted = Membership("192.0.2.2", join_addresses=("192.0.2.1:2377",), join_token="SWMTKN-w")
    assert enter(engine, wanted, wait=join_later, probe=open_ports).actions == ["join"]


def test_a_join_that_is_refused_is_not_waited_for():
    engine = FakeEngine()
    engine.fail["/swarm/join"] = EngineError(503, "rpc error: invalid join token", "POST /swarm/join")
    with pytest.raises(EngineError, match="invalid join token"):
        enter(
            engine,
            Membership("192.0.2.2", join_addresses=("192.0.2.1:2377",), join_token="x"),
            wait=at_once,
            probe=open_ports,
        )


JOIN = Membership("192.0.2.2", join_addresses=("192.0.2.1:2377", "192.0.2.3:2377"), join_token="SWMTKN-w")


def stuck(engine):
    """Waits hold at once, except the one for the membership."""

    def wait(condition, seconds):
        return condition() and engine.posts == []

    return wait


def test_a_host_that_does_not_become_active_names_the_way_back_when_every_port_is_open():
    engine = FakeEngine()
    with pytest.raises(SwarmProblem, match=r"within 60 s.*way back.*192\.0\.2\.2 on 7946/tcp.*4789/udp"):
        enter(engine, JOIN, wait=stuck(engine), probe=open_ports)


def test_a_host_that_does_not_become_active_names_each_port_that_is_closed_by_then():
    engine = FakeEngine()

    def closing(host, port):
        return "connection refused" if engine.posts and port == 7946 else ""

    with pytest.raises(SwarmProblem, match=r"no TCP connection to 192\.0\.2\.1:7946 \(connection refused\)"):
        enter(engine, JOIN, wait=stuck(engine), probe=closing)


def test_a_host_that_reaches_no_manager_says_which_port_and_does_not_try_to_join():
    engine = FakeEngine()
    with pytest.raises(
        SwarmProblem,
        match=r"no manager.*192\.0\.2\.1:2377 \(no answer\); 192\.0\.2\.3:2377 \(no answer\).*Nothing was changed",
    ):
        enter(engine, JOIN, wait=at_once, probe=lambda _host, _port: "no answer")
    assert engine.posts == []


def test_one_manager_that_answers_is_enough_to_join():
    tried = []

    def only_the_second(host, port):
        tried.append((host, port))
        return "" if host == "192.0.2.3" else "no answer"

    assert enter(FakeEngine(), JOIN, wait=at_once, probe=only_the_second).actions == ["join"]
    assert tried == [("192.0.2.1", 2377), ("192.0.2.3", 2377), ("192.0.2.3", 7946)]


def test_a_closed_gossip_port_is_an_error_before_the_host_joins():
    engine = FakeEngine()
    with pytest.raises(SwarmProblem, match=r"not its port 7946/tcp \(no answer\)"):
        enter(engine, JOIN, wait=at_once, probe=lambda _host, port: "no answer" if port == 7946 else "")
    assert engine.posts == []


def test_check_mode_only_warns_of_a_closed_port_that_the_run_may_open():
    outcome = enter(FakeEngine(), JOIN, check_mode=True, wait=at_once, probe=lambda _host, _port: "no answer")
    assert outcome.actions == ["join"]
    assert "reaches no manager" in outcome.warnings[0]


def test_the_token_is_not_in_the_representation_of_a_membership():
    assert "SWMTKN" not in repr(Membership("192.0.2.2", join_token="SWMTKN-w"))
