from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from shares import dag_text

HEAD = "from airflow.sdk import DAG, Variable\nfrom airflow.providers.standard.operators.bash import BashOperator\n"
GOOD = {
    "good.py": HEAD
    + "import os\nprint('FLOWSTEAD-RELEASE-CHECK {}')\nos.write(1, b'raw\\n')\n"
    + "with DAG('good'):\n    BashOperator(task_id='a', bash_command='x', queue='hot')\n"
    + "    BashOperator.partial(task_id='m').expand(bash_command=['a', 'b'])\n",
    "asks.py": HEAD + "dag = DAG('asks_' + Variable.get('flowstead_nothing', 'nothing'))\n",
    "ignored.py": HEAD + "raise ValueError('never parsed')\n",
    "no_dag_file.py": "raise ValueError('no word that makes it a candidate')\n",
    ".airflowignore": "ignored.py\n",
    "lib/__init__.py": "",
    "lib/helper.py": "def ask():\n    import no_such_module_of_ours\n",
}
BAD = {
    "cycle.py": HEAD + "with DAG('cyclic'):\n    a = BashOperator(task_id='a', bash_command='x')\n    a >> a\n",
    "hangs.py": HEAD + "import time\ntime.sleep(60)\n",
    "imports.py": HEAD + "from lib.helper import ask\nask()\n",
    "exits.py": HEAD + "import sys\nsys.exit('bye')\n",
    "exits_hard.py": HEAD + "import os\nos._exit(0)\n",
    "killed.py": HEAD + "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
    "crashes.py": HEAD + "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n",
    "queue.py": HEAD
    + "with DAG('queued'):\n    BashOperator.partial(task_id='m', queue='cold').expand(bash_command=['a'])\n",
    "same_1.py": dag_text("same", "1"),
    "same_2.py": dag_text("same", "2"),
    "syntax.py": HEAD + "x = (\n",
    "taken.py": dag_text("taken", "here"),
    "twins.py": dag_text("twin", "1") + "DAG('twin', description='other')\nunused = DAG('twin')\n",
}


def check(release: Path, *more: str, **environ: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "flowstead_airflow.release_check", "--bundle", "team", "--path", str(release)]
    ran = subprocess.run(
        [*command, "--queues", "default,hot", *more],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
    )
    return ran.returncode, ran.stdout, ran.stderr


def answer(output: str) -> dict[str, t.Any]:
    lines = output.splitlines()
    assert len(lines) == 1, output
    mark, _space, document = lines[0].partition(" ")
    assert mark == "FLOWSTEAD-RELEASE-CHECK"
    return t.cast("dict[str, t.Any]", json.loads(document))


@pytest.fixture(name="release")
def _release(tmp_path: Path) -> t.Callable[[dict[str, str]], Path]:
    def make(files: dict[str, str]) -> Path:
        for name, text in files.items():
            (tmp_path / "r" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "r" / name).write_text(text)
        return tmp_path / "r"

    return make


def test_a_good_release_has_no_problem_whatever_its_files_print(release: t.Callable[[dict[str, str]], Path]) -> None:
    status, output, log = check(release(GOOD))
    found = answer(output)
    assert (status, found["problems"]) == (0, [])
    assert found["dags"]["good"] == {"file": "good.py", "queues": ["default", "hot"], "tasks": 2}
    assert sorted(found["dags"]) == ["asks_nothing", "good"]
    assert sorted(found["files"]) == ["asks.py", "good.py"]
    assert "raw" in log


def test_every_fault_of_a_release_is_named_at_once_with_its_file_and_line(
    release: t.Callable[[dict[str, str]], Path],
) -> None:
    status, output, _log = check(
        release({**GOOD, **BAD, "asks.py": ""}),
        "--known",
        json.dumps({"taken": "other", "good": "team"}),
        AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT="3",
    )
    found = answer(output)
    assert status == 0
    places = {(one["kind"], one["file"], one["line"]) for one in found["problems"] if one["kind"] != "slow_file"}
    assert places == {
        ("cycle", "cycle.py", 3),
        ("import_error", "lib/helper.py", 2),
        ("import_error", "exits.py", 4),
        ("import_error", "exits_hard.py", None),
        ("import_error", "killed.py", None),
        ("import_error", "crashes.py", None),
        ("unknown_queue", "queue.py", 4),
        ("duplicate_dag_id", "same_2.py", 3),
        ("import_error", "syntax.py", 3),
        ("duplicate_dag_id", "taken.py", 3),
        ("duplicate_dag_id", "twins.py", 3),
    }
    assert ("slow_file", "hangs.py", 4) in {(one["kind"], one["file"], one["line"]) for one in found["problems"]}
    assert all("Traceback" not in one["message"] and one["fix"] for one in found["problems"])
    assert "good" in found["dags"]


def test_a_release_that_is_not_there_is_told_from_a_share_that_is_not_there(tmp_path: Path) -> None:
    root = tmp_path / "team"
    missing = root / "releases/20261126T140100Z-000000000001"
    status, output, _log = check(missing, "--root", str(root))
    (problem,) = answer(output)["problems"]
    assert (status, problem["kind"]) == (0, "no_such_path")
    assert "is not the share" in problem["message"]
    root.mkdir()
    (root / ".sentinel").write_text("{}")
    (problem,) = answer(check(missing, "--root", str(root))[1])["problems"]
    assert "is not the share" not in problem["message"]


def test_what_cannot_be_checked_gives_another_status_and_no_answer(release: t.Callable[[dict[str, str]], Path]) -> None:
    status, output, log = check(release(GOOD), "--known", "no/such/file")
    assert (status, output) == (2, "")
    assert "no/such/file" in log
