"""One-off jobs and the view of containers against a real Docker Engine."""

from __future__ import annotations

import hashlib
import json
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker import job, job_spec, waiting
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.absent import Remover
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import Engine
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.objects import STACK_LABEL
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.proof import Prover, Wanted, explain
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.runner import Runner, Step
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.state import Options
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.waiting import Limits

STACK = "releases"
PATH = "/opt/airflow/bundles/dags"
OLD, NEW = "20260101T000000Z-000000000000", "20260102T000000Z-111111111111"


class Place:
    """A stack with one service that mounts a bundle."""

    def __init__(self, socket: str, share: Path) -> None:
        self.engine = Engine(socket)
        self.share = share

    def deploy(self) -> Step:
        service: dict[str, t.Any] = {
            "image": "tiny:1",
            "init": True,
            "command": ["sleep", "100000"],
            "environment": {"LEVEL": "production", "API_TOKEN": "hidden-token"},
            "secrets": ["db"],
            "stop_grace_period": "1s",
            "volumes": [{"type": "bind", "source": str(self.share), "target": PATH, "read_only": True}],
            "logging": {"driver": "none"},
            "deploy": {"endpoint_mode": "dnsrr", "update_config": {"monitor": "1s"}},
        }
        definition = {"services": {"parser": service}, "secrets": {"db": {"data": "from-the-swarm"}}}
        options = Options(STACK, definition, object_key="key", timeout=60.0, limits=Limits(2, 5.0))
        return Runner(self.engine, options).run()

    def job(self, script: str, timeout: float = 60.0, **changes: t.Any) -> job.Job:
        service = job.find(self.engine, STACK, "parser")
        args = ["sh", "-c", script]
        name = job_spec.job_name(STACK, "check", f"{time.time_ns():x}"[-8:])
        spec = job_spec.clone(service, name, args, kind="test", stack=STACK, until=time.time() + 60)
        container = spec["TaskTemplate"]["ContainerSpec"]
        container.update(changes.pop("container", {}))
        spec["TaskTemplate"].update(changes.pop("template", {}))
        return job.Job(self.engine, spec, timeout, pending_timeout=3.0, mask=job_spec.mask_of(service), **changes)

    def jobs(self) -> list[str]:
        found = self.engine.get("/services", {"filters": {"label": [job_spec.KIND_LABEL]}})
        return [item["Spec"]["Name"] for item in found]


def make_release(share: Path, release: str) -> str:
    """One release with one file; returns its hash."""
    folder = share / "releases" / release
    folder.mkdir(parents=True)
    text = f"# {release}\n".encode()
    (folder / "a.py").write_bytes(text)
    entry = {"sha256": hashlib.sha256(text).hexdigest(), "size": len(text), "executable": False}
    digest = release[-12:] + "f" * 52
    document = {"format": 1, "bundle": "dags", "hash": digest, "files": {"a.py": entry}}
    (folder / "MANIFEST.json").write_text(json.dumps(document))
    return digest


def flip(share: Path, release: str) -> None:
    (share / ".next").symlink_to(f"releases/{release}")
    (share / ".next").replace(share / "current")


