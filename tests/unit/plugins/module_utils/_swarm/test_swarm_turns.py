from __future__ import annotations

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.nodes import DRAINED_BY, DRAINED_FROM
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.turns import (
    OWNER,
    Member,
    plan_turns,
)
from fake_swarm_engine import make_node, make_service

DUE = ("docker-ce 1 -> 2",)


def manager(number, **given):
    return make_node(f"id-m{number}", f"m{number}", "manager", leader=number == 1, **given)


def worker(number, **given):
    return make_node(f"id-w{number}", f"w{number}", **given)


def swarm(managers=3, workers=0):
    return [manager(n + 1) for n in range(managers)] + [worker(n + 1) for n in range(workers)]


def said(node_id, state="active", reachable=True, version="26.1.5"):
    engine = {"reachable": reachable, "error": "" if reachable else "Docker does not answer.", "version": version}
    return {"engine": engine, "swarm": {"state": state, "node_id": node_id, "manager": "m" in node_id, "error": ""}}


def members(live, restart=DUE, **more):
    return [Member(node["Description"]["Hostname"], said(node["ID"]), restart=restart, **more) for node in live]


def hosts(turns):
    return [[turn.host for turn in found] for found in turns.rounds]


def problems(found, *args, **more):
    turns = plan_turns(found, *args, **more)
    assert turns.problems
    return " ".join(turns.problems)


# --- the order --------------------------------------------------------------------------------------------------


def test_managers_go_one_at_a_time_with_the_leader_last_and_workers_after_them():
    live = swarm(3, 2)
    turns = plan_turns(members(live), live)
    assert hosts(turns) == [["m2"], ["m3"], ["m1"], ["w1"], ["w2"]]
    assert [found[0].role for found in turns.rounds] == ["manager", "manager", "leader", "worker", "worker"]
    assert turns.problems == ()


def test_the_leader_is_whoever_leads_now():
    live = [make_node("id-m1", "m1", "manager"), make_node("id-m2", "m2", "manager", leader=True), manager(3)]
    assert hosts(plan_turns(members(live), live)) == [["m1"], ["m3"], ["m2"]]


def test_workers_go_in_batches_and_managers_never_do():
    live = swarm(3, 3)
    assert hosts(plan_turns(members(live), live, batch=2)) == [["m2"], ["m3"], ["m1"], ["w1", "w2"], ["w3"]]


def test_only_hosts_on_which_something_differs_have_a_turn():
    live = swarm(3, 1)
    found = members(live[:2], restart=()) + members(live[2:3]) + members(live[3:], restart=())
    assert hosts(plan_turns(found, live)) == [["m3"]]


def test_what_a_running_engine_takes_over_needs_no_empty_node():
    live = swarm(3)
    turns = plan_turns(members(live, restart=(), reload=("daemon.json: debug",)), live)
    assert {turn.action for found in turns.rounds for turn in found} == {"reload"}


def test_a_node_that_an_earlier_run_left_drained_is_given_back_first():
    live = swarm(3, 2)
    live[3] = worker(1, availability="drain", labels={DRAINED_FROM: "active", DRAINED_BY: OWNER})
    found = members(live[:3]) + members(live[3:4], restart=())
    turns = plan_turns(found, live)
    assert hosts(turns)[0] == ["w1"]
    assert turns.rounds[0][0].action == "restore"


def test_a_node_that_a_person_drained_is_not_given_back():
    live = swarm(3, 1)
    live[3] = worker(1, availability="drain", labels={DRAINED_FROM: "active"})
    assert plan_turns(members(live[3:], restart=()), live).rounds == ()


# --- what speaks against it -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
def test_without_a_majority_to_spare_an_outage_has_to_be_accepted(count):
    live = swarm(count, 2)
    text = problems(members(live[:count]), live)
    assert f"has {count} manager(s)" in text
    assert "docker_engine_accept_outage=true" in text
    assert plan_turns(members(live[:count]), live, accept_outage=True).problems == ()


def test_workers_may_go_where_a_manager_may_not():
    live = swarm(1, 2)
    assert plan_turns(members(live[1:]), live).problems == ()


def test_a_manager_goes_only_while_the_others_are_a_majority_whatever_is_accepted():
    live = [*swarm(2), manager(3, reachability="unreachable")]
    text = problems(members(live[:2]), live, accept_outage=True)
    assert "2 of 3 managers are reachable" in text
    assert "Not reachable: m3" in text


def test_five_managers_can_spare_one_of_four():
    live = [*swarm(4), manager(5, reachability="unreachable")]
    text = problems(members(live[:4]), [*live[:4], manager(5, reachability="unreachable", state="down")])
    assert "majority" not in text
    assert "Node m5 (id-m5) is down" in text


def test_a_batch_that_leaves_no_node_for_tasks_is_refused():
    live = [manager(1, availability="drain"), worker(1), worker(2)]
    assert "no other node is ready and active" in problems(members(live[1:]), live, batch=2)
    assert plan_turns(members(live[1:]), live, batch=1).problems == ()
    turns = plan_turns(members(live[1:]), live, batch=2, accept_outage=True)
    assert [turn.alone for turn in turns.rounds[0]] == [True, True]


def test_all_that_is_wrong_is_told_at_once():
    live = [*swarm(3, 1), worker(9, state="down")]
    found = [
        *members(live[:1]),
        Member("m2", said("id-m2", state="locked")),
        Member("m3", {}),
        Member("w1", said("", state="inactive")),
        Member("w2", said("", state="inactive", reachable=False)),
        Member("w3", said("id-elsewhere")),
        Member("w4", said("id-w1"), refused="apt has no such version."),
    ]
    services = [{**make_service("s1", "web"), "UpdateStatus": {"State": "updating"}}]
    told = plan_turns(found, live, services).problems
    for phrase in (
        "m2: is a manager of a locked swarm",
        "m3: cannot be reached",
        "w1: is in no swarm",
        "w2: Docker does not answer.",
        "w3: is in another swarm",
        "w4: apt has no such version.",
        "Node w9 (id-w9) is down",
        "Service web is being updated",
    ):
        assert any(phrase in text for text in told), phrase
    assert len(told) == 8


@pytest.mark.parametrize("state", ["updating", "rollback_started", "paused", "rollback_paused"])
def test_a_service_in_the_middle_of_an_update_is_refused(state):
    live = swarm(3)
    services = [{**make_service("s1", "web"), "UpdateStatus": {"State": state}}]
    assert "Service web" in problems(members(live), live, services)


@pytest.mark.parametrize("state", ["completed", "rollback_completed"])
def test_an_update_that_is_over_is_none(state):
    live = swarm(3)
    services = [{**make_service("s1", "web"), "UpdateStatus": {"State": state}}, make_service("s2", "db")]
    assert plan_turns(members(live), live, services).problems == ()


def test_with_nothing_to_do_the_state_of_the_swarm_is_no_error():
    live = [*swarm(3), worker(9, state="down")]
    services = [{**make_service("s1", "web"), "UpdateStatus": {"State": "updating"}}]
    assert plan_turns(members(live[:3], restart=()), live, services) == plan_turns([], live)


def test_without_a_manager_that_answers_there_is_no_order():
    turns = plan_turns([Member("m1", {})], None)
    assert turns.rounds == ()
    assert [text[:14] for text in turns.problems] == ["m1: cannot be ", "None of these "]
