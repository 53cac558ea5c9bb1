"""Every class of failure, provoked on a real engine: the class, where, how it ended, its last words, and what to do."""

from __future__ import annotations

import subprocess
import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.diagnose import ADVICE
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import Engine
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.preparing import Impossible
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.waiting import Limits
from local_registry import LocalRegistry
from private_engine import PrivateEngine
from report import Table
from stacks import Definition, Stack, service

#: One failed task is enough, and nobody waits long for a node that will not come.
QUICK: dict[str, t.Any] = {"resolve_image": "never", "limits": Limits(1, 1.0)}


class Ward:
    """Deploys what cannot run, and notes what was said about it."""

    def __init__(self, stack: Stack, table: Table) -> None:
        self.stack = stack
        self.table = table
        self.host = str(stack.engine.get("/info")["Name"])

    def failure(self, definition: Definition, **options: t.Any) -> dict[str, t.Any]:
        step = self.stack.deploy(definition, **{**QUICK, **options})
        assert step.failed
        assert step.result is not None
        assert step.result["rolled_back"] is True
        assert self.stack.exists("services") == []
        failure: dict[str, t.Any] = step.result["failures"][0]
        assert failure["advice"] == ADVICE[failure["cause"]]
        assert failure["advice"] in step.failed
        said = "; ".join([failure["message"], *failure["sums"], *failure["log"][-1:]])
        code = "" if failure["exit_code"] is None else failure["exit_code"]
        self.table.add(failure["cause"], failure["node"] or "-", code or "-", said.replace("\n", " ")[:160])
        return failure


@pytest.fixture
def ward(stack: Stack, tables: dict[str, Table]) -> Ward:
    return Ward(stack, tables["diagnosis"])


def one(**changes: t.Any) -> Definition:
    return {"services": {"web": service(**changes)}}


def test_an_image_that_no_registry_has(ward: Ward) -> None:
    failure = ward.failure(one(image="localhost:1/nosuch:9"))

    assert (failure["cause"], failure["node"]) == ("image_pull", ward.host)
    assert "localhost:1/nosuch:9" in failure["message"]


def test_a_registry_that_wants_a_login(ward: Ward, registry: LocalRegistry) -> None:
    image = registry.push("tiny:1", "private:1")

    failure = ward.failure(one(image=image))

    assert (failure["cause"], failure["node"]) == ("registry_auth", ward.host)
    assert "the registry says: " in failure["message"]


def test_a_wrong_login_is_found_before_anything_is_written(stack: Stack, registry: LocalRegistry) -> None:
    image = registry.push("tiny:1", "private:1")
    wrong = {registry.address: {"username": "puller", "password": "yesterday's"}}

    with pytest.raises(Impossible) as caught:
        stack.deploy(one(image=image), registry_auth=wrong)

    assert f"give registry_auth for {registry.address}" in str(caught.value)
    assert stack.writes() == []