@pytest.fixture(scope="module")
def place(docker: t.Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    share = tmp_path_factory.mktemp("share")
    (share / ".sentinel").write_text("{}")
    make_release(share, OLD)
    make_release(share, NEW)
    flip(share, OLD)
    made = Place(docker.socket, share)
    kept, waiting.SHORTEST_STABLE = waiting.SHORTEST_STABLE, 2.0
    try:
        assert made.deploy().failed == ""
        yield made
        assert made.jobs() == []
    finally:
        Remover(made.engine, Options(STACK, {}, timeout=60.0)).run()
        waiting.SHORTEST_STABLE = kept


@pytest.mark.usefixtures("docker")
class TestJob:
    """One-off jobs."""

    def test_a_job_has_the_service_s_surroundings_and_a_long_answer_comes_whole(self, place: Place) -> None:
        # More than one piece of Docker's log, whose pieces have 16 KiB.
        script = (
            f"echo $LEVEL; cat /run/secrets/db; echo; cat {PATH}/releases/{NEW}/a.py; echo noise >&2; "
            "x=0123456789; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14; do x=$x$x; done; echo END $x"
        )

        outcome = place.job(script).run(lambda lines: any(line.startswith("END") for line in lines))

        assert outcome.stdout[:3] == ["production", "from-the-swarm", f"# {NEW}"]
        assert len(outcome.stdout[3]) == len("END ") + 10 * 2**14
        assert len(outcome.stdout) == 4
        assert outcome.node
        assert place.jobs() == []
        print(f"job: {outcome.seconds} s")

    def test_a_stack_does_not_take_a_job_for_its_own_while_it_runs(self, place: Place) -> None:
        running = place.job("sleep 100")
        running._create()
        try:
            again = place.deploy()
            assert again.result is not None
            assert again.result["changed"] is False
            own = place.engine.get("/services", {"filters": {"label": [f"{STACK_LABEL}={STACK}"]}})
            assert [item["Spec"]["Name"] for item in own] == [f"{STACK}_parser"]
        finally:
            running._remove()
        assert place.jobs() == []

    @pytest.mark.parametrize(
        ("script", "changes", "cause", "text"),
        [
            ("echo bad hidden-token; exit 2", {}, "crash_loop", "non-zero exit (2)"),
            ("sleep 100", {"timeout": 4.0}, "timeout", "not finished after 4 s"),
            ("true", {"container": {"Image": "nowhere.invalid/tiny:9"}}, "image_pull", ""),
            ("true", {"container": {"Command": ["/nosuch"]}}, "bad_command", ""),
            (
                "true",
                {"template": {"Placement": {"Constraints": ["node.labels.x==y"]}}},
                "unschedulable",
                "constraints",
            ),
        ],
    )
    def test_a_job_that_does_not_end_well_is_explained_and_removed(
        self, place: Place, script: str, changes: dict[str, t.Any], cause: str, text: str
    ) -> None:
        with pytest.raises(job.JobFailed) as caught:
            place.job(script, **changes).run()

        failure = caught.value.failure
        assert failure["cause"] == cause, failure
        assert text in failure["message"]
        assert failure["advice"]
        assert "hidden-token" not in json.dumps(failure)
        assert place.jobs() == []

    def test_a_forgotten_job_is_swept(self, place: Place) -> None:
        forgotten = place.job("sleep 100")
        forgotten._create()

        assert job.sweep(place.engine, "test", STACK, time.time()) == []
        assert job.sweep(place.engine, "test", STACK, time.time() + 10**4) == [forgotten.spec["Name"]]
        assert place.jobs() == []


@pytest.mark.usefixtures("docker")
class TestProof:
    """What containers see."""

    def prover(self, place: Place, release: str, timeout: float = 10.0) -> Prover:
        wanted = Wanted(PATH, release, release[-12:])
        return Prover(place.engine, STACK, wanted, content=True, timeout=timeout)

    def test_the_release_is_read_through_the_container_s_own_mount(self, place: Place) -> None:
        flip(place.share, NEW)
        prover = self.prover(place, NEW)

        assert prover.run()

        (witness,) = prover.witnesses.values()
        assert witness.service == f"{STACK}_parser"
        assert witness.view.hash.startswith(NEW[-12:])
        assert witness.seconds is not None
        print(f"proof: {witness.seconds} s")

    def test_a_container_that_sees_another_release_is_named(self, place: Place) -> None:
        flip(place.share, OLD)
        prover = self.prover(place, NEW, timeout=0.5)

        assert not prover.run()
        assert f"({STACK}_parser) sees: release {OLD}" in explain(prover.witnesses.values(), prover.wanted, "node")
