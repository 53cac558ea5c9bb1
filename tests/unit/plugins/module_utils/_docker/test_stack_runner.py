"""Whole deployments against an engine that is only a memory."""

from __future__ import annotations

import copy
import json
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.absent import Remover
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.live import NotASwarmManager
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.preparing import Impossible
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.runner import Runner, Step
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.state import Options, State
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.waiting import Limits
from fake_engine import FakeEngine, Refused, node

Definition = dict[str, t.Any]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Lab:
    """One fake engine and what a test does with it."""

    def __init__(self, fake: FakeEngine) -> None:
        self.fake = fake
        self.clock = Clock()
        self.engine = Engine(fake.socket)
        self.state: State | None = None
        self.lines: list[str] = []

    def deploy(self, definition: Definition, **options: t.Any) -> Step:
        self.fake.writes.clear()
        self.engine.calls.clear()
        given = {"object_key": "key", "timeout": 120.0, "limits": Limits(3, 20.0), **options}
        runner = Runner(self.engine, Options("shop", definition, **given), None, self.clock, self.clock.sleep)
        self.state = runner.state
        step = runner.run()
        self.lines = step.lines
        return step

    def result(self, definition: Definition, **options: t.Any) -> dict[str, t.Any]:
        step = self.deploy(definition, **options)
        assert step.failed == ""
        assert step.result is not None
        return step.result

    def failure(self, definition: Definition, **options: t.Any) -> tuple[str, dict[str, t.Any]]:
        step = self.deploy(definition, **options)
        assert step.failed
        assert step.result is not None
        return step.failed, step.result

    def remove(self, **options: t.Any) -> Step:
        self.fake.writes.clear()
        given = {"timeout": 30.0, **options}
        return Remover(self.engine, Options("shop", {}, **given), None, self.clock, self.clock.sleep).run()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with FakeEngine(tmp_path) as fake:
        yield Lab(fake)


def shop() -> Definition:
    return {
        "services": {
            "migrate": {"image": "tiny:1", "deploy": {"mode": "replicated-job"}, "secrets": ["db"]},
            "web": {
                "image": "tiny:1",
                "secrets": ["db"],
                "environment": {"LEVEL": "1"},
                "depends_on": {"migrate": {"condition": "service_completed_successfully"}},
            },
            "worker": {"image": "tiny:1", "depends_on": {"web": {"condition": "service_healthy"}}},
        },
        "secrets": {"db": {"data": "password-one"}},
    }


def steps(result: dict[str, t.Any]) -> list[str]:
    return [f"{action['action']} {action['name']}" for action in result["actions"]]


def test_services_are_written_in_the_order_of_their_dependencies(lab: Lab) -> None:
    result = lab.result(shop())

    assert [step.split()[1].split("_")[0] for step in steps(result)] == ["shop", "shop", "migrate", "web", "worker"]
    assert result["changed"] is True
    assert result["services"]["web"] == {
        "id": lab.fake.by_name("shop_web")["ID"],
        "image": "tiny:1",
        "action": "create",
        "job": False,
        "running": 1,
        "desired": 1,
    }


def test_an_unchanged_stack_costs_eight_calls_and_no_write(lab: Lab) -> None:
    lab.result(shop())
    lab.engine.close()
    lab.engine = Engine(lab.fake.socket)

    result = lab.result(shop())

    assert result["changed"] is False
    assert lab.fake.writes == []
    assert len(lab.engine.calls) <= 8


def test_an_unchanged_stack_whose_service_has_crashed_is_waited_for(lab: Lab) -> None:
    lab.result(shop())
    web = lab.fake.by_name("shop_web")
    lab.fake.behaviour["web"] = "fails"
    lab.fake._start(web)

    message, result = lab.failure(shop())

    assert result["failures"][0]["service"] == "web"
    assert "Nothing had been changed" in message
    assert lab.fake.writes == []


