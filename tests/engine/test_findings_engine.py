"""What goes wrong in deployments to Swarm: done right by swarm_stack, and shown with its peers on the same engine."""

from __future__ import annotations

import copy
import json
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import Engine
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.preparing import Impossible
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.waiting import Limits
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm import drain
from peers import STUCK, DockerCli
from private_engine import CannotStart, PrivateEngine, swarm_of_one
from report import Table
from stacks import Definition, Stack, job, service

QUICK: dict[str, t.Any] = {"resolve_image": "never", "limits": Limits(1, 1.0)}


def until(what: str, condition: t.Callable[[], t.Any]) -> t.Any:
    """The first answer that is true."""
    deadline = time.monotonic() + STUCK
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what} did not happen within {STUCK:g} s")


class Peer:
    """A stack that Docker's command line deploys."""

    def __init__(self, cli: DockerCli, engine: Engine, name: str) -> None:
        self.cli, self.engine, self.name = cli, engine, name

    def service(self, name: str) -> dict[str, t.Any]:
        found: dict[str, t.Any] = self.engine.get(f"/services/{self.name}_{name}")
        return found

    def names(self) -> list[str]:
        found = self.engine.get("/services", {"filters": {"name": [f"{self.name}_"]}})
        return sorted(item["Spec"]["Name"].partition("_")[2] for item in found)

    def update_state(self, name: str) -> str:
        return str((self.service(name).get("UpdateStatus") or {}).get("State", ""))


@pytest.fixture(scope="module")
def cli(docker: PrivateEngine, tmp_path_factory: pytest.TempPathFactory) -> DockerCli:
    return DockerCli(docker.socket, tmp_path_factory.mktemp("peer"))


@pytest.fixture
def peer(cli: DockerCli, stack: Stack) -> Iterator[Peer]:
    made = Peer(cli, stack.engine, f"{stack.name}p")
    yield made
    Stack(stack.engine.socket_path, made.name).remove()


@pytest.fixture
def note(tables: dict[str, Table]) -> t.Callable[[str, str, str, str], None]:
    return tables["findings"].add


def quick(**changes: t.Any) -> Definition:
    """A service whose tasks are replaced without a pause; a Compose file may have it as well."""
    deploy = {"restart_policy": {"delay": "100ms"}, **changes.pop("deploy", {})}
    return service(**changes, deploy=deploy)


def failing(**changes: t.Any) -> Definition:
    return quick(command=["sh", "-c", "echo no database; exit 3"], **changes)


def environment(found: dict[str, t.Any] | None) -> list[str]:
    return (found or {}).get("TaskTemplate", {}).get("ContainerSpec", {}).get("Env") or []


def test_1_an_unchanged_run_keeps_the_rollback_point(stack: Stack, peer: Peer, note: t.Callable[..., None]) -> None:
    versions = [{"web": quick(environment={"LEVEL": level})} for level in ("1", "2", "2")]

    for services in versions:
        assert stack.deploy({"services": services}).failed == ""
    assert stack.writes() == []
    assert environment(stack.service("web").get("PreviousSpec")) == ["LEVEL=1"]

    for services in versions:
        assert peer.cli.deploy(peer.cli.file("one", services), peer.name).returncode == 0
    assert environment(peer.service("web")["PreviousSpec"]) == ["LEVEL=2"]
    note("1", "an unchanged run", "rollback goes to the version before", "rollback goes nowhere")


def test_2_and_6_a_rollout_that_swarm_rolled_back_has_failed(
    stack: Stack, peer: Peer, note: t.Callable[..., None]
) -> None:
    by_itself = {"deploy": {"update_config": {"monitor": "1s", "failure_action": "rollback"}}}
    good, bad = {"web": quick(**copy.deepcopy(by_itself))}, {"web": failing(**copy.deepcopy(by_itself))}

    assert stack.deploy({"services": good}).failed == ""
    before = stack.service("web")["Spec"]
    for _ in range(2):
        step = stack.deploy({"services": bad}, limits=Limits(2, 5.0))
        assert "web failed" in step.failed
        assert step.result is not None
        assert step.result["rolled_back"] is True
        assert step.result["failures"][0]["log"] == ["no database"]
        assert stack.service("web")["Spec"] == before
    assert stack.deploy({"services": good}).failed == ""
    assert stack.writes() == []

    assert peer.cli.deploy(peer.cli.file("good", good), peer.name, wait=True).returncode == 0
    path = peer.cli.file("bad", bad)
    assert peer.cli.deploy(path, peer.name, wait=True).returncode == 0
    until("Swarm's rollback", lambda: peer.update_state("web") == "rollback_completed")
    assert not environment(peer.service("web").get("PreviousSpec"))
    back = peer.cli.run("service", "rollback", "--detach", f"{peer.name}_web")
    assert back.returncode != 0, "there should be nothing to go back to"
    note("2", "a rollout that Swarm rolls back", "fails, with the log", "exit status 0")

    peer.cli.count()
    status, counts = peer.cli.docker_stack(path, peer.name)
    until("Swarm's rollback", lambda: peer.update_state("web") == "rollback_completed")
    assert (status, counts["failed"]) == (0, 0)
    if peer.cli.waits:
        assert counts["changed"] == 0
        note("2", "... with docker_stack, detach: false", "fails, with the log", "ok=1 changed=0")
    note("6", "the same bad file again", "fails again, and the good version stays", "rolls out again, exit status 0")


