"""When a service is where it should be, and when it will never be."""

from __future__ import annotations

import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.waiting import (
    CONVERGED,
    FAILED,
    WAITING,
    Limits,
    Memory,
    Verdict,
    has_given_up,
    judge,
)

LIMITS = Limits(task_failures=3, pending_timeout=60.0)


def service(replicas: int = 1, update: str = "", **container: t.Any) -> dict[str, t.Any]:
    item: dict[str, t.Any] = {
        "Spec": {
            "Mode": {"Replicated": {"Replicas": replicas}},
            "TaskTemplate": {"ContainerSpec": container},
            "UpdateConfig": {"Monitor": 8 * 10**9},
        },
        "ServiceStatus": {},
    }
    if update:
        item["UpdateStatus"] = {"State": update}
    return item


def job(completed: int = 0, iteration: int = 0) -> dict[str, t.Any]:
    return {
        "Spec": {"Mode": {"ReplicatedJob": {"TotalCompletions": 1}}, "TaskTemplate": {"ContainerSpec": {}}},
        "ServiceStatus": {"CompletedTasks": completed},
        "JobStatus": {"JobIteration": {"Index": iteration} if iteration else {}},
    }


def task(
    identifier: str, state: str, desired: str = "running", error: str = "", iteration: int = 0
) -> dict[str, t.Any]:
    return {
        "ID": identifier,
        "Status": {"State": state, "Err": error},
        "DesiredState": desired,
        "JobIteration": {"Index": iteration} if iteration else {},
    }


def look(
    item: dict[str, t.Any], *tasks: dict[str, t.Any], touched: bool = True, memory: Memory | None = None, now: float = 0
) -> tuple[Verdict, Memory]:
    return judge(item, tasks, touched=touched, memory=memory or Memory(), limits=LIMITS, now=now)


def test_an_untouched_service_that_runs_has_converged_at_once() -> None:
    assert look(service(), task("a", "running"), touched=False)[0].state == CONVERGED


def test_a_changed_service_has_to_hold_for_its_monitor_period() -> None:
    first, memory = look(service(), task("a", "running"), now=100)
    early, memory = look(service(), task("a", "running"), memory=memory, now=107.9)
    late, memory = look(service(), task("a", "running"), memory=memory, now=108)

    assert [first.state, early.state, late.state] == [WAITING, WAITING, CONVERGED]


def test_a_restarted_task_starts_the_watch_again() -> None:
    _, memory = look(service(), task("a", "running"), now=100)
    again, _ = look(service(), task("b", "running"), memory=memory, now=109)

    assert again.state == WAITING


def test_a_rollout_that_swarm_has_watched_need_not_be_watched_again() -> None:
    assert look(service(update="completed"), task("a", "running"))[0].state == CONVERGED
    assert look(service(update="updating"), task("a", "running"), now=100)[0].state == WAITING


def test_a_service_with_a_health_check_is_healthy_as_soon_as_it_runs() -> None:
    with_check, _ = look(service(Healthcheck={"Test": ["CMD", "x"]}), task("a", "running"))
    without, _ = look(service(), task("a", "running"))

    assert (with_check.healthy, without.healthy) == (True, False)
    assert without.started


def test_too_few_tasks_are_waited_for_with_their_state() -> None:
    verdict, _ = look(service(2), task("a", "running"), task("b", "preparing"))

    assert (verdict.state, verdict.text) == (WAITING, "1/2 running, preparing (pulling the image)")


def test_a_task_that_is_to_stop_does_not_count_as_running() -> None:
    assert look(service(), task("a", "running", desired="shutdown"))[0].running == 0


def test_repeated_failures_are_a_crash_loop_even_when_old_tasks_are_forgotten() -> None:
    memory = Memory()
    states = []
    for name in "abc":
        verdict, memory = look(service(), task(name, "failed", "shutdown"), task("new", "ready"), memory=memory)
        states.append(verdict.state)

    assert states == [WAITING, WAITING, FAILED]
    assert verdict.cause == "crash_loop"


def test_failures_from_before_this_run_do_not_count() -> None:
    old = tuple("abc")
    tasks = [task(name, "failed", "shutdown") for name in old]

    assert look(service(), *tasks, task("d", "running"), memory=Memory(old_failures=old))[0].state == WAITING


def test_a_paused_or_rolled_back_update_fails_only_what_this_run_wrote() -> None:
    causes = [look(service(update=state), task("a", "running"))[0].cause for state in ("paused", "rollback_started")]

    assert causes == ["crash_loop", "rolled_back"]
    assert look(service(update="rollback_completed"), task("a", "running"), touched=False)[0].state == CONVERGED


def test_no_suitable_node_is_waited_for_until_its_own_timeout() -> None:
    pending = task("a", "pending", error="no suitable node")
    _, memory = look(service(), pending, now=100)
    early, memory = look(service(), pending, memory=memory, now=159)
    late, _ = look(service(), pending, memory=memory, now=160)

    assert (early.state, late.state, late.cause) == (WAITING, FAILED, "unschedulable")


def test_a_service_that_is_not_restarted_fails_at_once() -> None:
    assert look(service(), task("a", "failed", "shutdown"))[0].state == FAILED


def test_tasks_that_wait_for_old_ones_to_finish_are_told_from_those_that_wait_to_be_restarted() -> None:
    held = task("a", "ready", "ready")
    draining, _ = look(service(2, update="updating"), held)
    restarted, _ = look(service(2, update="updating"), held, task("b", "failed", "shutdown"))
    starting, _ = look(service(2, update="updating"), held, task("b", "starting"))

    assert [verdict.draining for verdict in (draining, restarted, starting)] == [True, False, False]


def test_no_replicas_are_no_problem() -> None:
    assert look(service(0))[0].state == CONVERGED


def test_a_job_has_converged_when_it_has_completed() -> None:
    assert look(job(completed=1), task("a", "complete", "complete"))[0].state == CONVERGED


def test_a_job_fails_only_after_swarm_has_given_it_up() -> None:
    looked_at, _ = look(job(), task("a", "failed", "shutdown"))
    not_yet, _ = look(job(), task("a", "failed", "complete"))
    retrying, _ = look(job(), task("a", "failed", "shutdown"), task("b", "ready", "complete"))

    assert (looked_at.state, not_yet.state, retrying.state) == (FAILED, WAITING, WAITING)
    assert "attempt 2" in retrying.text


def test_only_the_current_iteration_of_a_job_counts() -> None:
    old = task("a", "failed", "shutdown", iteration=5)

    assert look(job(iteration=9), old)[0].state == WAITING
    assert not has_given_up(job(iteration=9), [old])
    assert has_given_up(job(iteration=5), [old])


def test_a_paused_rollout_counts_as_given_up_only_while_something_is_missing() -> None:
    assert has_given_up(service(update="paused"), [])
    assert not has_given_up(service(update="paused"), [task("a", "running")])
