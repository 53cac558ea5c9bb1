"""What is made of Airflow's answers; tests/airflow parses real files."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from flowstead_airflow import release_check, release_parse
from flowstead_airflow.release_parse import Dag, Parsed


@pytest.fixture(name="judge")
def _judge(tmp_path: Path) -> t.Callable[..., release_check.Check]:
    def make(known: dict[str, str] | None = None) -> release_check.Check:
        return release_check.Check(tmp_path, "team", ["default", "hot"], 5.0, known or {})

    return make


def only(judge: release_check.Check) -> dict[str, t.Any]:
    (problem,) = judge.problems
    return problem


def trace(*frames: tuple[Path, int], end: str) -> str:
    lines = "".join(f'  File "{path}", line {line}, in <module>\n    code\n    ~~^^\n' for path, line in frames)
    return f"Traceback (most recent call last):\n{lines}{end}\n"


def test_an_error_is_where_the_release_can_be_changed(judge: t.Callable[..., t.Any], tmp_path: Path) -> None:
    made = judge()
    library = Path("/usr/lib/python3.12/json/decoder.py")
    text = trace((tmp_path / "dag.py", 3), (tmp_path / "lib/a.py", 7), (library, 99), end="ValueError: no number")
    made.add(Parsed("dag.py", 0.1, errors={"dag.py": text}))
    problem = only(made)
    assert (problem["file"], problem["line"]) == ("lib/a.py", 7)
    assert problem["message"] == "ValueError: no number (imported by dag.py)"


def test_one_fault_in_a_shared_module_is_named_with_each_dag_file(
    judge: t.Callable[..., t.Any], tmp_path: Path
) -> None:
    made = judge()
    for file in ("one.py", "two.py"):
        text = trace((tmp_path / file, 1), (tmp_path / "lib.py", 2), end="NameError: x")
        made.add(Parsed(file, 0.1, errors={file: text}))
    assert [(one["file"], one["message"]) for one in made.answer(1)["problems"]] == [
        ("lib.py", "NameError: x (imported by one.py)"),
        ("lib.py", "NameError: x (imported by two.py)"),
    ]


def test_the_text_of_an_error_keeps_its_own_lines_and_loses_the_traceback(
    judge: t.Callable[..., t.Any], tmp_path: Path
) -> None:
    made = judge()
    made.add(Parsed("dag.py", 0.1, errors={"dag.py": trace((tmp_path / "dag.py", 3), end="E: one\n  two")}))
    assert only(made)["message"] == "E: one two"


@pytest.mark.parametrize(
    ("text", "kind", "line"),
    [
        ("AirflowDagCycleException: Cycle detected in Dag: my.dag. Faulty task: b", "cycle", 2),
        ("AirflowDagDuplicatedIdException: Ignoring DAG my.dag from a - also found in b", "duplicate_dag_id", 2),
        ("UnknownExecutorException: Task 'a' specifies executor 'x'", "import_error", None),
    ],
)
def test_what_airflow_tells_without_a_traceback_gets_its_kind(
    text: str, kind: str, line: int | None, judge: t.Callable[..., t.Any], tmp_path: Path
) -> None:
    (tmp_path / "dag.py").write_text("import x\nDAG('my.dag')\n")
    made = judge()
    made.add(Parsed("dag.py", 0.1, errors={"dag.py": text}))
    assert (only(made)["kind"], only(made)["line"]) == (kind, line)


@pytest.mark.parametrize("order", [("a.py", "b.py"), ("b.py", "a.py")])
def test_two_files_with_one_dag_id_are_one_problem_in_any_order(
    order: tuple[str, str], judge: t.Callable[..., t.Any]
) -> None:
    made = judge()
    for file in order:
        made.add(Parsed(file, 0.1, dags=[Dag("same", {}, 0)]))
    assert (only(made)["kind"], only(made)["file"]) == ("duplicate_dag_id", "b.py")
    assert made.answer(1)["dags"]["same"]["file"] == "a.py"


def test_a_dag_id_of_another_bundle_is_refused_and_its_own_is_not(judge: t.Callable[..., t.Any]) -> None:
    made = judge({"own": "team", "theirs": "other"})
    made.add(Parsed("dag.py", 0.1, dags=[Dag("own", {}, 0), Dag("theirs", {}, 0), Dag("new", {}, 0)]))
    assert "the bundle other has a DAG theirs already" in only(made)["message"]


def test_a_queue_without_a_worker_is_named_once_with_its_tasks(judge: t.Callable[..., t.Any], tmp_path: Path) -> None:
    (tmp_path / "dag.py").write_text('DAG("d")\nT(queue="cold")\n')
    made = judge()
    made.add(Parsed("dag.py", 0.1, dags=[Dag("d", {"a": "hot", **{f"t{n}": "cold" for n in range(5)}}, 6)]))
    problem = only(made)
    assert (problem["kind"], problem["line"]) == ("unknown_queue", 2)
    assert problem["message"] == "no worker consumes the queue cold of d: t0, t1, t2 and 2 more"
    assert made.answer(1)["dags"]["d"] == {"file": "dag.py", "queues": ["cold", "hot"], "tasks": 6}


def test_a_slow_file_is_one_problem_also_when_airflow_gave_up(judge: t.Callable[..., t.Any], tmp_path: Path) -> None:
    made = judge()
    end = "airflow.sdk.exceptions.AirflowTaskTimeout: DagBag import timeout after 30.0s.\nPlease take a look at these"
    made.add(Parsed("dag.py", 30.2, errors={"dag.py": trace((tmp_path / "dag.py", 4), end=end)}))
    problem = only(made)
    assert (problem["kind"], problem["line"]) == ("slow_file", 4)
    assert problem["message"].endswith("DagBag import timeout after 30.0s.")


def test_a_slow_file_is_still_a_slow_file_when_it_parses(judge: t.Callable[..., t.Any]) -> None:
    made = judge()
    made.add(Parsed("dag.py", 6.0, dags=[Dag("d", {}, 0)]))
    assert (only(made)["kind"], list(made.answer(1)["dags"])) == ("slow_file", ["d"])


def test_the_answer_is_one_line_of_ascii_after_the_mark(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(*_arguments: t.Any) -> t.Iterator[Parsed]:
        print("a DAG prints \u2028 something")
        yield Parsed("dag.py", 0.1, errors={"dag.py": "ValueError: \u2028 \x85"})

    monkeypatch.setattr(release_parse, "prepare", lambda: None)
    monkeypatch.setattr(release_parse, "dag_files", lambda _release: ["dag.py"])
    monkeypatch.setattr(release_parse, "parse", parse)
    options = release_check._arguments(["--bundle", "team", "--path", str(tmp_path), "--queues", "default"])
    found = release_check.check(options)
    line = release_check.MARK + json.dumps(found, ensure_ascii=True)
    assert len(line.splitlines()) == 1
    capfd.readouterr()


@pytest.mark.parametrize("given", ['{"a": "b"}', "file"])
def test_known_dag_ids_come_as_text_or_from_a_file(given: str, tmp_path: Path) -> None:
    if given == "file":
        (tmp_path / "known.json").write_text('{"a": "b"}')
        given = str(tmp_path / "known.json")
    assert release_check._known(given) == {"a": "b"}