def test_3_a_service_that_cannot_start_ends_the_run(stack: Stack, peer: Peer, note: t.Callable[..., None]) -> None:
    services = {"web": failing(), "far": quick(deploy={"placement": {"constraints": ["node.ip == 192.0.2.1"]}})}
    for name, cause in (("web", "crash_loop"), ("far", "unschedulable")):
        step = stack.deploy({"services": {name: services[name]}}, **QUICK)
        assert step.result is not None
        assert step.result["failures"][0]["cause"] == cause

    if not peer.cli.waits:
        note("3", "a new service that cannot start", "named within seconds", "exit status 0 at once")
        return
    with peer.cli.start(peer.cli.file("stuck", services), peer.name) as waiting:
        try:
            filters = {"filters": {"service": [f"{peer.name}_web"]}}
            until(
                "a crash loop",
                lambda: (
                    peer.names() == ["far", "web"]
                    and sum(task["Status"]["State"] == "failed" for task in peer.engine.get("/tasks", filters)) >= 3
                ),
            )
            assert waiting.poll() is None
        finally:
            waiting.kill()
    note("3", "a new service that cannot start", "named within seconds", "waits without end")


def test_4_a_job_that_has_run_is_not_run_again(stack: Stack, peer: Peer, note: t.Callable[..., None]) -> None:
    services = {"migrate": job("true")}
    for _ in range(2):
        assert stack.deploy({"services": services}).failed == ""
    assert stack.service("migrate")["JobStatus"]["JobIteration"].get("Index", 0) == 0

    path = peer.cli.file("job", services)
    for _ in range(2):
        done = peer.cli.deploy(path, peer.name)
        assert done.returncode == 0, done.stderr
    assert peer.service("migrate")["JobStatus"]["JobIteration"]["Index"] == 1
    note("4", "a migration in an unchanged file", "runs once", "runs in each deployment")


def test_5_a_secret_that_a_rollback_needs_is_kept(stack: Stack, peer: Peer, note: t.Callable[..., None]) -> None:
    def version(secret: str) -> Definition:
        return {"services": {"web": quick(secrets=["db"])}, "secrets": {"db": {"data": secret}}}

    for secret in ("password-one", "password-two"):
        assert stack.deploy(version(secret), keep_objects=1).failed == ""
    first = stack.service("web")
    version_now = {"version": str(first["Version"]["Index"]), "rollback": "previous"}
    stack.engine.post(f"/services/{first['ID']}/update", first["Spec"], version_now)
    until("Swarm's own rollback", lambda: "rollback_completed" in str(stack.service("web").get("UpdateStatus")))
    assert stack.deploy(version("password-one"), keep_objects=1).failed == ""

    post = peer.engine.post
    for name in ("one", "two"):
        label = {"com.docker.stack.namespace": peer.name}
        post("/secrets/create", {"Name": f"{peer.name}_{name}", "Labels": label, "Data": "cGFzc3dvcmQ="})
    for name in ("one", "two"):
        mounted = {"web": quick(secrets=[{"source": "db", "target": "db"}])}
        external = {"db": {"external": True, "name": f"{peer.name}_{name}"}}
        done = peer.cli.deploy(peer.cli.file(name, mounted, secrets=external), peer.name)
        assert done.returncode == 0, done.stderr
    assert peer.cli.run("secret", "rm", f"{peer.name}_one").returncode == 0
    previous = json.dumps(peer.engine.get(f"/services/{peer.name}_web")["PreviousSpec"])
    assert f'"{peer.name}_one"' in previous, "Swarm's own rollback would ask for what is gone"
    note("5", "garbage collection of secrets", "keeps what a rollback needs", "docker secret rm takes it away")


