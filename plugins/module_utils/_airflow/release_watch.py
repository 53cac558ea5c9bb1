# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until Airflow has read a release, or says that it cannot.

PRIVATE to the collection.

What makes this more than comparing versions, in Airflow 3.3.2 (``dag_processing/manager.py``): the DAG processor
stores a parsed file under the version that its bundle has at the END of the parsing. A file that was being parsed
while the bundle moved on is stored as of the new release with the content of the old one. A request to parse a file
that is being parsed is dropped. And of two releases within 30 seconds, such as one that is rolled back, the second one
becomes the version of its DAGs at once, while new runs get the form of the first (``models/serialized_dag.py``,
``write_dag``, and ``[core] min_serialized_dag_update_interval``).
"""

from __future__ import annotations

import time
import typing as t

from .bundles import Bundles, Dag, ImportProblem
from .client import AirflowError, AirflowUnreachable

#: Seconds between two looks, and until a file is asked for again.
PAUSE_SECONDS = 1.0
AGAIN_SECONDS = 5.0
#: Files that are asked for and not read yet. More would only wait in the DAG processor instead of here.
WINDOW = 40
#: Parsings after which an error that was there before cannot be of the old release any more: one was in progress
#: when the bundle moved on, one may have been in the queue with the old directory.
NEW_PARSING = 3
#: DAGs whose stored form is asked for in one look: one request each.
STORED = 100


class ReleaseWatch:
    """One release on its way into Airflow.

    Args:
        bundles: reads of Airflow.
        bundle: name of the bundle.
        release: its release that was activated.
        dags: DAG IDs that the release holds.
        timeout: seconds for everything.
        since: when it was activated, in seconds since 1970 by Airflow's clock; 0 means now.
        now: monotonic clock in seconds; for tests.
        sleep: waits for seconds; for tests.

    Attributes:
        proved: DAG IDs that Airflow has from this release.
        errors: import errors of this release. One is enough to end the wait.
        trouble: why the last look failed; empty when it did not.
        timed_out: whether the time was up first.
        seconds: how long it took.
    """

    def __init__(
        self,
        bundles: Bundles,
        bundle: str,
        release: str,
        dags: t.Iterable[str],
        *,
        timeout: float,
        since: float = 0.0,
        now: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self.bundles = bundles
        self.bundle = bundle
        self.release = release
        self.wanted = sorted(set(dags))
        self.timeout = timeout
        self.since = since
        self.now = now
        self.sleep = sleep
        self.proved: set[str] = set()
        self.errors: list[ImportProblem] = []
        self.trouble = ""
        self.timed_out = False
        self.seconds = 0.0
        self._rows: dict[str, Dag] = {}
        #: As it was at the first look.
        self._before: dict[str, Dag] | None = None
        self._old_errors: dict[str, set[str]] = {}
        #: A moment at which the DAG processor had moved on, by its own clock.
        self._moved_on: float | None = None
        self._asked: dict[str, float] = {}
        #: DAGs that were read from the release while new runs get another form of them.
        self._unstored: set[str] = set()

    def run(self) -> None:
        """Wait.

        Raises:
            AirflowError: Airflow refuses; another try will not help.
            AirflowMisconfigured: as the client raises it.
        """
        began = self.now()
        while True:
            looked = self.now()
            try:
                self._look()
                self.trouble = ""
                if self.errors or not self._missing():
                    break
                self._ask()
            except AirflowUnreachable as error:
                self.trouble = str(error)
            except AirflowError as error:
                if error.status < 500:
                    raise
                self.trouble = str(error)
            if self.now() - began >= self.timeout:
                self.timed_out = True
                break
            # Reading thousands of DAGs takes its time; Airflow has other work, too.
            self.sleep(max(PAUSE_SECONDS, self.now() - looked))
        self.seconds = round(self.now() - began, 1)

    def missing(self) -> dict[str, str]:
        """DAG ID to the reason, for those that Airflow does not have from this release."""
        return {dag_id: self._reason(self._rows.get(dag_id), dag_id) for dag_id in self._missing()}

    def _missing(self) -> list[str]:
        return [dag_id for dag_id in self.wanted if dag_id not in self.proved]

    def _look(self) -> None:
        rows = {dag.dag_id: dag for dag in self.bundles.dags(self.bundle)}
        errors = self.bundles.import_errors(self.bundle)
        self._rows = rows
        if self._before is None:
            self._before = rows
            self._old_errors = {error.file: {error.timestamp} for error in errors}
            self.since = self.since or self.bundles.now()
        marked = [dag.parsed for dag in rows.values() if dag.version == self.release and dag.parsed > self.since]
        if marked and self._moved_on is None:
            self._moved_on = min(marked)
            self._asked.clear()  # what was asked for before proves nothing
        self.errors = [error for error in errors if self._is_new(error)]
        read = [dag_id for dag_id in self._missing() if self._is_read(rows.get(dag_id))]
        for dag_id in read[:STORED]:
            if self.bundles.stored_version(dag_id) == self.release:
                self.proved.add(dag_id)
                self._unstored.discard(dag_id)
            else:
                self._unstored.add(dag_id)

    def _is_read(self, dag: Dag | None) -> bool:
        if dag is None or dag.stale or dag.version != self.release or self._moved_on is None:
            return False
        before = (self._before or {}).get(dag.dag_id)
        if before is None or before.stale:  # the old release does not have it
            return dag.parsed > self.since
        return dag.parse_began > self._moved_on

    def _is_new(self, error: ImportProblem) -> bool:
        seen = self._old_errors.get(error.file)
        if seen is None:
            return True
        if error.timestamp not in seen:
            seen.add(error.timestamp)
            self._asked.pop(error.file, None)
        return len(seen) > NEW_PARSING

    def _ask(self) -> None:
        """Have files parsed before others; this also lets the DAG processor look where the bundle is."""
        now = self.now()
        missing = set(self._missing())
        tokens = {dag.file: dag.file_token for dag in self._rows.values()}
        files = sorted({dag.file for dag in self._rows.values() if dag.dag_id in missing})
        broken = [file for file in self._old_errors if file in tokens]
        if self._moved_on is None:
            # One file is enough for that, and what is parsed before proves nothing.
            files = (files or sorted(tokens))[:1]
        wanted = list(dict.fromkeys([*files, *broken]))
        open_files = [file for file in wanted if now - self._asked.get(file, -AGAIN_SECONDS) < AGAIN_SECONDS]
        for file in [file for file in wanted if file not in open_files][: max(WINDOW - len(open_files), 0)]:
            try:
                self.bundles.client.parse_file(tokens[file])
            except AirflowError as error:
                if error.status != 404:  # its DAGs were deleted meanwhile
                    raise
            self._asked[file] = now

    def _reason(self, dag: Dag | None, dag_id: str) -> str:
        if dag is None:
            try:
                other = (self.bundles.client.dag(dag_id) or {}).get("bundle_name")
            except (AirflowError, AirflowUnreachable) as error:
                return f"Airflow did not show it ({error})"
            return f"it belongs to bundle {other}" if other and other != self.bundle else "Airflow does not know it"
        if dag.stale:
            return "it is stale: its file cannot be read, or is not found in the release"
        if dag.version != self.release:
            return f"Airflow has it from release {dag.version}"
        if dag_id in self._unstored:
            return (
                "Airflow has read it, but new runs still get its form from another release: it stores a DAG only every "
                "[core] min_serialized_dag_update_interval seconds"
            )
        return "Airflow has it from this release, but may have read its file while the bundle moved on"
