"""The action plugin: slices, lines, one result."""

from __future__ import annotations

import subprocess
import sys
import typing as t
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
from ansible_collections.flowstead.airflow.plugins.action import swarm_stack as action

ROOT = Path(__file__).resolve().parents[4]


class Play:
    """The plugin with a scripted module and a clock that moves ten seconds with each run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: list[dict[str, t.Any]]) -> None:
        self.answers = answers
        self.arguments: list[dict[str, t.Any]] = []
        self.lines: list[str] = []
        self.now = 0.0
        monkeypatch.setattr(action.display, "display", lambda line, **_more: self.lines.append(line))
        monkeypatch.setattr(action.time, "monotonic", lambda: self.now)

    def run(self, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        task = SimpleNamespace(args=arguments, async_val=0, check_mode=False, diff=False)
        with mock.patch.object(action.ActionBase, "__init__", return_value=None):
            plugin = action.ActionModule(None, None, None, None, None)
        plugin._task = task
        plugin._execute_module = self._module  # type: ignore[method-assign]
        with mock.patch.object(action.ActionBase, "run", return_value={}):
            return plugin.run(task_vars={})

    def _module(self, module_name: str, module_args: dict[str, t.Any], task_vars: t.Any) -> dict[str, t.Any]:
        assert module_name == "flowstead.airflow.swarm_stack"
        assert task_vars == {}
        self.arguments.append(module_args)
        self.now += 10.0
        return self.answers.pop(0)


def test_a_run_with_nothing_to_do_is_one_module_run_without_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(monkeypatch, [{"changed": False, "_progress": []}])

    assert play.run({"name": "shop"}) == {"changed": False}
    assert len(play.arguments) == 1
    assert "_resume" not in play.arguments[0]
    assert play.lines == []


def test_slices_hand_over_their_state_and_show_their_news(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(
        monkeypatch,
        [
            {"changed": True, "_progress": ["shop: web 0/1"], "_resume": "one"},
            {"changed": True, "_progress": ["shop: web 1/1"], "_resume": "two"},
            {"changed": True, "_progress": [], "actions": [1]},
        ],
    )

    result = play.run({"name": "shop", "definition": {}})

    assert result == {"changed": True, "actions": [1]}
    assert [arguments.get("_resume") for arguments in play.arguments] == [None, "one", "two"]
    assert all(arguments["definition"] == {} for arguments in play.arguments)
    assert play.lines == ["  shop: web 0/1", "  shop: web 1/1"]


def test_a_long_silence_is_broken_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet: dict[str, t.Any] = {"changed": True, "_progress": [], "_resume": "x"}
    news = {"changed": True, "_progress": ["shop: migrate job running"], "_resume": "x"}
    play = Play(monkeypatch, [news, *[dict(quiet) for _ in range(13)], {"changed": True}])

    play.run({"name": "shop"})

    assert len(play.lines) == 3
    assert "still waiting" in play.lines[1]


def test_a_failure_ends_the_run_and_is_returned_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = {"failed": True, "msg": "web failed", "failures": [{}]}
    play = Play(monkeypatch, [dict(failed)])

    assert play.run({"name": "shop"}) == failed


def test_internal_options_cannot_be_given_from_a_playbook(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play(monkeypatch, [{"changed": False}])

    play.run({"name": "shop", "_resume": "forged", "_slice": 1})

    assert "_resume" not in play.arguments[0]
    assert play.arguments[0]["_slice"] == action.SLICE


def test_a_compose_file_is_handed_over_as_a_definition(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "compose.yml"
    path.write_text("services: {web: {image: 'x:${TAG}'}}")
    monkeypatch.setattr(action.ActionModule, "_find_needle", lambda _self, _folder, name: str(tmp_path / name))
    play = Play(monkeypatch, [{"changed": False}])

    play.run({"name": "shop", "compose_file": "compose.yml", "compose_variables": {"TAG": "1"}})

    assert play.arguments[0]["definition"] == {"services": {"web": {"image": "x:1"}}}
    assert not {"compose_file", "compose_variables"} & set(play.arguments[0])


def test_a_compose_file_that_cannot_be_used_never_reaches_the_module(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "compose.yml").write_text("services: {web: {image: 'x:${TAG}'}}")
    monkeypatch.setattr(action.ActionModule, "_find_needle", lambda _self, _folder, name: str(tmp_path / name))
    play = Play(monkeypatch, [])

    missing = play.run({"name": "shop", "compose_file": "compose.yml"})
    both = play.run({"name": "shop", "compose_file": "compose.yml", "definition": {"services": {}}})

    assert missing["failed"] is True
    assert "TAG is not in compose_variables" in missing["msg"]
    assert "not both" in both["msg"]
    assert play.arguments == []


def test_the_most_verbose_playbook_output_shows_no_secret(tmp_path: Path) -> None:
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        """
- hosts: localhost
  gather_facts: false
  tasks:
    - flowstead.airflow.swarm_stack:
        name: shop
        docker_socket: /nonexistent/docker.sock
        object_key: canary-key
        registry_auth: {reg.test: {username: me, password: canary-password}}
        definition:
          services: {web: {image: "x:1", secrets: [db]}}
          secrets: {db: {data: "canary-data\\ncanary-line"}}
"""
    )
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local", "-vvvv", "--diff",
        "-e", f"ansible_python_interpreter={sys.executable}", str(playbook),
    ]  # fmt: skip
    outputs = []
    for extra in ([], ["--check"]):
        done = subprocess.run([*command, *extra], cwd=ROOT, capture_output=True, text=True, check=False)
        outputs.append(done.stdout + done.stderr)

    assert "does not answer on /nonexistent/docker.sock" in outputs[0]
    assert "shop_db_" in outputs[1]
    assert "canary" not in "".join(outputs)
