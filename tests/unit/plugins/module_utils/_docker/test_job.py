"""One-off jobs: what they take over from a service, how they end, and that nothing of them is left."""

from __future__ import annotations

import copy
import os
import signal
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker import job, job_output, job_spec
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from fake_engine import ENDED, NAMESPACE, FakeEngine, Refused

NAME = "airflow_check-dags-01"


def live(**template: t.Any) -> dict[str, t.Any]:
    """A service as the stack has it."""
    return {
        "Name": "airflow_dag-processor",
        "Labels": {NAMESPACE: "airflow"},
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": "reg.test/airflow:1@sha256:aa",
                "Labels": {NAMESPACE: "airflow"},
                "Command": ["/entry"],
                "Args": ["airflow", "dag-processor"],
                "Hostname": "{{.Node.Hostname}}",
                "Env": ["DB_URL=postgresql://u:very-secret@db/x", "API_TOKEN=0123456789", "BASE=http://api.test/"],
                "User": "50000:0",
                "TTY": True,
                "Healthcheck": {"Test": ["CMD", "probe"]},
                "Mounts": [{"Type": "bind", "Source": "/s/dags", "Target": "/opt/dags", "ReadOnly": True}],
                "Secrets": [{"SecretID": "s1", "SecretName": "db", "File": {"Name": "db"}}],
            },
            "ForceUpdate": 3,
            "RestartPolicy": {"Condition": "any"},
            "Networks": [{"Target": "net-ingress", "Aliases": ["dag-processor"]}],
            "Resources": {"Limits": {"MemoryBytes": 1 << 30, "Pids": 10}, "Reservations": {"MemoryBytes": 1 << 20}},
            "Placement": {"Constraints": ["node.labels.airflow==true"]},
            "LogDriver": {"Name": "splunk"},
            **template,
        },
        "Mode": {"Replicated": {"Replicas": 1}},
        "UpdateConfig": {"FailureAction": "rollback"},
        "EndpointSpec": {"Mode": "vip"},
    }


def spec(memory_mb: int = 2048) -> dict[str, t.Any]:
    return job_spec.clone(
        {"Spec": live()}, NAME, ["check"], kind="test", stack="airflow", until=1000, memory_mb=memory_mb
    )


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    with FakeEngine(tmp_path) as engine:
        engine.objects["secrets"].append({"ID": "s1", "Spec": {"Name": "db", "Labels": {}}})
        engine.post("/services/create", {}, live())
        engine.writes.clear()
        yield engine


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def one(fake: FakeEngine, **changes: t.Any) -> job.Job:
    clock = Clock()
    given = {"pending_timeout": 5.0, "mask": job_spec.mask_of({"Spec": live()}), "now": clock, "sleep": clock.sleep}
    return job.Job(Engine(fake.socket), spec(), **{"timeout": 60.0, **given, **changes})


def frame(channel: int, text: str) -> bytes:
    return bytes([channel, 0, 0, 0]) + len(text.encode()).to_bytes(4, "big") + text.encode()


def going_on(fake: FakeEngine) -> list[str]:
    """Tasks of jobs that nobody has told to stop, also of jobs that are gone."""
    return [
        task["ID"]
        for task in fake.tasks
        if task["JobIteration"] is not None
        and task["Status"]["State"] not in ENDED
        and task["DesiredState"] not in ("remove", "shutdown")
    ]


def test_a_job_sees_what_the_service_sees_and_nobody_takes_it_for_the_service() -> None:
    service = live()
    before = copy.deepcopy(service)

    made = job_spec.clone({"Spec": service}, NAME, ["check", "it"], kind="test", stack="airflow", until=1000.7)

    template, container = made["TaskTemplate"], made["TaskTemplate"]["ContainerSpec"]
    kept = ("Image", "Command", "Env", "User", "Mounts", "Secrets")
    assert {key: container[key] for key in kept} == {key: service["TaskTemplate"]["ContainerSpec"][key] for key in kept}
    assert container["Args"] == ["check", "it"]
    assert template["Placement"] == service["TaskTemplate"]["Placement"]
    assert template["Networks"] == [{"Target": "net-ingress"}]
    assert not any(NAMESPACE in labels for labels in (made["Labels"], container["Labels"]))
    assert made["Labels"][job_spec.UNTIL_LABEL] == "1000"
    assert made["Mode"] == {"ReplicatedJob": {"MaxConcurrent": 1, "TotalCompletions": 1}}
    assert template["RestartPolicy"]["Condition"] == "none"
    assert not {"Hostname", "TTY"} & container.keys()
    assert service == before


