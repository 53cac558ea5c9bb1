"""How the check program is called, and how its answer is read and told."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow import release_check

RELEASE = "20261126T142301Z-1a2b3c4d5e6f"
ANSWER: dict[str, t.Any] = {"problems": [], "dags": {"a": {"file": "a.py", "queues": [], "tasks": 1}}, "files": {}}


def line(**changes: t.Any) -> str:
    return release_check.MARK + json.dumps({**ANSWER, "seconds": 1.5, **changes})


def test_the_program_is_told_where_containers_see_the_release_and_what_other_bundles_hold() -> None:
    words = release_check.command("dags", RELEASE, ["default", "big"], 30.0, {"x": "sales", "mine": "dags"})

    assert " ".join(words) == (
        "python -m flowstead_airflow.release_check --bundle dags "
        f"--path /opt/airflow/bundles/dags/releases/{RELEASE} --root /opt/airflow/bundles/dags "
        '--queues default,big --parse-seconds 30 --known {"x": "sales"}'
    )


def test_the_last_marked_line_is_the_answer_whatever_dag_files_print() -> None:
    lines = ["a DAG says hello", line(seconds=9), "FLOWSTEAD", line()]

    assert release_check.has_answer(lines)
    assert release_check.answer_of(lines) == {**ANSWER, "seconds": 1.5}


def test_no_answer_is_told_with_the_last_lines() -> None:
    with pytest.raises(release_check.BadAnswer, match=r"without an answer(.|\n)*  [|] Traceback"):
        release_check.answer_of(["Traceback"])
    with pytest.raises(release_check.BadAnswer, match=r"\(nothing\)"):
        release_check.answer_of([])


@pytest.mark.parametrize("text", ["{", "[]", "{}", line(problems=[{}])[24:], line(dags={"a": 1})[24:]])
def test_an_answer_of_another_form_names_the_image(text: str) -> None:
    with pytest.raises(release_check.BadAnswer, match="build and deploy the image again"):
        release_check.answer_of([release_check.MARK + text])


def test_more_dags_than_a_command_may_hold_are_compared_here() -> None:
    dags = {"mine": {"file": "m.py"}, "theirs": {"file": "t.py"}, "new": {"file": "n.py"}}
    few = {"mine": "dags", "theirs": "sales", "other": "sales"}
    many = {**few, **{f"other_{number:05}": "sales" for number in range(10_000)}}

    assert release_check.duplicates(dags, few, "dags") == []
    assert "--known" not in release_check.command("dags", RELEASE, ["q"], 1.0, many)
    found = release_check.duplicates(dags, many, "dags")
    assert [(problem["kind"], problem["file"]) for problem in found] == [("duplicate_dag_id", "t.py")]
    assert release_check.line_of(found[0]) == (
        "t.py: DAG theirs is in bundle sales already. "
        "Fix: give it another dag_id here, or remove it from bundle sales first."
    )


def test_all_problems_are_told_with_their_places() -> None:
    text = release_check.report(
        "dags",
        RELEASE,
        [
            {"kind": "import_error", "file": "a.py", "line": 3, "message": "no module x", "fix": "add it"},
            {"kind": "no_such_path", "file": "", "line": None, "message": "nothing there", "fix": ""},
        ],
        "node1",
    )

    assert "has 2 problems" in text
    assert "  - a.py:3: no module x. Fix: add it.\n  - release: nothing there.\n" in text
    assert "ran on node node1" in text
