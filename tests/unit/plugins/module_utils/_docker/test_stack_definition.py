"""What a definition may say, and how it is refused."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker import units
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.definition import check_shape, file_mode
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.relations import check_relations


def shape(service: t.Any, **parts: t.Any) -> dict[str, str]:
    problems = check_shape({"services": {"web": service}, **parts})
    return {problem.path: f"{problem.what}; {problem.fix}" for problem in problems}


def relations(services: dict[str, t.Any], *, stack: str = "shop", key: bool = True, **parts: t.Any) -> dict[str, str]:
    definition = {"services": services, **parts}
    assert check_shape(definition) == []
    return {problem.path: f"{problem.what}; {problem.fix}" for problem in check_relations(stack, definition, key)}


def test_all_problems_are_reported_at_once_with_path_value_and_fix() -> None:
    found = shape(
        {"imgae": "x", "deploy": {"replicas": "two"}, "stop_grace_period": "1 hour", "command": "sleep 1"},
        secrets={"db": {}},
        netwroks={},
    )

    assert found == {
        "services.web.imgae": "unknown key; did you mean 'image'?",
        "services.web.image": "is missing; add it",
        "services.web.deploy.replicas": "'two' is not allowed; write a whole number of 0 or more",
        "services.web.stop_grace_period": "'1 hour' is not allowed; write a duration such as 30s or 1h30m",
        "services.web.command": "'sleep 1' is one text; write a list, one item per argument",
        "netwroks": "unknown key; did you mean 'networks'?",
    }


@pytest.mark.parametrize(
    "definition",
    [
        {"services": {}, "secrets": {"db": "canary-word"}},
        {"services": {}, "secrets": "canary-word"},
        {"services": {}, "secrets": {"db": {"data": ["canary-word"]}}},
        {"services": {}, "secrets": ["canary-word"]},
        "canary-word",
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_without_being_shown(definition: t.Any) -> None:
    problems = check_shape(definition)

    assert problems
    assert "canary-word" not in " ".join(map(str, problems))


@pytest.mark.parametrize("key", ["privileged", "devices", "links", "build", "restart", "shm_size"])
def test_keys_that_swarm_would_ignore_are_refused(key: str) -> None:
    assert f"services.web.{key}" in shape({"image": "x", key: True})


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ({"environment": {"A": True}}, "services.web.environment.A"),
        ({"environment": {"A B": "1"}}, "services.web.environment.A B"),
        ({"ports": [{"target": 0}]}, "services.web.ports[0].target"),
        ({"ports": ["80:80"]}, "services.web.ports[0]"),
        ({"volumes": ["/a:/b"]}, "services.web.volumes[0]"),
        ({"secrets": [{"target": "x"}]}, "services.web.secrets[0].source"),
        ({"healthcheck": {"retries": 0}}, "services.web.healthcheck.retries"),
        ({"init": "maybe"}, "services.web.init"),
        ({"deploy": {"resources": {"limits": {"memory": "much"}}}}, "services.web.deploy.resources.limits.memory"),
        ({"deploy": {"resources": {"limits": {"cpus": 0}}}}, "services.web.deploy.resources.limits.cpus"),
        ({"deploy": {"placement": {"constraints": ["zone = a"]}}}, "services.web.deploy.placement.constraints[0]"),
        (
            {"deploy": {"update_config": {"max_failure_ratio": 2}}},
            "services.web.deploy.update_config.max_failure_ratio",
        ),
        ({"depends_on": {"db": {"condition": "ready"}}}, "services.web.depends_on.db.condition"),
        ({"ulimits": {"nofile": {"soft": 1}}}, "services.web.ulimits.nofile.hard"),
        ({"extra_hosts": ["db"]}, "services.web.extra_hosts[0]"),
    ],
)
def test_a_value_that_cannot_be_right_is_named_by_its_path(service: dict[str, t.Any], path: str) -> None:
    assert list(shape({"image": "x", **service})) == [path]


def test_numbers_and_booleans_from_templates_are_taken() -> None:
    assert shape({"image": "x", "init": "true", "deploy": {"replicas": "2"}, "environment": {"A": 1}}) == {}


def test_references_to_what_nobody_declares_are_refused_with_the_nearest_name() -> None:
    found = relations(
        {
            "web": {
                "image": "x",
                "secrets": ["databse"],
                "configs": ["ca"],
                "networks": ["front"],
                "depends_on": ["postgers"],
                "volumes": [{"type": "volume", "source": "data", "target": "/d"}],
            },
            "postgres": {"image": "x"},
        },
        secrets={"database": {"data": "x"}},
    )

    assert found["services.web.secrets[0]"].endswith("did you mean 'database'?")
    assert found["services.web.depends_on.postgers"].endswith("did you mean 'postgres'?")
    assert set(found) == {
        "services.web.secrets[0]",
        "services.web.configs[0]",
        "services.web.networks",
        "services.web.depends_on.postgers",
        "services.web.volumes[0].source",
    }


def test_a_circle_of_dependencies_is_refused() -> None:
    found = relations({"a": {"image": "x", "depends_on": ["b"]}, "b": {"image": "x", "depends_on": ["a"]}})

    assert "a, b" in found["services"]


def test_conditions_have_to_fit_the_kind_of_service() -> None:
    found = relations(
        {
            "job": {"image": "x", "deploy": {"mode": "replicated-job"}},
            "web": {"image": "x", "depends_on": {"job": {"condition": "service_healthy"}}},
            "late": {"image": "x", "depends_on": {"web": {"condition": "service_completed_successfully"}}},
        }
    )

    assert set(found) == {"services.web.depends_on.job", "services.late.depends_on.web"}


def test_a_job_that_would_never_end_is_refused() -> None:
    policies = {"condition": "any"}, {"condition": "on-failure", "max_attempts": 0}
    found = [
        relations({"job": {"image": "x", "deploy": {"mode": "replicated-job", "restart_policy": policy}}})
        for policy in policies
    ]

    assert [list(item) for item in found] == [
        ["services.job.deploy.restart_policy.condition"],
        ["services.job.deploy.restart_policy.max_attempts"],
    ]


def test_a_host_port_excludes_start_first_and_a_mesh_port_excludes_dnsrr() -> None:
    found = relations(
        {
            "a": {
                "image": "x",
                "ports": [{"target": 80, "published": 80, "mode": "host"}],
                "deploy": {"update_config": {"order": "start-first"}},
            },
            "b": {"image": "x", "ports": [{"target": 80}], "deploy": {"endpoint_mode": "dnsrr"}},
            "c": {"image": "x", "ports": [{"target": 80, "published": 81}]},
            "d": {"image": "x", "ports": [{"target": 80, "published": 81}]},
        }
    )

    assert set(found) == {
        "services.a.deploy.update_config.order",
        "services.b.ports[0]",
        "services.d.ports[0].published",
    }


def test_limits_of_swarm_are_known_before_it_is_asked() -> None:
    found = relations(
        {"w" * 60: {"image": "x"}},
        secrets={"s" * 60: {"data": "x"}, "big": {"data": "x" * 512000}},
        configs={"both": {"data": "x", "external": True}, "none": {}},
    )

    assert set(found) == {f"services.{'w' * 60}", f"secrets.{'s' * 60}", "secrets.big", "configs.both", "configs.none"}


def test_data_without_a_key_is_refused() -> None:
    assert "object_key" in relations({}, key=False, secrets={"db": {"data": "x"}})
    assert relations({}, key=False, secrets={"db": {"external": True}}) == {}


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("1h30m", 5400), ("500ms", 0.5), ("0", 0), ("1.5s", 1.5), ("2d", 172800)]
)
def test_durations_are_read_as_compose_writes_them(text: str, seconds: float) -> None:
    assert units.nanoseconds(text) == seconds * units.SECOND


@pytest.mark.parametrize("text", ["", "s", "1 h", "-1s", "10", True, None])
def test_what_is_no_duration_is_refused(text: t.Any) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        units.nanoseconds(text)


@pytest.mark.parametrize(
    ("text", "size"), [("512M", 512 * 2**20), ("1.5g", 3 * 2**29), (1024, 1024), ("64kb", 65536), ("1GiB", 2**30)]
)
def test_sizes_are_powers_of_1024(text: t.Any, size: int) -> None:
    assert units.byte_count(text) == size


def test_a_mode_in_quotes_is_octal() -> None:
    assert file_mode("0400") == 0o400
    assert file_mode(0o444) == 0o444
    with pytest.raises(ValueError, match="invalid literal"):
        file_mode("9")