def test_8_what_leaves_the_definition_goes_last(stack: Stack, peer: Peer, note: t.Callable[..., None]) -> None:
    assert stack.deploy({"services": {"old": quick()}}).failed == ""
    assert stack.deploy({"services": {"new": failing()}}, **QUICK).failed
    assert stack.exists("services") == [f"{stack.name}_old"]

    assert peer.cli.deploy(peer.cli.file("old", {"old": quick()}), peer.name).returncode == 0
    missing = {"db": {"external": True, "name": "nosuch"}}
    path = peer.cli.file("new", {"new": quick(secrets=["db"])}, secrets=missing)
    assert peer.cli.deploy(path, peer.name, "--prune").returncode != 0
    assert peer.names() == []
    note("8", "a new version that cannot start", "the old service still runs", "--prune has removed it before")


def test_8_a_network_whose_options_change_is_made_anew_only_when_that_is_allowed(
    stack: Stack, peer: Peer, note: t.Callable[..., None]
) -> None:
    def version(*, attachable: bool) -> Definition:
        return {
            "services": {"web": quick(networks=["front"]), "other": quick()},
            "networks": {"front": {"attachable": attachable}},
        }

    def attachable(name: str) -> bool:
        return bool(stack.engine.get(f"/networks/{name}_front")["Attachable"])

    assert stack.deploy(version(attachable=False)).failed == ""
    other = stack.service("other")["Version"]
    with pytest.raises(Impossible, match=r"networks\.front: .* another attachable"):
        stack.deploy(version(attachable=True))
    assert stack.writes() == []
    planned = stack.deploy(version(attachable=True), recreate=True, check=True)
    assert stack.writes() == []
    done = stack.deploy(version(attachable=True), recreate=True)
    assert done.failed == ""
    assert planned.result is not None
    assert done.result is not None
    assert done.result["actions"] == planned.result["actions"]
    assert [(item["kind"], item["action"]) for item in done.result["actions"]] == [
        ("network", "recreate"),
        ("service", "recreate"),
    ]
    assert attachable(stack.name)
    assert stack.service("other")["Version"] == other
    assert stack.deploy(version(attachable=True)).result["changed"] is False  # type: ignore[index]

    for value in (False, True):
        given = version(attachable=value)
        path = peer.cli.file("net", given["services"], networks=given["networks"])
        assert peer.cli.deploy(path, peer.name).returncode == 0
    assert not attachable(peer.name)
    note("8", "a network with other options", "is named; made anew when allowed", "stays as it was, exit status 0")


def test_8_a_mode_changes_only_when_that_is_allowed(stack: Stack) -> None:
    assert stack.deploy({"services": {"web": quick()}}).failed == ""
    everywhere = {"services": {"web": quick(deploy={"mode": "global"})}}

    with pytest.raises(Impossible, match="recreate: true"):
        stack.deploy(everywhere)
    step = stack.deploy(everywhere, recreate=True)

    assert step.failed == ""
    assert "Global" in stack.service("web")["Spec"]["Mode"]


def test_9_services_wait_for_what_they_depend_on(stack: Stack, peer: Peer, note: t.Callable[..., None]) -> None:
    after = {"migrate": {"condition": "service_completed_successfully"}}
    services = {"a": quick(depends_on=after), "migrate": job("sleep 1")}
    step = stack.deploy({"services": services})
    assert step.result is not None
    assert [item["name"] for item in step.result["actions"] if item["kind"] != "network"] == ["migrate", "a"]

    refused = peer.cli.deploy(peer.cli.file("long", services), peer.name)
    assert refused.returncode != 0
    assert "depends_on must be a list" in refused.stderr
    services["a"]["depends_on"] = ["migrate"]
    assert peer.cli.deploy(peer.cli.file("short", services), peer.name).returncode == 0
    assert peer.names() == ["a", "migrate"]
    note("9", "depends_on with a condition", "in that order", "refused; the short form is ignored")


def test_10_an_unchanged_run_is_a_few_questions_to_the_engine(
    stack: Stack, peer: Peer, note: t.Callable[..., None]
) -> None:
    services = {"one": quick(), "two": quick()}
    stack.deploy({"services": services})
    assert stack.deploy({"services": services}).failed == ""
    ours = len(stack.engine.calls)
    assert ours <= 8
    assert stack.writes() == []

    path = peer.cli.file("two", services)
    assert peer.cli.docker_stack(path, peer.name)[0] == 0
    peer.cli.count()
    assert peer.cli.docker_stack(path, peer.name)[0] == 0
    theirs = peer.cli.count()
    assert theirs >= 2 * len(services) + 1
    note(
        "10",
        f"an unchanged run, {len(services)} services",
        f"{ours} requests, 0 programs",
        f"{theirs} runs of the docker program (docker_stack)",
    )


