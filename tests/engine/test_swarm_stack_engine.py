"""swarm_stack against a real Docker Engine."""

from __future__ import annotations

import copy
import time

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.objects import STACK_LABEL, TERMINAL
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.preparing import Impossible
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.runner import Runner
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.state import Options, State
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.waiting import Limits
from stacks import Definition, Stack, job, service


def web() -> Definition:
    """A migration, a web service behind it and a worker behind that, with one secret."""
    return {
        "services": {
            "migrate": job("cat /run/secrets/db"),
            "web": service(
                secrets=["db"],
                environment={"LEVEL": "1"},
                depends_on={"migrate": {"condition": "service_completed_successfully"}},
            )
            | {"healthcheck": {"test": ["CMD", "true"], "interval": "1s"}},
            "worker": service(depends_on={"web": {"condition": "service_healthy"}}),
        },
        "secrets": {"db": {"data": "first-password"}},
    }


def with_secret(definition: Definition) -> Definition:
    definition["services"]["migrate"]["secrets"] = ["db"]
    return definition


def test_a_new_stack_runs_in_order_and_an_unchanged_one_is_not_written(stack: Stack) -> None:
    definition = with_secret(web())

    created = stack.deploy(definition)

    assert created.failed == ""
    assert created.result is not None
    assert [(a["kind"], a["action"]) for a in created.result["actions"]] == [
        ("network", "create"),
        ("secret", "create"),
        ("job", "create"),
        ("service", "create"),
        ("service", "create"),
    ]
    assert [a["name"] for a in created.result["actions"]][2:] == ["migrate", "web", "worker"]
    assert created.result["services"]["web"]["running"] == 1

    began = time.monotonic()
    again = stack.deploy(definition)
    took = time.monotonic() - began

    assert again.result is not None
    assert again.result["changed"] is False
    assert stack.writes() == []
    assert len(stack.engine.calls) <= 8
    assert took < 0.5
    print(f"no-op: {len(stack.engine.calls)} calls, {took:.3f} s")


def test_a_changed_setting_writes_only_its_service(stack: Stack) -> None:
    definition = with_secret(web())
    stack.deploy(definition)
    definition["services"]["web"]["environment"]["LEVEL"] = "2"

    planned = stack.deploy(definition, check=True)
    assert stack.writes() == []
    changed = stack.deploy(definition)

    assert planned.result is not None
    assert changed.result is not None
    assert planned.result["actions"] == changed.result["actions"]
    assert [(a["name"], a["reason"]) for a in changed.result["actions"]] == [("web", "changed: environment")]
    assert len(stack.writes()) == 1
    assert stack.service("migrate")["JobStatus"]["JobIteration"].get("Index", 0) == 0


def test_a_rotated_secret_restarts_its_users_and_old_versions_are_collected(stack: Stack) -> None:
    definition = with_secret(web())
    names = []
    for password in ("first-password", "second-password", "third-password"):
        definition["secrets"]["db"]["data"] = password
        step = stack.deploy(definition, keep_objects=1)
        assert step.failed == ""
        names.append(stack.service("web")["Spec"]["TaskTemplate"]["ContainerSpec"]["Secrets"][0]["SecretName"])

    assert len(set(names)) == 3
    # The current version, and the one that a rollback of the services would need.
    assert set(stack.exists("secrets")) == set(names[-2:])
    assert stack.service("worker")["Version"]["Index"] < stack.service("web")["Version"]["Index"]


