# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.flowstead.airflow.plugins.filter.platform_model import FilterModule
from jinja2 import StrictUndefined, UndefinedError

FILTERS = FilterModule().filters()
ROOT = Path(__file__).resolve().parents[4]
GOOD: dict[str, t.Any] = {
    "airflow_environment": "local",
    "airflow_public_url": "http://127.0.0.1:8080",
    "airflow_database": {"host": "10.0.0.1", "password": "database-Pa55", "sslmode": "disable"},
    "airflow_result_backend": {"password": "results-Pa55"},
    "airflow_broker": {"type": "redis", "host": "10.0.0.1", "password": "broker-Pa55", "tls": False},
    "airflow_keys": {
        "fernet": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "api_secret": "api-secret-of-a-test-" + "0" * 20,
        "jwt": "jwt-secret-of-a-test-" + "0" * 20,
        "object_names": "object-names-of-a-test-" + "0" * 20,
    },
    "airflow_admin": {"password": "admin-Pa55word"},
    "airflow_workers": [{"name": "default", "queues": ["default"]}],
}
#: What each filter needs beside the variables.
ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "platform_services": {"image": "airflow:1"},
    "platform_compose": {"image": "airflow:1", "stack": "airflow-local"},
}


def test_good_variables_have_no_problems() -> None:
    assert FILTERS["platform_problems"](GOOD) == []


def test_each_problem_is_a_dictionary_with_a_line() -> None:
    (problem,) = FILTERS["platform_problems"]({**GOOD, "airflow_version": "3.9.9"})

    assert problem["variable"] == "airflow_version"
    assert problem["line"] == 'airflow_version ("3.9.9"): this Airflow version is not supported. Supported is 3.3.2.'


def test_names_of_other_roles_argument_specs_are_known() -> None:
    assert problems({"airflow_swarm_timeout": 1}) == {}
    (problem,) = problems({"airflow_swarm_timeuot": 1}).values()
    assert problem["fix"] == "Did you mean airflow_swarm_timeout?"


def problems(variables: dict[str, t.Any] | None = None, **arguments: t.Any) -> dict[str, dict[str, str]]:
    """Problems of good variables and these, by variable."""
    found = FILTERS["platform_problems"]({**GOOD, **(variables or {})}, **arguments)
    assert len({problem["variable"] for problem in found}) == len(found)
    return {problem["variable"]: problem for problem in found}


def test_the_image_and_the_target_are_checked_together_with_the_model() -> None:
    found = problems(
        {
            "airflow_version": "3.9.9",
            "airflow_image": {"sorce": "official"},
            "airflow_swarm_timeout": "soon",
            "airflow_swarm_publish_mode": "hosst",
        }
    )

    assert found["airflow_image.sorce"]["fix"].startswith("Did you mean source?")
    assert found["airflow_swarm_timeout"]["value"] == '"soon"'
    assert found["airflow_swarm_publish_mode"]["fix"] == "Did you mean host? Choose one of auto, ingress, host."
    assert "airflow_version" in found


def test_variables_of_every_role_are_checked_on_every_host() -> None:
    everywhere = {"docker_engine_versoin": "1"}
    one = {**everywhere, "swarm_node_labels": "team=a"}
    other = {**everywhere, "local_services_enabled": ["postgresql", "reddis"], "unrelated": 1}

    found = problems(host_variables={"one": one, "other": other})

    assert found["docker_engine_versoin"]["fix"] == "Did you mean docker_engine_version?"
    assert found["docker_engine_versoin"]["value"] == "set, 1 characters"
    assert found["swarm_node_labels"]["value"] == "set, 6 characters, on one"
    assert found["local_services_enabled[1]"]["value"] == '"reddis", on other'
    assert len(found) == 3


def test_the_share_is_checked_on_the_hosts_that_run_the_platform() -> None:
    share = {"dag_share_type": "nfs", "dag_share_nfs": {"path": "/export/dags"}}

    found = problems(host_variables={"one": share, "other": {}, "stand-in": {}}, members=["one", "other"])

    assert found["dag_share_nfs.host"]["value"] == "not set, on one"
    assert found["dag_share_type"]["value"] == "nfs on one; local on other"
    assert len(found) == 2


def test_the_share_has_to_hold_the_directory_in_which_dags_are_looked_for() -> None:
    share = {
        "dag_share_type": "efs",
        "dag_share_efs": {"file_system": "fs-0123456789abcdef0"},
        "dag_share_path": "/srv/b",
    }

    (problem,) = problems({"airflow_dags_path": "/srv/a"}, host_variables={"one": share}).values()

    assert problem["variable"] == "dag_share_path"
    assert "/srv/a" in problem["problem"]


