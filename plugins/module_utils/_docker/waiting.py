# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a service where it should be? A pure look at one service and its tasks.

PRIVATE to the collection.

Source of states: Engine API, Task; swarmkit design/task_model.md.
"""

from __future__ import annotations

import typing as t

from .objects import TERMINAL
from .units import SECOND

CONVERGED, WAITING, FAILED = "converged", "waiting", "failed"
#: Shortest time in seconds that a changed service has to hold before it counts as stable.
SHORTEST_STABLE = 5.0
_LOST = frozenset({"failed", "rejected", "orphaned"})
_BEFORE_RUNNING = {
    "new": "new",
    "pending": "waiting for a node",
    "assigned": "assigned",
    "accepted": "accepted",
    "preparing": "preparing (pulling the image)",
    "ready": "waiting for the task before it to end",
    "starting": "starting",
}


class Limits(t.NamedTuple):
    """When waiting turns into failing."""

    task_failures: int = 3
    pending_timeout: float = 60.0


class Memory(t.NamedTuple):
    """What earlier looks at one service have left behind; plain data, so that it survives between slices."""

    #: IDs of tasks that had failed before this run touched the service.
    old_failures: tuple[str, ...] = ()
    #: IDs of tasks seen failing in this run.
    failures: tuple[str, ...] = ()
    #: Since when the same tasks have been running, in seconds of the monotonic clock.
    stable_since: float | None = None
    #: Those tasks.
    stable_tasks: tuple[str, ...] = ()
    #: Since when no node has been found for a task.
    pending_since: float | None = None


class Look(t.NamedTuple):
    """One moment at which a service is looked at."""

    memory: Memory
    limits: Limits
    now: float


class Verdict(t.NamedTuple):
    """The state of one service.

    Attributes:
        state: ``converged``, ``waiting`` or ``failed``.
        text: what it is doing, for a progress line.
        cause: class of a failure.
        running, desired: tasks (for a job: completed and wanted).
        healthy: enough tasks run and pass their health check; for a job: it has completed.
        started: at least one task runs.
        draining: new tasks wait only for old ones that are finishing their work within their stop_grace_period.
    """

    state: str
    text: str
    cause: str = ""
    running: int = 0
    desired: int = 0
    healthy: bool = False
    started: bool = False
    draining: bool = False


def judge(
    service: t.Mapping[str, t.Any],
    tasks: t.Sequence[t.Mapping[str, t.Any]],
    *,
    touched: bool,
    memory: Memory,
    limits: Limits,
    now: float,
) -> tuple[Verdict, Memory]:
    """Look at one service.

    Args:
        service: as ``GET /services?status=true`` gives it.
        tasks: its tasks that run its current spec.
        touched: whether this run has written the service; an untouched one need not prove its stability.
        memory: from the last look.
        limits: when to give up.
        now: seconds of the monotonic clock.
    """
    failed = [task["ID"] for task in _fresh_failures(tasks, memory)]
    memory = memory._replace(failures=memory.failures + tuple(item for item in failed if item not in memory.failures))
    if is_job(service):
        memory = _remember_job(service, tasks, memory, now)
        return _job(service, tasks, Look(memory, limits, now)), memory
    memory = _remember_service(service, tasks, memory, now)
    return _service(service, tasks, touched, Look(memory, limits, now)), memory


def is_job(service: t.Mapping[str, t.Any]) -> bool:
    """True for a service whose mode runs to completion."""
    mode = service["Spec"].get("Mode") or {}
    return "ReplicatedJob" in mode or "GlobalJob" in mode


def failed_before(service: t.Mapping[str, t.Any], tasks: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[str, ...]:
    """IDs of the tasks that have failed up to now."""
    return tuple(task["ID"] for task in _of_iteration(service, tasks) if task["Status"]["State"] in _LOST)


def has_given_up(service: t.Mapping[str, t.Any], tasks: t.Sequence[t.Mapping[str, t.Any]]) -> bool:
    """True when Swarm will not try again by itself: a job that failed for good, a rollout that is paused."""
    if is_job(service):
        current = _of_iteration(service, tasks)
        return (
            bool(current)
            and not _job_done(service, current)
            and any(task["Status"]["State"] in _LOST for task in current)
            and all(task["DesiredState"] == "shutdown" for task in current if task["Status"]["State"] in _LOST)
            and not any(_lives(task) for task in current)
        )
    state = (service.get("UpdateStatus") or {}).get("State", "")
    wanted, running = _counts(service, tasks)
    return state in ("paused", "rollback_paused") and len(running) != wanted


def _remember_service(
    service: t.Mapping[str, t.Any], tasks: t.Sequence[t.Mapping[str, t.Any]], memory: Memory, now: float
) -> Memory:
    desired, running = _counts(service, tasks)
    ids = tuple(sorted(task["ID"] for task in running))
    if len(running) != desired:
        memory = memory._replace(stable_since=None, stable_tasks=())
    elif memory.stable_since is None or memory.stable_tasks != ids:
        memory = memory._replace(stable_since=now, stable_tasks=ids)
    return _remember_pending(tasks, memory, now)


def _remember_job(
    service: t.Mapping[str, t.Any], tasks: t.Sequence[t.Mapping[str, t.Any]], memory: Memory, now: float
) -> Memory:
    current = _of_iteration(service, tasks)
    # Failures of an earlier iteration say nothing about this one.
    failures = tuple(task["ID"] for task in _fresh_failures(current, memory))
    return _remember_pending(current, memory._replace(failures=failures), now)


def _remember_pending(tasks: t.Sequence[t.Mapping[str, t.Any]], memory: Memory, now: float) -> Memory:
    if not _unplaced(tasks):
        return memory._replace(pending_since=None)
    return memory if memory.pending_since is not None else memory._replace(pending_since=now)


def _failure_of_service(
    service: t.Mapping[str, t.Any], tasks: t.Sequence[t.Mapping[str, t.Any]], touched: bool, look: Look
) -> tuple[str, str] | None:
    """Cause and text of a failure, or None while there is hope."""
    desired, running = _counts(service, tasks)
    update = (service.get("UpdateStatus") or {}).get("State", "")
    failures = look.memory.failures
    at_rest = not any(_lives(task) for task in tasks) and update != "updating"
    found: tuple[str, str] | None = None
    if touched and update == "paused":
        found = "crash_loop", "Swarm paused its rollout"
    elif touched and update.startswith("rollback_"):
        found = "rolled_back", "Swarm rolled it back"
    elif len(failures) >= look.limits.task_failures and (touched or len(running) != desired):
        found = "crash_loop", f"{len(failures)} tasks have failed"
    elif _pending_too_long(look):
        found = _stuck(tasks)
    elif desired and failures and at_rest and all(task["DesiredState"] == "shutdown" for task in tasks):
        found = "crash_loop", "failed, and is not restarted"
    return found


def _service(
    service: t.Mapping[str, t.Any], tasks: t.Sequence[t.Mapping[str, t.Any]], touched: bool, look: Look
) -> Verdict:
    desired, running = _counts(service, tasks)
    update = (service.get("UpdateStatus") or {}).get("State", "")
    counts = f"{len(running)}/{desired} running"
    base = Verdict(WAITING, "", "", len(running), desired, started=bool(running) or desired == 0)
    failure = _failure_of_service(service, tasks, touched, look)
    if failure is not None:
        return base._replace(state=FAILED, cause=failure[0], text=failure[1])
    if len(running) != desired:
        draining = update in ("updating", "rollback_started") and not look.memory.failures and _held_back(tasks)
        text = ", waiting for old tasks to finish their work" if draining else _detail(tasks)
        return base._replace(text=counts + text, draining=draining)
    if update in ("updating", "rollback_started"):
        return base._replace(text=f"{counts}, rollout not finished")
    held = look.now - (look.now if look.memory.stable_since is None else look.memory.stable_since)
    # A rollout that Swarm calls completed has been watched by Swarm itself.
    stable = not touched or desired == 0 or update == "completed" or held >= stable_seconds(service)
    if not stable:
        return base._replace(text=f"{counts}, watched for stability", healthy=_has_healthcheck(service))
    return base._replace(state=CONVERGED, text=counts, healthy=True)


def _job(service: t.Mapping[str, t.Any], tasks: t.Sequence[t.Mapping[str, t.Any]], look: Look) -> Verdict:
    current = _of_iteration(service, tasks)
    failed = _fresh_failures(current, look.memory)
    running = any(task["Status"]["State"] == "running" for task in current)
    done = (service.get("ServiceStatus") or {}).get("CompletedTasks", 0)
    base = Verdict(WAITING, "", "", done, _job_total(service, current), started=running)
    if _job_done(service, current):
        return base._replace(state=CONVERGED, text="job complete", healthy=True, started=True)
    if _pending_too_long(look):
        cause, text = _stuck(current)
        return base._replace(state=FAILED, cause=cause, text=text)
    # Desired state "shutdown" is Swarm's word that it has looked at the failure and will not try again.
    given_up = not any(_lives(task) for task in current) and all(task["DesiredState"] == "shutdown" for task in failed)
    if failed and given_up:
        return base._replace(state=FAILED, cause="crash_loop", text="job failed")
    text = "job running" if running else f"job{_detail(current) or ' starting'}"
    return base._replace(text=f"{text} (attempt {len(failed) + 1})" if failed else text)


def _held_back(tasks: t.Sequence[t.Mapping[str, t.Any]]) -> bool:
    """True when every task that does not run yet is ready, and is told to start only after an old one has ended."""
    states = {(task["Status"]["State"], task["DesiredState"]) for task in tasks if _lives(task)}
    return ("ready", "ready") in states and states <= {("ready", "ready"), ("running", "running")}


def _pending_too_long(look: Look) -> bool:
    since = look.memory.pending_since
    return since is not None and look.now - since >= look.limits.pending_timeout


def _fresh_failures(tasks: t.Sequence[t.Mapping[str, t.Any]], memory: Memory) -> list[t.Mapping[str, t.Any]]:
    return [task for task in tasks if task["Status"]["State"] in _LOST and task["ID"] not in memory.old_failures]


def stable_seconds(service: t.Mapping[str, t.Any]) -> float:
    """How long a changed service has to hold: its monitor period, and 5 s at least."""
    monitor = (service["Spec"].get("UpdateConfig") or {}).get("Monitor") or 0
    return max(monitor / SECOND, SHORTEST_STABLE)


def _has_healthcheck(service: t.Mapping[str, t.Any]) -> bool:
    test = (service["Spec"]["TaskTemplate"]["ContainerSpec"].get("Healthcheck") or {}).get("Test") or []
    return bool(test) and test[0] != "NONE"


def _counts(
    service: t.Mapping[str, t.Any], tasks: t.Sequence[t.Mapping[str, t.Any]]
) -> tuple[int, list[t.Mapping[str, t.Any]]]:
    """Wanted number of tasks, and those that run. A task with a health check runs only once it is healthy."""
    mode = service["Spec"].get("Mode") or {}
    if "Global" in mode:
        desired = (service.get("ServiceStatus") or {}).get("DesiredTasks", 0)
    else:
        count = (mode.get("Replicated") or {}).get("Replicas")
        desired = 1 if count is None else count
    running = [task for task in tasks if task["Status"]["State"] == "running" and task["DesiredState"] == "running"]
    return desired, running


def _of_iteration(
    service: t.Mapping[str, t.Any], tasks: t.Sequence[t.Mapping[str, t.Any]]
) -> list[t.Mapping[str, t.Any]]:
    if not is_job(service):
        return list(tasks)
    wanted = ((service.get("JobStatus") or {}).get("JobIteration") or {}).get("Index", 0)
    return [task for task in tasks if (task.get("JobIteration") or {}).get("Index", 0) == wanted]


def _job_total(service: t.Mapping[str, t.Any], current: t.Sequence[t.Mapping[str, t.Any]]) -> int:
    job = service["Spec"]["Mode"].get("ReplicatedJob")
    if job is not None:
        return int(job.get("TotalCompletions") or 1)
    return len({task.get("NodeID") or task["ID"] for task in current})


def _job_done(service: t.Mapping[str, t.Any], current: t.Sequence[t.Mapping[str, t.Any]]) -> bool:
    done = (service.get("ServiceStatus") or {}).get("CompletedTasks", 0)
    if "ReplicatedJob" in service["Spec"]["Mode"]:
        return bool(done >= _job_total(service, current))
    return bool(done) and done >= _job_total(service, current) and not any(_lives(task) for task in current)


def _lives(task: t.Mapping[str, t.Any]) -> bool:
    return task["Status"]["State"] not in TERMINAL


def _unplaced(tasks: t.Sequence[t.Mapping[str, t.Any]]) -> list[t.Mapping[str, t.Any]]:
    """Tasks that have no node, or not even an address."""
    return _without_node(tasks) + [task for task in tasks if task["Status"]["State"] == "new"]


def _without_node(tasks: t.Sequence[t.Mapping[str, t.Any]]) -> list[t.Mapping[str, t.Any]]:
    return [task for task in tasks if task["Status"]["State"] == "pending" and task["Status"].get("Err")]


def _stuck(tasks: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[str, str]:
    """Cause and text for tasks that have waited too long for a node or an address."""
    pending = _without_node(tasks)
    if pending:
        return "unschedulable", str(pending[0]["Status"]["Err"])
    errors = [str(task["Status"]["Err"]) for task in _unplaced(tasks) if task["Status"].get("Err")]
    # Swarm writes the reason into the leader's own log only (moby issue 43052).
    return "address_exhaustion", (errors or ["its tasks stay in state new: Swarm finds no address for them"])[0]


def _detail(tasks: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    pending = _without_node(tasks)
    if pending:
        return f", {pending[0]['Status']['Err']}"
    states = sorted({_BEFORE_RUNNING.get(task["Status"]["State"], "") for task in tasks} - {""})
    return f", {states[0]}" if states else ""