def test_a_failing_job_stops_what_depends_on_it_and_is_run_again(stack: Stack) -> None:
    definition = with_secret(web())
    stack.deploy(definition)
    before = stack.service("web")["Spec"]
    broken = copy.deepcopy(definition)
    broken["services"]["migrate"]["command"] = ["sh", "-c", "echo column is missing; exit 3"]
    broken["services"]["web"]["image"] = "tiny:2"

    failed = stack.deploy(broken)

    assert failed.result is not None
    failure = failed.result["failures"][0]
    assert (failure["service"], failure["cause"], failure["exit_code"]) == ("migrate", "crash_loop", 3)
    assert failure["log"] == ["column is missing"]
    assert "column is missing" in failed.failed
    assert stack.service("web")["Spec"] == before

    again = stack.deploy(broken)
    assert again.result is not None
    assert again.result["actions"][0]["action"] == "run again"
    assert again.failed

    fixed = stack.deploy(definition)
    assert fixed.failed == ""
    assert stack.writes() == [f"POST /services/{stack.service('migrate')['ID']}/update"]


def test_an_image_that_does_not_exist_is_refused_before_anything_is_written(stack: Stack) -> None:
    definition = {"services": {"web": service(image="localhost:1/nosuch:9")}}

    with pytest.raises(Impossible) as caught:
        stack.deploy(definition)

    assert "services.web.image" in str(caught.value)
    assert "localhost:1/nosuch:9" in str(caught.value)
    assert stack.writes() == []


def test_a_crash_loop_is_explained_and_rolled_back(stack: Stack) -> None:
    definition = {
        "services": {"web": service(), "other": service()},
        "secrets": {"db": {"data": "some-password-here"}},
    }
    definition["services"]["web"]["secrets"] = ["db"]
    stack.deploy(definition)
    before = {name: stack.service(name)["Spec"] for name in ("web", "other")}
    broken = copy.deepcopy(definition)
    broken["services"]["web"]["image"] = "tiny:2"
    broken["services"]["web"]["command"] = ["sh", "-c", "echo bad; cat /run/secrets/db; exit 7"]
    broken["services"]["other"]["environment"] = {"NEW": "1"}

    failed = stack.deploy(broken)

    assert failed.result is not None
    assert failed.result["rolled_back"] is True
    failure = failed.result["failures"][0]
    assert (failure["service"], failure["cause"], failure["exit_code"]) == ("web", "crash_loop", 7)
    assert failure["log"] == ["bad", "********"]
    assert failure["node"]
    assert {name: stack.service(name)["Spec"] for name in ("web", "other")} == before
    assert stack.deploy(definition).failed == ""
    assert stack.writes() == []


def test_old_tasks_may_finish_their_work_after_the_deadline(stack: Stack) -> None:
    busy = ["sh", "-c", "trap '' TERM; while true; do sleep 1; done"]
    definition = {"services": {"worker": service(command=busy, init=False, stop_grace_period="12s")}}
    stack.deploy(definition)
    definition["services"]["worker"]["environment"] = {"NEW": "1"}

    step = stack.deploy(definition, timeout=5.0)

    assert step.failed == ""
    assert step.result is not None
    assert step.result["services"]["worker"]["running"] == 0
    assert stack.service("worker")["UpdateStatus"]["State"] == "updating"


def test_a_service_that_cannot_start_at_first_is_removed_again(stack: Stack) -> None:
    definition = {"services": {"web": service(command=["sh", "-c", "exit 4"])}}

    failed = stack.deploy(definition)

    assert failed.result is not None
    assert failed.result["rolled_back"] is True
    assert failed.result["failures"][0]["cause"] == "crash_loop"
    assert stack.exists("services") == []


def test_each_fault_is_named_by_its_cause(stack: Stack) -> None:
    unhealthy = service() | {
        "healthcheck": {"test": ["CMD-SHELL", "echo queue is empty; false"], "interval": "1s", "retries": 1}
    }
    faults = {
        "unhealthy": unhealthy,
        "missing_mount": service(volumes=[{"type": "bind", "source": "/nosuch/dir", "target": "/data"}]),
        "bad_command": service(command=["no-such-program"]),
        "image_pull": service(image="localhost:1/nosuch:9"),
        "unschedulable": service(
            deploy={
                "resources": {"reservations": {"cpus": 0.01, "memory": "4M"}},
                "placement": {"constraints": ["node.ip == 192.0.2.1"]},
            }
        ),
    }
    seen = {}
    for cause, definition in faults.items():
        step = stack.deploy({"services": {"web": definition}}, resolve_image="never", limits=Limits(1, 2.0))
        assert step.result is not None
        seen[cause] = (step.result["failures"][0]["cause"], step.result["failures"][0]["message"])

    assert {cause: found for cause, (found, _message) in seen.items()} == {cause: cause for cause in faults}, seen
    assert "queue is empty" in seen["unhealthy"][1]


