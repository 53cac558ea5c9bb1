from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.flowstead.airflow.plugins.modules import (
    swarm_autolock,
    swarm_backup,
    swarm_restore,
    swarm_rotate,
    swarm_unlock,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "module_utils" / "_swarm"))
from fake_swarm_engine import make_node
from fake_swarm_secrets import FakeManager
from test_swarm_backup import Host, lose, make_state


class Services:
    """The double's own supervisor, in the place of systemd."""

    def __init__(self, engine):
        self.stop, self.start = engine.stop, engine.start

    def check(self):
        """It can be stopped."""


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a module against a double of the engine; returns its result, as Ansible prints it."""

    def run_module(module, engine, **given):
        monkeypatch.setattr(module, "Engine", lambda *_args, **_kwargs: engine)
        if hasattr(module, "Systemd"):
            monkeypatch.setattr(module, "Systemd", lambda _run: Services(engine))
        arguments = {
            "_ansible_check_mode": given.pop("check_mode", False),
            "_ansible_remote_tmp": "/tmp",
            "_ansible_keep_remote_files": False,
            **given,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run_module


def test_a_rotation_is_a_change_each_time_and_shows_no_value(run):
    engine = FakeManager(autolock=True)
    everything = {"rotate": ["worker_token", "manager_token", "ca", "unlock_key"]}
    predicted = run(swarm_rotate, engine, check_mode=True, **everything)
    assert (predicted["changed"], engine.posts) == (True, [])
    for _again in range(2):
        result = run(swarm_rotate, engine, **everything)
        assert result["changed"]
        assert result["rotated"] == predicted["rotated"] == everything["rotate"]
        assert result["diff"] == predicted["diff"]
        assert not any(text in json.dumps(result) for text in ("SWMTKN", "SWMKEY", "root-"))


def test_nodes_that_do_not_follow_fail_the_module_with_their_names(run):
    nodes = [make_node("me", "here", "manager", leader=True), make_node("id2", "w1")]
    engine = FakeManager(nodes=nodes, followers=["me"])
    result = run(swarm_rotate, engine, rotate=["ca", "worker_token"], timeout=0)
    assert result["failed"]
    assert result["changed"]
    assert result["behind"] == ["w1 (id2) has a certificate of the old authority"]
    assert "w1 (id2)" in result["msg"]


def test_something_else_cannot_be_rotated(run):
    assert "value of rotate must be one or more of" in run(swarm_rotate, FakeManager(), rotate=["tokens"])["msg"]


def test_autolock_is_switched_once_and_the_key_is_returned_only_on_request(run):
    engine = FakeManager()
    predicted = run(swarm_autolock, engine, enabled=True, check_mode=True)
    real = run(swarm_autolock, engine, enabled=True)
    assert predicted["diff"] == real["diff"] == {"before": {"autolock": False}, "after": {"autolock": True}}
    assert (predicted["changed"], real["changed"]) == (True, True)
    assert "SWMKEY" not in json.dumps(real)
    assert not run(swarm_autolock, engine, enabled=True)["changed"]
    read = run(swarm_autolock, engine, unlock_key=True)
    assert (read["changed"], read["enabled"], read["unlock_key"]) == (False, True, "SWMKEY-1-1")


def test_a_worker_has_no_autolock(run):
    assert "not a swarm manager" in run(swarm_autolock, FakeManager(manager=False), enabled=True)["msg"]


def test_unlocking_twice_changes_something_once_and_shows_no_key(run):
    engine = FakeManager(autolock=True, state="locked", manager=False)
    predicted = run(swarm_unlock, engine, unlock_key="SWMKEY-1-right\n", check_mode=True)
    assert (predicted["changed"], engine.posts) == (True, [])
    real = run(swarm_unlock, engine, unlock_key="SWMKEY-1-right\n")
    assert real["diff"] == predicted["diff"] == {"before": {"state": "locked"}, "after": {"state": "active"}}
    assert "SWMKEY" not in json.dumps(real)
    assert not run(swarm_unlock, engine)["changed"]


def test_a_wrong_key_fails_and_is_not_shown(run):
    engine = FakeManager(autolock=True, state="locked", manager=False)
    result = run(swarm_unlock, engine, unlock_key="SWMKEY-1-wrong")
    assert "not the one that unlocks it" in result["msg"]
    assert "SWMKEY" not in json.dumps(result)


@pytest.fixture
def host(tmp_path):
    make_state(tmp_path / "docker" / "swarm")
    return Host(tmp_path / "docker")


def test_a_backup_is_foretold_made_and_restored(run, host, tmp_path, monkeypatch):
    monkeypatch.setattr(swarm_restore, "connect", lambda _address, port: "" if port == 7946 else "refused")
    path = tmp_path / "kept.tar.gz"
    predicted = run(swarm_backup, host, path=str(path), check_mode=True)
    assert predicted["changed"]
    assert "sha256" not in predicted["manifest"]
    assert (host.log, path.exists()) == ([], False)

    kept = run(swarm_backup, host, path=str(path))
    assert {key: kept["manifest"][key] for key in predicted["manifest"]} == predicted["manifest"]
    assert kept["manifest"]["size"] == path.stat().st_size
    again = run(swarm_backup, host, path=str(path))
    assert "exists already" in again["msg"]

    lose(host)
    host.log.clear()
    wanted = {"path": str(path), "sha256": kept["manifest"]["sha256"], "advertise_address": "192.0.2.1"}
    foretold = run(swarm_restore, host, check_mode=True, **wanted)
    assert (foretold["changed"], foretold["counts"], host.log) == (True, {}, [])
    restored = run(swarm_restore, host, **wanted)
    assert (restored["works"], restored["node"]["state"]) == (True, "active")
    assert Path(restored["aside"]).is_dir()
    assert "which works" in run(swarm_restore, host, **wanted)["msg"]