def test_limits_are_raised_never_lowered_and_never_made_up() -> None:
    def limits(memory_mb: int) -> t.Any:
        return spec(memory_mb)["TaskTemplate"]["Resources"]

    assert limits(2048)["Limits"] == {"MemoryBytes": 2048 << 20}
    assert limits(512)["Limits"] == {"MemoryBytes": 1024 << 20}
    assert limits(512)["Reservations"] == {"MemoryBytes": 1 << 20}
    free = job_spec.clone({"Spec": live(Resources={})}, NAME, [], kind="k", stack="s", until=0, memory_mb=2048)
    assert free["TaskTemplate"]["Resources"] == {}


def test_a_name_is_cut_to_what_swarm_allows_and_keeps_its_token() -> None:
    assert job_spec.job_name("airflow", "check-sales.daily", "abcd") == "airflow_check-sales-daily-abcd"
    long = job_spec.job_name("airflow", "check-" + "x" * 200, "abcd")
    assert len(long) == job_spec.LONGEST_NAME
    assert long.endswith("-abcd")


def test_a_name_that_is_nearly_right_is_answered_with_the_one_that_was_meant(fake: FakeEngine) -> None:
    engine = Engine(fake.socket)

    with pytest.raises(job.NoSuchService, match="Did you mean 'dag-processor'"):
        job.find(engine, "airflow", "dag-procesor")
    with pytest.raises(job.NoSuchService, match="Did you mean 'dag-processor'"):
        job.find(engine, "airflow", "airflow_dag-processor")
    with pytest.raises(job.NoSuchService, match=r"the swarm has airflow\. Did you mean 'airflow'"):
        job.find(engine, "airflow-prd", "dag-processor")


def test_a_service_that_is_not_there_is_answered_with_those_that_are(fake: FakeEngine) -> None:
    engine = Engine(fake.socket)

    assert job.find(engine, "airflow", "dag-processor")["Spec"]["Name"] == "airflow_dag-processor"
    with pytest.raises(job.NoSuchService, match="has no service parser; it has dag-processor"):
        job.find(engine, "airflow", "parser")
    with pytest.raises(job.NoSuchService, match="no service at all"):
        job.find(engine, "other", "dag-processor")


def test_a_job_that_completes_tells_what_it_printed_and_is_gone(fake: FakeEngine) -> None:
    fake.log = frame(2, "noise\n") + frame(1, "one\ntwo: very-") + frame(1, "secret\n")

    outcome = one(fake).run()

    assert outcome.stdout == ["one", "two: very-secret"]
    assert outcome.node == "alpha"
    assert fake.names("services") == ["airflow_dag-processor"]


def test_a_log_that_comes_late_is_waited_for(fake: FakeEngine) -> None:
    fake.log, fake.log_delay = frame(1, "answer\n"), 3

    assert one(fake).run().stdout == ["answer"]


def test_both_streams_of_a_log_that_grows_are_read_until_it_stays_the_same(fake: FakeEngine) -> None:
    running = one(fake)
    fake.log = frame(1, "one\n")
    reading, growth = running.engine.get_raw, [frame(2, "two\n")]

    def read_and_grow(path: str, query: t.Any = None) -> bytes:
        found = reading(path, query)
        fake.log += growth.pop() if growth else b""
        return found

    running.engine.get_raw = read_and_grow  # type: ignore[method-assign]

    assert running.run().printed == (["one"], ["two"], "")


