# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.problems import Problem
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.roles import (
    FACTS,
    LATER,
    check_image,
    check_roles,
)

ROLES = Path(__file__).resolve().parents[5] / "roles"
SPECS = {path.parts[-3]: yaml.safe_load(path.read_text()) for path in ROLES.glob("*/meta/argument_specs.yml")}
OPTIONS: dict[str, t.Any] = {
    name: option
    for role, spec in SPECS.items()
    for entry_point in spec["argument_specs"].values()
    for name, option in (entry_point["options"] or {}).items()
}
SECRET = "hidden-Pa55"


def problems_of(variables: dict[str, t.Any]) -> list[Problem]:
    return check_roles(variables, OPTIONS, set(OPTIONS) | FACTS, {f"{role}_" for role in SPECS})


#: What is written, where the problem is found, and words of the message.
ONE_PROBLEM = [
    # names
    ({"docker_engine_versoin": "1"}, "docker_engine_versoin", "Did you mean docker_engine_version?"),
    ({"swarm_quite_different": 1}, "swarm_quite_different", "names with swarm_ are kept"),
    ({"airflow_image": {"sorce": "official"}}, "airflow_image.sorce", "Did you mean source?"),
    ({"docker_engine_proxy": {"htttp": "x"}}, "docker_engine_proxy.htttp", "Did you mean http?"),
    # types
    ({"airflow_swarm_timeout": "soon"}, "airflow_swarm_timeout", "this has to be a whole number"),
    ({"docker_engine_daemon": "debug"}, "docker_engine_daemon", "this has to be a dictionary"),
    ({"swarm_purge_labels": "perhaps"}, "swarm_purge_labels", "true or false"),
    ({"docker_engine_purge": "perhaps"}, "docker_engine_purge", "true or false"),
    ({"swarm_address_pools": "10.0.0.0/8"}, "swarm_address_pools", "this has to be a list"),
    # choices
    ({"airflow_image": {"source": "oficial"}}, "airflow_image.source", "Did you mean official?"),
    (
        {"local_services_enabled": ["redis", "x"]},
        "local_services_enabled[1]",
        "Choose one of postgresql, redis, rabbitmq",
    ),
    # required
    ({"airflow_image_registry": {"username": "u"}}, "airflow_image_registry.password", "this is required"),
    ({"docker_engine_registry_cas": [{"src": "x"}]}, "docker_engine_registry_cas[0].registry", "this is required"),
]


@pytest.mark.parametrize(("variables", "where", "words"), ONE_PROBLEM)
def test_a_variable_that_its_role_does_not_take_is_named(variables: dict[str, t.Any], where: str, words: str) -> None:
    (problem,) = problems_of(variables)

    assert problem.variable == where
    assert words in problem.line()


def test_variables_that_their_roles_take_have_no_problems() -> None:
    variables = {
        "airflow_image": {"source": "bootstrap", "packages": ["git"]},
        "docker_engine_hold": "false",
        "docker_engine_host_daemon": {"any": {"thing": 1}},
        "local_services_enabled": ["redis"],
        "swarm_advertise_address": None,
        "unrelated": 1,
    }

    assert problems_of(variables) == []


def test_what_a_role_requires_is_not_missed_where_the_role_may_not_run() -> None:
    required = {"x_name": {"type": "str", "required": True}}

    assert check_roles({}, required, set(required), {"x_"}) == []
    assert check_roles({"x_name": None}, required, set(required), {"x_"}) == []


def test_a_value_that_is_not_known_yet_is_not_looked_into() -> None:
    assert problems_of({"airflow_swarm_timeout": LATER, "airflow_image": LATER}) == []


