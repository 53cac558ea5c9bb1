from __future__ import annotations

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import EngineError
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.formation import plan_formation
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import read_node
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.survey import Settings, known_nodes
from fake_swarm_engine import FakeEngine, make_node

M1 = make_node("id1", "m1", "manager", address="192.0.2.1", leader=True)
M2 = make_node("id2", "m2", "manager", address="192.0.2.2")
W1 = make_node("id3", "w1")


def manager(node_id, nodes=(M1, M2, W1), cluster_id="ours"):
    return read_node(FakeEngine(state="active", manager=True, node_id=node_id, nodes=nodes, cluster_id=cluster_id))


def worker(node_id):
    return read_node(FakeEngine(state="active", node_id=node_id))


def outside():
    return read_node(FakeEngine())


def without_engine():
    return read_node(FakeEngine(reachable=False))


def test_the_first_manager_founds_when_no_host_is_in_a_swarm():
    plan = plan_formation({"m1": outside(), "m2": outside(), "w1": outside()}, ["m1", "m2"], ["w1"])
    assert plan["problems"] == []
    assert (plan["founder"], plan["entry"]) == ("m1", "m1")
    assert (plan["managers"], plan["workers"]) == (["m2"], ["w1"])


def test_a_rebuilt_first_manager_joins_the_swarm_of_the_others():
    plan = plan_formation({"m1": outside(), "m2": manager("id2"), "w1": worker("id3")}, ["m1", "m2"], ["w1"])
    assert plan["problems"] == []
    assert (plan["founder"], plan["entry"], plan["cluster_id"]) == ("", "m2", "ours")
    assert (plan["managers"], plan["workers"]) == (["m1"], [])


def test_hosts_join_through_the_entry_first_and_then_through_other_reachable_managers():
    gone = make_node("id9", "m9", "manager", address="192.0.2.9", reachability="unreachable")
    plan = plan_formation({"m2": manager("id2", (M1, M2, gone)), "w1": outside()}, ["m2"], ["w1"])
    assert plan["addresses"] == ["192.0.2.2:2377", "192.0.2.1:2377"]


def test_members_of_a_formed_swarm_have_nothing_to_do():
    plan = plan_formation({"m1": manager("id1"), "w1": worker("id3")}, ["m1"], ["w1"])
    assert (plan["founder"], plan["managers"], plan["workers"], plan["problems"]) == ("", [], [], [])


def test_a_manager_that_is_to_be_a_worker_still_serves_as_the_entry():
    plan = plan_formation({"m1": outside(), "w1": manager("id1")}, ["m1"], ["w1"])
    assert (plan["founder"], plan["entry"], plan["managers"]) == ("", "w1", ["m1"])


def test_a_manager_outside_of_the_run_is_the_entry_for_a_limited_one():
    plan = plan_formation({"w2": outside(), "m1": manager("id1")}, ["m1", "m2"], ["w1", "w2"])
    assert plan["problems"] == []
    assert (plan["entry"], plan["workers"]) == ("m1", ["w2"])


def test_no_second_swarm_is_founded_while_a_manager_did_not_answer():
    plan = plan_formation({"m1": outside()}, ["m1", "m2"], [])
    assert plan["founder"] == ""
    assert "m2: did not say whether a swarm exists" in plan["problems"][0]


def test_hosts_that_manage_two_swarms_stop_the_run_with_their_names():
    plan = plan_formation({"m1": manager("id1"), "m2": manager("id2", cluster_id="theirs")}, ["m1", "m2"], [])
    assert "2 different swarms (ours: m1; theirs: m2)" in plan["problems"][0]


def test_a_worker_of_another_swarm_is_found_by_its_node_id():
    plan = plan_formation({"m1": manager("id1"), "w1": worker("stranger")}, ["m1"], ["w1"])
    assert "w1: is a worker of another swarm (its node ID stranger" in plan["problems"][0]


def test_workers_of_a_swarm_without_a_known_manager_do_not_found_a_second_one():
    plan = plan_formation({"m1": outside(), "w1": worker("id3")}, ["m1"], ["w1"])
    assert plan["founder"] == ""
    assert "managers are not in this inventory" in plan["problems"][0]


@pytest.mark.parametrize(("state", "advice"), [("pending", "leave --force"), ("locked", "unlock"), ("error", "words")])
def test_a_stuck_host_is_a_problem_with_a_way_out(state, advice):
    plan = plan_formation({"m1": manager("id1"), "m2": read_node(FakeEngine(state=state))}, ["m1", "m2"], [])
    assert plan["problems"][0].startswith("m2: ")
    assert advice in plan["problems"][0]