def test_a_job_that_prints_nothing_is_believed_after_a_while(fake: FakeEngine) -> None:
    clock = Clock()

    assert one(fake, now=clock, sleep=clock.sleep).run().printed == ([], [], "")
    assert clock.now < job_output.LOG_SECONDS


def test_a_log_that_cannot_be_read_costs_the_output_and_not_the_outcome(fake: FakeEngine) -> None:
    running = one(fake)
    reading = running.engine.get_raw

    def fail(path: str, query: t.Any = None) -> bytes:
        reading(path, query)
        raise EngineError(500, "node is not available", "GET /logs")

    running.engine.get_raw = fail  # type: ignore[method-assign]
    outcome = running.run()

    assert (outcome.stdout, outcome.node) == ([], "alpha")
    assert "node is not available" in outcome.printed.lost
    assert fake.names("services") == ["airflow_dag-processor"]


def test_an_engine_s_own_word_about_the_log_is_no_output(fake: FakeEngine) -> None:
    fake.log = bytes([3, 0, 0, 0]) + (5).to_bytes(4, "big") + b"gone\n"

    assert one(fake).run().printed == ([], [], "gone")


def test_a_failed_job_hands_over_all_that_it_printed(fake: FakeEngine) -> None:
    fake.behaviour["check-dags-01"] = "fails"
    lines = [f"line {number}" for number in range(40)]
    fake.log = frame(1, "\n".join(lines) + "\n") + frame(2, "wrong\n")

    with pytest.raises(job.JobFailed) as caught:
        one(fake).run()

    assert caught.value.printed == (lines, ["wrong"], "")
    assert caught.value.failure["exit_code"] == 1


def test_an_election_is_outlasted_and_more_than_a_minute_of_silence_is_not(fake: FakeEngine) -> None:
    fake.log = frame(1, "fine\n")
    for silent, ends_well in ((20, True), (1000, False)):
        running = one(fake, timeout=10**6)
        left = [silent]
        asking = running.engine.get

        def ask(*given: t.Any, asking: t.Any = asking, left: list[int] = left, **more: t.Any) -> t.Any:
            left[0] -= 1
            if left[0] >= 0:
                raise EngineError(503, "The swarm does not have a leader", "GET /services")
            return asking(*given, **more)

        running.engine.get = ask  # type: ignore[method-assign]
        if ends_well:
            assert running.run().stdout == ["fine"]
            assert fake.names("services") == ["airflow_dag-processor"]
        else:
            with pytest.raises(EngineError, match="does not have a leader"):
                running.run()
            assert "docker service rm" in running.left_behind


def test_a_node_that_goes_down_under_a_job_ends_the_wait_and_says_that_nothing_is_known(fake: FakeEngine) -> None:
    fake.behaviour["check-dags-01"] = "runs"
    clock = Clock()

    def power_loss(seconds: float) -> None:
        clock.sleep(seconds)
        fake.nodes[0]["Status"]["State"] = "down"

    running = one(fake, now=clock, sleep=power_loss)
    with pytest.raises(job.JobFailed) as caught:
        running.run()

    assert (caught.value.failure["cause"], caught.value.failure["node"]) == ("node_down", "alpha")
    assert "is not known" in caught.value.failure["message"]
    assert fake.names("services") == ["airflow_dag-processor"]


@pytest.mark.parametrize(
    ("behaviour", "cause", "text"),
    [
        ("fails", "crash_loop", "non-zero exit (1)"),
        ("rejects", "image_pull", "No such image"),
        ("finds no node", "unschedulable", "insufficient resources"),
        ("runs", "timeout", "not finished after 60 s (job running)"),
    ],
)
def test_a_job_that_does_not_end_well_is_explained_and_gone(
    fake: FakeEngine, behaviour: str, cause: str, text: str
) -> None:
    fake.behaviour["check-dags-01"] = behaviour
    fake.log = frame(2, "no connection to postgresql://u:very-secret@db/x with 0123456789 at http://api.test/\n")

    with pytest.raises(job.JobFailed) as caught:
        one(fake).run()

    failure = caught.value.failure
    assert failure["cause"] == cause
    assert text in failure["message"]
    assert failure["advice"]
    assert failure["log"] == ["no connection to ******** with ******** at http://api.test/"]
    assert fake.names("services") == ["airflow_dag-processor"]
    assert going_on(fake) == []


