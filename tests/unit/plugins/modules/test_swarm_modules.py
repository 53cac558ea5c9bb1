from __future__ import annotations

import contextlib
import json
import socket
import sys
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.flowstead.airflow.plugins.modules import (
    swarm_drain,
    swarm_engine_turns,
    swarm_member,
    swarm_networks,
    swarm_node_info,
    swarm_nodes,
    swarm_readmit,
    swarm_remove_node,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "module_utils" / "_swarm"))
from fake_swarm_engine import FakeEngine, make_node, make_service, make_task


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a module against a double of the engine; returns its result."""

    def run_module(module, engine, **given):
        monkeypatch.setattr(module, "Engine", lambda *_args, **_kwargs: engine)
        arguments = {
            "_ansible_check_mode": given.pop("check_mode", False),
            "_ansible_remote_tmp": "/tmp",
            "_ansible_keep_remote_files": False,
            **given,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run_module


def test_check_then_real_then_again_founds_a_swarm_once(run):
    engine = FakeEngine()
    predicted = run(swarm_member, engine, advertise_address="192.0.2.1", found=True, check_mode=True)
    assert (predicted["changed"], engine.posts) == (True, [])
    real = run(swarm_member, engine, advertise_address="192.0.2.1", found=True)
    assert real["diff"] == predicted["diff"] == {"before": {"state": "inactive"}, "after": {"state": "active"}}
    assert real["node"]["state"] == "active"
    again = run(swarm_member, engine, advertise_address="192.0.2.1", found=True)
    assert (again["changed"], again["actions"]) == (False, [])
    assert not run(swarm_member, engine, advertise_address="192.0.2.1", found=True, check_mode=True)["changed"]


def test_a_host_without_an_address_is_refused(run):
    assert "advertise_address is empty" in run(swarm_member, FakeEngine())["msg"]


def test_joining_without_a_token_is_refused_before_the_engine_is_asked(run):
    engine = FakeEngine()
    result = run(swarm_member, engine, advertise_address="192.0.2.2", join_addresses=["192.0.2.1:2377"])
    assert "join_token is empty" in result["msg"]
    assert engine.posts == []


def test_a_host_without_managers_to_join_is_refused_and_founds_nothing(run):
    engine = FakeEngine()
    result = run(swarm_member, engine, advertise_address="192.0.2.2", join_token="SWMTKN-w")
    assert "join_addresses is empty" in result["msg"]
    assert engine.posts == []


def test_founding_and_joining_at_once_is_refused(run):
    engine = FakeEngine()
    given = {"found": True, "join_addresses": ["192.0.2.1:2377"], "join_token": "SWMTKN-w"}
    assert "found and join_addresses" in run(swarm_member, engine, advertise_address="192.0.2.2", **given)["msg"]
    assert engine.posts == []


def test_a_token_is_in_no_result(run, monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *_args, **_kwargs: contextlib.nullcontext())
    result = run(
        swarm_member,
        FakeEngine(),
        advertise_address="192.0.2.2",
        join_addresses=["192.0.2.1:2377"],
        join_token="SWMTKN-w",
    )
    assert result["actions"] == ["join"]
    assert "SWMTKN-w" not in json.dumps(result)


def test_leaving_twice_changes_something_once(run):
    engine = FakeEngine(state="active")
    assert run(swarm_member, engine, state="absent")["changed"]
    assert not run(swarm_member, engine, state="absent")["changed"]


def test_a_refused_leave_is_a_failure_with_the_reason(run):
    engine = FakeEngine(state="active", manager=True, nodes=[make_node("me", "here", "manager")])
    result = run(swarm_member, engine, state="absent")
    assert result["failed"]
    assert "last manager" in result["msg"]


def test_a_host_without_an_engine_is_an_answer_unless_waiting_for_one(run):
    engine = FakeEngine(reachable=False)
    assert run(swarm_node_info, engine)["engine"]["reachable"] is False
    assert not run(swarm_node_info, engine, timeout=60, check_mode=True).get("failed", False)
    result = run(swarm_node_info, engine, timeout=1)
    assert result["failed"]
    assert "Waited 1 s" in result["msg"]


def test_nodes_are_labelled_once(run):
    engine = FakeEngine(
        state="active", manager=True, nodes=[make_node("me", "here", "manager"), make_node("id3", "w1")]
    )
    wanted = [{"id": "id3", "labels": {"gpu": True, "slots": 4, "empty": None}}]
    predicted = run(swarm_nodes, engine, nodes=wanted, check_mode=True)
    assert predicted["changed"]
    assert engine.posts == []
    real = run(swarm_nodes, engine, nodes=wanted)
    assert real["changes"] == [{"id": "id3", "hostname": "w1", "fields": ["Labels"]}]
    assert real["diff"] == predicted["diff"]
    assert engine.nodes["id3"]["Spec"]["Labels"] == {"gpu": "true", "slots": "4", "empty": ""}
    assert not run(swarm_nodes, engine, nodes=wanted)["changed"]


def test_a_replaced_node_is_only_removed_when_asked(run):
    nodes = [make_node("me", "here", "manager"), make_node("old", "here", state="down")]
    engine = FakeEngine(state="active", manager=True, nodes=nodes)
    assert run(swarm_nodes, engine, nodes=[{"id": "me"}])["removed"] == []
    result = run(swarm_nodes, engine, nodes=[{"id": "me"}], remove_replaced=True)
    assert result["diff"] == {"before": {"here (old)": "replaced, down"}, "after": {}}
    assert list(engine.nodes) == ["me"]


def test_hosts_that_have_not_joined_yet_are_only_accepted_in_check_mode(run):
    nodes = [{"id": "", "role": "manager"}]
    assert run(swarm_nodes, FakeEngine(), nodes=nodes, check_mode=True)["changed"]
    assert "have no ID" in run(swarm_nodes, FakeEngine(), nodes=nodes)["msg"]


def test_wishes_come_back_with_the_address_that_was_found(run, monkeypatch):
    monkeypatch.setattr(swarm_node_info, "own_address", lambda: "192.0.2.7")
    engine = FakeEngine(networks=[{"Name": "docker_gwbridge", "IPAM": {"Config": [{"Subnet": "10.209.0.0/24"}]}}])
    given = {"advertise_address": "", "labels": {"a": 1}, "gwbridge_subnet": "10.209.0.0/24"}
    result = run(swarm_node_info, engine, wanted=given)
    assert result["wanted"] == {**given, "advertise_address": "192.0.2.7"}
    assert result["gwbridge"] == ["10.209.0.0/24"]


def test_a_member_is_not_asked_who_holds_its_ports(run, monkeypatch):
    monkeypatch.setattr(swarm_node_info, "read_holders", lambda _ports: pytest.fail("asked"))
    assert run(swarm_node_info, FakeEngine(state="active"))["listeners"] == []


def test_networks_are_made_once(run):
    engine = FakeEngine(state="active", manager=True)
    wanted = [{"name": "monitoring", "encrypted": True}]
    predicted = run(swarm_networks, engine, networks=wanted, check_mode=True)
    assert (predicted["created"], engine.posts) == (["monitoring"], [])
    real = run(swarm_networks, engine, networks=wanted)
    assert real["diff"] == predicted["diff"]
    assert not run(swarm_networks, engine, networks=wanted)["changed"]


def test_a_network_that_differs_is_an_error_and_nothing_is_created(run):
    engine = FakeEngine(state="active", manager=True)
    run(swarm_networks, engine, networks=[{"name": "monitoring"}])
    engine.posts.clear()
    result = run(swarm_networks, engine, networks=[{"name": "new"}, {"name": "monitoring", "encrypted": True}])
    assert "Network monitoring: encrypted is not set and is to be true" in result["msg"]
    assert engine.posts == []


def test_networks_of_a_host_without_an_engine_are_only_planned_in_check_mode(run):
    engine = FakeEngine(reachable=False)
    assert run(swarm_networks, engine, networks=[{"name": "a"}], check_mode=True)["created"] == ["a"]
    assert "does not answer" in run(swarm_networks, engine, networks=[{"name": "a"}])["msg"]


def test_a_dead_twin_goes_before_a_living_manager_is_demoted(run):
    nodes = [
        make_node("me", "here", "manager"),
        make_node("id2", "m2", "manager", address="192.0.2.2"),
        make_node("old", "w3", "manager", state="down", reachability="unreachable", address="192.0.2.3"),
        make_node("new", "w3", address="192.0.2.3"),
    ]
    engine = FakeEngine(state="active", manager=True, nodes=nodes)
    wanted = [{"id": "me", "role": "manager"}, {"id": "id2", "role": "worker"}, {"id": "new", "role": "worker"}]
    result = run(swarm_nodes, engine, nodes=wanted, remove_replaced=True)
    assert [node["id"] for node in result["removed"]] == ["old"]
    assert engine.nodes["id2"]["Spec"]["Role"] == "worker"


def _three_nodes(*tasks, **first):
    nodes = [make_node("id1", "m1", "manager"), make_node("id2", "w1", **first), make_node("id3", "w2")]
    web = make_service("s1", "web", wanted=2, running=2)
    return FakeEngine(state="active", manager=True, node_id="id1", nodes=nodes, services=[web], tasks=tasks)


def test_draining_is_foretold_done_once_and_undone(run):
    engine = _three_nodes()
    foretold = run(swarm_drain, engine, node="w1", check_mode=True)
    assert (foretold["changed"], engine.posts) == (True, [])
    done = run(swarm_drain, engine, node="w1")
    assert done["diff"] == foretold["diff"]
    assert done["node"] == foretold["node"] == {"id": "id2", "hostname": "w1", "availability": "drain"}
    assert not run(swarm_drain, engine, node="w1")["changed"]
    back = run(swarm_drain, engine, node="w1", state="restored")
    assert (back["changed"], back["node"]["availability"]) == (True, "active")
    assert engine.nodes["id2"]["Spec"]["Labels"] == {}
    assert not run(swarm_drain, engine, node="w1", state="restored")["changed"]


def test_a_drain_that_takes_too_long_fails_names_the_tasks_and_leaves_the_node_drained(run):
    engine = _three_nodes(make_task("t1", "s1", "id2"))
    failed = run(swarm_drain, engine, node="w1", timeout=0)
    assert failed["failed"]
    assert "web.1 (running)" in failed["msg"]
    assert failed["tasks"] == [{"id": "t1", "service": "web", "slot": 1, "state": "running"}]
    assert engine.nodes["id2"]["Spec"]["Availability"] == "drain"


def test_the_tasks_of_a_node_that_is_down_are_not_waited_for(run, monkeypatch):
    warned = []
    monkeypatch.setattr(swarm_drain.AnsibleModule, "warn", lambda _self, text: warned.append(text))
    engine = _three_nodes(make_task("t1", "s1", "id2"), state="down")
    done = run(swarm_drain, engine, node="w1", timeout=600)
    assert done["changed"]
    assert "w1 is down" in warned[0]


def test_services_that_find_no_other_place_fail_the_drain_of_an_empty_node(run):
    engine = _three_nodes(make_task("t1", "s1", "id2", "shutdown"))
    engine.services[0]["ServiceStatus"]["RunningTasks"] = 1
    assert not run(swarm_drain, engine, node="w1", services_timeout=1).get("failed"), "it was short before"
    again = run(swarm_drain, engine, node="w1", services_timeout=1)
    assert "web 1/2" in again["msg"]
    assert again["weak"] == ["web 1/2"]
    assert not run(swarm_drain, engine, node="w1", services_timeout=0).get("failed")


def test_a_host_that_manages_no_swarm_drains_nothing(run):
    assert "manages no swarm" in run(swarm_drain, FakeEngine(), node="w1")["msg"]


MANAGERS = [make_node(f"id{n}", f"m{n}", "manager", leader=n == 1) for n in (1, 2, 3)]


def managed(*nodes, **more):
    return FakeEngine(state="active", manager=True, node_id="id1", nodes=[*MANAGERS, *nodes], **more)


def said(node_id):
    return {
        "engine": {"reachable": True, "error": "", "version": "1"},
        "swarm": {"state": "active", "node_id": node_id, "manager": True, "error": ""},
    }


def test_whose_turn_it_is_comes_with_what_differs_and_changes_nothing(run):
    engine = managed(services=[make_service("s1", "old", running=0)])
    members = {"m1": said("id1"), "m2": said("id2"), "m3": said("id3")}
    changes = {"m1": {"restart": ["daemon.json: log-opts"]}, "m2": {"reload": ["daemon.json: debug"]}, "m3": {}}
    found = run(swarm_engine_turns, engine, members=members, changes=changes)
    assert found["plan"] == ["m2 (manager): reload: daemon.json: debug", "m1 (leader): restart: daemon.json: log-opts"]
    assert [[turn["host"] for turn in turns] for turns in found["rounds"]] == [["m2"], ["m1"]]
    assert (found["changed"], found["short"], engine.posts) == (False, ["old 0/1"], [])


def test_all_that_speaks_against_a_turn_is_one_error(run):
    found = run(
        swarm_engine_turns,
        managed(make_node("id9", "w9", state="down")),
        members={"m1": said("id1"), "m2": {"unreachable": True}},
        changes={"m1": {"restart": ["x"], "refused": "apt has no such version."}},
    )
    assert found["failed"]
    assert len(found["problems"]) == 3
    assert all(text in found["msg"] for text in found["problems"])


def test_a_host_that_manages_nothing_cannot_say_whose_turn_it_is(run):
    found = run(swarm_engine_turns, FakeEngine(state="active"), members={"w1": said("id4")})
    assert "None of these hosts answers as a manager" in found["msg"]


def test_a_node_is_taken_back_once_by_who_drained_it(run):
    engine = managed(make_node("id4", "w1"), services=[])
    run(swarm_drain, engine, node="w1", owner="turns")
    assert run(swarm_readmit, engine, node="w1", services_timeout=0)["node"]["availability"] == "active"
    run(swarm_drain, engine, node="w1")
    assert not run(swarm_readmit, engine, node="w1", owner="turns", services_timeout=0)["changed"]
    assert engine.nodes["id4"]["Spec"]["Availability"] == "drain"


def test_services_that_stay_short_after_a_node_is_back_fail_by_name_except_those_that_were_short_before(run):
    engine = managed(make_node("id4", "w1"), services=[make_service("s1", "web", running=0), make_service("s2", "db")])
    failed = run(swarm_readmit, engine, node="w1", services_timeout=1)
    assert failed["weak"] == ["web 0/1"]
    assert "web 0/1" in failed["msg"]
    assert not run(swarm_readmit, engine, node="w1", services_timeout=30, short=["web 0/1"]).get("failed", False)


def test_a_removal_is_foretold_done_once_and_then_fine(run):
    engine = managed(make_node("id4", "w1", state="down"))
    given = {"node": "w1", "gone": True}
    foretold = run(swarm_remove_node, engine, **given, check_mode=True)
    assert (foretold["changed"], foretold["node"]["id"], engine.deleted) == (True, "id4", [])
    done = run(swarm_remove_node, engine, **given)
    assert (done["diff"], engine.deleted) == (foretold["diff"], ["/nodes/id4"])
    again = run(swarm_remove_node, engine, **given)
    assert (again["changed"], again["node"], again["others"]) == (False, {}, ["m1", "m2", "m3"])


def test_a_manager_does_not_remove_itself(run):
    engine = managed()
    refused = run(swarm_remove_node, engine, node="m1", members={"m1": said("id1")})
    assert "Run this on a manager that stays" in refused["msg"]
    assert (engine.posts, engine.deleted) == ([], [])
