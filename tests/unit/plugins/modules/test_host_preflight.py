"""Behaviour of the module host_preflight."""

from __future__ import annotations

import json
import os
import platform
import socket
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.flowstead.airflow.plugins.modules import host_preflight


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    """Run the module where no Docker is, and return its result."""

    def run_module(**given: t.Any) -> dict[str, t.Any]:
        arguments = {"docker_socket": str(tmp_path / "docker.sock"), **given}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            host_preflight.main()
        return t.cast("dict[str, t.Any]", json.loads(capsys.readouterr().out))

    return run_module


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_good_host_passes_and_changes_nothing_in_check_mode_too(
    run: t.Callable[..., dict[str, t.Any]], tmp_path: Path, check_mode: bool
) -> None:
    result = run(
        _ansible_check_mode=check_mode,
        memory_mb=1,
        disk=[{"path": str(tmp_path), "free_mb": 1}],
        architectures=[platform.machine()],
        commands=["sh"],
    )

    assert (result["changed"], result["problems"]) == (False, [])
    assert result["memory"]["stack_mb"] == 0


def test_all_problems_are_told_at_once(run: t.Callable[..., dict[str, t.Any]], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = run(
            ports=[{"port": port, "purpose": "web interface", "variable": "airflow_components.api_server.port"}],
            memory_mb=1 << 40,
            disk=[{"path": str(tmp_path), "free_mb": 1 << 40, "variable": "airflow_dags_path"}],
            architectures=["pdp11"],
            commands=["no-such-command"],
            endpoints=[
                {
                    "name": "broker",
                    "variable": "airflow_broker",
                    "protocol": "redis",
                    "host": "::1.invalid",
                    "port": port,
                    "password": "hidden-secret",
                }
            ],
        )

    assert result["failed"]
    assert [problem["variable"] for problem in result["problems"]] == [
        "airflow_architectures",
        "commands",
        "airflow_components.api_server.port",
        "airflow_components",
        "airflow_dags_path",
        "airflow_broker.host",
    ]
    assert result["msg"].startswith("6 problems on host ")
    assert f"pid {os.getpid()}" in result["msg"]
    assert "hidden-secret" not in json.dumps(result)


def test_no_arguments_are_no_problem(run: t.Callable[..., dict[str, t.Any]]) -> None:
    assert run()["problems"] == []


def test_the_documentation_names_the_same_options_as_the_code() -> None:
    documented = yaml.safe_load(host_preflight.DOCUMENTATION)["options"]

    assert set(documented) == set(host_preflight.ARGUMENT_SPEC)
    for name, spec in host_preflight.ARGUMENT_SPEC.items():
        assert set(documented[name].get("suboptions", {})) == set(spec.get("options", {})), name


def test_it_tells_what_the_host_is_and_what_its_clock_says(run: t.Callable[..., dict[str, t.Any]]) -> None:
    result = run(controller_time=1000.5)

    assert result["platform"]["architecture"] == platform.machine()
    assert result["clock"]["controller"] == 1000.5
    assert result["clock"]["host"] > 1_700_000_000


def test_secrets_of_a_registry_are_not_told(run: t.Callable[..., dict[str, t.Any]]) -> None:
    result = run(
        endpoints=[
            {
                "name": "image registry",
                "variable": "airflow_image_registry",
                "protocol": "registry",
                "host": "registry.invalid",
                "port": 443,
                "password": "hidden-secret",
                "proxy": "http://me:hidden-proxy-secret@127.0.0.1:1",
            }
        ]
    )

    assert result["failed"]
    assert "hidden" not in json.dumps(result)