def test_a_wait_is_cut_into_slices_that_go_on_where_they_stopped(stack: Stack) -> None:
    definition = {
        "services": {
            "first": job("sleep 2"),
            "web": service(depends_on={"first": {"condition": "service_completed_successfully"}}),
        }
    }
    options = Options(stack.name, definition, timeout=60.0)
    packed, lines, slices = None, [], 0
    while True:
        runner = Runner(stack.engine, options, State.unpack(packed) if packed else None)
        step = runner.run(1.0)
        lines += step.lines
        slices += 1
        if step.result is not None:
            break
        packed = runner.state.pack()

    assert slices > 3
    assert step.result["changed"] is True
    assert any("web waiting for first" in line for line in lines)
    assert any("first job complete" in line for line in lines)
    assert len(lines) == len(set(lines))


def test_what_leaves_the_definition_is_removed_last_and_absent_removes_all(stack: Stack) -> None:
    stack.deploy(
        {
            "services": {"web": service(networks=["front"]), "old": service(networks=["back"])},
            "networks": {"front": {}, "back": {}},
        }
    )

    step = stack.deploy({"services": {"web": service(networks=["front"])}, "networks": {"front": {}}})

    assert step.result is not None
    assert [(a["kind"], a["action"]) for a in step.result["actions"]] == [("service", "remove"), ("network", "remove")]
    assert stack.exists("services") == [f"{stack.name}_web"]

    planned = stack.remove(check=True)
    gone = stack.remove()
    assert planned.result is not None
    assert gone.result is not None
    assert planned.result["actions"] == gone.result["actions"]
    for kind in ("services", "networks", "secrets", "configs"):
        assert stack.exists(kind) == []
    # The swarm forgets a task some time after its end.
    tasks = stack.engine.get("/tasks", {"filters": {"label": [f"{STACK_LABEL}={stack.name}"]}})
    assert [task for task in tasks if task["Status"]["State"] not in TERMINAL] == []
    again = stack.remove()
    assert again.result is not None
    assert again.result["changed"] is False
    assert stack.writes() == []


@pytest.mark.parametrize("mode", ["replicated-job", "global-job"])
@pytest.mark.parametrize("way", ["absent", "left out"])
def test_the_command_of_a_job_that_is_removed_does_not_go_on(stack: Stack, mode: str, way: str) -> None:
    nightly = service(command=["sleep", "100001"]) | {"deploy": {"mode": mode}}
    stack.deploy({"services": {"web": service(), "nightly": nightly}}, wait=False)

    def commands() -> int:
        found = stack.engine.get("/containers/json", {"filters": {"label": [f"{STACK_LABEL}={stack.name}"]}})
        return sum("100001" in item["Command"] for item in found)

    deadline = time.monotonic() + 60
    while commands() == 0:
        assert time.monotonic() < deadline, "the job does not run"
        time.sleep(0.2)

    step = stack.remove() if way == "absent" else stack.deploy({"services": {"web": service()}})

    assert step.failed == ""
    assert f"{stack.name}_nightly" not in stack.exists("services")
    deadline = time.monotonic() + 30  # its service's network may be gone before the container is
    while commands():
        assert time.monotonic() < deadline, "the command goes on, and no service shows it"
        time.sleep(0.2)


