"""What containers see of a release: real processes in mount namespaces of their own, and directories."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import threading
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker import mount_view, proof
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import Engine
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.fresh import ask_server
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.proof import (
    LATE_SECONDS,
    NoAnswer,
    Prover,
    Wanted,
    explain,
    late,
)
from fake_engine import NAMESPACE, FakeEngine

PATH = "/opt/airflow/bundles/dags"
OLD, NEW = "20260101T000000Z-000000000000", "20260102T000000Z-111111111111"
HASHES = {OLD: "0" * 64, NEW: "1" * 64}


def make_release(share: Path, release: str) -> None:
    """One release with one file."""
    folder = share / "releases" / release
    (folder / "sub").mkdir(parents=True)
    text = f"# {release}\n".encode()
    (folder / "sub" / "a.py").write_bytes(text)
    entry = {"sha256": hashlib.sha256(text).hexdigest(), "size": len(text), "executable": False}
    manifest = {"format": 1, "bundle": "dags", "hash": HASHES[release], "files": {"sub/a.py": entry}}
    (folder / "MANIFEST.json").write_text(json.dumps(manifest))


def flip(share: Path, release: str) -> None:
    (share / ".next").symlink_to(f"releases/{release}")
    (share / ".next").replace(share / "current")


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """A bundle with two releases, the old one in use."""
    root = tmp_path / "share"
    root.mkdir()
    (root / ".sentinel").write_text("{}")
    for release in (OLD, NEW):
        make_release(root, release)
    flip(root, OLD)
    return root


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeEngine]:
    with FakeEngine(tmp_path) as engine:
        yield engine


class Host:
    """Containers of the double, and what stands for their processes."""

    def __init__(self, fake: FakeEngine, proc: Path) -> None:
        self.fake, self.proc = fake, proc
        self.now = 0.0
        self.waits: list[t.Callable[[], None]] = []

    def add(self, pid: int, share: Path | None, **changes: t.Any) -> None:
        """A container; with a share, its process is a directory that looks like one of /proc."""
        name = f"worker.{pid}"
        self.fake.containers.append(
            {
                "Id": f"id{pid}",
                "Names": [f"/{name}"],
                "State": "running",
                "Labels": {NAMESPACE: "airflow", proof.SERVICE_LABEL: "airflow_worker"},
                "Mounts": [{"Type": "bind", "Destination": PATH, "RW": False}],
                **changes,
            }
        )
        self.fake.pids[f"id{pid}"] = pid
        if share is not None:
            seen = self.proc / str(pid) / f"root{PATH}"
            seen.parent.mkdir(parents=True)
            seen.symlink_to(share)

    def prover(self, release: str = NEW, **changes: t.Any) -> Prover:
        wanted = Wanted(PATH, release, HASHES[release][:12])
        given = {"content": False, "timeout": 10.0, "proc": str(self.proc), "now": lambda: self.now, **changes}
        return Prover(Engine(self.fake.socket), "airflow", wanted, sleep=self.sleep, **given)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.waits:
            self.waits.pop(0)()


@pytest.fixture
def host(fake: FakeEngine, tmp_path: Path) -> Host:
    return Host(fake, tmp_path / "proc")


@contextlib.contextmanager
def namespace(share: Path | None) -> Iterator[int]:
    """A process that sees the share where containers do, and nobody else does."""
    bind = f"mount --bind {share} {PATH} && " if share else ""
    script = f"mount -t tmpfs none /opt && mkdir -p {PATH} && {bind} echo ready && exec sleep 600"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process.pid
        finally:
            process.kill()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mount namespaces need root")


@needs_root
def test_a_release_is_read_through_the_mount_of_a_real_process(host: Host, share: Path) -> None:
    flip(share, NEW)
    with namespace(share) as pid:
        host.add(pid, None)
        prover = host.prover(proc="/proc", content=True)

        assert prover.run()

    assert not Path(PATH).exists(), "the test needs a path that this machine does not have"
    result = prover.witnesses[f"id{pid}"].result()
    assert (result["release"], result["hash"], result["problem"]) == (NEW, HASHES[NEW], "")
    assert (result["name"], result["service"], result["seconds"]) == (f"worker.{pid}", "airflow_worker", 0.0)


@needs_root
def test_a_process_that_started_before_the_share_was_mounted_is_told_from_one_that_lags(
    host: Host, share: Path
) -> None:
    with namespace(share) as late, namespace(None) as blind:
        host.add(late, None)
        host.add(blind, None)
        prover = host.prover(proc="/proc", timeout=1.0)

        assert not prover.run()

    text = explain(prover.witnesses.values(), prover.wanted, "node1")
    assert f"worker.{late} (airflow_worker) sees: release {OLD}" in text
    assert f"worker.{blind} (airflow_worker) sees: there is neither .sentinel nor current" in text


@needs_root
def test_a_process_that_ends_is_no_witness_any_more(host: Host, share: Path) -> None:
    with namespace(share) as pid:
        host.add(pid, None)
        prover = host.prover(proc="/proc")
        prover._find()
        prover._ask(prover.witnesses[f"id{pid}"], 0.0, 10.0)
    host.fake.containers.clear()

    assert prover.run()
    assert prover.witnesses == {}


def test_a_flip_is_waited_for_and_timed(host: Host, share: Path) -> None:
    host.add(1, share)
    host.waits = [lambda: None, lambda: flip(share, NEW)]
    prover = host.prover()

    assert prover.run()
    assert prover.witnesses["id1"].seconds == pytest.approx(0.4)
    assert late(prover.witnesses.values(), prover.wanted, "swarm2") == []


def test_a_container_that_was_late_is_told_with_what_it_saw_before(host: Host, share: Path) -> None:
    host.add(1, share)
    looks = int(LATE_SECONDS / proof.PAUSE_SECONDS) + 1
    host.waits = [*[lambda: None] * looks, lambda: flip(share, NEW)]
    prover = host.prover(timeout=60.0)

    assert prover.run()
    (line,) = late(prover.witnesses.values(), prover.wanted, "swarm2")
    for words in ("worker.1 (airflow_worker) on swarm2", f"release {NEW} only after 15 s", f"it saw: release {OLD}"):
        assert words in line


def test_a_host_without_containers_of_the_bundle_passes_with_none(host: Host, share: Path) -> None:
    host.add(1, share, Mounts=[{"Destination": "/opt/airflow/logs"}])
    host.add(2, share, Labels={NAMESPACE: "other"})
    host.add(3, share, State="exited")
    prover = host.prover()

    assert prover.run()
    assert prover.witnesses == {}


def test_another_content_under_the_same_name_is_not_taken_for_it(host: Host, share: Path) -> None:
    flip(share, NEW)
    manifest = share / "releases" / NEW / "MANIFEST.json"
    manifest.write_text(manifest.read_text().replace("1" * 64, "2" * 64))
    host.add(1, share)
    prover = host.prover()

    assert not prover.run()
    text = explain(prover.witnesses.values(), prover.wanted, "node1")
    assert "sees: the release with hash 222222222222 instead of 111111111111" in text


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda share: (share / "current").unlink(), "there is no current"),
        (lambda share: (share / "releases" / NEW / "MANIFEST.json").unlink(), "cannot be read: No such file"),
        (lambda share: (share / "releases" / NEW / "MANIFEST.json").write_text("{"), "it is damaged"),
        (lambda share: flip(share, "../../etc"), "not to releases/<release>"),
    ],
)
def test_damage_is_named(host: Host, share: Path, damage: t.Callable[[Path], t.Any], problem: str) -> None:
    flip(share, NEW)
    damage(share)
    host.add(1, share)
    prover = host.prover()

    assert not prover.run()
    assert problem in prover.witnesses["id1"].view.problem


def test_content_is_compared_file_by_file_when_asked_for(host: Host, share: Path) -> None:
    flip(share, NEW)
    file = share / "releases" / NEW / "sub" / "a.py"
    host.add(1, share)
    assert host.prover(content=True).run()

    file.chmod(0o755)
    prover = host.prover(content=True)
    assert not prover.run()
    assert "sub/a.py has another executable bit" in prover.witnesses["id1"].view.problem
    file.write_text("other")
    assert host.prover().run()
    prover = host.prover(content=True)
    assert not prover.run()
    assert "sub/a.py has other content" in prover.witnesses["id1"].view.problem
    file.unlink()
    prover = host.prover(content=True)
    assert not prover.run()
    assert "sub/a.py cannot be read: No such file" in prover.witnesses["id1"].view.problem


def test_the_server_is_asked_before_what_the_host_remembers_is_believed(
    share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ask_server(path: str) -> bool:
        asked.append(path)
        # What another host did meanwhile is seen from now on.
        flip(share, NEW)
        return True

    monkeypatch.setattr(mount_view, "ask_server", ask_server)

    assert mount_view.look("", str(share)).release == NEW
    assert asked == [str(share), f"{share}/releases"]


def test_asking_tells_whether_there_was_something_to_ask_about(tmp_path: Path) -> None:
    assert ask_server(str(tmp_path))
    assert not ask_server(str(tmp_path / "missing"))


def test_a_link_in_place_of_a_file_is_not_followed(host: Host, share: Path) -> None:
    flip(share, NEW)
    file = share / "releases" / NEW / "sub" / "a.py"
    file.rename(share / "elsewhere")
    file.symlink_to(share / "elsewhere")
    host.add(1, share)
    prover = host.prover(content=True)

    assert not prover.run()
    assert "sub/a.py cannot be read" in prover.witnesses["id1"].view.problem


def test_a_share_whose_server_is_away_is_told_when_the_time_is_up(
    host: Host, share: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.add(1, share)
    away = threading.Event()
    monkeypatch.setattr(mount_view, "look", lambda *_arguments: away.wait())
    monkeypatch.setattr(proof, "SHORTEST_LOOK", 0.05)

    with pytest.raises(NoAnswer, match=r"worker\.1 does not return"):
        host.prover(timeout=0.0).run()
    away.set()


def test_a_container_that_is_replaced_is_followed(host: Host, share: Path) -> None:
    host.add(1, share)

    def replace() -> None:
        host.fake.containers.clear()
        flip(share, NEW)
        host.add(2, share)

    host.waits = [replace]
    prover = host.prover()

    assert prover.run()
    assert list(prover.witnesses) == ["id2"]
