from __future__ import annotations

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.answers import choose_entry, collect_answers


def answer(manager=True, state="active", error=""):
    cluster = {"error": error} if manager else {}
    return {"swarm": {"manager": manager, "state": state, "node_id": "id1"}, "cluster": cluster}


@pytest.mark.parametrize("said", [None, {"unreachable": True, "msg": "no route"}, {"skipped": True}])
def test_a_host_that_did_not_answer_is_left_out_and_the_others_keep_their_order(said):
    hostvars = {"b": {"node": answer()}, "a": {"node": answer(False)}, "c": {"node": said} if said else {}}
    assert list(collect_answers(["b", "c", "a", "unknown"], hostvars, "node")) == ["b", "a"]


def test_the_first_manager_in_touch_with_its_leader_is_asked():
    answers = {"w": answer(False), "cut": answer(error="no leader"), "locked": answer(state="locked"), "m": answer()}
    assert choose_entry(answers) == "m"


def test_a_host_whose_engine_is_about_to_stop_is_asked_only_when_nobody_else_can_be():
    assert choose_entry({"m1": answer(), "m2": answer()}, avoid=["m1"]) == "m2"
    assert choose_entry({"m1": answer(), "m2": answer(error="no leader")}, avoid=["m1"]) == "m1"


def test_without_a_manager_there_is_nobody_to_ask():
    assert choose_entry({"w": answer(False)}) == choose_entry({}) == ""