def test_a_service_with_every_key_compares_equal_to_what_docker_made_of_it(stack: Stack) -> None:
    full = {
        "image": "tiny:1",
        "command": ["sleep", "1"],
        "entrypoint": ["/bin/env"],
        "environment": {"A": "1", "EMPTY": "", "N": 3},
        "secrets": ["db", {"source": "db", "target": "again", "uid": "50000", "gid": "0", "mode": "0400"}],
        "configs": [{"source": "ca", "target": "/etc/ca.pem", "mode": "0444"}],
        "networks": {"front": {"aliases": ["www", "web"]}, "back": None},
        "ports": [{"target": 80, "published": 8080, "mode": "host"}, {"target": 53, "protocol": "udp", "mode": "host"}],
        "volumes": [
            {"type": "bind", "source": "/tmp", "target": "/t", "read_only": True, "bind": {"propagation": "rslave"}},
            {"type": "volume", "source": "data", "target": "/data", "volume": {"nocopy": True}},
            {"type": "volume", "target": "/anonymous"},
            {"type": "tmpfs", "target": "/scratch", "tmpfs": {"size": "16M"}},
        ],
        "healthcheck": {
            "test": ["CMD", "true"], "interval": "1m30s", "timeout": "5s", "retries": 2, "start_period": "9s",
        },
        "stop_grace_period": "12h",
        "stop_signal": "SIGQUIT",
        "hostname": "h-{{.Task.Slot}}",
        "user": "50000:0",
        "working_dir": "/tmp",
        "init": True,
        "tty": True,
        "read_only": True,
        "labels": {"team": "data"},
        "cap_add": ["NET_ADMIN"],
        "cap_drop": ["MKNOD", "CHOWN"],
        "sysctls": {"net.ipv4.tcp_keepalive_time": 600},
        "ulimits": {"nofile": {"soft": 1024, "hard": 2048}, "nproc": 512},
        "extra_hosts": ["db:10.0.0.1"],
        "dns": ["10.0.0.2"],
        "dns_search": ["example.test"],
        "dns_opt": ["ndots:2"],
        "logging": {"driver": "json-file", "options": {"max-size": "1m", "max-file": 2}},
        "deploy": {
            "replicas": 0,
            "endpoint_mode": "dnsrr",
            "labels": {"a.b": "c"},
            "resources": {
                "limits": {"cpus": "0.50", "memory": "64M", "pids": 50},
                "reservations": {"cpus": 0.1, "memory": "16M"},
            },
            "restart_policy": {"condition": "on-failure", "delay": "3s", "max_attempts": 4, "window": "2m"},
            "update_config": {
                "parallelism": 0, "delay": "1s", "failure_action": "rollback", "monitor": "7s",
                "max_failure_ratio": 0.25, "order": "stop-first",
            },
            "rollback_config": {"parallelism": 2, "failure_action": "continue", "order": "start-first"},
            "placement": {
                "constraints": ["node.role==manager", "node.platform.os != windows"],
                "preferences": [{"spread": "node.labels.zone"}],
                "max_replicas_per_node": 3,
            },
        },
    }  # fmt: skip
    definition = {
        "services": {
            "full": full,
            "everywhere": service(deploy={"mode": "global", "placement": {"constraints": ["node.role == manager"]}}),
            "off": service(deploy={"replicas": 0}) | {"healthcheck": {"disable": True}},
        },
        "networks": {
            "front": {"driver_opts": {"encrypted": ""}, "labels": {"x": "y"}},
            "back": {"attachable": True, "internal": True, "ipam": {"config": [{"subnet": "10.77.0.0/24"}]}},
        },
        "secrets": {"db": {"data": "password"}},
        "configs": {"ca": {"data": "certificate\n"}},
        "volumes": {
            "data": {"driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}, "labels": {"k": "v"}}
        },
    }

    assert stack.deploy(definition).failed == ""
    again = stack.deploy(definition)

    assert again.result is not None
    assert again.result["actions"] == []
    assert stack.writes() == []