def test_a_problem_of_the_platform_is_said_once_although_every_host_has_it() -> None:
    bad = {"airflow_swarm_timeout": "soon", "airflow_swarm_timeuot": 1, "airflow_version": "3.9.9"}

    assert set(problems(bad, host_variables={"one": bad, "other": bad})) == set(bad)


def test_facts_that_a_role_sets_are_known_names() -> None:
    assert problems(host_variables={"one": {"docker_engine_adaptations": ["no systemd"]}}) == {}


class _Later(t.Mapping[str, t.Any]):
    """A host's variables without facts: a value fails when it is taken, or is or holds something undefined."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def __getitem__(self, name: str) -> t.Any:
        if name == "swarm_listen_address":
            raise UndefinedError("object of type 'dict' has no attribute 'default_ipv4'")
        return [StrictUndefined()] if name == "swarm_address_pools" else StrictUndefined()

    def __iter__(self) -> t.Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def test_a_value_that_needs_facts_is_left_out_and_its_name_is_checked() -> None:
    later = _Later("swarm_listen_address", "swarm_address_pools", "swarm_advertise_address", "swarm_advertise_addres")

    (problem,) = problems(host_variables={"one": later}).values()

    assert problem["variable"] == "swarm_advertise_addres"
    assert problem["value"] == "not known yet"


def test_an_image_that_stays_on_one_host_is_refused_for_several() -> None:
    (problem,) = problems(hosts=2).values()

    assert problem["variable"] == "airflow_image.push"
    assert "airflow_image.registry" in problem["fix"]
    assert set(problems({"airflow_image": {"source": "bootstrap"}}, hosts=3)) == {"airflow_image.push"}


@pytest.mark.parametrize(
    ("image", "hosts"),
    [
        ({}, 1),
        ({"source": "existing", "reference": "registry.example.com/airflow:1"}, 2),
        ({"push": True, "registry": "registry.example.com"}, 2),
    ],
)
def test_an_image_that_every_host_can_get_is_accepted(image: dict[str, t.Any], hosts: int) -> None:
    assert problems({"airflow_image": image}, hosts=hosts) == {}


@pytest.mark.parametrize("name", sorted(set(FILTERS) - {"platform_problems"}))
def test_a_filter_fails_with_every_problem_when_the_variables_are_bad(name: str) -> None:
    bad = {**GOOD, "airflow_version": "3.9.9", "airflow_workers": []}

    with pytest.raises(AnsibleFilterError, match=r"(?s)airflow_version.*airflow_workers"):
        FILTERS[name](bad, **ARGUMENTS.get(name, {}))


@pytest.mark.parametrize("name", sorted(set(FILTERS) - {"platform_problems"}))
def test_a_filter_does_not_mind_facts_of_other_roles(name: str) -> None:
    FILTERS[name]({**GOOD, "airflow_image_reference": "x"}, **ARGUMENTS.get(name, {}))


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_a_filter_refuses_what_is_no_dictionary(name: str) -> None:
    with pytest.raises(AnsibleFilterError, match="dictionary"):
        FILTERS[name]("airflow", **ARGUMENTS.get(name, {}))


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_what_a_filter_returns_is_plain_data(name: str) -> None:
    result = FILTERS[name](GOOD, **ARGUMENTS.get(name, {}))

    assert json.loads(json.dumps(result)) is not None


def test_the_document_is_for_the_named_stack_and_target() -> None:
    document = FILTERS["platform_compose"](
        {**GOOD, "airflow_components": {"api_server": {"replicas": 1}}},
        image="registry.example.com/airflow:1",
        stack="airflow-local",
        endpoint_mode="dnsrr",
        publish_mode="host",
        driver_opts={"com.docker.network.driver.mtu": "1400"},
        hosts=1,
    )

    assert document["networks"]["default"]["driver_opts"] == {"com.docker.network.driver.mtu": "1400"}
    for service in document["services"].values():
        assert service["image"] == "registry.example.com/airflow:1"
        assert service["deploy"]["endpoint_mode"] == "dnsrr"
    assert document["services"]["api-server"]["ports"][0]["mode"] == "host"


def test_a_target_that_cannot_carry_the_platform_is_named() -> None:
    with pytest.raises(AnsibleFilterError, match="api-server has 2 replicas"):
        FILTERS["platform_compose"](GOOD, image="i", stack="s", endpoint_mode="dnsrr", publish_mode="host", hosts=1)


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_every_filter_is_documented_with_its_arguments(name: str) -> None:
    documents = yaml.safe_load((ROOT / "plugins" / "filter" / f"{name}.yml").read_text(encoding="utf-8"))
    code = FILTERS[name].__code__
    arguments = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]

    assert documents["DOCUMENTATION"]["name"] == name
    assert set(documents["DOCUMENTATION"]["options"]) == {"_input", *arguments}
    assert yaml.safe_load(documents["EXAMPLES"])
    assert documents["RETURN"]["_value"]["description"]
