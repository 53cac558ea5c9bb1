"""A process that runs tasks as a worker does: Airflow's own supervisor, task process and log reader.

Reads one JSON command from each line of standard input, and answers with one line of JSON::

    {"run": TASK}     a task of the DAG ``chatty`` to its end: {"state", "seconds", "threads", "spent", ...}
    {"read": TASK}    its log as the UI gets it: {"sources": [...], "lines": [...]}
    {"trigger": TASK} a triggerer's log of it, by Airflow's own class: {"path"}
    {"parse": FILE}   the DAG processor's log of a file, by Airflow's own manager: {"path"}

The API server is within the process, as Airflow's DAG processor has it.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import sys
import threading
import time
import typing as t
from pathlib import Path

DAG = """
import time
from airflow.sdk import DAG, task

with DAG("chatty", schedule=None):
    @task
    def wait(file):
        import os
        print("begun")
        while not os.path.exists(file):
            time.sleep(0.05)
        print("ended")

    @task
    def count(lines):
        import logging
        log = logging.getLogger("counting")
        began = time.monotonic()
        for number in range(lines):
            log.info("line %d", number)
        print(f"seconds {time.monotonic() - began:.3f}")

    @task
    def endless():
        number = 0
        while True:
            print(f"line {number}")
            number += 1
            if number % 1000 == 0:
                time.sleep(0.02)

    @task
    def shout(lines):
        for number in range(lines):
            print(f"a line of usual length, as tasks write them: row {number} of the table")

    wait(RELEASE)
    wait.override(task_id="again")(RELEASE)
    for name in ("quick", *(f"{name}-{number}" for name in ("hanging", "away") for number in (1, 2, 3))):
        count.override(task_id=name)(LINES)
    for number in range(10):
        shout.override(task_id=f"loud{number}")(LINES)
    endless()
"""


def prepare(folder: Path) -> None:
    """The DAG in the database, with one run whose tasks are queued."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager  # noqa: PLC0415
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db  # noqa: PLC0415
    from airflow.models.serialized_dag import SerializedDagModel  # noqa: PLC0415
    from airflow.utils import timezone  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from airflow.utils.types import DagRunTriggeredByType, DagRunType  # noqa: PLC0415

    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(folder, bundle_path=folder, bundle_name="sales", load_op_links=False)
    assert not bag.import_errors, bag.import_errors
    with create_session() as session:
        sync_bag_to_db(bag, "sales", None, session=session)
        run = SerializedDagModel.get_dag("chatty", session=session).create_dagrun(
            run_id=RUN,
            run_type=DagRunType.MANUAL,
            run_after=timezone.utcnow(),
            triggered_by=DagRunTriggeredByType.TEST,
            state="running",
            session=session,
        )
        for ti in run.get_task_instances(session=session):
            ti.state, ti.try_number, ti.queued_dttm = "queued", 1, timezone.utcnow()
            session.merge(ti)


RUN = "manual__" + os.environ.get("FLOWSTEAD_TEST_RUN", "1")


def instance(task_id: str) -> t.Any:
    """The task instance, loaded with what the log reader of the API server loads."""
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import select  # noqa: PLC0415
    from sqlalchemy.orm import joinedload  # noqa: PLC0415

    with create_session() as session:
        query = (
            select(TaskInstance)
            .where(TaskInstance.dag_id == "chatty", TaskInstance.task_id == task_id, TaskInstance.run_id == RUN)
            .options(joinedload(TaskInstance.dag_run), joinedload(TaskInstance.dag_model))
            .options(joinedload(TaskInstance.trigger), joinedload(TaskInstance.dag_version))
        )
        found = session.scalar(query)
        session.expunge_all()
        return found


