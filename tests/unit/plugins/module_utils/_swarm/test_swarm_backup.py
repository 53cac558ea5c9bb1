from __future__ import annotations

import json
import os
import shutil
import stat
import tarfile
from pathlib import Path

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import EngineError
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm import archive, backup, restoring
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.supervisor import Systemd
from fake_swarm_engine import make_node
from fake_swarm_secrets import FakeManager

KEY = "SWMKEY-1-1"
SAVED = {"AdvertiseAddr": "192.0.2.1:2377", "DefaultAddressPool": ["172.20.0.0/14"], "SubnetSize": 24}


def make_state(directory: Path, text: str = "log") -> Path:
    for name in ("certificates", "raft/wal-v3-encrypted", "worker"):
        (directory / name).mkdir(parents=True)
    (directory / "docker-state.json").write_text(json.dumps(SAVED))
    (directory / "raft/wal-v3-encrypted/0.wal").write_text(text)
    key = directory / "certificates/swarm-node.key"
    key.write_text("key")
    key.chmod(0o600)
    (directory / "certificates").chmod(0o700)
    return directory


class Host(FakeManager):
    """A manager with a data root, which is its own supervisor; nothing answers while it is stopped."""

    def __init__(self, root: Path, **given):
        super().__init__(**{"nodes": [make_node("me", "here", "manager", leader=True)], **given})
        self.root = root
        self.log: list[str] = []
        self.refuses_to_start = False
        #: Starts that it takes until other members are answered, and what is said until then.
        self.deaf_starts = 0

    def probe(self, address, port):
        assert (address, port) == ("192.0.2.1", 7946), "the address that the engine says it has"
        return "connection refused" if self.log.count("start") <= self.deaf_starts else ""

    def get(self, path, query=None):
        if path in ("/secrets", "/configs") and self.manager:
            return []
        answer = super().get(path, query)
        return {**answer, "DockerRootDir": str(self.root)} if path == "/info" else answer

    def post(self, path, body=None, query=None):
        if path == "/swarm/init" and body["ForceNewCluster"]:
            self.log.append("init")
            self.posts.append((path, body))
            if self.spec["EncryptionConfig"]["AutoLockManagers"]:
                self.state, self.manager = "inactive", False  # moby/moby#36852
                raise EngineError(503, "Swarm is encrypted and needs to be unlocked", f"POST {path}")
            if self.state == "inactive":
                raise EngineError(503, "This node is not a swarm manager.", f"POST {path}")
            self.state, self.manager = "active", True
            self.fail.pop("/nodes", None)
            return "me"
        return super().post(path, body, query)

    def stop(self):
        self.log.append("stop")
        self.reachable = False

    def start(self):
        self.log.append("start")
        if self.refuses_to_start:
            raise SwarmProblem("systemctl start docker.service failed")
        self.reachable = True
        if self.state == "inactive" and (self.root / "swarm/raft").exists():
            self.state = "pending"
        if self.spec["EncryptionConfig"]["AutoLockManagers"]:
            self.state, self.manager, self.key = "locked", False, f"SWMKEY-1-{self.generation['key']}"


@pytest.fixture
def host(tmp_path):
    make_state(tmp_path / "docker" / "swarm")
    return Host(tmp_path / "docker")


def keep(host, path, **given):
    return backup.back_up(host, host, backup.inspect(host, path, **given), path, wait=twice)


def twice(condition, _seconds):
    return condition() or condition()


def test_the_state_is_packed_while_the_engine_is_stopped_and_for_its_owner_only(host, tmp_path, monkeypatch):
    real = archive.pack

    def pack(directory, path):
        host.log.append("pack")
        return real(directory, path)

    monkeypatch.setattr(archive, "pack", pack)
    packed = keep(host, tmp_path / "kept.tar.gz")

    assert host.log == ["stop", "pack", "start"]
    assert stat.S_IMODE(os.stat(packed.path).st_mode) == 0o600
    assert (packed.sha256, packed.size) == (archive.digest(Path(packed.path)), os.stat(packed.path).st_size)
    assert archive.read_archive(Path(packed.path), packed.sha256) == SAVED


