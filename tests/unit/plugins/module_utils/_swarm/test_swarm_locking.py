from __future__ import annotations

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import EngineError, EngineUnreachable
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.locking import (
    read_unlock_key,
    set_autolock,
    unlock,
    update_swarm,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem
from fake_swarm_engine import FakeEngine
from fake_swarm_secrets import FakeManager

KEY = "SWMKEY-1-right"


def once(condition, _seconds):
    return condition()


def locked():
    return FakeManager(autolock=True, state="locked", manager=False)


def test_a_locked_manager_is_unlocked_once():
    engine = locked()
    assert unlock(engine, KEY, wait=once)
    assert engine.state == "active"
    assert not unlock(engine, KEY, wait=once)
    assert [path for path, _body in engine.posts] == ["/swarm/unlock"]


def test_check_mode_unlocks_nothing_and_says_that_it_would():
    engine = locked()
    assert unlock(engine, KEY, check_mode=True)
    assert engine.posts == []


@pytest.mark.parametrize("state", ["inactive", "active", "pending", "error"])
def test_a_host_that_is_not_locked_needs_no_key(state):
    assert not unlock(FakeEngine(state=state), "")


def test_a_wrong_key_is_an_error_that_does_not_show_it():
    engine = locked()
    with pytest.raises(SwarmProblem, match="not the one that unlocks it") as caught:
        unlock(engine, "SWMKEY-1-wrong", wait=once)
    assert "SWMKEY" not in str(caught.value)
    assert engine.state == "locked"


@pytest.mark.parametrize("check_mode", [False, True])
def test_no_key_is_an_error_that_names_the_variables_and_never_advises_to_leave(check_mode):
    with pytest.raises(SwarmProblem, match=r"Set swarm_unlock_key .*swarm_unlock_key_file.*Do not let this host leave"):
        unlock(locked(), "", check_mode=check_mode)


def test_a_host_without_an_engine_is_an_error():
    with pytest.raises(SwarmProblem, match="does not answer"):
        unlock(FakeEngine(reachable=False), KEY)


def test_an_engine_that_waits_for_a_majority_does_not_answer_and_is_looked_at():
    engine = locked()
    real = engine.post

    def slow(path, body=None, query=None):
        real(path, body, query)
        raise EngineUnreachable("timed out")

    engine.post = slow
    assert unlock(engine, KEY, wait=once)


def test_a_manager_without_a_majority_is_told_apart_from_a_wrong_key():
    engine = locked()
    engine.fail["/nodes"] = EngineError(503, "The swarm does not have a leader.", "GET /nodes")
    with pytest.raises(SwarmProblem, match=r"is unlocked, and its swarm does not work.*unlock the other managers"):
        unlock(engine, KEY, timeout=3, wait=once)


def test_an_engine_that_refuses_otherwise_is_not_called_a_wrong_key():
    engine = locked()
    engine.fail["/swarm/unlock"] = EngineError(500, "disk full", "POST /swarm/unlock")
    with pytest.raises(EngineError, match="disk full"):
        unlock(engine, KEY, wait=once)


def test_autolock_is_switched_once_and_keeps_every_other_setting():
    engine = FakeManager()
    assert set_autolock(engine, True, check_mode=True)
    assert engine.posts == []
    assert read_unlock_key(engine) == ""
    assert set_autolock(engine, True)
    assert not set_autolock(engine, True)
    assert engine.spec["CAConfig"] == {"NodeCertExpiry": 7776000000000000}
    assert read_unlock_key(engine) == "SWMKEY-1-1"
    assert set_autolock(engine, False)
    assert read_unlock_key(engine) == ""


def test_settings_that_never_rest_are_given_up_with_a_reason():
    engine = FakeManager()

    def other():
        engine.index += 1

    engine.before_update = other
    with pytest.raises(SwarmProblem, match="changed 5 times"):
        update_swarm(engine, dict)


def test_a_refused_setting_is_not_written_again():
    engine = FakeManager()
    engine.fail["/swarm/update"] = EngineError(400, "invalid", "POST /swarm/update")
    with pytest.raises(EngineError, match="invalid"):
        update_swarm(engine, dict)
