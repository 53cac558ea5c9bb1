"""One look at a stack: what runs, what does not, and why."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import Engine
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.live import NotASwarmManager
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.overview import (
    node_problems,
    old_failures,
    overview,
)
from ansible_collections.flowstead.airflow.plugins.modules import swarm_stack, swarm_status
from fake_engine import FakeEngine


@pytest.fixture
def engine(tmp_path: Path) -> t.Iterator[FakeEngine]:
    with FakeEngine(tmp_path) as fake:
        fake.nodes[0]["ManagerStatus"] = {"Leader": True, "Reachability": "reachable"}
        fake.nodes[0]["Spec"]["Role"] = "manager"
        yield fake


def deploy(engine: FakeEngine, capsys: pytest.CaptureFixture[str], **services: dict[str, t.Any]) -> None:
    """A stack `shop`, left as it is when the module's time is over."""
    definition = {"services": {name: {"image": "tiny:1", **given} for name, given in services.items()}}
    given = {"name": "shop", "definition": definition, "docker_socket": engine.socket, "wait": False}
    with patch_module_args(given), pytest.raises(SystemExit):
        swarm_stack.main()
    assert not json.loads(capsys.readouterr().out).get("failed")


def look(engine: FakeEngine, stack: str = "shop") -> dict[str, t.Any]:
    for _moment in range(3):
        engine.tick()
    return overview(Engine(engine.socket), stack, lambda text: text.replace("hunter22", "***"))


def test_a_stack_that_runs_is_healthy(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    deploy(engine, capsys, web={"deploy": {"replicas": 2}})

    found = look(engine)

    assert (found["healthy"], found["problems"], found["failures"]) == (True, [], [])
    (web,) = found["services"]
    assert (web["name"], web["stack"], web["mode"], web["state"]) == ("web", "shop", "Replicated", "converged")
    assert (web["running"], web["desired"], web["nodes"]) == (2, 2, ["alpha"])
    (alpha,) = found["nodes"]
    assert (alpha["hostname"], alpha["role"], alpha["leader"], alpha["state"]) == ("alpha", "manager", True, "ready")


def test_a_service_that_fails_says_why_where_and_with_which_last_words(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.behaviour["web"] = "fails"
    engine.log = b"\1\0\0\0\0\0\0\x11password hunter22"
    deploy(engine, capsys, web={}, queue={})

    found = look(engine)

    assert not found["healthy"]
    assert found["problems"] == ["service web failed: crash_loop: " + found["failures"][0]["message"]]
    (failure,) = found["failures"]
    assert (failure["service"], failure["node"], failure["exit_code"]) == ("web", "alpha", 1)
    assert failure["log"] == ["password ***"]
    services = {service["name"]: service for service in found["services"]}
    assert services["queue"]["state"] == "converged"
    assert services["web"]["failed_tasks"] > 0
    assert services["web"]["last_failure"] == "task: non-zero exit (1)"


def test_a_service_without_a_node_is_a_failure_at_the_first_look(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.behaviour["web"] = "finds no node"
    deploy(engine, capsys, web={})

    assert [failure["cause"] for failure in look(engine)["failures"]] == ["unschedulable"]


def test_a_service_that_still_starts_is_not_well_and_no_failure(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.behaviour["web"] = "stays starting"
    deploy(engine, capsys, web={})

    found = look(engine)

    assert (found["healthy"], found["failures"]) == (False, [])
    assert found["problems"] == ["service web is not where it should be: 0/1 running, starting"]


def test_a_stack_that_does_not_exist_is_not_healthy(engine: FakeEngine) -> None:
    assert look(engine, "nothing")["problems"] == ["this swarm has no stack nothing"]


def test_a_host_outside_of_any_swarm_is_told_what_to_do(engine: FakeEngine) -> None:
    engine.swarm = {"LocalNodeState": "inactive"}
    with pytest.raises(NotASwarmManager, match="Form the swarm first"):
        look(engine)


def a_task(name: str, state: str, created: str, ended: str = "") -> dict[str, t.Any]:
    return {"ID": name, "CreatedAt": created, "Status": {"State": state, "Timestamp": ended}}


def test_failures_long_before_the_newest_task_that_lives_say_nothing_about_it() -> None:
    tasks = [
        a_task("last week", "failed", "2026-11-20T10:00:00.1Z", "2026-11-20T11:00:00.123456789Z"),
        a_task("just now", "failed", "2026-11-27T10:00:00Z", "2026-11-27T10:01:00Z"),
        a_task("no moment", "failed", "2026-11-27T10:00:00Z"),
        a_task("starts", "starting", "2026-11-27T10:01:05Z"),
    ]
    assert old_failures(tasks) == ("last week",)
    assert old_failures(tasks[:3]) == (), "of a service that nobody starts any more, every failure counts"


def test_without_logs_none_is_fetched(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.behaviour["web"] = "fails"
    engine.log = b"\1\0\0\0\0\0\0\x11password hunter22"
    deploy(engine, capsys, web={})
    engine.tick()

    (failure,) = overview(Engine(engine.socket), "shop", str, log=False)["failures"]

    assert (failure["cause"], failure["log"]) == ("crash_loop", [])


def a_node(**given: t.Any) -> dict[str, t.Any]:
    usual = {
        "hostname": "a",
        "role": "manager",
        "state": "ready",
        "availability": "active",
        "reachability": "reachable",
    }
    return {**usual, **given}


@pytest.mark.parametrize(
    ("nodes", "problems"),
    [
        ([a_node(), a_node(hostname="b", availability="drain")], []),
        ([a_node(), a_node(hostname="b", role="worker", reachability="")], []),
        ([a_node(), a_node(hostname="b", state="down", reachability="unreachable")], ["node b is down"]),
        ([a_node(), a_node(hostname="b", reachability="unreachable")], ["manager b cannot be reached by the others"]),
        ([a_node(availability="drain")], ["no node takes tasks"]),
    ],
)
def test_what_is_wrong_with_nodes(nodes: list[dict[str, t.Any]], problems: list[str]) -> None:
    assert node_problems(nodes) == problems


def test_the_module_changes_nothing_and_hides_what_it_is_told_to(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.behaviour["web"] = "fails"
    engine.log = b"\1\0\0\0\0\0\0\x15postgresql://u:p@ss99"
    deploy(engine, capsys, web={})
    writes = list(engine.writes)
    given = {"name": "shop", "docker_socket": engine.socket, "hide": ["postgresql://u:p%40ss99@db/airflow"]}

    with patch_module_args(given), pytest.raises(SystemExit):
        swarm_status.main()

    told = capsys.readouterr().out
    assert "p@ss99" not in told
    assert "p%40ss99" not in told
    result = json.loads(told)
    assert (result["changed"], result["healthy"], engine.writes) == (False, False, writes)
