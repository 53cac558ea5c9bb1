from __future__ import annotations

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker import patience
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import EngineError
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.drain import (
    await_empty,
    await_services,
    find_node,
    longest_grace,
    plan_drain,
    plan_restore,
    refusal,
    residents,
    visitors,
    weak_services,
    write_availability,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.nodes import (
    DRAINED_BY,
    DRAINED_FROM,
    WantedNode,
    plan_nodes,
)
from fake_swarm_engine import FakeEngine, make_node, make_service, make_task

M1 = make_node("id1", "m1", "manager")
W1 = make_node("id2", "w1", labels={"disk": "ssd"})
W2 = make_node("id3", "w2")
WEB = make_service("s1", "web", wanted=2, running=2, grace=40)
AGENT = make_service("s2", "agent", mode={"Global": {}}, wanted=3, running=3)


def swarm(*nodes, **more):
    return FakeEngine(state="active", manager=True, node_id="id1", nodes=nodes or (M1, W1, W2), **more)


def drained(**labels):
    return make_node("id2", "w1", availability="drain", labels=labels)


def test_a_node_is_found_by_its_name_and_by_its_id():
    assert find_node([M1, W1], "w1")["ID"] == find_node([M1, W1], "id2")["ID"] == "id2"


def test_a_name_that_two_nodes_have_is_refused_with_their_ids_and_an_id_is_not():
    twin = make_node("id9", "w1", state="down")
    with pytest.raises(SwarmProblem, match=r"2 nodes are called w1: id2 \(ready\), id9 \(down\)"):
        find_node([M1, W1, twin], "w1")
    assert find_node([M1, W1, twin], "id9")["ID"] == "id9"


def test_an_unknown_node_is_refused_with_those_that_there_are():
    with pytest.raises(SwarmProblem, match=r"no node w7.*m1 \(id1\), w1 \(id2\)"):
        find_node([M1, W1], "w7")


@pytest.mark.parametrize("before", ["active", "pause"])
def test_draining_remembers_what_the_node_was(before):
    node = make_node("id2", "w1", availability=before, labels={"disk": "ssd"})
    change = plan_drain([M1, node], node)
    assert change.after["Availability"] == "drain"
    assert change.after["Labels"] == {"disk": "ssd", DRAINED_FROM: before}


def test_a_drained_node_stays_as_it_is_and_keeps_what_is_remembered():
    assert plan_drain([M1, drained(**{DRAINED_FROM: "pause"})], drained(**{DRAINED_FROM: "pause"})) is None


@pytest.mark.parametrize("other", [{"availability": "drain"}, {"availability": "pause"}, {"state": "down"}])
def test_the_last_node_that_could_take_tasks_is_not_drained(other):
    with pytest.raises(SwarmProblem, match="no other node of this swarm is ready and active"):
        plan_drain([make_node("id1", "m1", "manager", **other), W1], W1)


def test_a_node_is_emptied_without_another_one_only_when_that_is_accepted():
    assert plan_drain([W1], W1, alone=True).after["Availability"] == "drain"


def test_who_drained_a_node_gives_it_back_and_a_person_always_can():
    change = plan_drain([M1, W1], W1, owner="turns")
    assert change.after["Labels"] == {"disk": "ssd", DRAINED_FROM: "active", DRAINED_BY: "turns"}
    node = make_node("id2", "w1", availability="drain", labels=change.after["Labels"])
    assert plan_restore(node, owner="others") is None
    assert plan_restore(drained(**{DRAINED_FROM: "active"}), owner="turns") is None
    for owner in ("turns", ""):
        change = plan_restore(node, owner=owner)
        assert (change.after["Availability"], change.after["Labels"]) == ("active", {"disk": "ssd"})


def test_a_run_meanwhile_keeps_who_drained_a_node():
    kept = {DRAINED_FROM: "active", DRAINED_BY: "turns"}
    node = make_node("id2", "w1", availability="drain", labels=kept)
    assert plan_nodes([M1, node], [WantedNode("id2", availability="active")], purge_labels=True) == []


def test_a_node_gets_back_what_it_was_and_forgets_it():
    change = plan_restore(drained(**{DRAINED_FROM: "pause", "disk": "ssd"}), always=False)
    assert (change.after["Availability"], change.after["Labels"]) == ("pause", {"disk": "ssd"})


def test_a_node_that_somebody_else_drained_is_only_activated_when_that_is_asked_for():
    assert plan_restore(drained(), always=False) is None
    assert plan_restore(drained(), always=True).after["Availability"] == "active"


def test_asked_to_be_active_a_node_is_whatever_it_was_before():
    assert plan_restore(drained(**{DRAINED_FROM: "pause"}), always=True).after["Availability"] == "active"
    assert plan_restore(make_node("id2", "w1", availability="pause"), always=True).after["Availability"] == "active"


def test_what_is_remembered_of_a_node_that_was_activated_by_hand_is_only_forgotten():
    change = plan_restore(make_node("id2", "w1", labels={DRAINED_FROM: "pause"}), always=False)
    assert (change.after["Availability"], change.after["Labels"]) == ("active", {})


@pytest.mark.parametrize("always", [False, True])
def test_an_active_node_is_left_alone(always):
    assert plan_restore(W1, always=always) is None


def test_labels_that_somebody_writes_meanwhile_stay():
    engine = swarm()
    change = plan_drain(list(engine.nodes.values()), engine.nodes["id2"])
    others = iter([True, False])

    def other():
        if next(others):
            engine.nodes["id2"]["Spec"]["Labels"] = {"disk": "hdd", "rack": "7"}
            engine.nodes["id2"]["Version"]["Index"] += 1

    engine.before_update = other
    write_availability(engine, change)
    spec = engine.nodes["id2"]["Spec"]
    assert spec["Availability"] == "drain"
    assert spec["Labels"] == {"disk": "hdd", "rack": "7", DRAINED_FROM: "active"}


def test_what_an_earlier_drain_left_behind_is_written_anew():
    node = make_node("id2", "w1", availability="pause", labels={DRAINED_FROM: "active"})
    engine = swarm(M1, node, W2)
    write_availability(engine, plan_drain(list(engine.nodes.values()), engine.nodes["id2"]))
    assert engine.nodes["id2"]["Spec"]["Labels"] == {DRAINED_FROM: "pause"}


def test_what_is_remembered_of_a_node_that_is_not_drained_any_more_is_dropped_in_a_run():
    forgotten = make_node("id2", "w1", labels={DRAINED_FROM: "active", "disk": "ssd"})
    (change,) = plan_nodes([M1, forgotten], [WantedNode("id2")])
    assert (change.after["Availability"], change.after["Labels"]) == ("active", {"disk": "ssd"})


def test_purging_labels_does_not_purge_what_a_drain_remembers():
    live = [M1, drained(**{DRAINED_FROM: "active", "old": "1"})]
    (change,) = plan_nodes(live, [WantedNode("id2")], purge_labels=True)
    assert change.after["Labels"] == {DRAINED_FROM: "active"}


def test_an_inventory_that_says_active_does_not_end_a_maintenance():
    wanted = [WantedNode("id2", availability="active")]
    assert plan_nodes([M1, drained(**{DRAINED_FROM: "active"})], wanted) == []
    assert plan_nodes([M1, drained()], wanted)[0].after["Availability"] == "active"
    forgotten = make_node("id2", "w1", availability="pause", labels={DRAINED_FROM: "active"})
    assert plan_nodes([M1, forgotten], wanted)[0].after["Availability"] == "active"


def test_tasks_count_until_they_are_over_whatever_they_are_meant_to_become():
    states = ["running", "starting", "preparing", "complete", "shutdown", "failed", "rejected", "orphaned", "remove"]
    tasks = [make_task(f"t{slot}", "s1", "id2", state, slot) for slot, state in enumerate(states, 1)]
    tasks += [make_task("t90", "s2", "id2", slot=0), make_task("t91", "s1", "id3")]
    engine = swarm(services=[WEB, AGENT], tasks=tasks)
    assert [task.text for task in residents(engine, "id2")] == [
        "agent (running)",
        "web.1 (running)",
        "web.2 (starting)",
        "web.3 (preparing)",
    ]


def test_the_longest_grace_is_of_the_services_that_are_there_and_never_below_dockers_own():
    engine = swarm(services=[WEB, AGENT, make_service("s3", "other", grace=900)])
    assert longest_grace(engine, {"web", "agent"}) == 40
    assert longest_grace(engine, {"agent"}) == longest_grace(engine, set()) == 10
    assert longest_grace(swarm(services=[make_service("s1", "web", grace=2)]), {"web"}) == 10


def steps(*actions):
    """A wait that lets something happen between two looks, and gives up after the last."""
    left = list(actions)

    def wait(condition, _seconds):
        while True:
            if condition():
                return True
            if not left:
                return False
            left.pop(0)()

    return wait


def test_an_empty_node_is_one_whose_tasks_are_over():
    engine = swarm(services=[WEB], tasks=[make_task("t1", "s1", "id2")])

    def over():
        engine.tasks[0]["Status"]["State"] = "shutdown"

    found = await_empty(engine, "id2", 60, wait=steps(over))
    assert (found.stayed, found.state) == ((), "ready")
    assert visitors(engine, "id2") == {"web"}, "also when its tasks are over"


def test_a_node_that_goes_down_meanwhile_is_not_waited_for():
    engine = swarm(services=[WEB], tasks=[make_task("t1", "s1", "id2")])

    def down():
        engine.nodes["id2"]["Status"]["State"] = "down"

    assert await_empty(engine, "id2", 60, wait=steps(down, pytest.fail)).state == "down"


def test_services_are_waited_for_until_they_have_what_they_want():
    engine = swarm(services=[make_service("s1", "web", wanted=2, running=1)])

    def moved():
        engine.services[0]["ServiceStatus"]["RunningTasks"] = 2

    assert await_services(engine, {"web"}, 60, wait=steps(moved)) == ()


def test_managers_that_elect_a_leader_are_waited_for_and_other_refusals_are_not():
    engine = swarm(services=[make_service("s1", "web")])
    engine.fail["/services"] = EngineError(503, "The swarm does not have a leader", "GET /services")
    assert await_services(engine, {"web"}, 60, wait=steps(lambda: None, engine.fail.clear)) == ()

    engine.fail["/services"] = EngineError(400, "no", "GET /services")
    with pytest.raises(EngineError):
        await_services(engine, {"web"}, 60, wait=steps(lambda: None))


def test_nobody_is_waited_for_longer_than_a_minute(monkeypatch):
    now = iter([0.0, 30.0, 61.0])
    monkeypatch.setattr(patience.time, "monotonic", lambda: next(now))
    engine = swarm(services=[make_service("s1", "web")])
    engine.fail["/services"] = EngineError(503, "The swarm does not have a leader", "GET /services")
    with pytest.raises(EngineError):
        await_services(engine, {"web"}, 600, wait=steps(lambda: None, lambda: None, pytest.fail))


def test_a_task_that_does_not_end_is_named_and_so_is_what_not_to_do():
    engine = swarm(services=[WEB], tasks=[make_task("t1", "s1", "id2", slot=2)])
    found = await_empty(engine, "id2", 60, wait=steps())
    assert [task.text for task in found.stayed] == ["web.2 (running)"]
    told = refusal("w1", found.stayed, 100)
    assert "after 100 s" in told
    assert "web.2 (running)" in told
    assert "Do not restart its engine" in told


def test_a_service_that_finds_no_other_place_is_named_and_jobs_are_not():
    job = make_service("s3", "migrate", mode={"ReplicatedJob": {}}, wanted=1, running=0)
    weak = make_service("s1", "web", wanted=2, running=1)
    engine = swarm(services=[weak, job, make_service("s4", "stranger", wanted=5, running=0)])
    assert weak_services(engine, {"web", "migrate"}) == ["web 1/2"]
    assert await_services(engine, {"web"}, 60, wait=steps()) == ("web 1/2",)
