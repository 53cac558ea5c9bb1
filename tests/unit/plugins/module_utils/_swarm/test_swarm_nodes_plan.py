from __future__ import annotations

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import EngineError
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.nodes import (
    WantedNode,
    await_role,
    has_unknown_twin,
    plan_nodes,
    plan_replaced,
    read_settled,
    write_change,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.removing import remove_replaced
from fake_swarm_engine import FakeEngine, make_node

M1 = make_node("id1", "m1", "manager")
M2 = make_node("id2", "m2", "manager")
W1 = make_node("id3", "w1", labels={"disk": "ssd"})


def at_once(condition, seconds):
    return condition()


def cluster(*nodes):
    return FakeEngine(state="active", manager=True, node_id="id1", nodes=nodes)


def test_nodes_that_are_as_wanted_need_no_change():
    assert plan_nodes([M1, W1], [WantedNode("id1", "manager"), WantedNode("id3", "worker", "active")]) == []


def test_keep_leaves_a_node_that_somebody_drained_as_it_is():
    drained = make_node("id3", "w1", availability="drain")
    assert plan_nodes([M1, drained], [WantedNode("id3", "worker")]) == []
    assert plan_nodes([M1, drained], [WantedNode("id3", availability="active")])[0].after["Availability"] == "active"


def test_labels_that_nobody_names_stay_unless_they_are_to_be_purged():
    wanted = [WantedNode("id3", labels={"queue": "etl"})]
    assert plan_nodes([M1, W1], wanted)[0].after["Labels"] == {"disk": "ssd", "queue": "etl"}
    assert plan_nodes([M1, W1], wanted, purge_labels=True)[0].after["Labels"] == {"queue": "etl"}


def test_promotions_come_first_and_demotions_last():
    wanted = [
        WantedNode("id1", "worker"),
        WantedNode("id2", "manager", labels={"a": "b"}),
        WantedNode("id3", "manager"),
    ]
    assert [change.hostname for change in plan_nodes([M1, M2, W1], wanted)] == ["w1", "m2", "m1"]


def test_an_unknown_node_is_an_error_that_lists_the_known_ones():
    with pytest.raises(SwarmProblem, match=r"ID gone.*m1 \(id1\)"):
        plan_nodes([M1], [WantedNode("gone")])


def test_a_plan_that_leaves_no_manager_is_refused():
    with pytest.raises(SwarmProblem, match="No manager would be left"):
        plan_nodes([M1, W1], [WantedNode("id1", "worker")])


def test_two_nodes_of_one_host_name_are_told_apart_by_their_ids():
    twin = make_node("id4", "w1")
    changes = plan_nodes([M1, W1, twin], [WantedNode("id4", labels={"a": "b"})])
    assert [change.id for change in changes] == ["id4"]


def test_a_change_is_written_with_the_rest_of_the_specification():
    engine = cluster(M1, W1)
    wanted = WantedNode("id3", labels={"queue": "etl"})
    write_change(engine, plan_nodes([M1, W1], [wanted])[0], wanted)
    assert engine.nodes["id3"]["Spec"] == {
        "Role": "worker",
        "Availability": "active",
        "Labels": {"disk": "ssd", "queue": "etl"},
    }


def test_a_node_that_somebody_else_writes_meanwhile_is_read_again():
    engine = cluster(M1, W1)
    wanted = WantedNode("id3", labels={"queue": "etl"})

    def interfere():
        engine.before_update = lambda: None
        engine.nodes["id3"]["Version"]["Index"] += 1
        engine.nodes["id3"]["Spec"]["Availability"] = "drain"

    engine.before_update = interfere
    write_change(engine, plan_nodes([M1, W1], [wanted])[0], wanted)
    assert engine.nodes["id3"]["Spec"]["Availability"] == "drain"
    assert engine.nodes["id3"]["Spec"]["Labels"]["queue"] == "etl"


def change_role(engine, *nodes, node_id, role):
    wanted = WantedNode(node_id, role)
    change = plan_nodes(nodes, [wanted])[0]
    write_change(engine, change, wanted)
    return change


def test_a_promotion_is_over_when_the_new_manager_can_be_reached():
    engine = cluster(M1, W1)
    engine.slow = True
    change = change_role(engine, M1, W1, node_id="id3", role="manager")

    def reach_it_later(condition, seconds):
        assert not condition()
        engine.nodes["id3"]["ManagerStatus"] = {"Reachability": "unreachable"}
        assert not condition()
        engine.nodes["id3"]["ManagerStatus"] = {"Reachability": "reachable"}
        return condition()

    await_role(engine, change, wait=reach_it_later)


def test_a_demotion_is_over_when_the_node_is_no_manager_any_more():
    engine = cluster(M1, M2)
    engine.slow = True
    change = change_role(engine, M1, M2, node_id="id2", role="worker")

    def demote_it_later(condition, seconds):
        assert not condition()
        engine.nodes["id2"]["ManagerStatus"] = None
        return condition()

    await_role(engine, change, wait=demote_it_later)


def test_a_manager_that_demotes_itself_is_asked_for_itself():
    engine = cluster(M1, M2)
    await_role(engine, change_role(engine, M1, M2, node_id="id1", role="worker"), wait=at_once)
    assert not engine.manager


def test_a_role_that_is_not_taken_over_in_time_is_an_error_with_the_node():
    engine = cluster(M1, W1)
    engine.slow = True
    change = change_role(engine, M1, W1, node_id="id3", role="manager")
    with pytest.raises(SwarmProblem, match=r"w1 \(id3\) was told to be a manager.*2377/tcp"):
        await_role(engine, change, wait=at_once)


def test_a_change_of_labels_is_not_waited_for():
    change = plan_nodes([M1, W1], [WantedNode("id3", labels={"a": "b"})])[0]
    await_role(cluster(M1, W1), change, wait=lambda _condition, _seconds: False)


def test_a_refused_change_names_the_node_and_the_reason():
    engine = cluster(M1, M2)
    engine.fail["/nodes/id2/update"] = EngineError(500, "this would result in a loss of quorum", "POST")
    wanted = WantedNode("id2", "worker")
    with pytest.raises(SwarmProblem, match=r"m2 \(id2\).*loss of quorum"):
        write_change(engine, plan_nodes([M1, M2], [wanted])[0], wanted)


def test_a_node_that_is_down_is_replaced_when_its_host_is_back_under_another_id():
    old, back = make_node("old", "w1", state="down"), make_node("new", "w1")
    assert plan_replaced([M1, old, back], {"id1", "new"}) == ([{"id": "old", "hostname": "w1", "role": "worker"}], [])


@pytest.mark.parametrize(
    "other",
    [
        make_node("old", "w1"),
        make_node("old", "w2", state="down"),
    ],
    ids=["it is not down", "its host is not back"],
)
def test_a_node_is_not_replaced_when(other):
    assert plan_replaced([M1, other, make_node("new", "w1")], {"id1", "new"}) == ([], [])


def test_a_node_that_is_down_stays_while_its_host_is_not_ready():
    nodes = [M1, make_node("old", "w1", state="down"), make_node("new", "w1", state="unknown")]
    assert plan_replaced(nodes, {"id1", "new"}) == ([], [])


def settled(engine, kept, wait):
    return read_settled(engine, unsettled=lambda live: has_unknown_twin(live, kept), wait=wait)


@pytest.mark.parametrize(
    ("states", "late", "state"),
    [(("unknown", "ready"), "old", "down"), (("down", "unknown"), "new", "ready")],
    ids=["the twin", "the wanted node"],
)
def test_a_node_of_which_a_new_leader_knows_nothing_is_waited_for(states, late, state):
    engine = cluster(M1, *(make_node(name, "w1", state=found) for name, found in zip(("old", "new"), states)))

    def told_later(condition, seconds):
        assert not condition()
        engine.nodes[late]["Status"]["State"] = state
        return condition()

    live = settled(engine, {"id1", "new"}, told_later)
    assert [node["id"] for node in plan_replaced(live, {"id1", "new"}).removable] == ["old"]


def test_a_twin_of_which_nothing_is_known_in_time_stays_with_advice():
    engine = cluster(M1, make_node("old", "w1", state="unknown"), make_node("new", "w1"))
    removable, kept = plan_replaced(settled(engine, {"id1", "new"}, at_once), {"id1", "new"})
    assert removable == []
    assert "old is unknown" in kept[0]


def test_a_manager_that_does_not_answer_for_a_moment_does_not_end_the_wait():
    engine = cluster(M1)
    engine.fail["/nodes"] = EngineError(503, "The swarm does not have a leader.", "GET /nodes")

    def answer_later(condition, seconds):
        assert not condition()
        engine.fail.clear()
        return condition()

    assert len(settled(engine, {"id1"}, answer_later)) == 1


def test_unknown_nodes_that_are_no_twins_are_not_waited_for():
    other = make_node("id4", "w2", state="unknown", address="192.0.2.8")
    own = make_node("id2", "w2", state="unknown", address="192.0.2.9")
    engine = cluster(M1, own, other, make_node("id3", "w3", state="unknown"))
    waited = []

    def look(condition, seconds):
        waited.append(condition())
        return waited[-1]

    assert len(settled(engine, {"id1", "id2"}, look)) == 4
    assert waited == [True]


def test_a_node_that_is_down_with_another_address_may_be_another_host_and_stays_with_advice():
    other = make_node("old", "w1", state="down", address="192.0.2.8")
    removable, kept = plan_replaced([M1, other, make_node("new", "w1", address="192.0.2.9")], {"id1", "new"})
    assert removable == []
    assert "docker node rm old" in kept[0]


def test_an_address_that_no_engine_knew_proves_nothing_against_a_twin():
    other = make_node("old", "w1", state="down", address="0.0.0.0")
    assert plan_replaced([M1, other, make_node("new", "w1", address="192.0.2.9")], {"id1", "new"}).removable


def test_a_dead_manager_stays_when_the_others_are_no_majority_without_it():
    dead = {"state": "down", "reachability": "unreachable"}
    nodes = [
        make_node("new", "m1", "manager", address="192.0.2.1"),
        make_node("old", "m1", "manager", address="192.0.2.1", **dead),
        make_node("id2", "m2", "manager", address="192.0.2.2", **dead),
    ]
    removable, kept = plan_replaced(nodes, {"new"})
    assert removable == []
    assert "only 1 of 3 managers can be reached" in kept[0]
    assert "docker node demote old" in kept[0]


def test_a_dead_manager_goes_when_the_others_are_a_majority_without_it():
    nodes = [
        make_node("new", "m1", "manager"),
        make_node("old", "m1", "manager", state="down", reachability="unreachable"),
        make_node("id2", "m2", "manager", address="192.0.2.2"),
        make_node("id3", "m3", "manager", address="192.0.2.3"),
    ]
    assert plan_replaced(nodes, {"new"}) == ([{"id": "old", "hostname": "m1", "role": "manager"}], [])


def test_a_replaced_manager_is_demoted_and_then_removed():
    engine = cluster(M1, M2, make_node("old", "m2", "manager", state="down"))
    remove_replaced(engine, {"id": "old", "hostname": "m2", "role": "manager"}, wait=at_once)
    assert engine.posts[0][1]["Role"] == "worker"
    assert engine.deleted == ["/nodes/old"]


def test_a_replaced_node_that_cannot_be_removed_is_an_error_with_the_reason():
    engine = cluster(M1, make_node("old", "w1", state="down"))
    engine.fail["/nodes/old"] = EngineError(400, "is a member of the raft cluster", "DELETE")
    with pytest.raises(SwarmProblem, match="raft cluster"):
        remove_replaced(engine, {"id": "old", "hostname": "w1", "role": "worker"}, wait=at_once)


def test_managers_of_a_swarm_that_was_made_anew_are_only_records_and_go_without_a_demotion():
    gone = [make_node(f"old{n}", f"m{n}", "manager", state="down", address=f"192.0.2.{n}") for n in (2, 3)]
    for node in gone:
        node["ManagerStatus"] = None
    back = [make_node(f"id{n}", f"m{n}", "manager", address=f"192.0.2.{n}") for n in (1, 2)]
    engine = FakeEngine(state="active", manager=True, node_id="id1", nodes=[*back, *gone])

    found = plan_replaced(engine.get("/nodes"), {"id1", "id2"})
    assert [node["id"] for node in found.removable] == ["old2"]
    remove_replaced(engine, found.removable[0], wait=lambda condition, _seconds: condition())
    assert sorted(engine.nodes) == ["id1", "id2", "old3"]
    assert engine.posts == []