def test_an_archive_keeps_modes_and_comes_back_as_it_was(host, tmp_path):
    packed = keep(host, tmp_path / "kept.tar.gz")
    archive.unpack(Path(packed.path), tmp_path)
    assert (tmp_path / "swarm/raft/wal-v3-encrypted/0.wal").read_text() == "log"
    assert stat.S_IMODE((tmp_path / "swarm/certificates/swarm-node.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "swarm/certificates").stat().st_mode) == 0o700


def test_the_manifest_says_what_it_is_of_and_holds_no_key(host, tmp_path):
    host.spec["EncryptionConfig"]["AutoLockManagers"] = True
    # read_node tells autolock from GET /info
    host._swarm = lambda real=host._swarm: {**real(), "Cluster": {"ID": "c", "Spec": host.spec}}
    source = backup.inspect(host, tmp_path / "x", KEY)
    assert source.manifest["autolock"]
    assert source.manifest["hostname"] == "here"
    assert source.manifest["engine_version"] == "20.10.24"
    assert KEY not in repr(source)
    with pytest.raises(SwarmProblem, match="is not the swarm's"):
        backup.inspect(host, tmp_path / "x", "SWMKEY-1-other")


def test_a_manager_that_locks_is_unlocked_after_its_engine_was_stopped(host, tmp_path):
    host.spec["EncryptionConfig"]["AutoLockManagers"] = True
    host._swarm = lambda real=host._swarm: {
        **real(),
        **({"Cluster": {"ID": "c", "Spec": host.spec}} if host.manager else {}),
    }
    keep(host, tmp_path / "kept.tar.gz")
    assert host.state == "active"
    assert ("/swarm/unlock", "hidden") in host.posts


def test_the_engine_is_started_when_packing_fails_and_nothing_is_left(host, tmp_path, monkeypatch):
    def broken(*_arguments, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "add", broken)
    with pytest.raises(
        SwarmProblem, match=r"Nothing was kept:.*No space left.*was started again, and this manager works"
    ):
        keep(host, tmp_path / "kept.tar.gz")
    assert host.log == ["stop", "start"]
    assert not (tmp_path / "kept.tar.gz").exists()


def test_an_engine_that_cannot_be_stopped_is_started_and_nothing_packed(host, tmp_path):
    def stop():
        raise SwarmProblem("systemctl stop failed")

    host.stop = stop
    with pytest.raises(SwarmProblem, match="systemctl stop failed"):
        keep(host, tmp_path / "kept.tar.gz")
    assert host.log == ["start"]


def test_a_manager_that_does_not_come_back_is_an_error_that_says_where_the_archive_is(host, tmp_path):
    source = backup.inspect(host, tmp_path / "kept.tar.gz")
    host.fail["/nodes"] = EngineError(503, "The swarm does not have a leader.", "GET /nodes")
    with pytest.raises(SwarmProblem, match=r"does not work.*does not have a leader.*The archive is complete: .*kept"):
        backup.back_up(host, host, source, tmp_path / "kept.tar.gz", wait=twice)


@pytest.mark.parametrize("state", ["inactive", "locked", "pending"])
def test_a_host_that_manages_nothing_is_not_stopped(host, tmp_path, state):
    host.state, host.manager = state, False
    with pytest.raises(SwarmProblem, match="manages no swarm"):
        backup.inspect(host, tmp_path / "x")


def test_what_would_fail_is_found_while_the_engine_runs(host, tmp_path, monkeypatch):
    (tmp_path / "there").write_text("")
    with pytest.raises(SwarmProblem, match="exists already"):
        backup.inspect(host, tmp_path / "there")
    with pytest.raises(SwarmProblem, match="is no directory"):
        backup.inspect(host, tmp_path / "nowhere" / "x")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=2**20))
    with pytest.raises(SwarmProblem, match="has 1 MiB free"):
        backup.inspect(host, tmp_path / "x")
    shutil.rmtree(tmp_path / "docker" / "swarm" / "raft")
    with pytest.raises(SwarmProblem, match="has no raft"):
        backup.inspect(host, tmp_path / "x")


def lose(host):
    host.state, host.manager = "inactive", False


def target(path, **given):
    return restoring.Target(path=Path(path), aside="swarm.before", advertise_address="192.0.2.9", **given)


def bring_back(host, wanted, **given):
    place = restoring.inspect(host, wanted, **given)
    restoring.restore(host, host, wanted, place, probe=host.probe, wait=twice)
    return place