def test_with_a_login_the_image_is_asked_for_once_and_pulled_by_digest(stack: Stack, registry: LocalRegistry) -> None:
    image = registry.push("tiny:1", "private:2")
    definition = {"services": {name: service(image=image) for name in ("one", "two", "three")}}

    step = stack.deploy(definition, registry_auth=registry.login)

    assert step.failed == ""
    assert [call for call in stack.engine.calls if "/distribution/" in call] == [f"GET /distribution/{image}/json"]
    images = {stack.service(name)["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] for name in definition["services"]}
    assert len(images) == 1
    assert images.pop().startswith(f"{image}@sha256:")
    assert not stack.deploy(definition, registry_auth=registry.login).result["changed"]  # type: ignore[index]
    assert not any("/distribution/" in call for call in stack.engine.calls)


def test_more_memory_than_any_node_has_left_with_the_sum(ward: Ward, stack: Stack) -> None:
    total = stack.engine.get("/info")["MemTotal"]
    half = {"resources": {"reservations": {"memory": total * 6 // 10}}}

    failure = ward.failure(one(deploy={"replicas": 2, **half}))

    assert failure["cause"] == "unschedulable"
    assert failure["sums"][0] == f"a task asks for {total * 6 // 10 / 2**20:g} MiB of memory"
    assert failure["sums"][1].startswith(f"{ward.host}: ")
    assert f"it has {total / 2**20:g}, and {total * 6 // 10 / 2**20:g} are reserved" in failure["sums"][1]


def test_a_constraint_that_no_node_meets_any_more(ward: Ward) -> None:
    failure = ward.failure(one(deploy={"placement": {"constraints": ["node.ip == 192.0.2.1"]}}))

    assert failure["cause"] == "unschedulable"
    assert "scheduling constraints not satisfied" in failure["message"]
    assert failure["sums"] == [f"{ward.host}: it was not checked whether it meets node.ip == 192.0.2.1"]


def test_a_port_that_a_task_of_another_service_holds(ward: Ward) -> None:
    port = {"ports": [{"target": 80, "published": 8099, "mode": "host"}]}
    holder = Stack(ward.stack.engine.socket_path, f"{ward.stack.name}h")
    try:
        assert holder.deploy(one(**port)).failed == ""
        failure = ward.failure(one(**port))
    finally:
        holder.remove()

    assert failure["cause"] == "port_conflict"
    assert "host-mode port already in use" in failure["message"]
    assert failure["log"] == []


def test_a_port_that_a_program_outside_of_the_swarm_holds(ward: Ward, docker: PrivateEngine) -> None:
    listen = (
        "import socket, sys; s = socket.create_server(('0.0.0.0', 8098)); print('up', flush=True); sys.stdin.read()"
    )
    inside = ["nsenter", f"--net=/proc/{docker.process.pid}/ns/net", "python3", "-c", listen]
    with subprocess.Popen(inside, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "up\n"
        failure = ward.failure(one(ports=[{"target": 80, "published": 8098, "mode": "host"}]))

    assert (failure["cause"], failure["node"]) == ("port_conflict", ward.host)


def test_a_port_of_the_mesh_that_another_stack_publishes_is_found_before_anything_is_written(stack: Stack) -> None:
    other = Stack(stack.engine.socket_path, f"{stack.name}o")
    ports = {"ports": [{"target": 80, "published": 8097}], "deploy": {"endpoint_mode": "vip"}}
    try:
        other.deploy(one(**ports), wait=False)
        with pytest.raises(Impossible) as caught:
            stack.deploy(one(**ports))
    finally:
        other.remove()

    assert f"port 8097/tcp is already published by the service {other.name}_web" in str(caught.value)
    assert stack.writes() == []


def test_a_health_check_that_says_no(ward: Ward) -> None:
    check = {"test": ["CMD-SHELL", "echo queue is empty; false"], "interval": "1s", "retries": 1}

    failure = ward.failure(one(healthcheck=check, command=["sh", "-c", "echo serving; exec sleep 1000"]))

    assert (failure["cause"], failure["node"], failure["log"]) == ("unhealthy", ward.host, ["serving"])
    assert "queue is empty" in failure["message"]


def test_a_process_that_needs_more_memory_than_it_may_use(ward: Ward) -> None:
    if not ward.stack.engine.get("/info")["MemoryLimit"]:
        pytest.skip("this machine's kernel has no memory limits for containers")
    eat = "echo hungry; x=0123456789abcdef; while true; do x=$x$x; done"
    limited = {"resources": {"limits": {"memory": "16M"}}}

    failure = ward.failure(one(command=["sh", "-c", eat], init=False, deploy=limited))

    assert (failure["cause"], failure["node"], failure["exit_code"]) == ("oom", ward.host, 137)
    assert failure["log"] == ["hungry"]


def test_a_process_that_ends_by_itself(ward: Ward) -> None:
    failure = ward.failure(one(command=["sh", "-c", "echo cannot reach the database >&2; exit 3"]))

    assert (failure["cause"], failure["node"], failure["exit_code"]) == ("crash_loop", ward.host, 3)
    assert failure["log"] == ["cannot reach the database"]


def test_a_secret_that_somebody_removes_between_plan_and_write(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    definition = one(secrets=["db"])
    definition["secrets"] = {"db": {"data": "password-of-the-database"}}
    post = Engine.post

    def meddling(engine: Engine, path: str, *arguments: t.Any, **more: t.Any) -> t.Any:
        if path == "/services/create":
            for item in engine.get("/secrets"):
                engine.delete(f"/secrets/{item['ID']}")
        return post(engine, path, *arguments, **more)

    monkeypatch.setattr(Engine, "post", meddling)
    step = ward.stack.deploy(definition, **QUICK)
    monkeypatch.undo()

    assert step.result is not None
    failure = step.result["failures"][0]
    assert failure["cause"] == "missing_secret"
    assert "secret" in failure["message"]
    assert ward.stack.exists("services") == []
    ward.table.add(failure["cause"], "-", "-", failure["message"][:160])
    assert ward.stack.deploy(definition).failed == ""


def test_a_network_without_a_free_address(ward: Ward) -> None:
    definition = one(networks=["narrow"], deploy={"replicas": 6})
    definition["networks"] = {"narrow": {"ipam": {"config": [{"subnet": "10.78.0.0/29"}]}}}

    failure = ward.failure(definition)

    assert failure["cause"] == "address_exhaustion"
    assert f"network {ward.stack.name}_narrow (10.78.0.0/29): 5 addresses, " in failure["sums"][0]


def test_a_directory_that_the_node_does_not_have(ward: Ward) -> None:
    failure = ward.failure(one(volumes=[{"type": "bind", "source": "/nosuch/dir", "target": "/data"}]))

    assert (failure["cause"], failure["node"]) == ("missing_mount", ward.host)
    assert "/nosuch/dir" in failure["message"]


def test_a_command_that_the_image_does_not_have(ward: Ward) -> None:
    failure = ward.failure(one(command=["no-such-program"]))

    assert (failure["cause"], failure["node"]) == ("bad_command", ward.host)
