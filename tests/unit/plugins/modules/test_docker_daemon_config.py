from __future__ import annotations

import json
import stat

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.flowstead.airflow.plugins.modules import docker_daemon_config

LAYERS = [{"log-driver": "local"}]

#: A double of dockerd: knows one directive, and refuses every option that the real one of its age refuses.
DOCKERD = """#!/bin/sh
test "$1" = --help && { printf '%s\\n' '@USAGE@'; exit 0; }
test "$1" = --config-file || { echo "unknown flag: $1"; exit 125; }
if grep -q mtuu "$2"; then
  echo "unable to configure the Docker daemon with file $2: the following directives don't match any option: mtuu" >&2
  exit 1
fi
case "$3" in
@END@
*) echo "unknown flag: $3" >&2; exit 125;;
esac
"""
OLD = (
    "--pidfile",
    '--pidfile) kill -0 "$(cat "$4")" && { echo "pid file found, ensure docker is not running"; exit 1; };;',
)
NEW = ("--validate", "--validate) echo configuration OK; exit 0;;")


@pytest.fixture(params=[OLD, NEW], ids=["20.10", "26.1"])
def dockerd(request, tmp_path):
    usage, end = request.param
    path = tmp_path / "dockerd"
    path.write_text(DOCKERD.replace("@USAGE@", usage).replace("@END@", end))
    path.chmod(0o755)
    return path


@pytest.fixture
def run(tmp_path, capsys):
    def run_module(**given):
        arguments = {
            "_ansible_check_mode": given.pop("check_mode", False),
            "_ansible_remote_tmp": str(tmp_path / "remote"),
            "_ansible_keep_remote_files": False,
            "path": str(tmp_path / "docker" / "daemon.json"),
            "layers": LAYERS,
            **given,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            docker_daemon_config.main()
        return json.loads(capsys.readouterr().out)

    return run_module


def test_check_then_real_then_again_writes_the_file_once(run, dockerd, tmp_path):
    path = tmp_path / "docker" / "daemon.json"
    assert run(dockerd=str(dockerd), check_mode=True)["changed"]
    assert not path.exists()
    assert run(dockerd=str(dockerd))["changed"]
    assert json.loads(path.read_text()) == {"log-driver": "local"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert not run(dockerd=str(dockerd))["changed"]


def test_a_file_that_the_engine_refuses_never_lands(run, dockerd, tmp_path):
    run(dockerd=str(dockerd))
    path = tmp_path / "docker" / "daemon.json"
    before = path.read_bytes()
    result = run(dockerd=str(dockerd), layers=[*LAYERS, {"mtuu": 1}])
    assert result["failed"]
    assert f"with file {path}: the following directives don't match any option: mtuu" in result["msg"]
    assert path.read_bytes() == before


def test_a_refusal_shows_in_check_mode_too(run, dockerd):
    assert run(dockerd=str(dockerd), layers=[*LAYERS, {"mtuu": 1}], check_mode=True)["failed"]


def test_a_host_without_the_engine_is_only_accepted_in_check_mode(run):
    assert run(dockerd="/nowhere/dockerd", check_mode=True)["changed"]
    assert "is not on this host" in run(dockerd="/nowhere/dockerd")["msg"]


def test_keys_of_the_host_stay(run, dockerd, tmp_path):
    path = tmp_path / "docker" / "daemon.json"
    path.parent.mkdir()
    path.write_text('{"data-root": "/data"}')
    result = run(dockerd=str(dockerd))
    assert json.loads(path.read_text()) == {"data-root": "/data", "log-driver": "local"}
    assert result["changed_keys"] == ["log-driver"]


def test_a_member_of_a_swarm_takes_a_reloadable_change_and_refuses_one_that_needs_a_restart(run, dockerd, tmp_path):
    run(dockerd=str(dockerd))
    result = run(dockerd=str(dockerd), layers=[*LAYERS, {"debug": True}], reload_only=True)
    assert (result["changed"], result["restart_keys"]) == (True, [])
    before = (tmp_path / "docker" / "daemon.json").read_bytes()
    result = run(dockerd=str(dockerd), layers=[*LAYERS, {"mtu": 1400}], reload_only=True)
    assert "mtu by a restart" in result["msg"]
    assert (tmp_path / "docker" / "daemon.json").read_bytes() == before


def test_rules_are_checked_before_the_engine_is_asked(run):
    result = run(dockerd="/nowhere/dockerd", layers=[{"live-restore": True}])
    assert len(result["problems"]) == 2


def test_the_diff_hides_credentials(run, dockerd):
    layers = [*LAYERS, {"registry-mirrors": ["https://me:secret-word@mirror.example.com"]}]
    assert "secret-word" not in json.dumps(run(dockerd=str(dockerd), layers=layers)["diff"])
