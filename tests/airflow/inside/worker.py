"""The program of supervise.py, with task logs configured as a test says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import supervise

LINES = 3000


class Worker:
    """The program, running.

    Args:
        run: the name of its run, which no other has.
        environ: more of its environment.
    """

    def __init__(self, root: Path, run: str, environ: t.Mapping[str, str]) -> None:
        self.run_id = run
        self.logs = root / "logs"
        self.release = root / "release"
        dags = root / "dags"
        dags.mkdir()
        text = supervise.DAG.replace("RELEASE", repr(str(self.release))).replace("LINES", str(LINES))
        (dags / "dag.py").write_text(text)
        bundle = {
            "name": "sales",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(dags)},
        }
        self.environ = {
            **os.environ,
            "FLOWSTEAD_TEST_RUN": run,
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.logs),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
            **environ,
        }
        self._errors = (root / "errors").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, str(Path(supervise.__file__)), str(dags)],
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        self.answer()

    def tell(self, verb: str, task: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({verb: task}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, t.Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            self._errors.seek(0)
            pytest.fail(self._errors.read()[-8000:])
        return t.cast("dict[str, t.Any]", json.loads(line))

    def do(self, verb: str, task: str) -> dict[str, t.Any]:
        self.tell(verb, task)
        return self.answer()

    def path(self, task: str) -> Path:
        return self.logs / f"dag_id=chatty/run_id=manual__{self.run_id}/task_id={task}/attempt=1.log"

    def end(self) -> None:
        if self.process.poll() is None:
            for process in _session(self.process.pid):
                os.kill(process, signal.SIGKILL)
        self.process.wait()
        self._errors.close()


def _session(leader: int) -> list[int]:
    """Processes of a session, tasks included, which have groups of their own."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) == leader:
                found.append(int(entry.name))
        except ProcessLookupError:
            continue  # it has ended
    return found
