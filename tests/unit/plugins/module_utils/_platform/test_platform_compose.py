# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t
from dataclasses import asdict, replace

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.compose import (
    Target,
    TargetError,
    compose,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.services import services
from platform_samples import MINIMAL, PRODUCTION, assert_golden, platform_of

LOCAL = Target("airflow-local", endpoint_mode="dnsrr", publish_mode="host", hosts=1)
SWARM = Target("airflow-prod", driver_opts={"encrypted": "true"})


def document(
    changes: t.Mapping[str, t.Any] | None = None,
    base: t.Mapping[str, t.Any] = PRODUCTION,
    target: Target = SWARM,
) -> dict[str, t.Any]:
    platform = platform_of(changes, base)
    return compose(services(platform, "airflow:1"), platform, target)


def test_services_of_a_minimal_platform() -> None:
    assert_golden("services_minimal", [asdict(service) for service in services(platform_of(), "airflow:1")])


def test_services_of_a_production_platform() -> None:
    found = services(platform_of(base=PRODUCTION), "registry.example.com/airflow:1")
    assert_golden("services_production", [asdict(service) for service in found])


def test_document_of_a_minimal_platform_on_one_machine() -> None:
    one = {"airflow_components.api_server.replicas": 1}
    assert_golden("compose_minimal", document(one, MINIMAL, LOCAL))


def test_document_of_a_production_platform() -> None:
    assert_golden("compose_production", document())


def test_the_migration_comes_first_and_workers_come_last() -> None:
    depends = {name: service.get("depends_on", {}) for name, service in document()["services"].items()}
    completed = {"condition": "service_completed_successfully"}

    assert depends == {
        "migrate": {},
        "init": {"migrate": completed},
        "api-server": {"migrate": completed, "init": completed},
        "scheduler": {"migrate": completed},
        "dag-processor": {"migrate": completed},
        "triggerer": {"migrate": completed},
        "worker-default": {"api-server": {"condition": "service_healthy"}},
        "worker-team-a": {"api-server": {"condition": "service_healthy"}},
        "worker-gpu": {"api-server": {"condition": "service_healthy"}},
    }


def test_jobs_run_once_and_have_no_rollout() -> None:
    for name in ("migrate", "init"):
        service = document()["services"][name]
        assert service["deploy"]["mode"] == "replicated-job"
        assert service["deploy"]["restart_policy"]["condition"] == "on-failure"
        assert {"update_config", "rollback_config"}.isdisjoint(service["deploy"])
        assert "healthcheck" not in service


def test_every_service_that_runs_on_has_a_probe_and_a_rollout_that_rolls_back() -> None:
    for name, service in document()["services"].items():
        if name not in ("migrate", "init"):
            component = "worker" if name.startswith("worker-") else name
            assert service["healthcheck"]["test"] == ["CMD", "python", "-m", "flowstead_airflow.probe", component]
            assert service["deploy"]["update_config"]["failure_action"] == "rollback"
            assert service["deploy"]["update_config"]["order"] == "start-first"


def test_a_port_of_the_host_is_freed_before_the_next_task_takes_it() -> None:
    api_server = document({"airflow_components.api_server.replicas": 1}, target=LOCAL)["services"]["api-server"]

    assert api_server["ports"] == [{"target": 8080, "published": 8443, "protocol": "tcp", "mode": "host"}]
    assert api_server["deploy"]["update_config"]["order"] == "stop-first"
    assert api_server["deploy"]["rollback_config"]["order"] == "stop-first"


def test_only_the_api_server_is_published() -> None:
    assert [name for name, service in document()["services"].items() if "ports" in service] == ["api-server"]


def test_workers_get_the_time_of_the_longest_task_to_finish() -> None:
    found = document()["services"]

    assert found["worker-default"]["stop_grace_period"] == "172800s"
    assert found["worker-team-a"]["stop_grace_period"] == "600s"


def test_bundles_are_mounted_read_only_where_dags_are_read() -> None:
    mounts = {
        name: {volume["target"]: volume for volume in service.get("volumes", []) if volume["type"] == "bind"}
        for name, service in document()["services"].items()
    }

    for name in ("dag-processor", "triggerer", "worker-default"):
        assert set(mounts[name]) == {"/opt/airflow/bundles/shared", "/opt/airflow/bundles/team-a"}
    assert set(mounts["worker-team-a"]) == {"/opt/airflow/bundles/team-a"}
    for name in ("migrate", "init", "api-server", "scheduler", "worker-gpu"):
        assert mounts[name] == {}
    assert all(volume["read_only"] for volumes in mounts.values() for volume in volumes.values())
    assert mounts["dag-processor"]["/opt/airflow/bundles/team-a"]["source"] == "/mnt/dags/prod/teams/a"


def test_secret_files_are_readable_by_airflows_user_only() -> None:
    for service in document()["services"].values():
        for secret in service["secrets"]:
            assert (secret["uid"], secret["mode"]) == ("50000", 0o400)


def test_everything_referenced_is_declared_and_nothing_else() -> None:
    found = document()
    used = {
        kind: {entry["source"] for service in found["services"].values() for entry in service.get(kind, [])}
        for kind in ("secrets", "configs")
    }

    assert used["secrets"] == set(found["secrets"])
    assert used["configs"] == set(found["configs"])
    assert set(found["volumes"]) == {"logs"}


def test_services_are_found_by_their_own_names_which_need_no_alias() -> None:
    for service in document()["services"].values():
        assert service["networks"] == {"default": {}}
    for service in services(platform_of(), "i"):
        assert service.dns_names == (() if service.job else (service.name,))


def test_another_name_of_a_service_becomes_an_alias() -> None:
    platform = platform_of()
    renamed = [replace(service, dns_names=(service.name, "other")) for service in services(platform, "i")]

    assert compose(renamed, platform, SWARM)["services"]["scheduler"]["networks"] == {"default": {"aliases": ["other"]}}


def test_container_logs_cannot_fill_the_disk() -> None:
    for service in document()["services"].values():
        assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}


