# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DAG files parsed as Airflow's DAG processor parses them: its own discovery, and its own process for each file.

A file that exits, crashes or hangs takes its own process with it and nothing else.
Source: airflow/dag_processing/manager.py and processor.py of Airflow 3.3.2.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import time
import typing as t
import uuid
from dataclasses import dataclass, field
from pathlib import Path

#: Frames of an import error's traceback. Airflow's own default of 2 rarely reaches the DAG file.
_FRAMES = "100"


@dataclass(frozen=True)
class Dag:
    """One DAG: the queues of its tasks, and how many tasks it has (a mapped task is one)."""

    dag_id: str
    queues: dict[str, str]
    tasks: int


@dataclass
class Parsed:
    """What parsing one file gave; ``errors`` is by the file's path in the release, ``died`` says how it ended."""

    file: str
    seconds: float
    dags: list[Dag] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    died: str = ""


def prepare() -> None:
    """Set what has to be set before Airflow is imported."""
    os.environ["AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACKS"] = "True"
    os.environ["AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH"] = _FRAMES
    # As the DAG processor's manager; its children set themselves to "client".
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"


def dag_files(release: Path) -> list[str]:
    """The files that the DAG processor would parse, by their path in the release.

    Raises:
        RuntimeError: a link leads back to a directory above it.
    """
    from airflow.configuration import conf  # noqa: PLC0415
    from airflow.dag_processing.importers import get_importer_registry  # noqa: PLC0415

    safe_mode = conf.getboolean("core", "dag_discovery_safe_mode", fallback=True)
    found = get_importer_registry().list_dag_files(release, safe_mode=safe_mode)
    return sorted(Path(path).relative_to(release).as_posix() for path in found)


def parse(release: Path, bundle: str, files: t.Sequence[str], parallel: int = 2) -> t.Iterator[Parsed]:
    """Parse each file in a process of its own, ``parallel`` at a time; in the order in which they end."""
    from airflow.configuration import conf  # noqa: PLC0415

    limit = conf.getfloat("dag_processor", "dag_file_processor_timeout")
    _load_once()
    waiting = list(reversed(files))
    running: dict[str, t.Any] = {}
    client = _Client()
    # Files that waited for the execution API to be made; their time would be wrong, and may have run out.
    again: set[str] = set()
    with selectors.DefaultSelector() as selector:
        while waiting or running:
            while waiting and len(running) < parallel:
                file = waiting.pop()
                running[file] = _start(release, bundle, file, selector, client)
            if _serve(selector, client):
                again.update(running)
            for file, process in list(running.items()):
                seconds = time.monotonic() - process.start_time
                if process.is_ready:
                    parsed = _result(file, seconds, process)
                elif seconds > limit or file in again:
                    process.kill(signal.SIGKILL)
                    parsed = Parsed(file, seconds, died=f"it did not end within {limit:g} s: it hangs, or it crashed")
                else:
                    continue
                process.close()
                del running[file]
                if file in again:
                    again.remove(file)
                    waiting.append(file)
                else:
                    yield parsed


def _load_once() -> None:
    """Import here what each file's process would import for itself: most of the time of a small DAG file."""
    import airflow.sdk  # noqa: PLC0415
    from airflow.serialization.serialized_objects import DagSerialization  # noqa: PLC0415

    dag = airflow.sdk.DAG("flowstead_load_once", schedule=None)
    # Names of airflow.sdk are imported when they are asked for.
    getattr(airflow.sdk, "task")  # noqa: B009
    airflow.sdk.BaseOperator(task_id="none", dag=dag)
    list(DagSerialization.from_dict(DagSerialization.to_dict(dag)).tasks)
    # As the DAG processor: what is here already stays out of the processes' garbage collection, and shared.
    gc.freeze()


class _Client:
    """The execution API inside this process, from which DAG code gets variables and connections.

    Made when the first DAG asks: it takes seconds, and needs the metadata database.
    """

    def __init__(self) -> None:
        self._real: t.Any = None

    @property
    def made(self) -> bool:
        """Whether a DAG has asked."""
        return self._real is not None

    def __getattr__(self, name: str) -> t.Any:
        if self._real is None:
            from airflow.dag_processing.processor import in_process_api_server  # noqa: PLC0415
            from airflow.sdk.api.client import Client  # noqa: PLC0415

            self._real = Client(base_url=None, token="", dry_run=True, transport=in_process_api_server().transport)
            self._real.base_url = "http://in-process.invalid./"
        return getattr(self._real, name)


def _start(release: Path, bundle: str, file: str, selector: selectors.BaseSelector, client: _Client) -> t.Any:
    import structlog  # noqa: PLC0415
    from airflow.dag_processing.processor import DagFileProcessorProcess  # noqa: PLC0415
    from airflow.sdk.log import logging_processors  # noqa: PLC0415

    # What DAG code prints or logs comes here; standard output belongs to the answer.
    sink = os.fdopen(os.dup(2), "wb", buffering=0)
    logger = structlog.wrap_logger(
        structlog.BytesLogger(sink), processors=logging_processors(json_output=True), logger_name="processor"
    ).bind(file=file)
    return DagFileProcessorProcess.start(
        id=uuid.uuid4(),
        path=release / file,
        bundle_path=release,
        bundle_name=bundle,
        dag_file_rel_path=file,
        callbacks=[],
        target=_parse_one,
        selector=selector,
        logger=logger,
        logger_filehandle=sink,
        client=client,
    )


def _parse_one() -> None:
    """Runs in the file's process: Airflow's own function, and an error where Airflow drops a DAG without a word."""
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415
    from airflow.dag_processing.processor import _parse_file_entrypoint  # noqa: PLC0415
    from airflow.exceptions import AirflowDagDuplicatedIdException  # noqa: PLC0415

    original = DagBag.bag_dag

    def bag_dag(self: t.Any, dag: t.Any) -> None:
        known = self.dags.get(dag.dag_id)
        if known is not None and known is not dag:
            raise AirflowDagDuplicatedIdException(dag_id=dag.dag_id, incoming=dag.fileloc, existing=known.fileloc)
        original(self, dag)

    DagBag.bag_dag = bag_dag
    _parse_file_entrypoint()


def _serve(selector: selectors.BaseSelector, client: _Client) -> bool:
    """Read what the processes send; whether the execution API was made meanwhile.

    As DagFileProcessorManager._service_processor_sockets.
    """
    made = client.made
    for key, _events in selector.select(timeout=0.01):
        handler, closed = key.data
        connection = t.cast(t.Any, key.fileobj)
        try:
            more = handler(connection)
        except (BrokenPipeError, ConnectionResetError):
            more = False
        if not more:
            closed(connection)
            connection.close()
    return client.made and not made


def _result(file: str, seconds: float, process: t.Any) -> Parsed:
    parsed = Parsed(file, seconds)
    result = process.parsing_result
    if result is None:
        parsed.died = f"its process ended with {_ending(process._exit_code)} and no result"
        return parsed
    parsed.errors.update(result.import_errors or {})
    for serialized in result.serialized_dags:
        try:
            tasks = serialized._real_dag.tasks
        except Exception as error:  # whatever it is, the scheduler would meet it too
            parsed.errors[file] = f"{type(error).__name__}: the scheduler could not read {serialized.dag_id}: {error}"
            continue
        parsed.dags.append(Dag(serialized.dag_id, {task.task_id: str(task.queue) for task in tasks}, len(tasks)))
    return parsed


def _ending(code: int) -> str:
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit status {code}"