def test_a_swarm_without_a_leader_is_a_problem_and_no_reason_to_found_another():
    engine = FakeEngine(state="active", manager=True)
    engine.fail["/nodes"] = EngineError(503, "The swarm does not have a leader.", "GET /nodes")
    plan = plan_formation({"m1": read_node(engine), "m2": outside()}, ["m1", "m2"], [])
    assert plan["founder"] == ""
    assert "does not have a leader" in plan["problems"][0]


def test_a_host_without_an_engine_is_a_problem_except_in_check_mode():
    members = {"m1": without_engine()}
    assert "does not answer" in plan_formation(members, ["m1"], [])["problems"][0]
    assert plan_formation(members, ["m1"], [], check_mode=True)["founder"] == "m1"


def test_all_problems_are_told_at_once():
    members = {"m1": without_engine(), "m2": read_node(FakeEngine(state="locked")), "w1": outside()}
    problems = plan_formation(members, ["m1", "m2", "w1"], ["w1"])["problems"]
    assert [problem.split(":")[0] for problem in problems] == ["w1", "m1", "m2"]


def test_an_inventory_without_managers_is_a_problem():
    assert "names no manager" in plan_formation({}, [], [])["problems"][0]


def member(node, address="192.0.2.1", networks=(), listeners=(), gwbridge=(), **wanted):
    """What swarm_node_info says on a host of the run."""
    return {
        **node,
        "wanted": {"advertise_address": address, "listen_address": "0.0.0.0:2377", **wanted},
        "networks": [{"interface": "eth0", "network": network} for network in networks],
        "listeners": list(listeners),
        "gwbridge": list(gwbridge),
    }


def test_two_swarms_are_refused_whoever_is_the_entry_and_nothing_is_to_be_done():
    members = {"m1": manager("id1", cluster_id="theirs"), "m2": manager("id2"), "w1": outside()}
    plan = plan_formation(members, ["m1", "m2"], ["w1"])
    assert "2 different swarms (ours: m2; theirs: m1)" in plan["problems"][0]
    assert (plan["founder"], plan["settled"]) == ("", False)


@pytest.mark.parametrize(("managers", "told"), [(1, 0), (2, 1), (3, 0), (4, 1), (7, 0), (8, 2), (9, 1)])
def test_only_an_odd_number_of_managers_up_to_seven_is_not_worth_a_word(managers, told):
    names = [f"m{number}" for number in range(managers)]
    assert len(plan_formation({name: outside() for name in names}, names, [])["warnings"]) == told


def test_an_even_number_of_managers_names_how_many_may_fail():
    plan = plan_formation({"m1": outside(), "m2": outside()}, ["m1", "m2"], [])
    assert plan["problems"] == []
    assert "loss of none of them, as it would with 1" in plan["warnings"][0]
    assert "With 3 it would survive the loss of 1" in plan["warnings"][0]


@pytest.mark.parametrize("run", [["m1"], ["m1", "m2", "m3"], ["m1", "w1"]])
def test_a_rebuilt_first_manager_never_founds_a_second_swarm_whatever_the_limit(run):
    m3 = make_node("id4", "m3", "manager", address="192.0.2.3")
    everyone = {
        "m1": member(outside()),
        "m2": member(manager("id2", (M1, M2, m3, W1)), "192.0.2.2"),
        "m3": member(manager("id4", (M1, M2, m3, W1)), "192.0.2.3"),
        "w1": member(worker("id3"), "192.0.2.4"),
    }
    # Managers outside of the limit are asked as well, and wish nothing.
    asked = {host: {**everyone[host], "wanted": {}} for host in ("m2", "m3") if host not in run}
    plan = plan_formation({host: everyone[host] for host in run} | asked, ["m1", "m2", "m3"], ["w1"])
    assert plan["problems"] == []
    assert (plan["founder"], plan["entry"], plan["managers"]) == ("", "m2", ["m1"])
    assert not plan["settled"]


def test_a_lost_majority_is_refused_with_the_way_back_and_the_rebuilt_host_founds_nothing():
    engine = FakeEngine(state="active", manager=True, cluster_id="")
    engine.fail["/nodes"] = EngineError(503, "The swarm does not have a leader.", "GET /nodes")
    plan = plan_formation({"m1": outside(), "m2": read_node(engine), "m3": outside()}, ["m1", "m2", "m3"], [])
    assert (plan["founder"], plan["entry"]) == ("", "")
    (problem,) = plan["problems"]
    assert problem.startswith("m2: the swarm has no leader")
    assert "Nothing was changed" in problem
    assert "docker swarm init --force-new-cluster" in problem


def test_a_manager_cut_off_from_the_others_is_no_second_swarm():
    engine = FakeEngine(state="active", manager=True, cluster_id="")
    engine.fail["/nodes"] = EngineError(503, "The swarm does not have a leader.", "GET /nodes")
    problems = plan_formation({"m1": read_node(engine), "m2": manager("id2")}, ["m1", "m2"], [])["problems"]
    assert len(problems) == 1
    assert problems[0].startswith("m1: the swarm has no leader")


