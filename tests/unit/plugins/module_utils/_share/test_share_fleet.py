"""What an inventory says about the share on all hosts, found without a look at any of them."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.roles import LATER
from ansible_collections.flowstead.airflow.plugins.module_utils._share.fleet import check_share, compare_shares

ROOT = Path(__file__).resolve().parents[5]
SPECS = yaml.safe_load((ROOT / "roles/dag_share/meta/argument_specs.yml").read_text())
OPTIONS = SPECS["argument_specs"]["main"]["options"]
DAGS = "/srv/airflow/dags"
NFS: dict[str, t.Any] = {"dag_share_type": "nfs", "dag_share_nfs": {"host": "nfs.example.com", "path": "/export/dags"}}
EFS: dict[str, t.Any] = {"dag_share_type": "efs", "dag_share_efs": {"file_system": "fs-0123456789abcdef0"}}


def check(variables: dict[str, t.Any], dags_path: str = DAGS) -> list[str]:
    return [problem.variable for problem in check_share(variables, OPTIONS, dags_path)]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        NFS,
        EFS,
        {**NFS, "dag_share_publisher": "true", "dag_share_mount_seconds": "60"},  # as -e hands them over
        {**NFS, "dag_share_path": "/srv/airflow"},
        {"dag_share_type": "local", "dag_share_local": {"mounted": True}},
    ],
)
def test_good_settings_have_no_problem(variables: dict[str, t.Any]) -> None:
    assert check(variables) == []


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"dag_share_type": "nfs"}, ["dag_share_nfs.host", "dag_share_nfs.path"]),
        ({"dag_share_type": "efs"}, ["dag_share_efs.file_system"]),
        ({**EFS, "dag_share_nfs": NFS["dag_share_nfs"], "dag_share_mount_seconds": 0}, ["dag_share_mount_seconds"]),
        ({**NFS, "dag_share_path": "/usr/dags"}, ["dag_share_path"]),
    ],
)
def test_what_the_type_needs_is_missed(variables: dict[str, t.Any], expected: list[str]) -> None:
    assert check(variables) == expected


def test_a_share_that_is_mounted_where_no_dag_is_looked_for_is_refused() -> None:
    (problem,) = check_share({**NFS, "dag_share_path": "/mnt/share"}, OPTIONS, DAGS)

    assert problem.variable == "dag_share_path"
    assert "airflow_dags_path (/srv/airflow/dags)" in problem.problem
    assert check({**NFS, "dag_share_path": "/mnt/share"}, "/mnt/share/dags") == []


def test_a_directory_whose_name_begins_like_that_of_the_share_is_not_below_it() -> None:
    assert check({**NFS, "dag_share_path": "/srv/air"}) == ["dag_share_path"]


@pytest.mark.parametrize("variables", [{**NFS, "dag_share_id": LATER}, {"dag_share_type": "nsf"}, {"dag_share_nfs": 1}])
def test_what_is_not_known_yet_or_of_the_wrong_type_is_left_to_others(variables: dict[str, t.Any]) -> None:
    assert check(variables) == []


def test_hosts_without_the_share_among_hosts_with_it_are_named() -> None:
    (problem,) = compare_shares({"one": NFS, "two": {}, "three": NFS, "four": {"dag_share_type": "local"}})

    assert problem.variable == "dag_share_type"
    assert problem.value == "nfs on one, three; local on two, four"
    assert "group_vars/all" in problem.fix


@pytest.mark.parametrize(
    "hosts",
    [
        {"one": NFS, "two": NFS},
        {"one": {}, "two": {}},
        {"server": {"dag_share_local": {"mounted": True}}, "two": NFS},  # something else mounts it there
        {"one": NFS, "two": {"dag_share_type": LATER}},
        {"one": NFS, "two": {"dag_share_type": "nsf"}},
    ],
)
def test_hosts_that_all_see_a_share_or_none_are_accepted(hosts: dict[str, dict[str, t.Any]]) -> None:
    assert compare_shares(hosts) == []
