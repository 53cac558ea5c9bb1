from __future__ import annotations

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import EngineError
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.removing import (
    demote,
    plan_removal,
    remove_record,
)
from fake_swarm_engine import FakeEngine, make_node

MANAGERS = [make_node(f"id{n}", f"m{n}", "manager", leader=n == 1) for n in (1, 2, 3)]
W1 = make_node("id4", "w1")
GONE = make_node("id5", "w2", state="down")


def said(node_id, state="active", reachable=True):
    return {"engine": {"reachable": reachable}, "swarm": {"node_id": node_id, "state": state, "manager": False}}


def once(condition, _seconds):
    return condition()


def swarm(*nodes):
    return FakeEngine(state="active", manager=True, node_id="id1", nodes=nodes)


def test_a_host_of_the_inventory_is_found_by_the_node_id_that_it_told():
    removal = plan_removal([*MANAGERS, W1], {"inventory-name": said("id4")}, "inventory-name")
    assert (removal.id, removal.hostname, removal.host, removal.ready) == ("id4", "w1", "inventory-name", True)


@pytest.mark.parametrize("wanted", ["w1", "id4"])
def test_a_node_is_found_by_its_host_name_and_its_id_and_so_is_its_host(wanted):
    assert plan_removal([*MANAGERS, W1], {"other": said("id4")}, wanted).host == "other"


def test_a_node_that_is_gone_already_is_no_removal():
    assert plan_removal(MANAGERS, {}, "w1") is None
    assert plan_removal(MANAGERS, {"w1": said("", "inactive")}, "w1") is None


def test_a_name_of_two_nodes_is_refused_with_their_ids():
    with pytest.raises(SwarmProblem, match=r"id4 \(ready\), id9 \(down\)"):
        plan_removal([*MANAGERS, W1, make_node("id9", "w1", state="down")], {}, "w1", gone=True)


@pytest.mark.parametrize("node", [W1, GONE])
def test_a_host_that_cannot_leave_by_itself_goes_only_when_that_is_said(node):
    live, name = [*MANAGERS, node], node["Description"]["Hostname"]
    with pytest.raises(SwarmProblem, match="swarm_remove_gone=true"):
        plan_removal(live, {}, name)
    assert plan_removal(live, {}, name, gone=True).absent_host


def test_a_host_that_left_in_an_earlier_run_needs_no_force():
    removal = plan_removal([*MANAGERS, GONE], {"w2": said("", "inactive")}, "w2")
    assert (removal.host, removal.absent_host) == ("", False)


def test_a_host_whose_engine_does_not_answer_has_not_left():
    with pytest.raises(SwarmProblem, match="cannot be reached"):
        plan_removal([*MANAGERS, GONE], {"w2": said("", "inactive", reachable=False)}, "w2")


def test_the_last_manager_is_refused_also_when_it_is_gone():
    with pytest.raises(SwarmProblem, match="last manager"):
        plan_removal([MANAGERS[0], W1], {}, "m1", gone=True)


def test_a_manager_that_the_others_cannot_do_without_is_refused():
    silent = [make_node(f"id{n}", f"m{n}", "manager", reachability="unreachable", state="down") for n in (3, 5)]
    with pytest.raises(SwarmProblem, match=r"2 of 4 managers are reachable; 3 have to be. Not reachable: m3, m5"):
        plan_removal([*MANAGERS[:2], make_node("id6", "m6", "manager"), *silent], {"m6": said("id6")}, "m6")
    # One that does not work is the one to remove.
    assert plan_removal([*MANAGERS[:2], silent[0]], {}, "m3", gone=True).role == "manager"


def test_an_even_number_of_managers_that_are_left_is_warned_about():
    assert "2 managers are left" in plan_removal(MANAGERS, {"m3": said("id3")}, "m3").warnings[0]
    assert plan_removal(MANAGERS[:2], {"m2": said("id2")}, "m2").warnings == ()


def test_a_dead_manager_is_demoted_and_its_record_goes():
    dead = make_node("id3", "m3", "manager", state="down", reachability="unreachable")
    engine = swarm(*MANAGERS[:2], dead)
    removal = plan_removal([*MANAGERS[:2], dead], {}, "m3", gone=True)
    demote(engine, removal, 5, wait=once)
    remove_record(engine, removal, 5, wait=once)
    assert engine.deleted == ["/nodes/id3"]


def test_a_node_that_works_and_cannot_be_reached_goes_by_force():
    engine = swarm(*MANAGERS, W1)
    remove_record(engine, plan_removal([*MANAGERS, W1], {}, "w1", gone=True), 5, wait=once)
    assert engine.deleted == ["/nodes/id4"]


def test_a_node_that_can_leave_never_goes_by_force():
    engine = swarm(*MANAGERS, W1)
    with pytest.raises(SwarmProblem, match=r"keeps the record of w1.*is not down"):
        remove_record(engine, plan_removal([*MANAGERS, W1], {"w1": said("id4")}, "w1"), 5, wait=once)


def test_a_record_that_somebody_else_removed_is_gone():
    engine = swarm(*MANAGERS, GONE)
    engine.fail["/nodes/id5"] = EngineError(404, "node id5 not found", "DELETE /nodes/id5")
    remove_record(engine, plan_removal([*MANAGERS, GONE], {}, "w2", gone=True), 5, wait=once)
