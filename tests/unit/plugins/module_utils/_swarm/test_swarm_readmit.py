from __future__ import annotations

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.nodes import read_settled
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.readmit import (
    STEADY,
    await_back,
    await_strength,
    still_short,
)
from fake_swarm_engine import FakeEngine, make_node, make_service

M1 = make_node("id1", "m1", "manager", leader=True)


def looks(engine, *changes):
    """A wait that looks, and lets the world change between two looks; it never sleeps."""

    def wait(condition, _seconds):
        for change in [*changes, lambda _engine: None]:
            if condition():
                return True
            change(engine)
        return condition()

    return wait


def swarm(*nodes, services=()):
    return FakeEngine(state="active", manager=True, node_id="id1", nodes=[M1, *nodes], services=services)


def ready(engine):
    engine.nodes["id2"]["Status"]["State"] = "ready"


def reachable(engine):
    engine.nodes["id2"]["ManagerStatus"]["Reachability"] = "reachable"


def test_a_worker_is_back_when_it_is_ready():
    engine = swarm(make_node("id2", "w1", state="down"))
    await_back(engine, "id2", 60, wait=looks(engine, ready))


def test_a_manager_is_back_when_the_others_reach_it_too():
    engine = swarm(make_node("id2", "m2", "manager", reachability="unreachable"))
    with pytest.raises(
        SwarmProblem, match=r"Node m2 \(id2\) did not come back: after 60 s it is ready and unreachable"
    ):
        await_back(engine, "id2", 60, wait=looks(engine))
    await_back(engine, "id2", 60, wait=looks(engine, reachable))


def test_a_new_leader_has_time_to_hear_of_its_nodes():
    engine = swarm(make_node("id2", "w1", state="unknown"))
    assert [node["Status"]["State"] for node in read_settled(engine, wait=looks(engine, ready))] == ["ready", "ready"]
    engine.nodes["id2"]["Status"]["State"] = "unknown"
    assert read_settled(engine, wait=looks(engine))[1]["Status"]["State"] == "unknown"


def test_services_are_waited_for_until_they_stay_at_full_strength():
    engine = swarm(services=[make_service("s1", "web", running=1, wanted=2), make_service("s2", "old", running=0)])
    seen = []

    def wait(condition, _seconds):
        while not condition():
            seen.append(engine.services[0]["ServiceStatus"]["RunningTasks"])
            engine.services[0]["ServiceStatus"]["RunningTasks"] = 2
        return True

    assert await_strength(engine, ["old"], 60, wait=wait) == ()
    assert seen == [1] + [2] * (STEADY - 1)


def test_services_that_stay_short_are_named_and_so_is_the_way_on():
    engine = swarm(services=[make_service("s1", "web", running=1, wanted=2)])
    weak = await_strength(engine, [], 60, wait=looks(engine))
    assert weak == ("web 1/2",)
    assert "No other node was touched" in still_short("w1", weak, 60)