def test_a_lost_swarm_is_restored_with_its_own_settings_and_the_old_state_kept_aside(host, tmp_path):
    packed = keep(host, tmp_path / "kept.tar.gz")
    host.log.clear()
    lose(host)
    (host.root / "swarm/raft/wal-v3-encrypted/0.wal").write_text("other")

    place = bring_back(host, target(packed.path, sha256=packed.sha256))

    assert host.log == ["stop", "start", "init"]
    assert (host.root / "swarm/raft/wal-v3-encrypted/0.wal").read_text() == "log"
    assert place.aside is not None
    assert (place.aside / "raft/wal-v3-encrypted/0.wal").read_text() == "other"
    body = host.posts[-1][1]
    assert (body["DefaultAddrPool"], body["SubnetSize"]) == (["172.20.0.0/14"], 24)
    assert body["AdvertiseAddr"] == "192.0.2.9"


def test_an_engine_that_answers_no_other_member_is_started_again(host, tmp_path):
    packed = keep(host, tmp_path / "kept.tar.gz")
    host.log.clear()
    lose(host)
    host.deaf_starts = 1
    bring_back(host, target(packed.path))
    assert host.log == ["stop", "start", "init", "stop", "start"]
    assert host.state == "active"


def test_an_engine_that_never_answers_other_members_is_a_warning_with_its_address(host, tmp_path):
    packed = keep(host, tmp_path / "kept.tar.gz")
    host.log.clear()
    lose(host)
    host.deaf_starts = 9
    wanted = target(packed.path)
    done = restoring.restore(host, host, wanted, restoring.inspect(host, wanted), probe=host.probe, wait=twice)
    assert done.works
    assert "7946/tcp (192.0.2.1: connection refused)" in done.warning
    assert "swarm_advertise_address" in done.warning


def locked(host, tmp_path):
    """A lost manager and its backup, of a swarm that is autolocked."""
    (host.root / "swarm/docker-state.json").write_text(json.dumps({"AdvertiseAddr": "192.0.2.9:2377"}))
    packed = keep(host, tmp_path / "kept.tar.gz")
    lose(host)
    host.spec["EncryptionConfig"]["AutoLockManagers"] = True
    host.log.clear()
    return packed


def test_an_autolocked_swarm_needs_its_key_and_is_unlocked_without_making_a_new_cluster(host, tmp_path):
    packed = locked(host, tmp_path)
    with pytest.raises(SwarmProblem, match=r"without the unlock key.*Nothing was changed"):
        restoring.inspect(host, target(packed.path, autolock=True))
    with pytest.raises(SwarmProblem, match="the given key does not unlock it"):
        bring_back(host, target(packed.path, autolock=True, unlock_key="SWMKEY-1-other"))
    shutil.rmtree(host.root / "swarm.before")
    bring_back(host, target(packed.path, autolock=True, unlock_key=KEY))
    assert host.state == "active"
    assert "init" not in host.log


def test_an_autolocked_state_without_a_manifest_says_what_it_is(host, tmp_path):
    packed = locked(host, tmp_path)
    with pytest.raises(SwarmProblem, match="which its manifest does not say"):
        bring_back(host, target(packed.path))


def test_an_autolocked_manager_is_restored_under_its_own_address_only(host, tmp_path):
    (host.root / "swarm/docker-state.json").write_text(json.dumps({"AdvertiseAddr": "192.0.2.1:2377"}))
    packed = keep(host, tmp_path / "kept.tar.gz")
    lose(host)
    with pytest.raises(SwarmProblem, match=r"address 192\.0\.2\.1.*this host's is 192\.0\.2\.9"):
        restoring.inspect(host, target(packed.path, autolock=True, unlock_key=KEY))


@pytest.mark.parametrize("managers", [1, 3])
def test_one_of_several_autolocked_managers_waits_for_the_others_and_a_single_one_may_not(host, tmp_path, managers):
    packed = locked(host, tmp_path)
    host.fail["/nodes"] = EngineError(503, "The swarm does not have a leader.", "GET /nodes")
    wanted = target(packed.path, autolock=True, unlock_key=KEY, managers=managers)
    place = restoring.inspect(host, wanted)
    if managers == 1:
        with pytest.raises(SwarmProblem, match="does not have a leader"):
            restoring.restore(host, host, wanted, place, probe=host.probe, wait=twice)
    else:
        assert restoring.restore(host, host, wanted, place, probe=host.probe, wait=twice) == (False, "")


def test_a_swarm_that_works_is_not_replaced(host, tmp_path):
    packed = keep(host, tmp_path / "kept.tar.gz")
    with pytest.raises(SwarmProblem, match=r"manages the swarm cluster-1, which works.*swarm_restore_force"):
        restoring.inspect(host, target(packed.path))
    assert restoring.inspect(host, target(packed.path), force=True).aside


