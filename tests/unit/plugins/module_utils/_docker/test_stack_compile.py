"""From a definition to what the Engine API takes."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker import compare
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.compile import (
    Stack,
    bind,
    compile_stack,
    object_body,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.objects import object_name

SECOND = 10**9


def compiled(service: dict[str, t.Any], images: dict[str, str] | None = None, **parts: t.Any) -> Stack:
    definition = {"services": {"web": {"image": "x:1", **service}}, **parts}
    return compile_stack("shop", definition, "key", images or {})


def spec(service: dict[str, t.Any], **parts: t.Any) -> dict[str, t.Any]:
    return compiled(service, **parts).services["web"].spec


def test_names_and_labels_are_those_of_docker_stack_deploy() -> None:
    web = spec({"labels": {"team": "data"}, "deploy": {"labels": {"a": "b"}}})

    assert web["Name"] == "shop_web"
    assert web["Labels"] == {"com.docker.stack.namespace": "shop", "com.docker.stack.image": "x:1", "a": "b"}
    assert web["TaskTemplate"]["ContainerSpec"]["Labels"] == {"com.docker.stack.namespace": "shop", "team": "data"}


@pytest.mark.parametrize(
    ("api", "wanted"),
    [
        ((1, 44), {"Interval": 30 * SECOND, "StartInterval": 10 * SECOND, "Retries": 3}),
        # As soon as elsewhere at the start, and as patient afterwards: the same 90 seconds.
        ((1, 43), {"Interval": 10 * SECOND, "Retries": 9}),
    ],
)
def test_an_engine_that_knows_no_start_interval_checks_so_often_all_the_time(
    api: tuple[int, int], wanted: dict[str, int]
) -> None:
    check = {"test": ["CMD", "x"], "interval": "30s", "start_interval": "10s", "retries": 3}
    stack = compile_stack("shop", {"services": {"web": {"image": "x:1", "healthcheck": check}}}, "key", {}, api)

    found = stack.services["web"].spec["TaskTemplate"]["ContainerSpec"]["Healthcheck"]
    assert found == {"Test": ["CMD", "x"], **wanted}


def test_a_service_without_networks_joins_the_stacks_own_under_its_name() -> None:
    stack = compiled({})

    assert stack.services["web"].spec["TaskTemplate"]["Networks"] == [{"Target": "shop_default", "Aliases": ["web"]}]
    assert stack.networks["default"].spec is not None
    assert stack.networks["default"].spec["Driver"] == "overlay"


def test_a_secret_is_mounted_under_its_logical_name_whatever_its_content() -> None:
    entries = []
    for data in ("one", "two"):
        container = spec({"secrets": ["db"]}, secrets={"db": {"data": data}})["TaskTemplate"]["ContainerSpec"]
        entries.append(container["Secrets"][0])

    assert [entry["File"]["Name"] for entry in entries] == ["db", "db"]
    assert entries[0]["SecretName"] != entries[1]["SecretName"]
    assert "one" not in json.dumps(entries)


def test_an_object_name_depends_on_key_stack_and_content_and_keeps_to_the_limit() -> None:
    names = {
        object_name(key, stack, kind, "db", data)
        for key in ("k1", "k2") for stack in ("a", "b") for kind in ("secret", "config") for data in ("1", "2")
    }  # fmt: skip

    assert len(names) == 16
    assert len(object_name("k", "s" * 20, "secret", "l" * 30, "x" * 9999)) == 20 + 30 + 14


def test_the_printed_form_of_an_object_does_not_show_its_content() -> None:
    stack = compiled({}, secrets={"db": {"data": "canary-word"}})

    assert "canary-word" not in repr(stack)
    assert object_body("shop", stack.secrets["db"])["Data"] == "Y2FuYXJ5LXdvcmQ="


def test_a_job_is_tried_once_unless_it_says_otherwise_and_then_always_ends() -> None:
    def restart(policy: dict[str, t.Any]) -> tuple[str, int]:
        template = spec({"deploy": {"mode": "replicated-job", "restart_policy": policy}})["TaskTemplate"]
        return template["RestartPolicy"]["Condition"], template["RestartPolicy"]["MaxAttempts"]

    assert restart({}) == ("none", 0)
    assert restart({"delay": "1s"}) == ("on-failure", 3)
    assert restart({"condition": "on-failure"}) == ("on-failure", 3)
    assert restart({"condition": "on-failure", "max_attempts": 7}) == ("on-failure", 7)
    assert restart({"condition": "none"}) == ("none", 0)


def test_a_jobs_fingerprint_follows_image_secret_and_command_but_no_order_of_keys() -> None:
    def mark(**changes: t.Any) -> str:
        service = {"deploy": {"mode": "replicated-job"}, "secrets": ["db"], **changes.pop("service", {})}
        data = changes.pop("data", "one")
        stack = compiled(service, changes.pop("images", None), secrets={"db": {"data": data}})
        label: str = stack.services["web"].spec["Labels"]["flowstead.airflow.job-spec"]
        return label

    base = mark()
    assert mark() == base
    assert mark(data="two") != base
    assert mark(images={"web": "x:1@sha256:" + "a" * 64}) != base
    assert mark(service={"command": ["other"]}) != base
    one, two = {"A": "1", "B": "2"}, {"B": "2", "A": "1"}
    assert mark(service={"environment": one}) == mark(service={"environment": two})


def test_ids_are_put_in_at_write_time_only() -> None:
    web = spec({"secrets": ["db"]}, secrets={"db": {"external": True, "name": "db_v1"}})
    ids = {"network": {"shop_default": "n1"}, "secret": {"db_v1": "s1"}, "config": {}}

    bound = bind(web, ids)["TaskTemplate"]

    assert bound["Networks"][0]["Target"] == "n1"
    assert bound["ContainerSpec"]["Secrets"][0]["SecretID"] == "s1"
    assert web["TaskTemplate"]["Networks"][0]["Target"] == "shop_default"
    with pytest.raises(KeyError):
        bind(web, {**ids, "secret": {}})


def test_what_swarm_adds_by_itself_is_no_difference() -> None:
    web = spec({"environment": {"B": "2", "A": "1"}, "ports": [{"target": 80, "published": 80}]})
    live = json.loads(json.dumps(web))
    template = live["TaskTemplate"]
    template["Networks"] = [{"Target": "n1", "Aliases": ["web"]}]
    template.update(ForceUpdate=4, Runtime="container", Resources={"Limits": {}, "Reservations": {}}, Placement={})
    template["Placement"]["Platforms"] = [{"OS": "linux"}]
    template["ContainerSpec"].update(Isolation="default", DNSConfig={}, Env=["B=2", "A=1"])
    del live["UpdateConfig"], live["RollbackConfig"]
    del template["RestartPolicy"]

    assert compare.same(web, live, {"n1": "shop_default"})


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"image": "x:2"}, "image"),
        ({"environment": {"A": "1"}}, "environment"),
        ({"command": ["x"]}, "command"),
        ({"entrypoint": ["x"]}, "entrypoint"),
        ({"stop_grace_period": "12h"}, "stop_grace_period"),
        ({"healthcheck": {"test": ["CMD", "x"]}}, "healthcheck"),
        ({"healthcheck": {"disable": True}}, "healthcheck"),
        ({"init": False}, "container"),
        ({"deploy": {"replicas": 0}}, "replicas"),
        ({"deploy": {"replicas": 3}}, "replicas"),
        ({"deploy": {"endpoint_mode": "dnsrr"}}, "ports"),
        ({"deploy": {"update_config": {"parallelism": 0}}}, "update_config"),
        ({"deploy": {"restart_policy": {"window": "1m"}}}, "restart_policy"),
        ({"deploy": {"resources": {"limits": {"memory": "1G"}}}}, "resources"),
        ({"deploy": {"placement": {"constraints": ["node.role == worker"]}}}, "placement"),
        ({"networks": {"default": {"aliases": ["www"]}}}, "networks"),
        ({"volumes": [{"type": "tmpfs", "target": "/t"}]}, "volumes"),
        ({"logging": {"driver": "none"}}, "logging"),
        ({"labels": {"a": "b"}}, "labels"),
    ],
)
def test_every_real_change_is_a_difference_with_a_name(change: dict[str, t.Any], word: str) -> None:
    before, after = (compare.canonical(spec(service), {}) for service in ({}, change))

    assert before != after
    assert word in compare.reasons(before, after)


def test_order_does_not_matter_where_it_means_nothing() -> None:
    one = spec(
        {"cap_drop": ["A", "B"], "deploy": {"placement": {"constraints": ["node.role==manager", "node.id != x"]}}}
    )
    two = spec(
        {"cap_drop": ["B", "A"], "deploy": {"placement": {"constraints": ["node.id!=x", "node.role == manager"]}}}
    )

    assert compare.same(one, two, {})


def test_the_order_of_arguments_matters() -> None:
    assert not compare.same(spec({"command": ["a", "b"]}), spec({"command": ["b", "a"]}), {})


def test_a_dump_is_readable() -> None:
    text = compare.dump(
        {"StopGracePeriod": 90 * SECOND, "Mode": 0o444, "Env": ["A=1"], "Empty": "", "Two": [{"a": "b"}]}
    )

    assert text == 'Empty: ""\nEnv:\n  - A=1\nMode: 0444\nStopGracePeriod: 90 s\nTwo:\n  - a: b\n'


@pytest.mark.parametrize(("given", "sent"), [(0, "0"), (0.0, "0"), (0.25, "0.25")])
def test_a_share_is_written_as_the_engine_writes_it(given: float, sent: str) -> None:
    web = spec({"deploy": {"update_config": {"max_failure_ratio": given}}})

    assert json.dumps(web["UpdateConfig"]["MaxFailureRatio"]) == sent
