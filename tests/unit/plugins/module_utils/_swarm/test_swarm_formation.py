from __future__ import annotations

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import EngineError
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.formation import plan_formation
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import read_node
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
