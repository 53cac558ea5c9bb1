from __future__ import annotations

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import EngineError
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.rotation import THINGS, refusal, rotate
from fake_swarm_engine import FakeEngine, make_node
from fake_swarm_secrets import FakeManager

M1 = make_node("id1", "m1", "manager", leader=True)
W1 = make_node("id2", "w1")
W2 = make_node("id3", "w2")


def once(condition, _seconds):
    return condition()


def swarm(**given):
    return FakeManager(node_id="id1", nodes=(M1, W1, W2), **given)


@pytest.mark.parametrize(
    ("thing", "key"), [("worker_token", "Worker"), ("manager_token", "Manager"), ("ca", "ca"), ("unlock_key", "key")]
)
def test_exactly_what_was_asked_for_is_rotated_in_one_request(thing, key):
    engine = swarm(autolock=True)
    before, spec = dict(engine.generation), dict(engine.spec)

    assert rotate(engine, [thing], wait=once).rotated == [thing]

    assert engine.generation == {**before, key: before[key] + 1}
    assert [path for path, _body in engine.posts] == ["/swarm/update"]
    assert {**engine.spec, "CAConfig": spec["CAConfig"]} == spec


def test_all_of_them_take_one_request_too():
    engine = swarm(autolock=True)
    assert rotate(engine, ["unlock_key", "ca", "worker_token", "manager_token"], wait=once).rotated == list(THINGS)
    assert set(engine.generation.values()) == {2}
    assert len(engine.posts) == 1


def test_check_mode_says_what_would_be_rotated_and_posts_nothing():
    engine = swarm()
    assert rotate(engine, ["ca", "worker_token"], check_mode=True, wait=once).rotated == ["worker_token", "ca"]
    assert engine.posts == []


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_key_that_does_not_exist_is_not_rotated_and_neither_is_anything_else(check_mode):
    engine = swarm()
    with pytest.raises(SwarmProblem, match=r"Nothing was rotated.*managers do not lock \(swarm_autolock\)"):
        rotate(engine, ["worker_token", "unlock_key"], check_mode=check_mode, wait=once)
    assert engine.posts == []


def test_an_authority_that_a_node_could_not_get_is_refused_with_its_name():
    engine = FakeManager(node_id="id1", nodes=(M1, W1, make_node("id3", "w2", state="down")))
    with pytest.raises(SwarmProblem, match=r"w2 \(id3\) is down"):
        rotate(engine, ["ca"], wait=once)
    assert engine.posts == []
    assert rotate(engine, ["worker_token"], wait=once).rotated == ["worker_token"]


def test_nodes_that_are_behind_when_the_time_is_over_are_named():
    engine = swarm(followers=["id1"])
    found = rotate(engine, ["ca", "worker_token"], wait=once)
    assert found.behind == [
        "w1 (id2) has a certificate of the old authority",
        "w2 (id3) has a certificate of the old authority",
    ]
    told = refusal(found, 600)
    assert "w1 (id2)" in told
    assert "Done are: worker_token." in told


def test_a_node_that_went_down_meanwhile_is_said_to_be_down():
    engine = swarm(followers=["id1", "id2"])
    engine.before_update = lambda: engine.nodes["id3"]["Status"].update(State="down")
    assert rotate(engine, ["ca"], wait=once).behind == ["w2 (id3) has a certificate of the old authority and is down"]


def test_waiting_ends_when_the_last_node_has_followed():
    engine = swarm(followers=["id1"])
    looks = []

    def wait(condition, _seconds):
        while not condition():
            looks.append(1)
            engine.follow(["id2"] if len(looks) == 1 else ["id3"])
        return True

    assert rotate(engine, ["ca"], wait=wait).behind == []
    assert len(looks) == 2


def test_managers_that_do_not_answer_while_they_get_new_certificates_are_waited_for():
    engine = swarm()
    looks = []

    def wait(condition, _seconds):
        engine.fail["/nodes"] = EngineError(503, "The swarm does not have a leader.", "GET /nodes")
        looks.append(condition())
        del engine.fail["/nodes"]
        return condition()

    assert rotate(engine, ["ca"], wait=wait).behind == []
    assert looks == [False]


def test_a_rotation_that_is_under_way_is_waited_for_and_no_other_is_begun():
    engine = swarm(followers=["id1"])
    assert rotate(engine, ["ca"], wait=once).behind

    def wait(condition, _seconds):
        engine.follow(["id2", "id3"])
        return condition()

    again = rotate(engine, ["ca"], wait=wait)
    assert (again.resumed, again.behind, engine.generation["ca"], len(engine.posts)) == (True, [], 2, 1)


def test_settings_that_somebody_else_writes_meanwhile_are_kept():
    engine = swarm()

    def other():
        engine.spec["TaskDefaults"] = {"LogDriver": {"Name": "local"}}
        engine.index += 1
        engine.before_update = lambda: None

    engine.before_update = other
    rotate(engine, ["ca"], wait=once)
    assert engine.spec["TaskDefaults"] == {"LogDriver": {"Name": "local"}}
    assert engine.generation["ca"] == 2


def test_a_swarm_that_rotates_nothing_is_an_error():
    engine = swarm()
    engine._update_swarm = lambda _body, _query: None
    with pytest.raises(SwarmProblem, match="did not rotate worker_token"):
        rotate(engine, ["worker_token"], wait=once)


@pytest.mark.parametrize("state", ["inactive", "locked"])
def test_a_host_that_manages_nothing_is_refused(state):
    with pytest.raises(SwarmProblem, match=f"manages no swarm.*{state}"):
        rotate(FakeEngine(state=state), ["worker_token"])
