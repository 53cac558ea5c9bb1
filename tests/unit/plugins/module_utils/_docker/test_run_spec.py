"""What a one-off command takes over from its service, and what is wished otherwise."""

from __future__ import annotations

import copy
import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.run_spec import (
    BadWish,
    Wishes,
    adapt,
    candidates,
    constraint_problems,
    environment_of,
    words_of,
)
from fake_engine import node


def spec(**template: t.Any) -> dict[str, t.Any]:
    container = {"Image": "shop:1", "Command": ["/entry"], "Args": ["migrate", "--all"], "User": "50000",
                 "Env": ["LEVEL=1", "BASE=http://shop.test"]}  # fmt: skip
    return {"Name": "shop_run", "TaskTemplate": {"ContainerSpec": container, **template}}


def test_a_text_is_cut_into_words_as_a_shell_would_and_a_list_stays() -> None:
    assert words_of("airflow users list -o 'json x'") == ["airflow", "users", "list", "-o", "json x"]
    assert words_of(["sh", "-c", "a | b", 3]) == ["sh", "-c", "a | b", "3"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("airflow users list | wc -l", r"has '\|'.*'sh', '-c'"),
        ("airflow 'users", "cannot be cut into words"),
        ("", "is empty"),
        ([], "is empty"),
        (["", "x"], "is empty"),
        ({"airflow": 1}, "no list of texts"),
        (["airflow", ["x"]], "no list of texts"),
    ],
)
def test_a_command_that_cannot_be_meant_is_refused_with_the_way_out(command: t.Any, words: str) -> None:
    with pytest.raises(BadWish, match=words):
        words_of(command)


def test_environment_is_texts_and_what_is_not_is_named_without_its_value() -> None:
    assert environment_of({"A": "x=y", "B": 3}) == {"A": "x=y", "B": "3"}
    with pytest.raises(BadWish, match=r"environment\.FLAG, environment\.LIST, environment\.A=B ") as caught:
        environment_of({"FLAG": True, "LIST": ["hidden"], "A=B": "hidden"})
    assert "hidden" not in str(caught.value)


def test_nothing_wished_is_nothing_changed_but_the_time_to_stop() -> None:
    before = spec()
    given = copy.deepcopy(before)

    made = adapt(given, Wishes(["ignored"], stop_seconds=7))

    assert made["TaskTemplate"]["ContainerSpec"].pop("StopGracePeriod") == 7 * 10**9
    assert made == given == before


def test_wishes_take_the_place_of_what_the_service_has() -> None:
    wishes = Wishes([], environment={"LEVEL": "2", "NEW": "a=b"}, image="shop:2", user="0", workdir="/srv")

    container = adapt(spec(), wishes)["TaskTemplate"]["ContainerSpec"]

    assert container["Env"] == ["BASE=http://shop.test", "LEVEL=2", "NEW=a=b"]
    assert (container["Image"], container["User"], container["Dir"]) == ("shop:2", "0", "/srv")
    assert container["Command"] == ["/entry"]


def test_an_entrypoint_is_replaced_and_an_empty_one_is_none_at_all() -> None:
    replaced = adapt(spec(), Wishes([], entrypoint=["/bin/env"]))["TaskTemplate"]["ContainerSpec"]
    none = adapt(spec(), Wishes([], entrypoint=[]))["TaskTemplate"]["ContainerSpec"]

    assert (replaced["Command"], replaced["Args"]) == (["/bin/env"], ["migrate", "--all"])
    assert (none["Command"], none["Args"]) == (["migrate", "--all"], [])


def test_constraints_are_the_service_s_or_others_and_a_node_is_one_more() -> None:
    def constraints(wishes: Wishes) -> t.Any:
        placed = spec(Placement={"Constraints": ["node.role==worker"]})
        return adapt(placed, wishes)["TaskTemplate"]["Placement"]["Constraints"]

    assert constraints(Wishes([])) == ["node.role==worker"]
    assert constraints(Wishes([], node="id1")) == ["node.role==worker", "node.id==id1"]
    assert constraints(Wishes([], constraints=["node.labels.a==b"])) == ["node.labels.a==b"]
    assert constraints(Wishes([], constraints=[])) == []
    assert constraint_problems(["node.role==worker", "zone a"]) == [
        "constraints has 'zone a': write one such as node.role==worker or node.labels.zone!=a"
    ]


def test_a_limit_of_memory_also_bounds_what_is_reserved() -> None:
    roomy = spec(Resources={"Limits": {"NanoCPUs": 5}, "Reservations": {"MemoryBytes": 4 << 30, "NanoCPUs": 3}})

    assert adapt(roomy, Wishes([], memory_mb=512))["TaskTemplate"]["Resources"] == {
        "Limits": {"NanoCPUs": 5, "MemoryBytes": 512 << 20},
        "Reservations": {"MemoryBytes": 512 << 20, "NanoCPUs": 3},
    }
    assert adapt(spec(), Wishes([], memory_mb=1))["TaskTemplate"]["Resources"] == {"Limits": {"MemoryBytes": 1 << 20}}


def test_nodes_that_may_run_it_are_told_or_why_none_may() -> None:
    alpha, beta = node("n1", "alpha", zone="a"), node("n2", "beta", zone="b")
    away = {**node("n3", "gamma", zone="c"), "Status": {"State": "down"}}
    nodes = [alpha, beta, away]

    def chosen(*constraints: str, wanted: t.Any = None) -> t.Any:
        return candidates(spec(Placement={"Constraints": list(constraints)}), nodes, wanted)

    assert chosen() == (["alpha", "beta"], "")
    assert chosen("node.labels.zone==b") == (["beta"], "")
    assert chosen("node.labels.zone==c")[1] == "no ready node meets 'node.labels.zone==c'; nodes are alpha, beta"
    assert chosen("node.id==n2", wanted=beta) == (["beta"], "")
    assert chosen("node.labels.zone==a", "node.id==n2", wanted=beta)[1] == (
        "node beta does not meet the constraints node.labels.zone==a"
    )
    assert chosen("node.id==n3", wanted=away)[1] == (
        "node gamma takes no tasks: its state is down, its availability active"
    )
    assert candidates(spec(), [away], None)[1].startswith("no node of this swarm is ready")