@pytest.mark.parametrize(
    "variables",
    [
        {"local_services_redis_password": [SECRET]},
        {"local_services_postgresql_databases": [{"name": "a", "password": [SECRET]}]},
        {"local_services_postgresql_databases": [SECRET]},
        {"local_services_postgresql_databases": SECRET},
        {"local_services_redis_passwrd": SECRET},
        {"airflow_image_registry": SECRET},
        {"airflow_image_registry": {"username": "u", "password": "p", "pasword": SECRET}},
        {"docker_engine_proxy": f"http://user:{SECRET}@proxy"},
        {"docker_engine_proxy": {"http": {"user": SECRET}}},
        {"docker_engine_daemon": SECRET},
        {"docker_engine_repository_key": {"key": SECRET}},
    ],
)
def test_no_secret_is_shown(variables: dict[str, t.Any]) -> None:
    problems = problems_of(variables)

    assert problems != []
    assert [problem for problem in problems if SECRET in problem.line()] == []


@pytest.mark.parametrize("name", ["x_password", "x_token", "x_api_key", "x_described"])
def test_secrets_are_told_by_their_name_or_description(name: str) -> None:
    description = ["Some value.", "It is a secret."] if name == "x_described" else "Some value."
    options = {name: {"type": "int", "description": description}}

    (problem,) = check_roles({name: SECRET}, options, set(options), {"x_"})

    assert problem.value == f"set, {len(SECRET)} characters"


def test_an_image_is_checked_as_far_as_it_can_be_read() -> None:
    assert check_image({"airflow_image": "official"}, OPTIONS, 3) == []
    assert check_image({"airflow_image": {"source": "oficial"}}, OPTIONS, 3) == []
    assert [problem.variable for problem in check_image({"airflow_image": None}, OPTIONS, 3)] == ["airflow_image.push"]


@pytest.mark.parametrize(
    ("image", "where"),
    [({"push": True}, "airflow_image.registry"), ({"source": "existing"}, "airflow_image.reference")],
)
def test_an_image_without_the_name_it_needs_is_refused_on_one_host(image: dict[str, t.Any], where: str) -> None:
    assert [problem.variable for problem in check_image({"airflow_image": image}, OPTIONS, 1)] == [where]


GOOGLE = "apache-airflow-providers-google"


@pytest.mark.parametrize(
    ("image", "enough"),
    [
        ({}, False),
        ({"requirements": [f"{GOOGLE}-cloud==1.0", "pandas==3.0.0"]}, False),
        ({"requirements": [f"{GOOGLE}==22.8.0"]}, True),
        ({"lock": "our-lock.txt"}, True),
        ({"source": "official"}, True),
        ({"source": "existing", "reference": "registry.example.com/airflow:1"}, True),
    ],
)
def test_logs_in_google_cloud_need_its_provider_in_an_image_that_is_built_here(image: dict[str, t.Any], enough: bool):
    variables = {"airflow_image": {"source": "bootstrap", **image}}
    logs = {"tasks": {"gcs": {"url": "gs://logs/airflow"}}}

    found = check_image({**variables, "airflow_logs": logs}, OPTIONS, 1)

    assert [problem.variable for problem in found] == ([] if enough else ["airflow_image.lock"])
    assert check_image({**variables, "airflow_logs": {"tasks": {"s3": {"url": "s3://logs"}}}}, OPTIONS, 1) == []


@pytest.mark.parametrize("password", ["CHANGE_ME", "", "registry-Pa55\n"])
def test_a_password_of_the_registry_that_is_none_is_refused_without_showing_it(password: str) -> None:
    image = {"source": "existing", "reference": "registry.example.com/airflow:1"}
    login = {"username": "deploy", "password": password}

    (problem,) = check_image({"airflow_image": image, "airflow_image_registry": login}, OPTIONS, 3)

    assert problem.variable == "airflow_image_registry.password"
    assert problem.value.startswith("set, ")
    login["password"] = "registry-Pa55"
    assert check_image({"airflow_image": image, "airflow_image_registry": login}, OPTIONS, 3) == []


def test_public_facts_of_roles_are_all_known() -> None:
    facts = set()
    for path in ROLES.glob("*/tasks/*.yml"):
        for task in yaml.safe_load(path.read_text()) or []:
            for inner in [task, *task.get("block", [])]:
                facts.update(inner.get("ansible.builtin.set_fact", {}))
                facts.add(inner.get("register", "__"))

    assert {name for name in facts if not re.match("__|cacheable$", name)} == set(FACTS)