def test_only_the_changed_service_is_written_and_its_job_is_not_run_again(lab: Lab) -> None:
    lab.result(shop())
    changed = shop()
    changed["services"]["web"]["environment"]["LEVEL"] = "2"

    planned = lab.result(changed, check=True)
    assert lab.fake.writes == []
    result = lab.result(changed)

    assert steps(result) == steps(planned) == ["update web"]
    assert lab.fake.writes == [f"POST /services/{lab.fake.by_name('shop_web')['ID']}/update"]


def test_a_changed_job_runs_before_what_depends_on_it_is_written(lab: Lab) -> None:
    lab.result(shop())
    changed = shop()
    changed["services"]["migrate"]["image"] = "tiny:2"
    changed["services"]["web"]["image"] = "tiny:2"
    states: list[str] = []

    def watch(path: str) -> None:
        if lab.fake.by_name("shop_web")["ID"] in path:
            job = lab.fake.by_name("shop_migrate")["ID"]
            states.append([task for task in lab.fake.tasks if task["ServiceID"] == job][-1]["Status"]["State"])

    lab.fake.before_write = watch
    assert steps(lab.result(changed)) == ["update migrate", "update web"]
    assert states == ["complete"]


def test_a_failing_job_stops_everything_behind_it_and_is_run_again_next_time(lab: Lab) -> None:
    lab.result(shop())
    changed = shop()
    changed["services"]["migrate"]["image"] = "tiny:2"
    changed["services"]["web"]["image"] = "tiny:2"
    lab.fake.behaviour["migrate"] = "fails"
    lab.fake.log = b"\1\0\0\0\0\0\0\x0cno such db!\n"

    message, result = lab.failure(changed)

    assert steps(result) == ["update migrate"]
    assert result["failures"][0]["log"] == ["no such db!"]
    assert "no such db!" in message
    assert "Jobs cannot be undone: migrate" in message
    assert lab.fake.by_name("shop_web")["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] == "tiny:1"

    lab.fake.behaviour["migrate"] = "completes"
    assert steps(lab.result(changed)) == ["run again migrate", "update web"]


def test_a_failed_rollout_goes_back_to_the_old_definition_and_still_fails(lab: Lab) -> None:
    lab.result(shop())
    before = {name: copy.deepcopy(lab.fake.by_name(name)["Spec"]) for name in ("shop_web", "shop_worker")}
    changed = shop()
    changed["services"]["web"]["image"] = "tiny:2"
    changed["services"]["new"] = {"image": "tiny:1"}
    lab.fake.behaviour["web"] = "fails"

    def repair(path: str) -> None:
        if lab.state is not None and lab.state.phase == "rollback":
            lab.fake.behaviour["web"] = "runs"

    lab.fake.before_write = repair
    message, result = lab.failure(changed)

    assert result["rolled_back"] is True
    assert "Rolled back" in message
    assert {name: lab.fake.by_name(name)["Spec"] for name in before} == before
    assert "shop_new" not in lab.fake.names("services")
    lab.fake.before_write = lambda _path: None
    assert lab.result(shop())["changed"] is False


def test_without_rollback_a_failed_service_stays_as_it_is(lab: Lab) -> None:
    lab.fake.behaviour["web"] = "rejects"

    message, result = lab.failure(shop(), rollback=False)

    assert result["rolled_back"] is False
    assert result["failures"][0]["cause"] == "image_pull"
    assert "Nothing was rolled back" in message
    assert "shop_web" in lab.fake.names("services")
    assert "shop_worker" not in lab.fake.names("services")


def test_a_service_without_a_node_fails_after_the_pending_timeout(lab: Lab) -> None:
    lab.fake.behaviour["web"] = "finds no node"
    began = lab.clock.now

    _message, result = lab.failure(shop())

    assert result["failures"][0]["cause"] == "unschedulable"
    assert 20.0 <= lab.clock.now - began < 60.0


def test_a_service_that_never_gets_ready_fails_at_the_deadline(lab: Lab) -> None:
    lab.fake.behaviour["web"] = "stays starting"

    _message, result = lab.failure(shop(), rollback=False)

    assert [failure["service"] for failure in result["failures"]] == ["web"]
    assert result["failures"][0]["cause"] == "timeout"


def test_old_tasks_that_finish_hours_of_work_are_no_failure(lab: Lab) -> None:
    lab.result(shop())
    changed = shop()
    changed["services"]["worker"]["image"] = "tiny:2"
    lab.fake.behaviour["worker"] = "waits for the old task"
    began = lab.clock.now

    result = lab.result(changed)

    assert lab.clock.now - began >= 120.0
    assert result["services"]["worker"]["running"] == 0
    assert lab.state is not None
    assert any("worker" in note and "stop_grace_period" in note for note in lab.state.notes)
    began = lab.clock.now
    assert lab.result(changed)["changed"] is False
    assert lab.clock.now - began < 5.0


def test_old_tasks_that_go_on_beside_the_new_ones_are_told_and_not_waited_for(lab: Lab) -> None:
    definition = shop()
    definition["services"]["worker"]["stop_grace_period"] = "6h"
    assert lab.result(definition)["finishing"] == []
    (old,) = (task["ID"] for task in lab.fake.tasks if "worker" in lab.fake.services[task["ServiceID"]]["Spec"]["Name"])
    definition["services"]["worker"] |= {"image": "tiny:2", "stop_grace_period": "1m"}
    lab.fake.busy.add("worker")

    result = lab.result(definition)

    assert result["finishing"] == [
        {"service": "worker", "task": old, "node": "alpha", "state": "running", "grace_seconds": 21600.0}
    ]
    assert lab.lines[-1] == "shop: old tasks finish their work: worker 1 (on alpha, for 21600 s at most)"


def test_what_depends_on_a_draining_service_still_fails_at_the_deadline(lab: Lab) -> None:
    lab.result(shop())
    changed = shop()
    for name in ("web", "worker"):
        changed["services"][name]["image"] = "tiny:2"
    lab.fake.behaviour["web"] = "waits for the old task"

    message, _result = lab.failure(changed)

    assert "web" in message


def test_swarm_rolling_back_by_itself_is_a_failure(lab: Lab) -> None:
    definition = shop()
    definition["services"]["web"]["deploy"] = {"update_config": {"failure_action": "rollback"}}
    lab.result(definition)
    changed = copy.deepcopy(definition)
    changed["services"]["web"]["image"] = "tiny:2"
    lab.fake.behaviour["web"] = "fails"
    spec_before = copy.deepcopy(lab.fake.by_name("shop_web")["Spec"])

    _message, result = lab.failure(changed)

    assert result["failures"][0]["cause"] == "rolled_back"
    assert lab.fake.by_name("shop_web")["Spec"] == spec_before


def test_somebody_elses_write_during_the_wait_is_named(lab: Lab) -> None:
    definition = shop()
    lab.fake.behaviour["web"] = "stays starting"
    fake, clock = lab.fake, lab.clock
    real_sleep = clock.sleep

    def sleep(seconds: float) -> None:
        real_sleep(seconds)
        if "shop_web" in fake.names("services") and clock.now > 1010:
            fake.meddle("shop_web", Image="tiny:2")

    clock.sleep = sleep  # type: ignore[method-assign]
    _message, result = lab.failure(definition, rollback=False)

    assert result["failures"][0]["cause"] == "moved"


def test_a_write_between_reading_and_writing_makes_it_plan_again(lab: Lab) -> None:
    lab.result(shop())
    changed = shop()
    changed["services"]["web"]["environment"]["LEVEL"] = "2"
    meddled: list[bool] = []

    def meddle(path: str) -> None:
        if path.endswith("/update") and not meddled:
            meddled.append(True)
            lab.fake.meddle("shop_web", Args=["other"])

    lab.fake.before_write = meddle
    assert steps(lab.result(changed)) == ["update web"]
    assert len(lab.fake.writes) == 2
    assert "Args" not in lab.fake.by_name("shop_web")["Spec"]["TaskTemplate"]["ContainerSpec"]


def test_a_rotated_secret_gets_a_new_name_and_the_oldest_is_collected(lab: Lab) -> None:
    for number in ("one", "two", "three", "four"):
        definition = shop()
        definition["secrets"]["db"]["data"] = f"password-{number}"
        result = lab.result(definition, keep_objects=1)

    assert len(lab.fake.names("secrets")) == 2
    assert [action["kind"] for action in result["actions"]] == ["secret", "job", "service", "secret"]
    used = lab.fake.by_name("shop_web")["Spec"]["TaskTemplate"]["ContainerSpec"]["Secrets"][0]
    assert used["File"]["Name"] == "db"
    assert used["SecretName"] in lab.fake.names("secrets")


def test_what_left_the_definition_is_removed_after_the_rest_has_converged(lab: Lab) -> None:
    definition = shop()
    definition["services"]["old"] = {"image": "tiny:1", "networks": ["back"]}
    definition["networks"] = {"back": {}}
    lab.result(definition)
    changed = shop()
    changed["services"]["worker"]["image"] = "tiny:2"

    assert steps(lab.result(changed)) == ["update worker", "remove shop_old", "remove shop_back"]


def test_two_stacks_leave_each_other_alone(lab: Lab) -> None:
    Runner(lab.engine, Options("other", shop(), object_key="key"), None, lab.clock, lab.clock.sleep).run()
    lab.result(shop())
    changed = shop()
    changed["services"]["web"]["image"] = "tiny:2"

    assert steps(lab.result(changed)) == ["update web"]
    assert lab.fake.names("services")[:3] == ["other_migrate", "other_web", "other_worker"]


def test_rolling_back_never_runs_an_old_migration_again(lab: Lab) -> None:
    lab.result(shop())
    changed = shop()
    changed["services"]["migrate"]["image"] = "tiny:2"
    changed["services"]["web"]["image"] = "tiny:2"
    lab.fake.behaviour["web"] = "fails"

    message, _result = lab.failure(changed)

    job = lab.fake.by_name("shop_migrate")["ID"]
    assert lab.fake.writes.count(f"POST /services/{job}/update") == 1
    assert "Jobs cannot be undone: migrate" in message


def test_without_prune_nothing_is_removed(lab: Lab) -> None:
    lab.result(shop())
    changed = shop()
    del changed["services"]["worker"]

    assert lab.result(changed, prune=False)["changed"] is False
    assert "shop_worker" in lab.fake.names("services")


def test_an_image_that_nobody_has_is_refused_before_any_write(lab: Lab) -> None:
    definition = shop()
    definition["services"]["web"]["image"] = "registry.test/web:9"

    with pytest.raises(Impossible) as caught:
        lab.deploy(definition)

    assert "services.web.image" in str(caught.value)
    assert "registry.test/web:9" in str(caught.value)
    assert lab.fake.writes == []


def test_all_that_the_swarm_cannot_do_is_reported_at_once(lab: Lab) -> None:
    definition = shop()
    definition["networks"] = {"front": {"external": True}}
    definition["services"]["web"]["networks"] = ["front"]
    definition["secrets"]["key"] = {"external": True}
    definition["services"]["worker"]["deploy"] = {"placement": {"constraints": ["node.labels.zone == b"]}}

    with pytest.raises(Impossible) as caught:
        lab.deploy(definition)

    paths = {problem.path for problem in caught.value.problems}
    assert paths == {"networks.front", "secrets.key", "services.worker.deploy.placement.constraints"}
    assert lab.fake.writes == []


def test_a_change_of_mode_is_refused_before_any_write(lab: Lab) -> None:
    lab.result(shop())
    changed = shop()
    changed["services"]["worker"]["deploy"] = {"mode": "global"}

    with pytest.raises(Impossible, match="Replicated into Global"):
        lab.deploy(changed)
    assert lab.fake.writes == []


def test_a_tag_becomes_a_digest_once_per_image_and_stays_until_the_tag_changes(lab: Lab) -> None:
    definition = {"services": {name: {"image": "registry.test/web:1"} for name in ("one", "two")}}
    lab.fake.registry["registry.test/web:1"] = "sha256:" + "a" * 64
    lab.result(definition)

    asked = [call for call in lab.engine.calls if "/distribution/" in call]
    assert len(asked) == 1
    image = lab.fake.by_name("shop_one")["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
    assert image == "registry.test/web:1@sha256:" + "a" * 64

    lab.fake.registry["registry.test/web:1"] = "sha256:" + "b" * 64
    assert lab.result(definition)["changed"] is False
    assert steps(lab.result(definition, resolve_image="always")) == ["update one", "update two"]


def test_a_login_goes_with_questions_and_writes_for_its_registry(lab: Lab) -> None:
    lab.fake.registry["registry.test/web:1"] = "sha256:" + "a" * 64
    login = {"registry.test": {"username": "me", "password": "secret-word"}}

    lab.result({"services": {"web": {"image": "registry.test/web:1"}, "x": {"image": "tiny:1"}}}, registry_auth=login)

    assert lab.fake.auth == ["GET /distribution/registry.test/web:1/json", "POST /services/create"]


def test_check_mode_without_an_engine_plans_everything_as_new(tmp_path: Path) -> None:
    runner = Runner(Engine(str(tmp_path / "none.sock")), Options("shop", shop(), object_key="k", check=True))

    step = runner.run()

    assert step.result is not None
    assert len(step.result["actions"]) == 5
    assert any("planned as new" in note for note in runner.state.notes)


def test_check_mode_without_a_swarm_plans_everything_as_new(lab: Lab) -> None:
    lab.fake.swarm = {"LocalNodeState": "inactive"}

    assert len(lab.result(shop(), check=True)["actions"]) == 5
    with pytest.raises(NotASwarmManager, match="is in no swarm"):
        lab.deploy(shop())


def test_check_mode_forgives_an_image_that_is_not_built_yet(lab: Lab) -> None:
    definition = {"services": {"web": {"image": "tiny:later"}}}

    assert lab.result(definition, check=True)["changed"] is True
    assert lab.state is not None
    assert any("tiny:later" in note for note in lab.state.notes)


def test_a_real_run_without_an_engine_says_so(tmp_path: Path) -> None:
    with pytest.raises(EngineUnreachable):
        Runner(Engine(str(tmp_path / "none.sock")), Options("shop", shop(), object_key="k")).run()


def test_a_worker_node_is_refused(lab: Lab) -> None:
    lab.fake.swarm = {"LocalNodeState": "active", "ControlAvailable": False}

    with pytest.raises(NotASwarmManager, match="Run this on a manager"):
        lab.deploy(shop())


def test_slices_come_to_the_same_end_and_carry_no_secret(lab: Lab) -> None:
    options = Options("shop", shop(), object_key="key", timeout=120.0)
    packed: str | None = None
    lines: list[str] = []
    slices = 0
    while True:
        runner = Runner(
            lab.engine, options, State.unpack(packed) if packed else None, lab.clock, lab.clock.sleep
        )  # fmt: skip
        step = runner.run(2.0)
        lines += step.lines
        slices += 1
        if step.result is not None:
            break
        packed = runner.state.pack()
        assert "password-one" not in json.dumps(vars(State.unpack(packed)), default=list)

    assert slices > 2
    assert steps(step.result)[-3:] == ["create migrate", "create web", "create worker"]
    assert lines[0].startswith("shop: web waiting for migrate")


def test_without_wait_only_conditions_are_waited_for(lab: Lab) -> None:
    lab.fake.behaviour["worker"] = "stays starting"

    assert "create worker" in steps(lab.result(shop(), wait=False))


def test_a_refused_service_is_reported_with_dockers_own_words(lab: Lab) -> None:
    def refuse(path: str) -> None:
        if path == "/services/create":
            lab.fake.networks.clear()

    lab.fake.before_write = refuse
    message, result = lab.failure(shop())

    assert result["failures"][0]["cause"] == "refused"
    assert "not found" in message


def test_an_engine_that_is_silent_for_a_moment_does_not_end_a_deployment(lab: Lab) -> None:
    seen: list[str] = []
    real = lab.fake.get

    def stutter(path: str, query: dict[str, str]) -> t.Any:
        seen.append(path)
        if path == "/services" and seen.count("/services") in (3, 4):
            raise Refused(503, "The swarm does not have a leader")
        return real(path, query)

    lab.fake.get = stutter  # type: ignore[method-assign]
    assert steps(lab.result(shop()))[-1] == "create worker"


def test_an_engine_that_stays_silent_ends_it(lab: Lab) -> None:
    real = lab.fake.get

    def fall_silent(path: str, query: dict[str, str]) -> t.Any:
        if lab.fake.writes and path == "/services":
            raise Refused(503, "The swarm does not have a leader")
        return real(path, query)

    lab.fake.get = fall_silent  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="does not have a leader"):
        lab.deploy(shop())


def test_a_secret_that_vanishes_during_the_run_is_named(lab: Lab) -> None:
    def vanish(path: str) -> None:
        if path == "/networks/create":
            lab.fake.objects["secrets"].clear()

    lab.fake.objects["secrets"].append({"ID": "s1", "Spec": {"Name": "db", "Labels": {}}})
    definition = {"services": {"web": {"image": "tiny:1", "secrets": ["db"]}}, "secrets": {"db": {"external": True}}}
    lab.fake.before_write = vanish

    _message, result = lab.failure(definition)

    assert result["failures"][0]["service"] == "web"
    assert "db" in result["failures"][0]["message"]


def test_absent_removes_this_stack_and_nothing_else(lab: Lab) -> None:
    lab.result(shop())
    other = Options("other", shop(), object_key="key")
    Runner(lab.engine, other, None, lab.clock, lab.clock.sleep).run()

    planned = lab.remove(check=True)
    assert lab.fake.writes == []
    gone = lab.remove()

    assert planned.result is not None
    assert gone.result is not None
    assert planned.result["actions"] == gone.result["actions"]
    assert lab.fake.names("services") == ["other_migrate", "other_web", "other_worker"]
    assert lab.fake.names("networks") == ["ingress", "other_default"]
    assert len(lab.fake.names("secrets")) == 1
    again = lab.remove()
    assert again.result is not None
    assert again.result["changed"] is False


def nightly(**deploy: t.Any) -> Definition:
    """A stack whose job takes its time, with the network that its tasks hold."""
    job = {"image": "tiny:1", "networks": ["inner"], "deploy": {"mode": "replicated-job", **deploy}}
    return {"services": {"web": {"image": "tiny:1"}, "nightly": job}, "networks": {"inner": {}}}


@pytest.mark.parametrize("mode", ["replicated-job", "global-job"])
def test_absent_stops_the_command_of_a_job_that_older_engines_would_let_go_on(lab: Lab, mode: str) -> None:
    lab.fake.behaviour["nightly"] = "runs"
    lab.result(nightly(mode=mode), wait=False)
    lab.fake.tick()

    gone = lab.remove()

    assert gone.failed == ""
    assert gone.result is not None
    assert sorted(steps(gone.result)) == [
        "remove shop_default",
        "remove shop_inner",
        "remove shop_nightly",
        "remove shop_web",
    ]
    assert lab.fake.services == {}
    assert lab.fake.tasks == []


def test_a_job_that_the_definition_no_longer_has_is_stopped_before_it_is_removed(lab: Lab) -> None:
    lab.fake.behaviour["nightly"] = "runs"
    lab.result(nightly(), wait=False)
    lab.fake.tick()

    result = lab.result({"services": {"web": {"image": "tiny:1"}}})

    assert steps(result)[0] == "remove shop_nightly"
    assert lab.fake.names("services") == ["shop_web"]
    assert {task["ServiceID"] for task in lab.fake.tasks} == {lab.fake.by_name("shop_web")["ID"]}


def test_tasks_on_a_lost_node_do_not_count(lab: Lab) -> None:
    lab.result(shop())
    lost = node("node1", "alpha")
    lost["Status"]["State"] = "down"
    lab.fake.nodes = [lost, node("node2", "beta")]

    _message, result = lab.failure(shop(), timeout=10.0)

    assert {failure["service"] for failure in result["failures"]} == {"web", "worker"}


def test_absent_is_true_already_where_there_is_no_swarm(lab: Lab) -> None:
    lab.fake.swarm = {"LocalNodeState": "inactive"}

    gone = lab.remove()

    assert gone.result is not None
    assert gone.result["changed"] is False


@pytest.mark.parametrize(
    "swarm", [{"LocalNodeState": "locked"}, {"LocalNodeState": "active", "ControlAvailable": False}]
)
def test_absent_is_not_claimed_where_the_swarm_cannot_be_asked(lab: Lab, swarm: dict[str, t.Any]) -> None:
    lab.fake.swarm = swarm

    with pytest.raises(NotASwarmManager):
        lab.remove()


def front(**network: t.Any) -> Definition:
    return {
        "services": {"web": {"image": "tiny:1", "networks": ["front"]}, "alone": {"image": "tiny:1"}},
        "networks": {"front": network},
    }


def test_a_network_is_made_anew_only_when_that_is_allowed_and_takes_its_services_with_it(lab: Lab) -> None:
    lab.result(front())
    old = next(item for item in lab.fake.networks if item["Name"] == "shop_front")["Id"]
    with pytest.raises(Impossible, match="another attachable"):
        lab.deploy(front(attachable=True))
    assert lab.fake.writes == []

    planned = lab.result(front(attachable=True), recreate=True, check=True)
    assert lab.fake.writes == []
    result = lab.result(front(attachable=True), recreate=True)

    assert steps(result) == steps(planned) == ["recreate shop_front", "recreate web"]
    assert [action["reason"] for action in result["actions"]] == [
        "changed: attachable",
        "its network shop_front is made anew",
    ]
    new = next(item for item in lab.fake.networks if item["Name"] == "shop_front")
    assert new["Id"] != old
    assert lab.fake.by_name("shop_web")["Spec"]["TaskTemplate"]["Networks"][0]["Target"] == new["Id"]
    assert lab.result(front(attachable=True))["changed"] is False


def test_a_service_that_fails_on_its_new_network_gets_its_old_definition_back(lab: Lab) -> None:
    lab.result(front())
    changed = front(attachable=True)
    changed["services"]["web"]["environment"] = {"NEW": "1"}
    lab.fake.behaviour["web"] = "fails"

    _message, result = lab.failure(changed, recreate=True)

    assert "Env" not in lab.fake.by_name("shop_web")["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert result["actions"][-1]["reason"] == "rolled back to its previous definition"


def test_another_mode_is_made_anew_only_when_that_is_allowed(lab: Lab) -> None:
    lab.result({"services": {"web": {"image": "tiny:1"}}})
    everywhere = {"services": {"web": {"image": "tiny:1", "deploy": {"mode": "global"}}}}

    with pytest.raises(Impossible, match="recreate: true"):
        lab.deploy(everywhere)
    result = lab.result(everywhere, recreate=True)

    assert steps(result) == ["recreate web"]
    assert "Global" in lab.fake.by_name("shop_web")["Spec"]["Mode"]
