"""100,000 task log lines with Splunk streaming and without: seconds, ratio, memory.

    python bench/task_logs.py            the supervisor's chain of processors alone: what a line costs there
    python bench/task_logs.py --task     also a real task that prints: Airflow's supervisor, task process and files
    python bench/task_logs.py --one-cpu  only that task, with all of its processes on one CPU, the dearest case there is

Needs the environment that tests/airflow makes (.venv/bin/pytest tests/airflow), and for a real task that of the
repository (.venv/bin/python). Splunk is the double, in a process of its own; a real task talks TLS to it. The ways take
turns; a ratio is of medians, and for a real task of each round. CPU time is of the whole tree of processes: on one CPU
it is what adds to a task, and other work on the machine hardly moves it. `--against DIRECTORY` measures beside it the
package of another checkout.
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
                  readers=[Reader(token="secret", indexes=["airflow"])], certificate=sys.argv[2]) as splunk:
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
    """The double of Splunk in a process of its own; with a certificate, it talks TLS."""

    def __init__(self, certificate: str = "") -> None:
        command = [sys.executable, "-c", DOUBLE, str(ROOT / "molecule/doubles"), certificate]
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


def settings(work: Path, double: Double, authority: Path | None = None) -> Path:
    """The settings' file."""
    (work / "token").write_text("secret")
    token = str(work / "token")
    content: dict[str, t.Any] = {
        "environment": "bench",
        "hec": {"url": double.hec_url, "token_file": token, "flush_seconds": 120},
        "search": {"url": double.search_url, "token_file": token},
        "indexes": {"default": "airflow"},
    }
    if authority:
        content["hec"]["ca_file"] = content["search"]["ca_file"] = str(authority)
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


class Worker:
    """Airflow's supervisor as a worker has it, in a process of its own, for real tasks.

    Args:
        work: directory for its files.
        runtime: directory of the package; None for local files alone.
        file: of the settings.
        cpu: the only one that its processes may use.
    """

    def __init__(self, work: Path, runtime: Path | None, file: Path, cpu: int | None) -> None:
        sys.path.insert(0, str(INSIDE))
        import supervise  # noqa: PLC0415

        self._home = Path(tempfile.mkdtemp(dir=work))
        dags = self._home / "dags"
        dags.mkdir()
        (dags / "dag.py").write_text(supervise.DAG.replace("RELEASE", "'/nonexistent'").replace("LINES", str(LINES)))
        bundle = {
            "name": "sales",
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            "kwargs": {"path": str(dags)},
        }
        environ = {
            **os.environ,
            "PYTHONPATH": str(runtime or RUNTIME),
            "AIRFLOW_HOME": str(self._home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
            "FLOWSTEAD_TASK_LOGS": str(file),
            **({"AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS": CONFIG} if runtime else {}),
        }
        quiet: t.Any = {"env": environ, "stderr": subprocess.DEVNULL, "text": True, "stdout": subprocess.PIPE}
        database = work / "airflow.db"
        if not database.exists():
            subprocess.run([str(airflow_python().with_name("airflow")), "db", "migrate"], check=True, **quiet)
            shutil.copy(self._home / "airflow.db", database)
        shutil.copy(database, self._home / "airflow.db")
        pin = [] if cpu is None else ["taskset", "-c", str(cpu)]
        command = [*pin, str(airflow_python()), str(INSIDE / "supervise.py"), str(dags)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, **quiet)
        self._answer()

    def run(self, task: str) -> dict[str, float]:
        """Run a task; what it took."""
        assert self._process.stdin  # noqa: S101 - it is a pipe
        self._process.stdin.write(json.dumps({"run": task}) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        (log_file,) = (self._home / "logs").glob(f"dag_id=chatty/*/task_id={task}/attempt=1.log")
        if log_file.read_text().count("a line of usual length") != LINES:
            sys.exit("lines are missing")
        return {**{name: answer[name] for name in ("seconds", "end", "peak")}, **answer["spent"]}

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answer(self) -> t.Any:
        assert self._process.stdout  # noqa: S101 - it is a pipe
        return json.loads(self._process.stdout.readline())


def real_tasks(rounds: int, one_cpu: bool, against: Path | None) -> None:
    """Real tasks that print, with files alone and with Splunk, in turns."""
    sys.path.insert(0, str(ROOT / "tests/unit"))
    from certificates import Certificates  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        certificates = Certificates(work)
        (work / "ca.pem").write_text(certificates.ca_pem)
        double = Double(str(certificates.pem("localhost", "127.0.0.1")))
        file = settings(work, double, work / "ca.pem")
        cpus = sorted(os.sched_getaffinity(0))
        ways: dict[str, Path | None] = {"files": None, "Splunk": RUNTIME}
        if against:
            ways["the other"] = against
        workers = {way: Worker(work, runtime, file, cpus[-1] if one_cpu else None) for way, runtime in ways.items()}
        taken: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for number in range(rounds):
            for way, worker in workers.items():
                taken[way].append(worker.run(f"loud{number}"))
                arrived = double.tell("clear")
                # A task's own lines are some more than it prints.
                if (way != "files" and arrived < LINES) or arrived > LINES + 100:
                    sys.exit(f"{arrived} lines arrived")
        for worker in workers.values():
            worker.end()
        double.end()
    where = "all on one CPU" if one_cpu else "on as many CPUs as there are"
    print(f"a task that prints {LINES} lines, {where}; {rounds} rounds")
    print(f"{'':44}{'median':>10}{'least':>10}   ratio to files in each round, sorted")
    for name, label, unit in (
        ("cpu", "CPU time of supervisor and task", "s"),
        ("seconds", "supervisor, begin to end", "s"),
        ("end", "of it after the last line", "s"),
        ("faults", "page faults", ""),
        ("switches", "switches between processes and threads", ""),
        ("peak", "memory of the supervisor at its peak", "KiB"),
    ):
        for way, rows in taken.items():
            values = [row[name] for row in rows]
            ratios = sorted(one / row[name] for one, row in zip(values, taken["files"])) if way != "files" else []
            text = " ".join(f"{ratio:.3f}" for ratio in ratios)
            digits = 2 if unit == "s" else 0
            numbers = "".join(f"{value:>10.{digits}f}" for value in (statistics.median(values), min(values)))
            print(f"{label + ', ' + way if way == 'files' else '... ' + way:44}{numbers} {unit:4}{text}")


def show(label: str, plain: list[float], streaming: list[float]) -> None:
    """One row."""
    one, two = statistics.median(plain), statistics.median(streaming)
    print(f"{label:<56}{one:>9.2f} s{two:>9.2f} s{two / one:>8.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", action="store_true", help="also a real task")
    parser.add_argument("--one-cpu", action="store_true", help="only a real task, with all its processes on one CPU")
    parser.add_argument("--against", type=Path, metavar="DIRECTORY", help="another checkout, whose package runs too")
    parser.add_argument("--rounds", type=int, default=ROUNDS, choices=range(1, 11), metavar="1..10")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        work, file, streaming, lines = options.child
        print(json.dumps(chain(Path(work), Path(file), streaming == "yes", int(lines))))
        return
    against = options.against and options.against / RUNTIME.relative_to(ROOT)
    if options.one_cpu:
        real_tasks(options.rounds, True, against)
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
    double.end()
    if options.task:
        real_tasks(options.rounds, False, against)


if __name__ == "__main__":
    main()