def test_the_docker_program_sees_the_stack_and_can_remove_it(stack: Stack, cli: DockerCli) -> None:
    definition = {"services": {"web": quick()}, "secrets": {"db": {"data": "some-password"}}}
    assert stack.deploy(definition).failed == ""

    assert stack.name in cli.run("stack", "ls", "--format", "{{.Name}}").stdout.split()
    assert f"{stack.name}_web.1" in cli.run("stack", "ps", stack.name, "--format", "{{.Name}}").stdout
    removed = cli.run("stack", "rm", stack.name)

    assert removed.returncode == 0, removed.stderr
    until("the end of the stack", lambda: not any(map(stack.exists, ("services", "secrets", "networks"))))


def test_somebody_else_s_write_is_seen_and_planned_around(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    definition = {"services": {"web": quick(environment={"LEVEL": "1"}, deploy={"replicas": 1})}}
    stack.deploy(definition)
    definition["services"]["web"]["environment"]["LEVEL"] = "2"
    meddler = Engine(stack.engine.socket_path)
    post, meddled = Engine.post, []

    def racing(engine: Engine, path: str, *arguments: t.Any, **more: t.Any) -> t.Any:
        if engine is stack.engine and path.endswith("/update") and not meddled:
            meddled.append(path)
            found = meddler.get(f"/services/{stack.name}_web")
            labels = {**found["Spec"]["Labels"], "somebody": "else"}
            changed = {**found["Spec"], "Labels": labels}
            post(meddler, f"/services/{found['ID']}/update", changed, {"version": str(found["Version"]["Index"])})
        return post(engine, path, *arguments, **more)

    monkeypatch.setattr(Engine, "post", racing)
    step = stack.deploy(definition)

    assert meddled
    assert step.failed == ""
    updates = [call for call in stack.writes() if call.endswith("/update")]
    assert len(updates) == 2, "the refused one, and the one after the new plan"
    assert environment(stack.service("web")["Spec"]) == ["LEVEL=2"]
    assert "somebody" in stack.service("web")["PreviousSpec"]["Labels"]


def test_7_a_drain_lets_work_finish_and_a_restart_of_the_engine_does_not(
    docker: PrivateEngine, note: t.Callable[..., None], tmp_path: Path
) -> None:
    """On an engine of its own, which is drained, used again, and ended as systemctl restart ends it."""
    assert docker.process.poll() is None
    # Swarm gives containers no StopTimeout, so an engine that ends gives them 10 s (moby issue 36955).
    work = (
        "trap 'echo asked > /mark/asked; sleep 12; echo done > /mark/finished; exit 0' TERM; while :; do sleep 1; done"
    )
    try:
        with swarm_of_one() as engine:
            stack = Stack(engine.socket, "work")
            mount = {"type": "bind", "source": str(tmp_path), "target": "/mark"}
            worker = quick(command=["sh", "-c", work], init=False, volumes=[mount], stop_grace_period="60s")
            assert stack.deploy({"services": {"worker": worker}}).failed == ""
            node = stack.engine.get("/nodes")[0]
            # A swarm of one is not drained; the plan is told of a second node.
            change = drain.plan_drain([node, {**node, "ID": "other"}], node)
            assert change is not None
            drain.write_availability(stack.engine, change)
            emptied = drain.await_empty(stack.engine, node["ID"], drain.longest_grace(stack.engine, ["work_worker"]))
            assert not emptied.stayed
            assert (tmp_path / "finished").exists()

            back = drain.plan_restore(stack.engine.get("/nodes")[0], always=True)
            assert back is not None
            (tmp_path / "finished").unlink()
            (tmp_path / "asked").unlink()
            drain.write_availability(stack.engine, back)
            until(
                "the worker again",
                lambda: any(
                    task["Status"]["State"] == "running" and task["DesiredState"] == "running"
                    for task in stack.engine.get("/tasks")
                ),
            )
            engine.process.terminate()
            engine.process.wait(STUCK)
            assert (tmp_path / "asked").exists()
            assert not (tmp_path / "finished").exists()
    except CannotStart as reason:
        pytest.fail(str(reason), pytrace=False)
    note("7", "work within stop_grace_period", "swarm_drain: is finished", "restart of the engine: is cut off")