def test_passwords_in_urls_are_hidden_also_when_nobody_declared_them() -> None:
    mask = job_spec.mask_of({"Spec": live()})

    assert mask("redis://:pw@host and amqp://me:other@host") == "redis://:********@host and amqp://me:********@host"
    assert mask("http://host/path?x=a@b") == "http://host/path?x=a@b"


def test_what_leads_to_a_secret_is_no_secret() -> None:
    service = {"Spec": live()}
    service["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"] = ["SQL_CONN_CMD=cat /run/secrets/db"]

    assert job_spec.mask_of(service)("cat /run/secrets/db failed") == "cat /run/secrets/db failed"


def test_a_job_that_somebody_removes_is_told_so(fake: FakeEngine) -> None:
    running = one(fake)
    fake.behaviour["check-dags-01"] = "runs"

    def remove(_seconds: float) -> None:
        fake.delete(f"/services/{fake.by_name(NAME)['ID']}")

    running.sleep = remove
    with pytest.raises(job.JobFailed, match="somebody removed the job"):
        running.run()


def test_a_job_is_removed_when_the_module_is_ended_by_a_signal(fake: FakeEngine) -> None:
    running = one(fake)
    fake.behaviour["check-dags-01"] = "runs"
    running.sleep = lambda _seconds: os.kill(os.getpid(), signal.SIGTERM)
    before = signal.getsignal(signal.SIGTERM)

    with pytest.raises(SystemExit):
        running.run()

    assert fake.names("services") == ["airflow_dag-processor"]
    assert going_on(fake) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_job_whose_creation_was_not_answered_is_removed_too(fake: FakeEngine) -> None:
    running = one(fake)
    create = running._create

    def lose_the_answer() -> None:
        create()
        raise EngineUnreachable("no answer")

    running._create = lose_the_answer  # type: ignore[method-assign]
    with pytest.raises(EngineUnreachable):
        running.run()

    assert fake.names("services") == ["airflow_dag-processor"]


def test_a_job_that_cannot_be_removed_keeps_its_outcome_and_says_what_is_left(fake: FakeEngine) -> None:
    fake.log = frame(1, "fine\n")
    running = one(fake)

    def refuse(request: str) -> None:
        if request.startswith("DELETE"):
            raise Refused(500, "no leader")

    # The double calls it with the path only; a deletion's path has no verb behind it.
    fake.before_write = lambda path: refuse("DELETE") if path.count("/") == 2 and "create" not in path else None

    assert running.run().stdout == ["fine"]
    assert "no leader" in running.left_behind
    assert NAME in running.left_behind


def test_only_jobs_whose_time_is_long_over_are_swept(fake: FakeEngine) -> None:
    engine = Engine(fake.socket)
    fake.behaviour["check-dags-01"] = "runs"
    engine.post("/services/create", spec())

    assert job.sweep(engine, "test", "airflow", 1000 + job.FORGOTTEN_SECONDS - 1) == []
    assert job.sweep(engine, "other", "airflow", 10**6) == []
    assert job.sweep(engine, "test", "other", 10**6) == []
    assert job.sweep(engine, "test", "airflow", 1000 + job.FORGOTTEN_SECONDS + 1) == [NAME]
    assert fake.names("services") == ["airflow_dag-processor"]
    assert going_on(fake) == []


def test_the_login_of_the_image_s_registry_goes_with_the_creation(fake: FakeEngine) -> None:
    one(fake, auth={"reg.test": {"username": "me", "password": "hidden"}}).run()

    assert fake.auth == ["POST /services/create"]
