"""Short forms of Compose files."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.compose import long_form
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.definition import check_shape, sound_part
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.refused import SERVICE
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.relations import check_relations


def web(**keys: t.Any) -> dict[str, t.Any]:
    result: dict[str, t.Any] = long_form({"services": {"web": {"image": "x:1", **keys}}})["services"]["web"]
    return result


@pytest.mark.parametrize(
    ("key", "short", "long"),
    [
        ("command", "run --name 'two words'", ["run", "--name", "two words"]),
        ("entrypoint", "/bin/sh", ["/bin/sh"]),
        ("command", ["as", "it is"], ["as", "it is"]),
        ("environment", ["A=1=2", "EMPTY=", "FROM_SHELL"], {"A": "1=2", "EMPTY": ""}),
        ("environment", {"A": True, "B": None, "N": 3}, {"A": "true", "N": 3}),
        ("labels", ["a.b=c", "alone"], {"a.b": "c", "alone": ""}),
        ("sysctls", ["net.core.somaxconn=1024"], {"net.core.somaxconn": "1024"}),
        ("dns", "10.0.0.2", ["10.0.0.2"]),
        ("extra_hosts", {"db": "10.0.0.1"}, ["db:10.0.0.1"]),
        ("ports", ["80"], [{"target": 80}]),
        ("ports", [8080], [{"target": 8080}]),
        ("ports", ["8080:80/udp"], [{"target": 80, "published": 8080, "protocol": "udp"}]),
        ("ports", ["90-91:80-81"], [{"target": 80, "published": 90}, {"target": 81, "published": 91}]),
        ("volumes", ["/a:/b:ro"], [{"type": "bind", "source": "/a", "target": "/b", "read_only": True}]),
        ("volumes", ["data:/data"], [{"type": "volume", "source": "data", "target": "/data"}]),
        ("volumes", ["/anonymous"], [{"type": "volume", "target": "/anonymous"}]),
        (
            "volumes",
            ["data:/data:nocopy"],
            [{"type": "volume", "source": "data", "target": "/data", "volume": {"nocopy": True}}],
        ),
        (
            "volumes",
            ["/a:/b:rshared,z"],
            [{"type": "bind", "source": "/a", "target": "/b", "bind": {"propagation": "rshared"}}],
        ),
        ("healthcheck", {"test": "curl -f localhost"}, {"test": ["CMD-SHELL", "curl -f localhost"]}),
        ("deploy", {"labels": ["a=b"], "replicas": 2}, {"labels": {"a": "b"}, "replicas": 2}),
    ],
)
def test_a_short_form_means_its_long_form_and_a_long_one_stays(key: str, short: t.Any, long: t.Any) -> None:
    found = web(**{key: short})

    assert found[key] == long
    assert check_shape({"services": {"web": found}}) == []
    assert web(**{key: long})[key] == long


def test_what_says_nothing_to_swarm_is_left_out_and_the_given_definition_stays_as_it_is() -> None:
    given = {
        "version": "3.9",
        "name": "project",
        "x-common": {"a": 1},
        "services": {"web": {"image": "x:1", "expose": [80], "ports": None, "x-note": "n", "tmpfs": "/scratch"}},
        "networks": {"back": {"external": {"name": "other"}}},
        "secrets": None,
        "configs": {"c": {"content": "text", "labels": ["a=b"]}},
    }

    assert long_form(given) == {
        "services": {"web": {"image": "x:1", "volumes": [{"type": "tmpfs", "target": "/scratch"}]}},
        "networks": {"back": {"external": True, "name": "other"}},
        "configs": {"c": {"data": "text"}},
    }
    assert given["version"] == "3.9"


@pytest.mark.parametrize(
    "key_and_value", [("ports", ["127.0.0.1:80:80"]), ("ports", ["80-81:80"]), ("command", "a 'b")]
)
def test_what_swarm_cannot_do_or_nobody_understands_is_left_for_the_check(key_and_value: tuple[str, t.Any]) -> None:
    key, value = key_and_value

    problems = check_shape({"services": {"web": web(**{key: value})}})

    assert [problem.path.partition("[")[0] for problem in problems] == [f"services.web.{key}"]


@pytest.mark.parametrize("key", sorted(SERVICE))
def test_a_key_that_swarm_does_not_honour_is_refused_with_what_to_do_instead(key: str) -> None:
    (problem,) = check_shape({"services": {"web": web(**{key: "x"})}})

    assert str(problem).startswith(f"services.web.{key}: Swarm does not honour this key; ")
    assert problem.fix


def test_wrong_parts_do_not_hide_what_is_wrong_elsewhere_and_cause_no_false_alarm() -> None:
    definition = {
        "services": {
            "bad": {"image": "x:1", "privileged": True, "secrets": ["nosuch"]},
            "web": {"image": "x:1", "depends_on": ["bad"], "secrets": ["db", "gone"]},
            "also": {"image": "x:1", "depends_on": {"bad": {"condition": "service_healthy"}}},
        },
        "secrets": {"db": {"data": 7}},
    }
    shape = check_shape(definition)

    problems = check_relations("shop", sound_part(definition, shape), True)

    assert [problem.path for problem in shape] == ["services.bad.privileged", "secrets.db.data"]
    assert [problem.path for problem in problems] == ["services.web.secrets[1]"]
