"""100,000 task log lines with Splunk streaming and without: seconds, ratio, memory.

    python bench/task_logs.py            the supervisor's chain of processors alone: what a line costs there
    python bench/task_logs.py --task     also a real task: Airflow's supervisor, task process and files

Needs the environment that tests/airflow makes (.venv/bin/pytest tests/airflow). Splunk is the double, in a process of
its own. The two ways take turns; the ratio is of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = ROOT / "roles/airflow/files/runtime"
INSIDE = ROOT / "tests/airflow/inside"
LINES = 100_000
ROUNDS = 5
CONFIG = "flowstead_airflow.task_logs.logging_config.LOGGING_CONFIG"

DOUBLE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from splunk_double import Reader, SplunkDouble, Token
with SplunkDouble(indexes=["airflow"], tokens=[Token("secret", index="airflow")],
                  readers=[Reader(token="secret", indexes=["airflow"])]) as splunk:
    print(json.dumps([splunk.hec_url, splunk.search_url]), flush=True)
    for line in sys.stdin:
        verb, value = json.loads(line)
        if verb == "mode":
            splunk.set_mode(value)
        print(json.dumps(splunk.count()), flush=True)
        if verb == "clear":
            splunk.clear()
"""


class Double:
    """The double of Splunk in a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", DOUBLE, str(ROOT / "molecule/doubles")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.hec_url, self.search_url = self._answer()

    def tell(self, verb: str, value: str = "") -> t.Any:
        """Send a command; the answer is how many events it had."""
        assert self._process.stdin  # noqa: S101 - it is a pipe
        self._process.stdin.write(json.dumps([verb, value]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> t.Any:
        assert self._process.stdout  # noqa: S101 - it is a pipe
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def settings(work: Path, double: Double) -> Path:
    """The settings' file."""
    (work / "token").write_text("secret")
    token = str(work / "token")
    content = {
        "environment": "bench",
        "hec": {"url": double.hec_url, "token_file": token, "flush_seconds": 120},
        "search": {"url": double.search_url, "token_file": token},
        "indexes": {"default": "airflow"},
    }
    path = work / "task_logs.json"
    path.write_text(json.dumps(content))
    return path


def chain(work: Path, file: Path, streaming: bool, lines: int) -> tuple[float, float, float, int]:
    """Seconds for the lines, of them on the processor, until the last one is sent, and bytes of memory at the peak."""
    import tracemalloc  # noqa: PLC0415

    import structlog  # noqa: PLC0415
    from airflow.sdk._shared.logging.structlog import structlog_processors  # noqa: PLC0415
    from airflow.sdk.log import mask_logs  # noqa: PLC0415
    from flowstead_airflow.task_logs.sender import Sender  # noqa: PLC0415
    from flowstead_airflow.task_logs.settings import load  # noqa: PLC0415

    sender = Sender(load({"FLOWSTEAD_TASK_LOGS": str(file)}), work / "logs")
    relative = f"dag_id=b/run_id=r{time.monotonic_ns()}/task_id=t/attempt=1.log"
    path = work / "logs" / relative
    path.parent.mkdir(parents=True)
    shared, _stdlib, writer = structlog_processors(json_output=True)
    processors = [*shared, mask_logs, *([sender.processor] if streaming else []), writer]
    if os.environ.get("BENCH_MEMORY"):
        tracemalloc.start()
    with path.open("ab") as log_file:
        logger = structlog.wrap_logger(structlog.BytesLogger(log_file), processors=processors).bind()
        began, busy = time.monotonic(), time.process_time()
        for number in range(lines):
            logger.info(f"a line of usual length, as tasks write them: row {number} of the table", logger="task")
        seconds, busy = time.monotonic() - began, time.process_time() - busy
        sent = sender.finish(relative) if streaming else True
        whole = time.monotonic() - began
    peak = tracemalloc.get_traced_memory()[1] if tracemalloc.is_tracing() else 0
    if not sent and not os.environ.get("BENCH_MEMORY"):
        sys.exit("not all lines arrived within the time for the end of a task")
    shutil.rmtree(path.parent.parent)
    return seconds, busy, whole, peak