def test_a_formed_swarm_with_the_wanted_nodes_is_settled():
    members = {"m1": member(manager("id1", (M1, W1))), "w1": member(worker("id3"), "192.0.2.4")}
    plan = plan_formation(members, ["m1"], ["w1"])
    assert (plan["problems"], plan["settled"]) == ([], True)


@pytest.mark.parametrize(
    ("wished", "settings"),
    [
        ({"labels": {"gpu": True}}, {}),
        ({"availability": "drain"}, {}),
        ({}, {"purge_labels": True}),
    ],
)
def test_a_node_that_differs_is_not_settled(wished, settings):
    labelled = make_node("id3", "w1", labels={"old": "1"}, address="192.0.2.4")
    members = {"m1": member(manager("id1", (M1, labelled))), "w1": member(worker("id3"), "192.0.2.4", **wished)}
    assert not plan_formation(members, ["m1"], ["w1"], settings=Settings(**settings))["settled"]


def test_a_host_that_is_to_change_its_role_is_not_settled():
    members = {"m1": member(manager("id1", (M1, W1))), "w1": member(worker("id3"), "192.0.2.4")}
    assert not plan_formation(members, ["m1", "w1"], [])["settled"]


@pytest.mark.parametrize("state", ["down", "unknown"])
def test_a_twin_that_does_not_live_is_not_settled_when_replaced_nodes_are_to_go(state):
    twin = make_node("old", "w1", state=state)
    members = {"m1": member(manager("id1", (M1, W1, twin))), "w1": member(worker("id3"), "192.0.2.4")}
    assert plan_formation(members, ["m1"], ["w1"])["settled"]
    assert not plan_formation(members, ["m1"], ["w1"], settings=Settings(remove_replaced=True))["settled"]


def test_demoting_every_manager_is_a_problem_before_anything_is_written():
    members = {"m1": member(manager("id1", (M1,)))}
    assert "No manager would be left" in plan_formation(members, ["m9"], ["m1"])["problems"][0]


def test_a_bridge_that_differs_is_compared_on_its_host_only():
    members = {
        "m1": member(manager("id1", (M1, W1)), gwbridge_subnet="10.209.0.0/24", gwbridge=["10.209.0.0/24"]),
        "w1": member(worker("id3"), "192.0.2.4", gwbridge_subnet="10.209.0.0/24", gwbridge=["172.18.0.0/16"]),
    }
    assert plan_formation(members, ["m1"], ["w1"])["compare"] == ["w1"]


def test_pools_that_overlap_with_a_hosts_network_stop_the_founding():
    members = {"m1": member(outside(), "10.77.0.1", ["10.77.0.0/24"]), "m2": member(outside(), "10.77.0.2")}
    plan = plan_formation(members, ["m1", "m2"], [])
    assert plan["founder"] == ""
    assert "10.77.0.0/24 of m1 (eth0)" in plan["problems"][0]


def test_pools_that_overlap_with_a_wanted_bridge_stop_the_founding():
    members = {"m1": member(outside(), gwbridge_subnet="172.20.9.0/24")}
    plan = plan_formation(members, ["m1"], [], settings=Settings(address_pools=("172.20.0.0/14",)))
    assert "172.20.9.0/24 of m1 (docker_gwbridge)" in plan["problems"][0]


def test_pools_of_a_live_swarm_are_only_told():
    members = {
        "m1": member(manager("id1", (M1, W1)), networks=["10.77.0.0/24"]),
        "w1": member(worker("id3"), "192.0.2.4"),
    }
    plan = plan_formation(members, ["m1"], ["w1"])
    assert plan["problems"] == []
    assert any("live swarm overlap" in warning for warning in plan["warnings"])


def test_settings_of_a_live_swarm_that_differ_are_told_with_the_host_whose_address_differs():
    members = {"m1": member(manager("id1", (M1,)), "192.0.2.99")}
    warnings = plan_formation(members, ["m1"], [], settings=Settings(subnet_size=26))["warnings"]
    assert warnings[0].startswith("swarm_subnet_size asks for 26, and the live swarm has 24")
    assert warnings[1].startswith("m1: This member's address is 192.0.2.1, and 192.0.2.99")


@pytest.mark.parametrize(("process", "named"), [("nginx (pid 7)", "nginx (pid 7)"), ("", "cannot be named")])
def test_a_port_that_something_else_holds_stops_the_run_with_its_name(process, named):
    held = [{"port": 7946, "address": "0.0.0.0", "process": process}]
    problems = plan_formation({"m1": member(outside(), listeners=held)}, ["m1"], [])["problems"]
    assert "m1: port 7946/tcp" in problems[0]
    assert named in problems[0]


