# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All canaries together: trigger, follow, judge, report.

PRIVATE to the collection.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
import typing as t

from .canary import (
    DONE,
    FOLLOWING,
    LOG_MARK,
    READING,
    RUN_PREFIX,
    WAITING,
    Canary,
    explain_failure,
    explain_unfinished,
    judge_answer,
)
from .client import (
    AirflowClient,
    AirflowError,
    AirflowMisconfigured,
    AirflowNameUnknown,
    AirflowUnreachable,
)

#: Runs that are kept for each DAG.
KEEP_RUNS = 5
#: Seconds until a log that the API cannot show yet becomes a problem.
LOG_SECONDS = 30.0
#: Seconds in which a proxy that is starting may answer 404.
PATIENCE_SECONDS = 30.0
#: Seconds between two looks.
PAUSE_SECONDS = 1.0
_ENDED = ("success", "failed")


class Flock:
    """Canaries on their way.

    Args:
        client: a session with Airflow.
        canaries: what to prove.
        timeout: seconds for everything.
        now: monotonic clock in seconds; for tests.
        sleep: waits for seconds; for tests.
    """

    def __init__(
        self,
        client: AirflowClient,
        canaries: t.Sequence[Canary],
        timeout: float,
        now: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self.client = client
        self.canaries = list(canaries)
        self.now = now
        self.sleep = sleep
        self.began = now()
        self.deadline = self.began + timeout
        self.version = ""
        self.trouble = ""
        self.deleted_runs = 0
        self._lines: list[str] = []

    def pack(self) -> str:
        """Everything but the session, to go on in another process on the same host.

        Base64, so that masking a short password in a module's result cannot damage it.
        """
        state = {
            "began": self.began,
            "deadline": self.deadline,
            "version": self.version,
            "trouble": self.trouble,
            "canaries": [canary.as_dict() for canary in self.canaries],
        }
        return base64.b64encode(json.dumps(state).encode()).decode()

    @classmethod
    def unpack(cls, client: AirflowClient, packed: str) -> Flock:
        """Go on from pack()."""
        state = json.loads(base64.b64decode(packed))
        flock = cls(client, [Canary(**canary) for canary in state["canaries"]], timeout=0)
        flock.began, flock.deadline = state["began"], state["deadline"]
        flock.version, flock.trouble = state["version"], state["trouble"]
        return flock

    def run(self, seconds: float | None = None) -> bool:
        """Work until everything is done, something is worth telling, or ``seconds`` passed.

        Args:
            seconds: None works until everything is done.

        Returns:
            True when everything is done.

        Raises:
            AirflowMisconfigured: the URL, the certificate or the login is wrong, or Airflow never answered.
        """
        pause_at = None if seconds is None else self.now() + seconds
        while True:
            self._look()
            if all(canary.done for canary in self.canaries):
                return True
            if self.now() >= self.deadline:
                self._give_up()
                return True
            if pause_at is not None and (self._lines or self.now() >= pause_at):
                return False
            self.sleep(PAUSE_SECONDS)

    def take_lines(self) -> list[str]:
        """What changed since the last call, for people."""
        lines, self._lines = self._lines, []
        return lines

    def tidy(self) -> None:
        """Delete canary runs beyond the newest of each DAG."""
        for dag_id in dict.fromkeys(canary.dag_id for canary in self.canaries if canary.run_id):
            for run in self.client.runs(dag_id, RUN_PREFIX)[KEEP_RUNS:]:
                if run["state"] in _ENDED:
                    self.client.delete_run(dag_id, run["dag_run_id"])
                    self.deleted_runs += 1

    def _look(self) -> None:
        try:
            if not self.version:
                self.version = self.client.version()
                self._say(f"canary: Airflow {self.version} answers at {self.client.url}")
            for canary in self.canaries:
                self._step(canary)
        except AirflowUnreachable as error:
            if isinstance(error, AirflowNameUnknown) and self.now() - self.began > PATIENCE_SECONDS:
                raise AirflowMisconfigured(
                    str(error), "Correct the URL, or the DNS of the host that runs this"
                ) from error
            self._wait_for(str(error))
        except AirflowError as error:
            if error.status == 404 and not self.version and self.now() - self.began > PATIENCE_SECONDS:
                raise AirflowMisconfigured(
                    f"{self.client.url} answers, but not as Airflow 3 ({error.message})",
                    "Correct the URL; behind a proxy it has to carry the same path as airflow_public_url",
                ) from error
            self._wait_for(str(error))

    def _step(self, canary: Canary) -> None:
        before = canary.state
        try:
            _STEPS[canary.phase](self, canary)
        except AirflowError as error:
            if error.status in (401, 403):
                raise AirflowMisconfigured(
                    f"Airflow does not let the user do this: {error}", "Give the user the role Admin or Op"
                ) from error
            self._wait_for(str(error))  # the other canaries go on
        if canary.state != before and not canary.done:
            self._say(f"canary: {canary.queue} {before} -> {canary.state}")

    def _wait_for(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            self._say(f"canary: waiting, {trouble}")

    def _say(self, line: str) -> None:
        self._lines.append(line)

    def _wait_for_dag(self, canary: Canary) -> None:
        dag = self.client.dag(canary.dag_id)
        if dag is None:
            return
        if dag.get("is_stale"):
            canary.state = "DAG is stale"
            if not canary.asked and dag.get("file_token"):
                canary.asked = True
                self.client.parse_file(dag["file_token"])
            return
        if dag.get("has_import_errors"):
            canary.state = "DAG has import errors"
            return
        if dag.get("is_paused"):
            self.client.unpause(canary.dag_id)
        self._end_old_runs(canary)
        canary.nonce = secrets.token_hex(8)
        canary.run_id = RUN_PREFIX + canary.nonce
        self.client.trigger(canary.dag_id, canary.run_id, {"nonce": canary.nonce})
        canary.phase, canary.state, canary.since = FOLLOWING, "triggered", self.now()

    def _end_old_runs(self, canary: Canary) -> None:
        # A canary that hangs since an earlier deploy would keep this one from starting (max_active_runs).
        for run in self.client.runs(canary.dag_id, RUN_PREFIX):
            if run["state"] not in _ENDED:
                self.client.fail_run(canary.dag_id, run["dag_run_id"])

    def _follow(self, canary: Canary) -> None:
        run = self.client.run(canary.dag_id, canary.run_id)
        tasks = self.client.task_instances(canary.dag_id, canary.run_id)
        task = tasks[0] if tasks else {}
        canary.task_id = task.get("task_id") or ""
        canary.try_number = task.get("try_number") or 0
        canary.host = task.get("hostname") or ""
        canary.state = task.get("state") or "scheduled"
        if run["state"] not in _ENDED:
            return
        canary.state = run["state"]
        if run["state"] == "failed" or not task:
            self._read_log(canary)
            canary.fail(*explain_failure(canary, task.get("state") or "failed"))
            return
        answer = self.client.return_value(canary.dag_id, canary.run_id, canary.task_id)
        if isinstance(answer, dict):
            canary.worker = str(answer.get("worker", ""))
        problem, advice = judge_answer(canary, task.get("queue"), answer)
        if problem:
            canary.fail(problem, advice)
            return
        now = self.now()
        canary.seconds, canary.since, canary.phase = round(now - canary.since, 1), now, READING
        self._read_for_mark(canary)

    def _read_for_mark(self, canary: Canary) -> None:
        self._read_log(canary)
        if any(f"{LOG_MARK} {canary.nonce}" in line for line in canary.log):
            canary.phase = DONE
            canary.log = []
            worker = f" on worker {canary.worker}" if canary.worker else ""
            self._say(f"canary: {canary.queue} passed in {canary.seconds:g} s{worker}, log readable")
        elif self.now() - canary.since > LOG_SECONDS:
            canary.fail(*explain_unfinished(canary, self.now() - canary.since))

    def _read_log(self, canary: Canary) -> None:
        if not canary.try_number:
            return
        try:
            lines = self.client.log_lines(canary.dag_id, canary.run_id, canary.task_id, canary.try_number)
        except AirflowError as error:
            lines = [str(error)]
        canary.log = [line for line in lines if line.strip()][-20:]

    def _nothing(self, canary: Canary) -> None:
        del canary

    def _give_up(self) -> None:
        waited = self.now() - self.began
        if not self.version:
            raise AirflowMisconfigured(
                f"Airflow did not answer within {waited:.0f} s: {self.trouble}",
                "Look at the api-server (docker service ps, its log), the published port, and the way from this host",
            )
        for canary in self.canaries:
            if canary.done:
                continue
            problem, advice = explain_unfinished(canary, waited)
            if canary.phase == WAITING and self.trouble:
                problem += f"; last trouble: {self.trouble}"
            canary.fail(problem, advice)


_STEPS: t.Mapping[str, t.Callable[[Flock, Canary], None]] = {
    WAITING: Flock._wait_for_dag,
    FOLLOWING: Flock._follow,
    READING: Flock._read_for_mark,
    DONE: Flock._nothing,
}
