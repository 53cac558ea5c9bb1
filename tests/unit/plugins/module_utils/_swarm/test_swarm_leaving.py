from __future__ import annotations

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import EngineError
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.leaving import leave
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.membership import Membership, enter
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem
from fake_swarm_engine import FakeEngine, make_node

FREE = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"


def at_once(condition, seconds):
    return condition()


def posted(engine):
    return [path for path, _body in engine.posts]


def test_a_worker_leaves_without_force():
    engine = FakeEngine(state="active")
    assert leave(engine, wait=at_once).actions == ["leave"]
    assert engine.state == "inactive"


def test_a_host_outside_of_a_swarm_has_nothing_to_leave():
    engine = FakeEngine()
    assert not leave(engine).changed
    assert not leave(FakeEngine(reachable=False)).changed


def test_a_manager_among_others_is_demoted_before_it_leaves():
    nodes = [make_node("me", "a", "manager"), make_node("b", "b", "manager"), make_node("c", "c", "manager")]
    engine = FakeEngine(state="active", manager=True, nodes=nodes)
    assert leave(engine, end_swarm=True, wait=at_once).actions == ["demote", "leave"]
    assert posted(engine) == ["/nodes/me/update", "/swarm/leave"]
    assert engine.nodes["me"]["Spec"]["Role"] == "worker"


def test_a_demotion_that_the_swarm_refuses_keeps_the_host_in_it():
    nodes = [make_node("me", "a", "manager"), make_node("b", "b", "manager")]
    engine = FakeEngine(state="active", manager=True, nodes=nodes)
    engine.fail["/nodes/me/update"] = EngineError(500, "this would result in a loss of quorum", "POST /nodes/me/update")
    with pytest.raises(SwarmProblem, match="loss of quorum"):
        leave(engine, wait=at_once)
    assert engine.state == "active"


def test_the_last_manager_stays_unless_the_swarm_is_to_end():
    nodes = [make_node("me", "a", "manager"), make_node("w", "w")]
    engine = FakeEngine(state="active", manager=True, nodes=nodes)
    with pytest.raises(SwarmProblem, match="last manager"):
        leave(engine)
    assert engine.posts == []
    assert leave(engine, end_swarm=True, wait=at_once).actions == ["leave"]


def test_a_manager_without_a_majority_stays_unless_the_swarm_is_to_end():
    engine = FakeEngine(state="active", manager=True)
    engine.fail["/nodes"] = EngineError(503, "The swarm does not have a leader.", "GET /nodes")
    with pytest.raises(SwarmProblem, match="nobody can say what leaving would destroy"):
        leave(engine)


def test_a_locked_host_stays_unless_the_swarm_is_to_end():
    with pytest.raises(SwarmProblem, match="gives no answer"):
        leave(FakeEngine(state="locked"))


def test_leaving_takes_away_only_the_bridge_that_was_made_by_entering():
    engine = FakeEngine()
    enter(engine, Membership("192.0.2.1", found=True, gwbridge_subnet="10.209.0.0/24"), wait=at_once, routes=FREE)
    assert leave(engine, end_swarm=True, wait=at_once).actions == ["leave", "remove docker_gwbridge"]
    theirs = FakeEngine(state="active", networks=[{"Name": "docker_gwbridge", "Labels": {}}])
    assert leave(theirs, wait=at_once).actions == ["leave"]


def test_check_mode_of_leaving_posts_nothing():
    engine = FakeEngine(state="active", manager=True, nodes=[make_node("me", "a", "manager")])
    assert leave(engine, end_swarm=True, check_mode=True).actions == ["leave"]
    assert engine.posts == []
    assert engine.deleted == []


def one_of_three_is_dead():
    return FakeEngine(
        state="active",
        manager=True,
        nodes=[
            make_node("me", "m1", "manager"),
            make_node("id2", "m2", "manager"),
            make_node("dead", "m3", "manager", state="down", reachability="unreachable"),
        ],
    )


def test_dead_managers_lose_their_votes_first_when_the_swarm_is_to_end():
    engine = one_of_three_is_dead()
    outcome = leave(engine, end_swarm=True, wait=lambda condition, _seconds: condition())
    assert outcome.actions == ["demote", "leave"]
    assert [path for path, _body in engine.posts] == [
        "/nodes/me/update",
        "/nodes/dead/update",
        "/nodes/me/update",
        "/swarm/leave",
    ]


def test_a_dead_manager_keeps_its_vote_when_the_swarm_is_to_stay():
    engine = one_of_three_is_dead()
    with pytest.raises(SwarmProblem, match="loss of quorum"):
        leave(engine, wait=lambda condition, _seconds: condition())
    assert [path for path, _body in engine.posts] == ["/nodes/me/update"]