def test_what_the_host_had_is_back_when_the_state_cannot_be_written(host, tmp_path, monkeypatch):
    packed = keep(host, tmp_path / "kept.tar.gz")
    lose(host)
    (host.root / "swarm/raft/wal-v3-encrypted/0.wal").write_text("other")

    def full(_path, parent):
        (parent / "swarm").mkdir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "unpack", full)
    host.log.clear()
    with pytest.raises(SwarmProblem, match=r"No space left.*in its place again"):
        bring_back(host, target(packed.path))
    assert (host.root / "swarm/raft/wal-v3-encrypted/0.wal").read_text() == "other"
    assert host.log == ["stop", "start"]


def test_a_damaged_archive_is_found_before_anything_is_stopped(host, tmp_path):
    packed = keep(host, tmp_path / "kept.tar.gz")
    lose(host)
    whole = Path(packed.path).read_bytes()
    Path(packed.path).write_bytes(whole[:-40])
    with pytest.raises(SwarmProblem, match="not what was written"):
        restoring.inspect(host, target(packed.path, sha256=packed.sha256))
    with pytest.raises(SwarmProblem, match="cannot be read"):
        restoring.inspect(host, target(packed.path))
    with pytest.raises(SwarmProblem, match="is no file"):
        restoring.inspect(host, target(tmp_path / "nothing"))


@pytest.mark.parametrize("name", ["../evil", "etc/passwd", "swarm/../../evil"])
def test_an_archive_that_would_write_elsewhere_is_refused(tmp_path, name):
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as made:
        made.addfile(tarfile.TarInfo(name))
    with pytest.raises(SwarmProblem, match="has no place in one"):
        archive.read_archive(tmp_path / "bad.tar.gz")


def test_an_archive_with_a_link_is_refused(tmp_path):
    link = tarfile.TarInfo("swarm/raft")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc"
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as made:
        made.addfile(link)
    with pytest.raises(SwarmProblem, match="has no place in one"):
        archive.read_archive(tmp_path / "bad.tar.gz")


def test_the_state_of_a_worker_is_no_backup(tmp_path):
    shutil.rmtree(make_state(tmp_path / "swarm") / "raft")
    archive.pack(tmp_path / "swarm", tmp_path / "worker.tar.gz")
    with pytest.raises(SwarmProblem, match="has no raft"):
        archive.read_archive(tmp_path / "worker.tar.gz")


class Systemctl:
    """A strict double of systemctl that knows two units, of which the socket starts the service."""

    def __init__(self, loaded=("docker.socket", "docker.service"), stubborn=False):
        self.loaded = loaded
        self.stubborn = stubborn
        self.running = set(loaded)
        self.log: list[str] = []

    def __call__(self, command):
        assert command[0] == "systemctl"
        verb, rest = command[1], command[2:]
        if verb == "show":
            assert rest[:2] == ["--property=LoadState", "--value"]
            return 0, "loaded\n" if rest[2] in self.loaded else "not-found\n", ""
        units = [unit for unit in rest if not unit.startswith("--")]
        if set(units) - set(self.loaded) or not units:
            return 5, "", f"Unit {units} not loaded."
        if verb == "is-active":
            return 0 if set(units) <= self.running else 3, "", ""
        self.log.append(f"{verb} {' '.join(units)}")
        if verb == "stop":
            self.running -= set() if self.stubborn else set(units)
        elif verb == "start":
            self.running |= set(units)
        else:
            assert verb == "reset-failed", verb
        return 0, "", ""


def test_systemd_stops_the_socket_too_which_would_start_the_engine_again():
    systemctl = Systemctl()
    Systemd(systemctl).stop()
    assert systemctl.running == set()
    Systemd(systemctl).start()
    assert systemctl.running == {"docker.socket", "docker.service"}


def test_systemd_without_a_socket_unit_serves_too():
    systemctl = Systemctl(("docker.service",))
    Systemd(systemctl).check()
    Systemd(systemctl).stop()
    assert systemctl.log == ["stop docker.service"]


def test_an_engine_that_somebody_else_starts_or_that_is_no_service_is_an_error():
    with pytest.raises(SwarmProblem, match="is running again"):
        Systemd(Systemctl(stubborn=True)).stop()
    with pytest.raises(SwarmProblem, match="no service of systemd"):
        Systemd(Systemctl(())).check()
