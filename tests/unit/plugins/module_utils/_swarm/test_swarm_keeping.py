from __future__ import annotations

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import EngineError
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.keeping import plan_backup, plan_restore
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import read_node
from fake_swarm_engine import FakeEngine, make_node


def hosts(*nodes, **cluster):
    """What swarm_node_info says on the host of each node; one that is down cannot be asked."""
    found = {}
    for node in nodes:
        name = node["Description"]["Hostname"]
        if node["Status"]["State"] == "down":
            found[name] = {"unreachable": True}
            continue
        is_manager = node["Spec"]["Role"] == "manager"
        found[name] = read_node(
            FakeEngine(
                state="active", manager=is_manager, node_id=node["ID"], nodes=nodes if is_manager else (), **cluster
            )
        )
    return found


def node(number, role="manager", **given):
    return make_node(f"id{number}", f"{role[0]}{number}", role, **given)


def three(**last):
    return [node(1, leader=True), node(2), node(3, **last)]


def test_the_last_manager_that_does_not_lead_is_taken_and_drained_through_another():
    plan = plan_backup(hosts(*three()))
    assert (plan["host"], plan["entry"], plan["node_id"], plan["drain"]) == ("m3", "m1", "id3", True)
    assert (plan["outage"], plan["problems"]) == (False, [])


def test_a_manager_without_tasks_comes_first_and_is_not_drained_again():
    plan = plan_backup(hosts(node(1, leader=True), node(2, availability="drain"), node(3), node(4, "worker")))
    assert (plan["host"], plan["drain"]) == ("m2", False)


def test_the_leader_is_not_taken_even_when_it_comes_last_or_is_asked_for():
    managers = hosts(node(1), node(2), node(3, leader=True))
    assert plan_backup(managers)["host"] == "m2"
    plan = plan_backup(managers, "m3")
    assert plan["host"] == ""
    assert "m3 leads the swarm" in plan["problems"][0]


def test_a_manager_that_is_asked_for_is_taken():
    assert plan_backup(hosts(*three()), "m2")["host"] == "m2"
    assert "w9 (swarm_backup_host) is no manager that works" in plan_backup(hosts(*three()), "w9")["problems"][0]


@pytest.mark.parametrize("count", [1, 2])
def test_few_managers_need_an_explicit_acceptance(count):
    managers = hosts(*three()[:count])
    refused = plan_backup(managers)
    assert refused["host"] == ""
    assert "swarm_backup_accept_outage=true" in refused["problems"][0]
    accepted = plan_backup(managers, accept_outage=True)
    assert (accepted["host"], accepted["outage"], accepted["problems"]) == (f"m{count}", True, [])


def test_the_only_manager_cannot_be_drained_since_nobody_could_do_it():
    plan = plan_backup(hosts(node(1, leader=True), node(2, "worker")), accept_outage=True)
    assert (plan["host"], plan["entry"], plan["drain"]) == ("m1", "", False)


def test_three_managers_of_which_one_is_down_are_as_few_as_two_and_it_is_named():
    plan = plan_backup(hosts(*three(state="down", reachability="unreachable")))
    assert plan["host"] == ""
    assert "it would be 1" in plan["problems"][0]
    assert "Not reachable: m3; bring them back first" in plan["problems"][0]


def test_a_swarm_without_a_leader_is_not_kept():
    engine = FakeEngine(state="active", manager=True)
    engine.fail["/nodes"] = EngineError(503, "The swarm does not have a leader.", "GET /nodes")
    plan = plan_backup({"m1": read_node(engine), "m2": {"unreachable": True}})
    assert "manages a swarm that works" in plan["problems"][0]
    assert "could not be reached: m2" in plan["problems"][0]


def test_two_swarms_are_not_kept():
    members = {**hosts(node(1), cluster_id="one"), **hosts(node(2), cluster_id="two")}
    assert "manage 2 swarms: one, two" in plan_backup(members)["problems"][0]


def lost(**states):
    return {host: read_node(FakeEngine(state=state)) for host, state in states.items()}


def test_a_lost_swarm_is_restored():
    assert plan_restore({**lost(m1="inactive", m2="pending"), "m3": {"unreachable": True}}, "m1") == []


def test_a_manager_that_lost_its_majority_is_restored():
    engine = FakeEngine(state="active", manager=True)
    engine.fail["/nodes"] = EngineError(503, "The swarm does not have a leader.", "GET /nodes")
    assert plan_restore({"m1": read_node(engine)}, "m1") == []


def test_a_swarm_that_works_is_not_replaced_unless_that_is_asked_for():
    members = {**lost(m9="inactive"), **hosts(*three())}
    problem = plan_restore(members, "m9")[0]
    assert "m1 manages swarm cluster-1" in problem
    assert "swarm_restore_force=true" in problem
    assert plan_restore(members, "m9", force=True) == []


def test_a_locked_manager_elsewhere_is_unlocked_and_nothing_restored():
    members = lost(m1="inactive", m2="locked")
    assert "m2 is locked" in plan_restore(members, "m1")[0]
    assert plan_restore(members, "m2") == []


@pytest.mark.parametrize(
    ("host", "says"), [("", "is empty"), ("x1", "not in this inventory"), ("m2", "could not be asked")]
)
def test_a_host_that_nobody_knows_or_reaches_is_refused(host, says):
    assert says in plan_restore({**lost(m1="inactive"), "m2": {"unreachable": True}}, host, force=True)[0]