def test_a_worker_needs_no_port_of_managers_and_an_engine_that_just_left_is_no_stranger():
    held = [{"port": 2377, "address": "0.0.0.0", "process": "nginx (pid 7)"}]
    ours = [{"port": 7946, "address": "::", "process": "dockerd (pid 8)"}]
    members = {
        "m1": member(outside(), listeners=ours),
        "w1": member(outside(), "192.0.2.2", listeners=held),
    }
    assert plan_formation(members, ["m1"], ["w1"])["problems"] == []


def test_hosts_that_cannot_be_told_apart_are_refused():
    members = {"m1": member(outside(), "10.0.2.15"), "m2": member(outside(), "10.0.2.15:2377")}
    assert "m1, m2: advertise the same address 10.0.2.15" in plan_formation(members, ["m1", "m2"], [])["problems"][0]
    clones = {"m1": member(manager("id1")), "m2": member(manager("id1"), "192.0.2.2")}
    assert "are the same node id1" in plan_formation(clones, ["m1", "m2"], [])["problems"][0]


def test_one_interface_name_for_all_hosts_is_fine():
    members = {"m1": member(outside(), "eth0"), "m2": member(outside(), "eth0")}
    assert plan_formation(members, ["m1", "m2"], [])["problems"] == []


def test_a_loopback_address_is_for_a_swarm_of_one():
    assert plan_formation({"m1": member(outside(), "127.0.0.1")}, ["m1"], [])["problems"] == []
    members = {"m1": member(outside(), "127.0.0.1"), "m2": member(outside())}
    assert "m1: advertises 127.0.0.1" in plan_formation(members, ["m1", "m2"], [])["problems"][0]


def test_a_host_without_an_address_is_a_problem():
    assert "no default route" in plan_formation({"m1": member(outside(), "")}, ["m1"], [])["problems"][0]


def test_addresses_of_all_members_are_those_of_the_run_and_of_the_live_swarm():
    m9 = make_node("id9", "m9", "manager", address="192.0.2.9")
    gone = make_node("id8", "m8", address="192.0.2.8", state="down")
    members = {"m1": member(manager("id1", (M1, m9, gone))), "w1": member(outside(), "192.0.2.10")}
    assert plan_formation(members, ["m1"], ["w1"])["member_addresses"] == ["192.0.2.1", "192.0.2.9", "192.0.2.10"]


def test_hosts_that_entered_get_their_ids_and_those_that_failed_are_left_out():
    members = {
        "m1": member(manager("id1", (M1,))),
        "w1": member(outside(), "192.0.2.4", labels={"gpu": True}),
        "w2": member(outside(), "192.0.2.5"),
    }
    plan = plan_formation(members, ["m1"], ["w1", "w2"])
    nodes = known_nodes(plan["nodes"], {"w1": {"node": {"node_id": "new"}}, "w2": {"failed": True}})
    assert [(node["id"], node["role"]) for node in nodes] == [("id1", "manager"), ("new", "worker")]
    assert nodes[1]["labels"] == {"gpu": "true"}


def test_a_live_swarm_that_can_make_no_networks_is_told():
    engine = FakeEngine(
        state="active", manager=True, node_id="id1", nodes=(M1,), address_pools=["172.20.0.0/14"], subnet_size=0
    )
    warnings = plan_formation({"m1": member(read_node(engine))}, ["m1"], [])["warnings"]
    assert "invalid pools size: 0" in warnings[0]


def locked():
    return read_node(FakeEngine(state="locked"))


def test_a_locked_manager_is_foretold_to_be_unlocked_and_never_joins():
    plan = plan_formation({"m1": manager("id1"), "m2": locked()}, ["m1", "m2"], [], check_mode=True)
    assert plan["problems"] == []
    assert (plan["entry"], plan["founder"], plan["managers"]) == ("m1", "", [])
    assert any("m2: locked. A real run unlocks them first." in text for text in plan["warnings"])


def test_a_swarm_whose_managers_are_all_locked_is_not_founded_anew_in_check_mode():
    plan = plan_formation({"m1": locked(), "w1": outside()}, ["m1"], ["w1"], check_mode=True)
    assert plan["problems"] == []
    assert (plan["entry"], plan["founder"], plan["managers"], plan["workers"]) == ("", "", [], [])
    assert plan["settled"]
    assert any("cannot be told before" in text for text in plan["warnings"])


def test_a_locked_manager_outside_of_the_run_stops_it_and_names_the_variables():
    plan = plan_formation({"m1": outside(), "m2": locked()}, ["m1", "m2"], [])
    assert (plan["founder"], plan["entry"]) == ("", "")
    assert "swarm_unlock_key_file" in plan["problems"][0]
    assert "never let it join anew" in plan["problems"][0]
