"""swarm_run against a real Docker Engine: the module as a process of its own, as Ansible starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker import job, job_spec, waiting
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.absent import Remover
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import Engine
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.runner import Runner
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.state import Options
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.waiting import Limits
from ansible_collections.flowstead.airflow.plugins.modules import swarm_run

ROOT = Path(__file__).resolve().parents[2]
STACK = "running"
PROGRAM = """
import json, signal, sys
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
_AnsibleCollectionFinder(paths=[sys.argv[1]])._install()
from ansible.module_utils.testing import patch_module_args
from ansible_collections.flowstead.airflow.plugins.modules import swarm_run
# A shell's background job hands on that it ignores this signal, and a module on a host does not come from one.
signal.signal(signal.SIGINT, signal.default_int_handler)
with patch_module_args(json.loads(sys.argv[2])):
    swarm_run.main()
"""
#: Longest time in which something has to be seen; no test waits that long when all is well.
SOON = 180.0
Result = dict[str, t.Any]


class Place:
    """A stack with one service that has a secret, a config and a user of its own."""

    def __init__(self, socket: str) -> None:
        self.engine = Engine(socket)

    def deploy(self) -> None:
        service: dict[str, t.Any] = {
            "image": "tiny:1",
            "init": True,
            "command": ["sleep", "100000"],
            "user": "1234",
            "environment": {"LEVEL": "production", "API_TOKEN": "hidden-token"},
            "secrets": ["db"],
            "configs": [{"source": "settings", "target": "/etc/settings"}],
            "stop_grace_period": "1s",
            "logging": {"driver": "none"},
            "deploy": {"endpoint_mode": "dnsrr", "update_config": {"monitor": "1s"}},
        }
        definition = {
            "services": {"web": service},
            "secrets": {"db": {"data": "from-the-swarm"}},
            "configs": {"settings": {"data": "colour=blue"}},
        }
        options = Options(STACK, definition, object_key="key", timeout=60.0, limits=Limits(2, 5.0))
        assert Runner(self.engine, options).run().failed == ""

    def begin(self, script: str, **given: t.Any) -> subprocess.Popen[str]:
        arguments = {
            "stack": STACK,
            "service": "web",
            "command": ["sh", "-c", script],
            "docker_socket": self.engine.socket_path,
            "pending_timeout": 5,
            "stop_timeout": 1,
            **given,
        }
        words = [sys.executable, "-c", PROGRAM, str(ROOT / "collections"), json.dumps(arguments)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, script: str = "true", **given: t.Any) -> Result:
        process = self.begin(script, **given)
        out, err = process.communicate(timeout=SOON)
        assert out, err
        return t.cast(Result, json.loads(out))

    def jobs(self) -> list[str]:
        found = self.engine.get("/services", {"filters": {"label": [job_spec.KIND_LABEL]}})
        return [item["Spec"]["Name"] for item in found]

    def containers(self) -> list[str]:
        """Names of containers of jobs that run."""
        found = self.engine.get("/containers/json", {"filters": {"label": [job_spec.KIND_LABEL]}})
        return [item["Names"][0] for item in found]

    def await_container(self) -> None:
        until("the command runs", lambda: bool(self.containers()))


def until(what: str, condition: t.Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, f"not seen within {SOON:g} s: {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def deployed(docker: t.Any) -> Iterator[Place]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waiting, "SHORTEST_STABLE", 1.0)
        made = Place(docker.socket)
        made.deploy()
        yield made
        Remover(made.engine, Options(STACK, {}, timeout=60.0)).run()


@pytest.fixture
def place(deployed: Place) -> Iterator[Place]:
    yield deployed
    assert deployed.jobs() == [], "a job was left behind"
    until("no command runs any more", lambda: deployed.containers() == [])


def test_a_command_sees_what_the_service_sees_and_its_output_comes_back_whole(place: Place) -> None:
    script = (
        "cat /run/secrets/db; echo; cat /etc/settings; echo; echo; echo $LEVEL $EXTRA; "
        "[ -r /etc/version ] && cat /etc/version; echo; echo careful >&2"
    )

    result = place.run(script, environment={"EXTRA": "2"})

    assert not result.get("failed"), result
    assert (result["rc"], result["stderr"], result["changed"]) == (0, "careful", True)
    assert result["stdout"].splitlines() == ["from-the-swarm", "colour=blue", "", "production 2", "1"]
    assert result["nodes"] == [result["node"]]


def test_a_secret_that_is_given_to_hide_and_one_of_the_environment_are_stars(place: Place) -> None:
    result = place.run("cat /run/secrets/db; echo; echo $API_TOKEN", hide=["from-the-swarm"])

    assert result["stdout"].splitlines() == ["********", "********"]
    assert result["masked"] is True


def test_the_end_of_a_long_output_is_there(place: Place) -> None:
    script = 'i=0; while [ "$i" -lt 20000 ]; do echo "line $i"; i=$((i+1)); done; echo the end >&2'

    result = place.run(script)

    lines = result["stdout"].splitlines()
    assert (len(lines), lines[0], lines[-1]) == (20000, "line 0", "line 19999")
    assert result["stderr"] == "the end"


def test_a_command_that_prints_nothing_ends_well(place: Place) -> None:
    result = place.run("true", read_only=True)

    assert (result["rc"], result["stdout"], result["stderr"], result["changed"]) == (0, "", "", False)


def test_an_exit_code_fails_with_the_last_lines_and_may_be_accepted(place: Place) -> None:
    failed = place.run("echo column is missing; echo really >&2; exit 3")
    accepted = place.run("echo nothing to do; exit 3", accepted_rc=[0, 3])

    assert failed["failed"]
    assert (failed["rc"], failed["stdout"], failed["stderr"]) == (3, "column is missing", "really")
    assert f"ended with exit code 3 on {failed['node']}." in failed["msg"]
    assert "  | column is missing" in failed["msg"]
    assert not accepted.get("failed"), accepted
    assert (accepted["rc"], accepted["stdout"]) == (3, "nothing to do")


def test_wishes_are_fulfilled(place: Place) -> None:
    result = place.run(
        command="env",
        entrypoint=[],
        image="tiny:2",
        user="0",
        workdir="/tmp",
        memory_mb=64,
        environment={"LEVEL": "other"},
        node=place.engine.get("/info")["Name"],
    )
    assert {"LEVEL=other", "API_TOKEN=********"} <= set(result["stdout"].splitlines()), result
    shown = place.run("cat /etc/version; echo; pwd 2>/dev/null || echo $PWD", image="tiny:2", workdir="/tmp")
    assert shown["stdout"].splitlines() == ["2", "/tmp"]


def test_a_command_whose_time_is_up_is_ended_and_says_so_with_what_it_had_printed(place: Place) -> None:
    result = place.run("echo begun; sleep 1000", timeout=4)

    assert result["failed"]
    assert result["failure"]["cause"] == "timeout"
    assert "not finished after 4 s (job running)" in result["msg"]
    assert "SIGKILL 1 s later" in result["msg"]
    assert result["stdout"] == "begun"
    assert "rc" not in result


def test_an_image_that_does_not_exist_is_named_as_the_cause(place: Place) -> None:
    result = place.run(image="localhost:1/nosuch:9")

    assert result["failed"]
    assert result["failure"]["cause"] == "image_pull"
    assert "localhost:1/nosuch:9" in result["msg"]
    assert "What to do: " in result["msg"]


def test_a_program_that_is_not_in_the_image_is_named_as_the_cause(place: Place) -> None:
    result = place.run(command=["no-such-program"])

    assert result["failed"]
    assert result["failure"]["cause"] == "bad_command"
    assert "no-such-program" in result["msg"]


@pytest.mark.parametrize("check", [True, False])
def test_a_constraint_that_no_node_meets_is_refused_before_anything_is_written(place: Place, check: bool) -> None:
    result = place.run(constraints=["node.labels.nowhere==yes"], _ansible_check_mode=check)

    assert result["failed"]
    assert "No ready node meets 'node.labels.nowhere==yes'" in result["msg"]


def test_reservations_that_no_node_has_left_are_told_by_swarm(place: Place) -> None:
    nodes = place.engine.get("/nodes")
    service = job.find(place.engine, STACK, "web")
    spec = service["Spec"]
    resources = {"Reservations": {"MemoryBytes": 2 * nodes[0]["Description"]["Resources"]["MemoryBytes"]}}
    label = {"com.docker.stack.namespace": "greedy"}
    # A service of its own that waits for memory; a command that is to run like it waits as well.
    place.engine.post(
        "/services/create",
        {
            "Name": "greedy_web",
            "Labels": label,
            "TaskTemplate": {
                "ContainerSpec": {"Image": spec["TaskTemplate"]["ContainerSpec"]["Image"]},
                "Resources": resources,
            },
            "Mode": {"Replicated": {"Replicas": 0}},
            "EndpointSpec": {"Mode": "dnsrr"},
        },
    )
    try:
        result = place.run(stack="greedy", pending_timeout=2)
        small = place.run("echo fits", stack="greedy", memory_mb=32)
    finally:
        place.engine.delete("/services/greedy_web")

    assert result["failed"]
    assert result["failure"]["cause"] == "unschedulable"
    assert "insufficient resources" in result["msg"]
    assert small["stdout"] == "fits", small


def test_check_mode_runs_nothing_and_names_that_are_nearly_right_are_answered(place: Place) -> None:
    planned = place.run("touch /tmp/x", _ansible_check_mode=True)
    wrong = place.run(service="wep", _ansible_check_mode=True)

    assert planned["msg"].startswith("Would run sh -c 'touch /tmp/x' with tiny:1 on one of: ")
    assert "Did you mean 'web'" in wrong["msg"]
    assert "Did you mean 'running'" in place.run(stack="runing")["msg"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_is_interrupted_leaves_nothing(place: Place, number: signal.Signals) -> None:
    process = place.begin("sleep 1000")
    place.await_container()

    process.send_signal(number)

    process.communicate(timeout=SOON)
    assert place.jobs() == []


def test_a_run_that_is_killed_is_swept_by_the_next_once_its_time_is_up(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = place.begin("sleep 1000", timeout=30)
    place.await_container()
    process.kill()
    process.communicate(timeout=SOON)
    (left,) = place.jobs()

    assert place.run("echo meanwhile")["swept"] == [], "its time is not up: somebody may wait for it"
    # The next run does what this process does here, some minutes later.
    late = time.time() + 30 + job.FORGOTTEN_SECONDS + 1
    assert job.sweep(place.engine, swarm_run.KIND, STACK, late) == [left]


def test_secrets_are_in_no_inspection_of_the_job(place: Place) -> None:
    process = place.begin("cat /run/secrets/db; sleep 1000", hide=["from-the-swarm"], timeout=60)
    place.await_container()
    inspected = json.dumps(
        [
            place.engine.get("/services", {"filters": {"label": [job_spec.KIND_LABEL]}}),
            place.engine.get("/containers/json", {"filters": {"label": [job_spec.KIND_LABEL]}}),
        ]
    )
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=SOON)

    assert "from-the-swarm" not in inspected
