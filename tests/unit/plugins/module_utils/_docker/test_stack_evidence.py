"""Diagnosis, masking, placement, garbage: the small pure parts."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.diagnose import (
    ADVICE,
    Mask,
    classify,
    describe,
    refused,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.images import auth_header, registry_of
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.lint import hints
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.objects import collectable
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.placement import meets
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.redact import redacted_params, secret_values
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.state import State
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.streams import Printed, demultiplex, separate
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.waiting import Memory
from fake_engine import node


@pytest.mark.parametrize(
    ("error", "code", "cause"),
    [
        ("No such image: tiny:9", None, "image_pull"),
        ("pull access denied for x, repository does not exist", None, "registry_auth"),
        ("unauthorized: authentication required", None, "registry_auth"),
        ("no suitable node (scheduling constraints not satisfied on 1 node)", None, "unschedulable"),
        ("no suitable node (host-mode port already in use on 1 node)", None, "port_conflict"),
        ("starting container failed: driver failed: Bind for 0.0.0.0:80 failed: port is already allocated", None,
         "port_conflict"),
        ("task: non-zero exit (143): dockerexec: unhealthy container", 143, "unhealthy"),
        ("task: non-zero exit (137)", 137, "oom"),
        ("task: non-zero exit (1)", 1, "crash_loop"),
        ("task: non-zero exit (127)", 127, "bad_command"),
        ('invalid mount config for type "bind": bind source path does not exist: /x', None, "missing_mount"),
        ("unable to get secret from secret store: secret x not found", None, "missing_secret"),
        ('exec: "nosuch": executable file not found in $PATH', None, "bad_command"),
        ("", None, "timeout"),
    ],
)  # fmt: skip
def test_a_failure_has_one_cause_and_every_cause_has_advice(error: str, code: int | None, cause: str) -> None:
    assert classify(error, code, False, "timeout") == cause
    assert ADVICE[cause]


def test_a_container_that_was_killed_for_memory_says_so_itself() -> None:
    assert classify("task: non-zero exit (1)", 1, True, "timeout") == "oom"


def test_a_log_stream_is_put_together_across_pieces() -> None:
    def piece(channel: int, text: bytes) -> bytes:
        return bytes([channel, 0, 0, 0]) + len(text).to_bytes(4, "big") + text

    stream = piece(1, b"one\ntw") + piece(2, b"error\n") + piece(1, b"o\r\n") + piece(2, b"open end")

    assert demultiplex(stream) == ["one", "error", "two", "open end"]
    assert demultiplex(b"plain\nterminal\n") == ["plain", "terminal"]
    assert demultiplex(piece(3, b"Error grabbing logs: incomplete log stream") + piece(1, b"last words\n")) == [
        "last words"
    ]


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("rpc error: code = InvalidArgument desc = secret not found: shop_db_0a1b2c3d4e5f", "missing_secret"),
        (
            "rpc error: desc = port '80' is already in use by service 'other_web' (x) as an ingress port",
            "port_conflict",
        ),
        ("rpc error: desc = name must be valid as a DNS name component", "refused"),
    ],
)
def test_what_docker_refuses_to_write_has_a_cause_and_advice(message: str, cause: str) -> None:
    failure = refused("web", message)

    assert (failure["cause"], failure["message"]) == (cause, message)
    assert failure["advice"] == ADVICE[cause]


def test_the_sums_stand_between_the_message_and_the_log() -> None:
    failure = {**refused("web", "no suitable node"), "sums": ["alpha: has room"], "log": ["last words"]}

    assert describe(failure).splitlines()[1:3] == ["  - alpha: has room", "  | last words"]


def test_streams_are_told_apart_with_their_empty_lines_and_the_engine_s_own_word() -> None:
    def piece(channel: int, text: bytes) -> bytes:
        return bytes([channel, 0, 0, 0]) + len(text).to_bytes(4, "big") + text

    stream = piece(1, b"one\n\ntw") + piece(2, b"wrong\n") + piece(1, b"o\n") + piece(3, b"Error grabbing logs: gone\n")

    assert separate(stream) == Printed(["one", "", "two"], ["wrong"], "Error grabbing logs: gone")
    assert separate(b"") == Printed([], [], "")
    assert separate(b"plain\nopen end") == Printed(["plain", "open end"], [], "")


def test_secrets_are_hidden_whole_by_line_and_as_password_of_a_url() -> None:
    mask = Mask(["postgresql://user:p%40ssword@db/x", "line-one\nline-two", "abc"])

    text = mask("p%40ssword p@ssword line-two abc postgresql://user:p%40ssword@db/x")

    assert text == "******** ******** ******** abc ********"


def test_a_failure_reads_like_a_report() -> None:
    failure: dict[str, t.Any] = {
        "service": "web", "cause": "oom", "node": "alpha", "exit_code": 137, "message": "killed", "log": ["last words"],
        "advice": ADVICE["oom"],
    }  # fmt: skip

    assert describe(failure).splitlines()[:2] == ["web: oom on alpha: killed (exit code 137)", "  | last words"]
    assert "What to do" in describe(failure)


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        ("node.role == manager", True),
        ("node.role != manager", False),
        ("node.hostname==ALPHA", True),
        ("node.labels.zone == a", True),
        ("node.labels.zone == b", False),
        ("node.labels.nosuch != x", True),
        ("node.labels.nosuch == x", False),
        ("node.platform.os == linux", True),
        ("node.ip == 10.0.0.1", True),
    ],
)
def test_constraints_mean_what_swarm_means(constraint: str, expected: bool) -> None:
    assert meets(node("n1", "alpha", zone="a"), constraint) is expected


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("tiny", "docker.io"),
        ("apache/airflow:3", "docker.io"),
        ("localhost/x", "localhost"),
        ("reg:5000/x", "reg:5000"),
    ],
)
def test_the_registry_of_an_image_is_dockers_reading(image: str, registry: str) -> None:
    assert registry_of(image) == registry


def test_a_login_is_sent_only_to_its_registry() -> None:
    auth = {"reg:5000": {"username": "u", "password": "p"}}

    assert set(auth_header("reg:5000/x", auth)) == {"X-Registry-Auth"}
    assert auth_header("other/x", auth) == {}


def secret(number: int, stack: str = "shop", managed: str = "swarm_stack", logical: str = "db") -> dict[str, t.Any]:
    labels = {
        "com.docker.stack.namespace": stack,
        "flowstead.airflow.managed-by": managed,
        "flowstead.airflow.logical-name": logical,
    }
    return {"ID": f"s{number}", "CreatedAt": f"2026-01-0{number}", "Spec": {"Name": f"db_{number}", "Labels": labels}}


def uses(*identifiers: str) -> dict[str, t.Any]:
    return {"TaskTemplate": {"ContainerSpec": {"Secrets": [{"SecretID": item} for item in identifiers]}}}


def collected(objects: list[dict[str, t.Any]], **changes: t.Any) -> list[str]:
    given = {"services": [], "tasks": [], "wanted": {"db_5"}, "logicals": {"db"}, "keep": 1, **changes}
    services, tasks = given.pop("services"), given.pop("tasks")
    return [item["name"] for item in collectable("secret", "shop", objects, services, tasks, **given)]


def test_only_what_nobody_can_need_is_collected() -> None:
    objects = [secret(number) for number in range(1, 6)]
    elsewhere = {"Spec": uses("s1"), "PreviousSpec": uses("s2")}
    stopping = {"Status": {"State": "running"}, "Spec": uses("s3")["TaskTemplate"]}
    ended = {"Status": {"State": "failed"}, "Spec": uses("s4")["TaskTemplate"]}

    assert collected(objects, services=[elsewhere], tasks=[stopping, ended]) == ["db_4"]
    assert collected(objects, keep=3) == ["db_1", "db_2"]
    assert collected(objects, logicals=set(), wanted=set()) == [f"db_{number}" for number in range(1, 6)]


def test_the_wanted_version_stays_even_when_it_is_the_oldest() -> None:
    assert collected([secret(1), secret(2)], wanted={"db_1"}) == ["db_2"]


def test_objects_of_others_are_never_collected() -> None:
    assert collected([secret(1, stack="other"), secret(2, managed="somebody")], wanted=set(), logicals=set()) == []


def test_what_people_regret_is_said_before_it_is_written() -> None:
    service = {
        "image": "registry.test:5000/web",
        "volumes": [{"type": "volume", "source": name, "target": f"/{name}"} for name in ("data", "nfs")],
        "deploy": {"update_config": {"order": "start-first"}},
    }
    found = hints("web", service, {"data": {}, "nfs": {"driver_opts": {"type": "nfs"}}}, 3)

    assert len(found) == 3
    assert [
        word for word in ("start-first", "no fixed tag", "volume data") if not any(word in hint for hint in found)
    ] == []
    assert hints("web", {"image": "web:1"}, {}, 3) == []


def test_parameters_are_shown_without_what_is_secret() -> None:
    params = {
        "definition": {"secrets": {"db": {"data": "canary-word", "name": "n"}}, "services": {"web": {"image": "x"}}},
        "registry_auth": {"reg": {"username": "user", "password": "canary-word"}},
        "object_key": "canary-word",
        "_resume": "canary-word",
    }

    shown = redacted_params(params)

    assert "canary-word" not in repr(shown)
    assert shown["definition"]["services"] == {"web": {"image": "x"}}
    assert secret_values(params) == {"canary-word"}
    for broken in ("canary-word", {"db": "canary-word"}, ["canary-word"]):
        assert "canary-word" not in repr(redacted_params({"definition": {"secrets": broken}}))


def test_the_state_of_a_run_survives_packing_and_a_broken_one_is_refused() -> None:
    state = State(5.0)
    state.memory["web"] = Memory(("a",), ("b",), 3.0, ("c",), None)
    state.touched["web"] = None

    again = State.unpack(state.pack())

    assert again.memory == state.memory
    assert again.touched == {"web": None}
    with pytest.raises(ValueError, match="cannot be read"):
        State.unpack("nonsense")
