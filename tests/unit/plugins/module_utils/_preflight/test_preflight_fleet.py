"""What the checks of all hosts say together."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.fleet import verdict

PROBLEM = {
    "check": "disk",
    "variable": "docker_engine_daemon.data-root",
    "value": "/data",
    "problem": "full",
    "fix": "free it",
}


def result(machine: str = "x86_64", sent: float = 1000.0, here: float = 1001.0, **more: t.Any) -> dict[str, t.Any]:
    return {
        "problems": [],
        "platform": {"architecture": machine},
        "clock": {"controller": sent, "host": here},
        **more,
    }


def judge(**results: dict[str, t.Any]) -> str:
    return verdict(results, now=1010.0, clock_seconds=30)


def test_good_hosts_leave_nothing_to_say() -> None:
    assert judge(one=result(), two=result()) == ""


def test_problems_of_all_hosts_come_as_one_numbered_text() -> None:
    text = judge(one=result(problems=[PROBLEM]), two=result(problems=[PROBLEM]), three=result())

    assert text.splitlines() == [
        "2 problems on one, two. Nothing was changed by this check.",
        "1. one: docker_engine_daemon.data-root (/data): full.",
        "   Fix: free it.",
        "2. two: docker_engine_daemon.data-root (/data): full.",
        "   Fix: free it.",
    ]


def test_problems_of_another_check_are_told_with_them_and_one_that_did_not_run_there_is_none() -> None:
    more = {"one": {"skipped": True}, "two": {"problems": [PROBLEM]}}

    assert verdict({"one": result(), "two": result()}, more=more).startswith("1 problem on two.")


def test_a_host_of_another_architecture_is_named_with_all_architectures() -> None:
    text = judge(one=result(), two=result("aarch64"), three=result())

    assert (
        "1. two: airflow_architectures (empty): the hosts differ in architecture (x86_64: one, three; aarch64: two)"
        in text
    )


def test_other_architectures_are_fine_where_the_image_exists_for_them() -> None:
    assert verdict({"one": result(), "two": result("aarch64")}, same_architecture=False) == ""


@pytest.mark.parametrize(
    ("here", "words"),
    [
        (969.0, "at least 31 s behind the controller's"),
        (1041.0, "at least 31 s ahead of the controller's"),
    ],
)
def test_a_clock_that_is_off_by_more_than_the_tolerance_is_named(here: float, words: str) -> None:
    assert f"1. two: airflow_preflight_clock_seconds (30): its clock is {words}" in judge(
        one=result(), two=result(here=here)
    )


@pytest.mark.parametrize("here", [971.0, 1000.0, 1010.0, 1039.0])
def test_a_slow_way_to_a_host_is_no_wrong_clock(here: float) -> None:
    assert judge(one=result(here=here)) == ""


def test_clocks_are_left_alone_when_asked() -> None:
    assert verdict({"one": result(here=0.0)}, now=1010.0, clock_seconds=0) == ""


def test_a_host_whose_check_did_not_end_well_is_named() -> None:
    text = judge(one=result(), two={"failed": True, "msg": "No such interpreter"})

    assert "1. two: host_preflight (no answer): the check itself failed: No such interpreter." in text


def test_a_host_that_was_left_out_is_no_problem() -> None:
    assert judge(one={"skipped": True}) == ""