def run(task_id: str) -> dict[str, t.Any]:
    from airflow.configuration import conf  # noqa: PLC0415
    from airflow.executors.workloads import ExecuteTask  # noqa: PLC0415
    from airflow.sdk.execution_time.supervisor import supervise_task  # noqa: PLC0415

    work = ExecuteTask.make(instance(task_id), dag_rel_path=Path("dag.py"))
    forget_peak()
    before, began = spent(), time.monotonic()
    code = supervise_task(
        ti=work.ti,
        bundle_info=work.bundle_info,
        dag_rel_path=work.dag_rel_path,
        token="",
        client=client(),
        log_path=work.log_path,
    )
    seconds, ended = time.monotonic() - began, time.time()
    threads = [thread.name for thread in threading.enumerate() if thread.name == "task-logs"]
    return {
        "code": code,
        "state": str(instance(task_id).state),
        "seconds": seconds,
        "threads": threads,
        # From the last line of the log until the supervisor is done.
        "end": ended - os.stat(os.path.join(conf.get("logging", "base_log_folder"), str(work.log_path))).st_mtime,
        "spent": {name: value - before[name] for name, value in spent().items()},
        "peak": peak(),
    }


def spent() -> dict[str, float]:
    """What this process and the tasks that have ended cost so far: CPU time in seconds, page faults, switches."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "cpu": sum(one.ru_utime + one.ru_stime for one in both),
        "faults": sum(one.ru_minflt for one in both),
        "switches": sum(one.ru_nvcsw + one.ru_nivcsw for one in both),
    }


def forget_peak() -> None:
    """Let :func:`peak` begin anew. Source: proc_pid_clear_refs(5)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """The most memory that this process had, in KiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


@functools.cache
def client() -> t.Any:
    """As DagFileProcessorManager.client."""
    from airflow.api_fastapi.execution_api.app import InProcessExecutionAPI  # noqa: PLC0415
    from airflow.sdk.api.client import Client  # noqa: PLC0415

    made = Client(base_url=None, token="", dry_run=True, transport=InProcessExecutionAPI().transport)
    made.base_url = "http://in-process.invalid./"
    return made


def read(task_id: str) -> dict[str, t.Any]:
    from airflow.utils.log.log_reader import TaskLogReader  # noqa: PLC0415

    ti = instance(task_id)
    stream, _metadata = TaskLogReader().read_log_chunks(ti, ti.try_number, {})
    events = [message.event for message in stream]
    end = events.index("::endgroup::")
    return {"sources": events[1:end], "lines": events[end + 1 :]}


def trigger(task_id: str) -> dict[str, t.Any]:
    """As TriggerRunnerSupervisor does with each trigger, up to its end."""
    from airflow.executors.workloads import ExecuteTask  # noqa: PLC0415
    from airflow.jobs.triggerer_job_runner import TriggerLoggingFactory  # noqa: PLC0415
    from airflow.sdk.log import logging_processors  # noqa: PLC0415
    from airflow.utils.log.file_task_handler import FileTaskHandler  # noqa: PLC0415

    work = ExecuteTask.make(instance(task_id), dag_rel_path=Path("dag.py"))
    path = FileTaskHandler.add_triggerer_suffix(work.log_path, job_id=7)
    factory = TriggerLoggingFactory(log_path=path, ti=work.ti)
    factory(logging_processors(json_output=True)).info("trigger fired")
    factory.upload_to_remote()
    factory.close()
    return {"path": path}


def parse(file: str) -> dict[str, t.Any]:
    """As DagFileProcessorManager does for each file."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager  # noqa: PLC0415
    from airflow.dag_processing.manager import DagFileInfo, DagFileProcessorManager  # noqa: PLC0415

    manager = DagFileProcessorManager(max_runs=1)
    manager._dag_bundles = list(DagBundlesManager().get_all_dag_bundles())
    info = DagFileInfo(rel_path=Path(file), bundle_name="sales", bundle_path=Path(sys.argv[1]))
    logger, writer = manager._get_logger_for_dag_file(info)
    logger.info("parsed")
    writer.close()
    return {"path": os.path.relpath(writer.name, os.environ["AIRFLOW__LOGGING__BASE_LOG_FOLDER"])}


VERBS: dict[str, t.Callable[[str], dict[str, t.Any]]] = {"run": run, "read": read, "trigger": trigger, "parse": parse}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever Airflow prints is not an answer
    prepare(Path(sys.argv[1]))
    print(json.dumps({"ready": os.getpid()}), file=answers, flush=True)
    for line in sys.stdin:
        ((verb, task_id),) = json.loads(line).items()
        print(json.dumps(VERBS[verb](task_id)), file=answers, flush=True)


if __name__ == "__main__":
    main()
