from __future__ import annotations

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import EngineError
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import read_node, wait_until
from fake_swarm_engine import FakeEngine, make_node


def test_a_host_without_an_engine_is_described_and_not_raised():
    node = read_node(FakeEngine(reachable=False))
    assert node["engine"]["reachable"] is False
    assert "does not answer" in node["engine"]["error"]
    assert node["swarm"]["state"] == "inactive"


def test_an_engine_outside_of_a_swarm_is_inactive():
    node = read_node(FakeEngine())
    assert node["engine"] == {"reachable": True, "error": "", "version": "20.10.24", "api_version": "1.41"}
    assert (node["swarm"]["state"], node["swarm"]["node_id"], node["nodes"]) == ("inactive", "", [])


def test_a_manager_describes_its_swarm_and_all_nodes_by_host_name():
    engine = FakeEngine(
        state="active",
        manager=True,
        nodes=[make_node("w", "zeta", labels={"a": "b"}), make_node("me", "alpha", "manager", leader=True)],
    )
    node = read_node(engine)
    assert node["swarm"]["cluster_id"] == "cluster-1"
    assert node["cluster"] == {
        "error": "",
        "address_pools": ["10.0.0.0/8"],
        "subnet_size": 24,
        "data_path_port": 4789,
        "autolock": False,
    }
    assert [entry["hostname"] for entry in node["nodes"]] == ["alpha", "zeta"]
    assert node["nodes"][0]["manager_address"] == "192.0.2.1:2377"
    assert node["nodes"][1]["labels"] == {"a": "b"}


def test_tokens_are_only_read_when_asked_for():
    engine = FakeEngine(state="active", manager=True)
    assert "join_tokens" not in read_node(engine)
    assert read_node(engine, tokens=True)["join_tokens"] == {"manager": "SWMTKN-m", "worker": "SWMTKN-w"}


def test_a_swarm_without_a_leader_is_described_with_its_error():
    engine = FakeEngine(state="active", manager=True)
    engine.fail["/nodes"] = EngineError(503, "The swarm does not have a leader.", "GET /nodes")
    node = read_node(engine, tokens=True)
    assert node["cluster"]["error"] == "The swarm does not have a leader."
    assert node["nodes"] == []
    assert "join_tokens" not in node


def test_waiting_looks_once_more_when_the_time_is_up():
    now = iter([0.0, 1.0, 2.0, 3.0])
    looks = []

    def condition():
        looks.append(1)
        return False

    assert not wait_until(condition, 2.5, clock=lambda: next(now), pause=lambda _seconds: None)
    assert len(looks) == 3


def test_waiting_ends_as_soon_as_the_condition_holds():
    answers = iter([False, True])
    assert wait_until(lambda: next(answers), 5, clock=lambda: 0.0, pause=lambda _seconds: None)


def test_no_time_means_one_look():
    assert wait_until(lambda: True, 0)
    assert not wait_until(lambda: False, 0)
