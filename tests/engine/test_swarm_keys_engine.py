"""Rotation, autolock, backup and restore against a real Docker Engine that is stopped and started."""

from __future__ import annotations

import base64
import shutil
import stat
import subprocess
import sys
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import Engine
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm import archive, backup, restoring
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.locking import (
    read_unlock_key,
    set_autolock,
    unlock,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem, read_node, wait_until
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.rotation import rotate
from private_engine import PrivateEngine, swarm_of_one

SECONDS = 60.0


class Supervisor:
    """Stops and starts the private engine, as systemd does a host's."""

    def __init__(self, docker: PrivateEngine, engine: Engine) -> None:
        self.docker = docker
        self.engine = engine

    def stop(self) -> None:
        self.docker.halt()
        self.engine.close()

    def start(self) -> None:
        self.docker.start()
        self.docker.wait()


class Host:
    """A host with a swarm of its own, in which one service with a secret and a config runs."""

    def __init__(self, docker: PrivateEngine) -> None:
        self.docker = docker
        self.engine = Engine(docker.socket)
        self.supervisor = Supervisor(docker, self.engine)
        self.data = docker.home / "data"

    def populate(self) -> None:
        text = base64.b64encode(b"content").decode()
        secret = self.engine.post("/secrets/create", {"Name": "password", "Data": text})["ID"]
        config = self.engine.post("/configs/create", {"Name": "settings", "Data": text})["ID"]
        place = {"UID": "0", "GID": "0", "Mode": 0o444}
        container = {
            "Image": "tiny:1",
            "Command": ["sh", "-c", "test $(cat /run/secrets/password) = content && cat /settings && sleep 100000"],
            "StopGracePeriod": 1_000_000_000,
            "Secrets": [{"SecretID": secret, "SecretName": "password", "File": {"Name": "password", **place}}],
            "Configs": [{"ConfigID": config, "ConfigName": "settings", "File": {"Name": "/settings", **place}}],
        }
        self.engine.post(
            "/services/create",
            {
                "Name": "web",
                "Mode": {"Replicated": {"Replicas": 1}},
                "TaskTemplate": {"ContainerSpec": container, "RestartPolicy": {"Delay": 1_000_000_000}},
                "EndpointSpec": {"Mode": "dnsrr"},
            },
        )

    def runs(self) -> bool:
        """Whether the service has a running task, whose container has read its secret."""

        def running() -> bool:
            found = self.engine.get("/services", {"status": "true"})
            return [(one["Spec"]["Name"], one["ServiceStatus"]["RunningTasks"]) for one in found] == [("web", 1)]

        if wait_until(running, SECONDS):
            return True
        print([task["Status"] for task in self.engine.get("/tasks")])
        return False

    def state(self) -> str:
        return str(read_node(self.engine)["swarm"]["state"])

    def restart(self) -> None:
        self.supervisor.stop()
        self.supervisor.start()

    def back_up(self, path: Path) -> archive.Packed:
        return backup.back_up(self.engine, self.supervisor, backup.inspect(self.engine, path), path, timeout=SECONDS)

    def restore(self, packed: archive.Packed, **given: t.Any) -> None:
        target = restoring.Target(
            path=Path(packed.path),
            sha256=packed.sha256,
            aside="swarm.before",
            advertise_address="127.0.0.1",
            listen_address="127.0.0.1:2377",
            **given,
        )
        place = restoring.inspect(self.engine, target)
        restoring.restore(self.engine, self.supervisor, target, place, probe=self.probe, timeout=SECONDS)

    def probe(self, address: str, port: int) -> str:
        """Why there is no connection, in the network that the engine has for itself."""
        program = f"import socket; socket.create_connection(({address!r}, {port}), timeout=3)"
        inside = ["nsenter", "--net", "--target", str(self.docker.process.pid), sys.executable, "-c", program]
        done = subprocess.run(inside, capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else done.stderr.splitlines()[-1]


@pytest.fixture
def host(packages: None) -> Iterator[Host]:
    # Not the session's engine: this one is restarted, and what it knows is destroyed.
    with swarm_of_one() as engine:
        made = Host(engine)
        made.populate()
        assert made.runs()
        yield made


def test_tokens_authority_and_key_are_rotated_and_nothing_else(host: Host) -> None:
    assert set_autolock(host.engine, True)
    before, key = host.engine.get("/swarm"), read_unlock_key(host.engine)

    assert rotate(host.engine, ["worker_token"], timeout=SECONDS).rotated == ["worker_token"]
    after = host.engine.get("/swarm")
    assert after["JoinTokens"]["Worker"] != before["JoinTokens"]["Worker"]
    assert after["JoinTokens"]["Manager"] == before["JoinTokens"]["Manager"]
    assert after["TLSInfo"] == before["TLSInfo"]
    assert read_unlock_key(host.engine) == key

    done = rotate(host.engine, ["ca", "unlock_key", "manager_token"], timeout=SECONDS)
    assert done.behind == []
    last = host.engine.get("/swarm")
    assert last["TLSInfo"]["TrustRoot"] != before["TLSInfo"]["TrustRoot"]
    assert host.engine.get("/nodes")[0]["Description"]["TLSInfo"] == last["TLSInfo"]
    assert read_unlock_key(host.engine) not in ("", key)
    settings = {**before["Spec"], "CAConfig": {}}
    assert {**last["Spec"], "CAConfig": {}} == settings
    assert host.runs()


def test_a_locked_manager_is_unlocked_with_its_key_only_and_its_services_come_back(host: Host) -> None:
    assert set_autolock(host.engine, True)
    key, node_id = read_unlock_key(host.engine), read_node(host.engine)["swarm"]["node_id"]
    host.restart()
    assert wait_until(lambda: host.state() == "locked", SECONDS)

    with pytest.raises(SwarmProblem, match="there is no key"):
        unlock(host.engine, "")
    for wrong in (f"{key[:-4]}AAAA", "SWMKEY-1-", "nonsense"):
        with pytest.raises(SwarmProblem, match="not the one that unlocks it"):
            unlock(host.engine, wrong)
    assert host.state() == "locked"

    assert unlock(host.engine, key, timeout=SECONDS)
    assert host.runs()
    assert read_node(host.engine)["swarm"]["node_id"] == node_id
    assert not unlock(host.engine, key)


@pytest.mark.parametrize("autolock", [False, True])
def test_a_swarm_comes_back_from_a_backup_after_its_data_is_gone(host: Host, autolock: bool, tmp_path: Path) -> None:
    set_autolock(host.engine, autolock)
    key = read_unlock_key(host.engine)
    cluster_id = read_node(host.engine)["swarm"]["cluster_id"]
    packed = host.back_up(tmp_path / "backup.tar.gz")
    assert host.runs()  # the manager that was stopped works again, and has been unlocked
    assert stat.S_IMODE(Path(packed.path).stat().st_mode) == 0o600

    host.supervisor.stop()
    shutil.rmtree(host.data / "swarm")
    host.supervisor.start()
    assert host.state() == "inactive"
    host.restore(packed, autolock=autolock, unlock_key=key)

    assert host.runs()
    assert read_node(host.engine)["swarm"]["cluster_id"] == cluster_id
    assert restoring.count(host.engine) == {"services": 1, "secrets": 1, "configs": 1, "nodes": 1}
    assert read_unlock_key(host.engine) == key
    host.restart()
    if autolock:
        assert wait_until(lambda: host.state() == "locked", SECONDS)
        assert unlock(host.engine, key, timeout=SECONDS)
    assert host.runs()


def test_a_backup_of_a_locked_swarm_is_of_no_use_with_another_key(host: Host, tmp_path: Path) -> None:
    set_autolock(host.engine, True)
    key = read_unlock_key(host.engine)
    packed = host.back_up(tmp_path / "backup.tar.gz")
    host.supervisor.stop()
    (host.data / "swarm").rename(host.data / "lost")
    host.supervisor.start()

    with pytest.raises(SwarmProblem, match="without the unlock key"):
        host.restore(packed, autolock=True)
    with pytest.raises(SwarmProblem, match="does not unlock it"):
        host.restore(packed, autolock=True, unlock_key=f"{key[:-4]}AAAA")


def test_the_engine_runs_again_when_packing_fails(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_directory: Path, _path: Path) -> archive.Packed:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "pack", full)
    with pytest.raises(SwarmProblem, match=r"No space left on device.*this manager works"):
        host.back_up(tmp_path / "backup.tar.gz")
    assert host.runs()