def child(work: Path, file: Path, *words: str, **environ: str) -> list[t.Any]:
    """This program again, in Airflow's environment."""
    command = [str(airflow_python()), __file__, "--child", str(work), str(file), *words]
    given = {
        **os.environ,
        "PYTHONPATH": str(RUNTIME),
        "AIRFLOW_HOME": str(work / "home"),
        **environ,
    }
    ran = subprocess.run(command, env=given, check=True, stdout=subprocess.PIPE, text=True)
    return t.cast("list[t.Any]", json.loads(ran.stdout.splitlines()[-1]))


def airflow_python() -> Path:
    """The interpreter of the environment that tests/airflow makes."""
    found = sorted((ROOT / ".cache").glob("airflow-*/complete"))
    if not found:
        sys.exit("no environment with Airflow: run .venv/bin/pytest tests/airflow first")
    return found[-1].parent / "bin" / "python"


def task(work: Path, file: Path, streaming: bool) -> tuple[float, float]:
    """Seconds of the lines in a real task, and of its supervisor from begin to end."""
    home = Path(tempfile.mkdtemp(dir=work))
    dags = home / "dags"
    dags.mkdir()
    sys.path.insert(0, str(INSIDE))
    import supervise  # noqa: PLC0415

    text = supervise.DAG.replace("RELEASE", "'/nonexistent'").replace("LINES", str(LINES))
    (dags / "dag.py").write_text(text)
    bundle = {
        "name": "sales",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(dags)},
    }
    environ = {
        **os.environ,
        "PYTHONPATH": str(RUNTIME),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
        "FLOWSTEAD_TASK_LOGS": str(file),
        **({"AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS": CONFIG} if streaming else {}),
    }
    quiet: t.Any = {"env": environ, "stderr": subprocess.DEVNULL, "text": True, "stdout": subprocess.PIPE}
    subprocess.run([str(airflow_python().with_name("airflow")), "db", "migrate"], check=True, **quiet)
    ran = subprocess.run(
        [str(airflow_python()), str(INSIDE / "supervise.py"), str(dags)],
        input='{"run": "quick"}\n',
        check=True,
        **quiet,
    )
    answer = json.loads(ran.stdout.splitlines()[-1])
    log_file = next((home / "logs").glob("dag_id=chatty/*/task_id=quick/attempt=1.log"))
    content = log_file.read_text()
    if content.count('"event":"line ') != LINES:
        sys.exit("lines are missing")
    return float(content.split('"event":"seconds ')[1].split('"')[0]), answer["seconds"]


def show(label: str, plain: list[float], streaming: list[float]) -> None:
    """One row."""
    one, two = statistics.median(plain), statistics.median(streaming)
    print(f"{label:<56}{one:>9.2f} s{two:>9.2f} s{two / one:>8.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", action="store_true", help="also a real task")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        work, file, streaming, lines = options.child
        print(json.dumps(chain(Path(work), Path(file), streaming == "yes", int(lines))))
        return
    double = Double()
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        file = settings(work, double)
        rows: dict[str, list[list[t.Any]]] = {"no": [], "yes": []}
        for _round in range(options.rounds):
            for way, found in rows.items():
                found.append(child(work, file, way, str(LINES)))
            arrived = double.tell("clear")
            if arrived != LINES:
                sys.exit(f"{arrived} lines arrived")
        print(f"{LINES} lines, medians of {options.rounds:<32}{'files':>11}{'Splunk':>11}{'ratio':>8}")
        show("the supervisor's chain of processors", [row[0] for row in rows["no"]], [row[0] for row in rows["yes"]])
        for column, label in ((1, "the same, on the processor"), (2, "the same, until Splunk has the last line")):
            show(label, [row[column] for row in rows["no"]], [row[column] for row in rows["yes"]])
        double.tell("mode", "hang")
        plain, hanging = (child(work, file, way, "20000", BENCH_MEMORY="1")[3] for way in ("no", "yes"))
        more = (hanging - plain) / 1024
        print(f"memory at the peak of 20,000 lines while Splunk hangs: {more:.0f} KiB more than with files alone")
        double.tell("mode", "up")
        if options.task:
            times: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
            for _round in range(max(1, options.rounds // 2)):
                for streaming, measured in times.items():
                    measured.append(task(work, file, streaming))
            show("a real task: its lines", [row[0] for row in times[False]], [row[0] for row in times[True]])
            show(
                "a real task: its supervisor, begin to end",
                [row[1] for row in times[False]],
                [row[1] for row in times[True]],
            )
    double.end()


if __name__ == "__main__":
    main()