def test_no_limit_is_written_where_none_is_wanted() -> None:
    unlimited = {"memory_mb": 0, "memory_reservation_mb": 0, "cpus": 0}
    deploy = document({"airflow_components.scheduler": unlimited})["services"]["scheduler"]["deploy"]

    assert "resources" not in deploy


def test_names_fit_swarm_with_the_longest_names_allowed() -> None:
    changes = {
        "airflow_environment": "e" * 20,
        "airflow_workers": [{"name": "w" * 24, "queues": ["default"]}],
    }

    names = document(changes, target=Target("airflow-" + "e" * 20))["services"]

    assert f"worker-{'w' * 24}" in names


def test_a_stack_name_that_makes_names_too_long_is_refused_with_the_limit() -> None:
    with pytest.raises(TargetError, match=r"Swarm allows 63.*shorter name for the stack"):
        document(target=Target("s" * 60))
    with pytest.raises(TargetError, match=r"the secret would be called .*Swarm allows 51"):
        document(base=MINIMAL, target=Target("s" * 40))


def test_more_replicas_than_hosts_cannot_share_a_port_of_the_host() -> None:
    with pytest.raises(TargetError, match=r"api-server has 2 replicas.*Lower airflow_components.api_server.replicas"):
        document(base=MINIMAL, target=LOCAL)


def test_a_port_is_not_published_by_ingress_without_virtual_addresses() -> None:
    with pytest.raises(TargetError, match="use publish_mode host"):
        Target("a", endpoint_mode="dnsrr", publish_mode="ingress")


@pytest.mark.parametrize("wrong", [{"endpoint_mode": "auto"}, {"publish_mode": "mesh"}])
def test_an_unknown_mode_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(TargetError, match="choose one of"):
        Target("a", **wrong)
