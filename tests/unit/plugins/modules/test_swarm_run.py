"""Behaviour of the module swarm_run against an engine that is only a memory."""

from __future__ import annotations

import json
import sys
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.flowstead.airflow.plugins.module_utils._docker import job, job_output, job_spec
from ansible_collections.flowstead.airflow.plugins.modules import swarm_run

sys.path.insert(0, str(Path(__file__).parents[1] / "module_utils" / "_docker"))
from fake_engine import NAMESPACE, FakeEngine, Refused, node

JOB = "run-web-01"
SPEC: dict[str, t.Any] = {
    "Name": "shop_web",
    "Labels": {NAMESPACE: "shop"},
    "TaskTemplate": {
        "ContainerSpec": {
            "Image": "shop:1@sha256:aa",
            "Env": ["API_TOKEN=0123456789", "LEVEL=1"],
            "Secrets": [{"SecretID": "s1", "SecretName": "db", "File": {"Name": "db"}}],
            "Configs": [{"ConfigID": "c1", "ConfigName": "ca", "File": {"Name": "/ca"}}],
        },
        "RestartPolicy": {"Condition": "any"},
        "Networks": [],
    },
    "Mode": {"Replicated": {"Replicas": 2}},
    "EndpointSpec": {"Mode": "vip"},
}


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    monkeypatch.setattr(swarm_run.secrets, "token_hex", lambda _count: "01")
    monkeypatch.setattr(job, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(job_output, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(job_output, "EMPTY_SECONDS", 0.0)
    with FakeEngine(tmp_path) as engine:
        engine.objects["secrets"].append({"ID": "s1", "Spec": {"Name": "db", "Labels": {}}})
        engine.objects["configs"].append({"ID": "c1", "Spec": {"Name": "ca", "Labels": {}}})
        engine.post("/services/create", {}, json.loads(json.dumps(SPEC)))
        engine.writes.clear()
        yield engine
        assert engine.names("services") == ["shop_web"], "a job was left behind"


Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def run(fake: FakeEngine, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the module and return its result."""

    def run_module(**given: t.Any) -> dict[str, t.Any]:
        arguments = {
            "stack": "shop",
            "service": "web",
            "command": ["manage", "check it"],
            "docker_socket": fake.socket,
            **given,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            swarm_run.main()
        return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))

    return run_module


def printed(channel: int, text: str) -> bytes:
    return bytes([channel, 0, 0, 0]) + len(text.encode()).to_bytes(4, "big") + text.encode()


def created(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, t.Any]]:
    """Specs of the services that are created from now on."""
    found: list[dict[str, t.Any]] = []
    create = fake._create_service

    def watch(spec: dict[str, t.Any]) -> dict[str, t.Any]:
        found.append(spec)
        return create(spec)

    monkeypatch.setattr(fake, "_create_service", watch)
    return found


def test_a_command_that_ends_well_tells_what_it_printed_on_which_stream(run: Run, fake: FakeEngine) -> None:
    fake.log = printed(1, "one\n\n") + printed(2, "careful\n") + printed(1, "two\n")

    result = run()

    assert not result.get("failed")
    assert (result["rc"], result["stdout"], result["stderr"]) == (0, "one\n\ntwo", "careful")
    assert (result["changed"], result["node"], result["masked"]) == (True, "alpha", False)
    assert (result["cmd"], result["image"]) == (["manage", "check it"], "shop:1@sha256:aa")
    assert result["swept"] == []


def test_the_job_has_the_service_s_surroundings_and_what_was_wished(
    run: Run, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = created(fake, monkeypatch)

    run(command="manage migrate --all", environment={"LEVEL": "2"}, user="0", node="alpha", memory_mb=64)

    (spec,) = specs
    container = spec["TaskTemplate"]["ContainerSpec"]
    assert spec["Name"] == f"shop_{JOB}"
    assert container["Args"] == ["manage", "migrate", "--all"]
    assert (container["Secrets"], container["Configs"]) == (
        SPEC["TaskTemplate"]["ContainerSpec"]["Secrets"],
        SPEC["TaskTemplate"]["ContainerSpec"]["Configs"],
    )
    assert container["Env"] == ["API_TOKEN=0123456789", "LEVEL=2"]
    assert container["User"] == "0"
    assert spec["TaskTemplate"]["Placement"]["Constraints"] == ["node.id==node1"]
    assert spec["TaskTemplate"]["Resources"]["Limits"]["MemoryBytes"] == 64 << 20
    assert "2" not in json.dumps(spec["Labels"]).replace(spec["Labels"][job_spec.UNTIL_LABEL], "")


def test_an_exit_code_fails_the_task_with_the_last_lines_and_all_output(run: Run, fake: FakeEngine) -> None:
    fake.behaviour[JOB] = "fails"
    fake.log = printed(1, "".join(f"line {number}\n" for number in range(40))) + printed(2, "no such table\n")

    result = run()

    assert result["failed"]
    assert (result["rc"], result["changed"], result["failure"]["exit_code"]) == (1, True, 1)
    assert result["msg"].startswith("manage 'check it' ended with exit code 1 on alpha.\n  | line 26\n")
    assert result["msg"].endswith("\n  | no such table")
    assert (len(result["stdout"].splitlines()), result["stderr"]) == (40, "no such table")


def test_an_exit_code_that_is_accepted_is_no_failure_and_one_that_is_not_is(run: Run, fake: FakeEngine) -> None:
    assert "exit code 0, which is not among accepted_rc ([3])" in run(accepted_rc=[3])["msg"]
    fake.behaviour[JOB] = "fails"
    fake.log = printed(1, "nothing to do\n")

    result = run(accepted_rc=[0, 1])

    assert not result.get("failed")
    assert (result["rc"], result["stdout"]) == (1, "nothing to do")
    assert "failure" not in result


def test_a_command_that_only_looks_reports_no_change(run: Run) -> None:
    assert run(read_only=True)["changed"] is False
    assert run(read_only=True, _ansible_check_mode=True)["changed"] is False


@pytest.mark.parametrize(
    ("behaviour", "cause", "words"),
    [
        ("finds no node", "unschedulable", "Compare its constraints"),
        ("rejects", "image_pull", "Check name and tag"),
        ("runs", "timeout", "SIGKILL 7 s later"),
    ],
)
def test_a_command_that_did_not_end_is_explained_and_no_exit_code_accepts_it(
    run: Run, fake: FakeEngine, behaviour: str, cause: str, words: str
) -> None:
    fake.behaviour[JOB] = behaviour

    result = run(pending_timeout=1, timeout=2, stop_timeout=7, accepted_rc=[0, 1])

    assert result["failed"]
    assert result["failure"]["cause"] == cause
    assert result["msg"].startswith("manage 'check it': ")
    assert words in result["msg"]
    assert "rc" not in result


def test_check_mode_runs_nothing_and_says_what_and_where(run: Run, fake: FakeEngine) -> None:
    fake.nodes.append({**node("node2", "beta"), "Status": {"State": "down"}})

    result = run(_ansible_check_mode=True)

    assert (result["changed"], result["nodes"], fake.writes) == (True, ["alpha"], [])
    assert result["msg"] == "Would run manage 'check it' with shop:1@sha256:aa on one of: alpha"
    assert "rc" not in result


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"service": "wob"}, "Did you mean 'web'"),
        ({"stack": "shp"}, "the swarm has shop. Did you mean 'shop'"),
        ({"node": "omega"}, "no node omega. It has alpha"),
        ({"constraints": ["node.labels.zone==mars"]}, "No ready node meets 'node.labels.zone==mars'; nodes are alpha"),
        ({"command": "manage | wc"}, "no shell runs"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_written_also_in_check_mode(
    run: Run, fake: FakeEngine, given: dict[str, t.Any], words: str, check: bool
) -> None:
    result = run(**given, _ansible_check_mode=check)

    assert result["failed"]
    assert result["msg"].startswith("Nothing was run. ")
    assert words in result["msg"]
    assert fake.writes == []


def test_every_bad_parameter_is_told_in_one_message(run: Run) -> None:
    result = run(
        command=[],
        timeout=0,
        stop_timeout=-1,
        memory_mb=0,
        constraints=["zone a"],
        environment={"A": True},
        registry_auth={"reg.test": {"username": "me"}},
    )

    for word in (
        "command is",
        "timeout is 0",
        "stop_timeout",
        "memory_mb",
        "constraints has",
        "environment.A",
        "reg.t",
    ):
        assert word in result["msg"]


def test_secrets_of_the_environment_and_of_urls_are_stars_unless_the_document_is_wanted(
    run: Run, fake: FakeEngine
) -> None:
    fake.log = printed(1, "token 0123456789\n") + printed(2, "db://me:pass@host and my-own-word\n")

    masked, whole = run(hide=["my-own-word"]), run(mask=False)

    assert (masked["stdout"], masked["stderr"]) == ("token ********", "db://me:********@host and ********")
    assert masked["masked"] is True
    assert (whole["stdout"], whole["stderr"]) == ("token 0123456789", "db://me:pass@host and my-own-word")
    fake.behaviour[JOB] = "fails"
    failed = run(mask=False, hide=["my-own-word"])
    assert "0123456789" not in failed["msg"]
    assert "my-own-word" not in json.dumps(failed)


def test_values_of_the_environment_and_passwords_of_registries_are_shown_nowhere(run: Run, fake: FakeEngine) -> None:
    result = run(
        environment={"SETTING": "shy-value"}, registry_auth={"docker.io": {"username": "me", "password": "hidden-one"}}
    )

    shown = json.dumps(result)
    assert "shy-value" not in shown
    assert "hidden-one" not in shown
    assert list(result["invocation"]["module_args"]["environment"]) == ["SETTING"]
    assert fake.auth == ["POST /services/create"]


def test_what_an_earlier_run_left_behind_is_removed_and_told(run: Run, fake: FakeEngine) -> None:
    spec = json.loads(json.dumps(SPEC))
    name = "shop_run-web-00"
    labels = {
        job_spec.KIND_LABEL: swarm_run.KIND,
        job_spec.OF_STACK_LABEL: "shop",
        job_spec.UNTIL_LABEL: "1000",
        job_spec.NAME_LABEL: name,
    }
    spec["TaskTemplate"]["RestartPolicy"] = {"Condition": "none"}
    mode = {"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}}
    fake.post("/services/create", {}, {**spec, "Name": name, "Labels": labels, "Mode": mode})

    assert run()["swept"] == ["shop_run-web-00"]


def test_a_job_that_the_engine_refuses_was_not_run(run: Run, fake: FakeEngine) -> None:
    def refuse(path: str) -> None:
        if path == "/services/create":
            raise Refused(400, "invalid mount target")

    fake.before_write = refuse
    result = run()
    assert result["failed"]
    assert "invalid mount target" in result["msg"]
    assert "manage 'check it' was not run" in result["msg"]


def test_a_worker_of_the_swarm_is_told_so(run: Run, fake: FakeEngine) -> None:
    fake.swarm = {"LocalNodeState": "active", "ControlAvailable": False}
    assert "Run this on a manager" in run()["msg"]


def test_the_documentation_names_the_same_options_and_defaults_as_the_code() -> None:
    options = yaml.safe_load(swarm_run.DOCUMENTATION)["options"]
    assert set(options) == set(swarm_run.ARGUMENT_SPEC)
    for name, option in options.items():
        assert option.get("default") == swarm_run.ARGUMENT_SPEC[name].get("default"), name
