from __future__ import annotations

import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._services.exports import (
    directories,
    export_problems,
    lines,
)


def export(path: str = "/srv/dags", clients: t.Sequence[str] = ("192.0.2.0/24",), **more: t.Any) -> dict[str, t.Any]:
    return {"path": path, "clients": list(clients), **more}


def test_an_export_is_read_only_and_squashes_root_unless_it_says_otherwise() -> None:
    assert lines([export()]) == ["/srv/dags 192.0.2.0/24(ro,sync,no_subtree_check,root_squash)"]
    options = ["rw", "no_root_squash", "async", "fsid=1"]
    assert lines([export(options=options)]) == [
        "/srv/dags 192.0.2.0/24(no_subtree_check,rw,no_root_squash,async,fsid=1)"
    ]


def test_a_publisher_may_write_what_its_network_reads() -> None:
    found = lines([export(), export(clients=["192.0.2.7/32", "192.0.2.128/25"], options=["rw"])])

    (line,) = found
    assert [client.split("(")[0] for client in line.split()[1:]] == ["192.0.2.7", "192.0.2.128/25", "192.0.2.0/24"]
    assert line.split()[1].endswith("(sync,no_subtree_check,root_squash,rw)")


def test_networks_are_written_as_the_kernel_compares_them() -> None:
    assert lines([export(clients=["192.0.2.9/24", "2001:db8::1"])])[0].count("192.0.2.0/24(") == 1


def test_each_directory_is_made_once_with_what_any_entry_says() -> None:
    found = directories([export(), export(clients=["192.0.2.1"], owner="50000", mode="0750"), export("/srv/b")])

    assert found == [{"path": "/srv/dags", "owner": "50000", "mode": "0750"}, {"path": "/srv/b"}]


def test_exports_that_are_fine_have_no_problems() -> None:
    good = [
        export(options=["rw", "anonuid=50000", "sec=sys"], owner="root"),
        export(clients=["2001:db8::/64"], owner="root"),
        export("/srv/dags-old"),
    ]
    assert export_problems(good) == []


@pytest.mark.parametrize(
    ("bad", "where", "words"),
    [
        (export("srv/dags"), "path", "relative"),
        (export(""), "path", "relative"),
        (export("/"), "path", "whole host"),
        (export("//"), "path", "whole host"),
        (export("/srv/../etc"), "path", "dots"),
        (export("/srv/dags/"), "path", "slash at its end"),
        (export("//srv/dags"), "path", "double slashes"),
        (export("/srv/my dags"), "path", "characters"),
        (export("/srv/dags(rw)"), "path", "characters"),
        (export(clients=[]), "clients", "nobody"),
        (export(clients=["0.0.0.0/0"]), "clients[0]", "everybody"),
        (export(clients=["192.0.2.1", "::/0"]), "clients[1]", "everybody"),
        (export(clients=["*"]), "clients[0]", "everybody"),
        (export(clients=["host.example.com"]), "clients[0]", "no address"),
        (export(clients=["192.0.2.1", "192.0.2.1/32"]), "clients[1]", "twice"),
        (export(options=["rw,no_root_squash"]), "options[0]", "no option"),
        (export(options=["rw", "x) *(rw"]), "options[1]", "no option"),
    ],
)
def test_a_bad_export_is_named_with_its_place(bad: dict[str, t.Any], where: str, words: str) -> None:
    (problem,) = export_problems([bad])

    assert problem.variable == f"local_services_nfs_exports[0].{where}"
    assert words in problem.line()


def test_an_export_inside_of_another_is_refused() -> None:
    (problem,) = export_problems([export("/srv"), export("/srv/dags")])

    assert problem.variable == "local_services_nfs_exports[1].path"
    assert "/srv" in problem.problem


def test_the_same_network_twice_for_a_path_is_refused_and_for_two_paths_is_fine() -> None:
    (problem,) = export_problems([export(), export(clients=["192.0.2.1/24"], options=["rw"]), export("/srv/b")])

    assert problem.variable == "local_services_nfs_exports[1].clients[0]"


def test_two_owners_of_a_directory_are_refused() -> None:
    (problem,) = export_problems([export(owner="root"), export(clients=["192.0.2.1"], owner="airflow")])

    assert problem.variable == "local_services_nfs_exports[1].owner"


def test_no_exports_are_a_problem_and_all_problems_come_together() -> None:
    assert len(export_problems([])) == 1
    assert len(export_problems([export("/"), export("x", clients=["*"], options=[""])])) == 4
