"""Behaviour of the module docker_host_info."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.flowstead.airflow.plugins.modules import docker_host_info

#: A double of dpkg-query: knows one package, and refuses to be called in another way.
DPKG_QUERY = r"""#!/bin/sh
test "$1" = --show && test "$2" = '--showformat=${Package} ${db:Status-Status} ${db:Status-Want} ${Version}\n' || exit 2
echo "docker-ce installed hold 5:27.5.1"
test "$#" = 3 || { echo "dpkg-query: no packages found matching $4" >&2; exit 1; }
"""
#: A double of systemctl on a host with a running engine.
SYSTEMCTL = """#!/bin/sh
test "$1 $2" = "show --property=Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload" || exit 2
printf 'Id=%s\\nLoadState=loaded\\nActiveState=active\\nUnitFileState=enabled\\nNeedDaemonReload=no\\n' "$3"
"""


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> t.Callable[..., t.Any]:
    """Run the module on a host with doubles of its programs and without an engine."""
    for name, text in (("dpkg-query", DPKG_QUERY), ("systemctl", SYSTEMCTL)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def run_module(**given: t.Any) -> dict[str, t.Any]:
        arguments = {"docker_socket": str(tmp_path / "docker.sock"), **given}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            docker_host_info.main()
        return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))

    return run_module


@pytest.mark.parametrize("check_mode", [False, True])
def test_everything_is_told_in_one_call(run: t.Callable[..., t.Any], tmp_path: Path, check_mode: bool) -> None:
    (tmp_path / "same").write_text("text\n", encoding="utf-8")

    result = run(
        _ansible_check_mode=check_mode,
        packages=["docker-ce", "docker.io"],
        files=[str(tmp_path / "missing")],
        texts={str(tmp_path / "same"): "text\n", str(tmp_path / "other"): "text\n"},
        units=["docker.service"],
    )

    assert result["changed"] is False
    assert (result["packages"], result["selections"]) == ({"docker-ce": "5:27.5.1"}, {"docker-ce": "hold"})
    assert list(result["files"]) == [str(tmp_path / "same")]
    assert result["differing"] == [str(tmp_path / "other")]
    assert result["units"] == {"docker.service": {"active": True, "enabled": True, "stale": False}}
    assert (result["engine"]["reachable"], result["swarm"]["state"]) == (False, "inactive")


def test_a_secret_text_is_not_told(run: t.Callable[..., t.Any], tmp_path: Path) -> None:
    result = run(secret_texts={str(tmp_path / "proxy.env"): "HTTP_PROXY='http://me:hidden@proxy'\n"})

    assert result["differing"] == [str(tmp_path / "proxy.env")]
    assert "hidden" not in json.dumps(result)


def test_the_documentation_names_the_same_options_as_the_code() -> None:
    assert set(yaml.safe_load(docker_host_info.DOCUMENTATION)["options"]) == set(docker_host_info.ARGUMENT_SPEC)
