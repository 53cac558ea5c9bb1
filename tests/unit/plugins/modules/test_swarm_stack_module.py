"""The module's own part: parameters, messages, and what must not be seen."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.flowstead.airflow.plugins.modules import swarm_stack

CANARY = "canary-word\nsecond-canary-line"
DEFINITION: dict[str, t.Any] = {
    "services": {"web": {"image": "x:1", "secrets": ["db"]}},
    "secrets": {"db": {"data": CANARY}},
}


def run(capsys: pytest.CaptureFixture[str], **params: t.Any) -> dict[str, t.Any]:
    given = {"name": "shop", "docker_socket": "/nonexistent/docker.sock", **params}
    with patch_module_args(given), pytest.raises(SystemExit):
        swarm_stack.main()
    result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    return result


def test_every_bad_parameter_is_reported_in_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(
        capsys,
        definition={"services": {"web": {"imgae": "x"}}},
        keep_objects=0,
        timeout=0,
        registry_auth={"reg.test": {"username": "me"}},
    )

    assert result["failed"] is True
    assert "nothing has been changed" in result["msg"]
    assert len(result["problems"]) == 5
    assert any("did you mean 'image'?" in problem for problem in result["problems"])


def test_a_missing_definition_is_refused_and_absent_needs_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert "definition: is missing" in run(capsys)["msg"]
    absent = run(capsys, state="absent", _ansible_check_mode=True)
    assert absent["changed"] is False


def test_without_an_engine_check_mode_warns_and_a_real_run_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(swarm_stack.StackModule, "warn", lambda _self, text: warnings.append(text))
    planned = run(capsys, definition=DEFINITION, object_key="key", _ansible_check_mode=True, _ansible_diff=True)

    assert planned["changed"] is True
    assert planned["actions"][-1] == {
        "kind": "service", "name": "web", "action": "create", "reason": "it does not exist",
    }  # fmt: skip
    assert "planned as new" in str(warnings)
    assert len(planned["diff"]) == len(planned["actions"])
    failed = run(capsys, definition=DEFINITION, object_key="key")
    assert failed["failed"] is True
    assert "/nonexistent/docker.sock" in failed["msg"]


def test_without_diff_mode_there_is_no_diff(capsys: pytest.CaptureFixture[str]) -> None:
    assert "diff" not in run(capsys, definition=DEFINITION, object_key="key", _ansible_check_mode=True)


@pytest.mark.parametrize(
    "params",
    [
        {"definition": DEFINITION, "_ansible_check_mode": True, "_ansible_diff": True},
        {"definition": DEFINITION},
        {"definition": {**DEFINITION, "typo": 1}},
        {"definition": DEFINITION, "timeout": "soon"},
        {"definition": DEFINITION, "unknown_option": 1},
        {"definition": {"services": {}, "secrets": {"db": CANARY}}},
        {"definition": {"services": {}, "secrets": [CANARY]}},
    ],
)
def test_secrets_are_in_no_output_and_in_no_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, params: dict[str, t.Any]
) -> None:
    logged: list[str] = []
    monkeypatch.setattr(
        swarm_stack.StackModule, "log", lambda _self, text, log_args=None: logged.append(f"{text} {log_args}")
    )

    result = run(
        capsys,
        object_key="canary-key",
        registry_auth={"reg.test": {"username": "me", "password": "canary-password"}},
        **params,
    )

    assert "canary" not in json.dumps(result)
    assert "canary" not in "".join(logged)
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in json.dumps(result["invocation"])


def test_the_documentation_names_every_option_with_its_default() -> None:
    documented = yaml.safe_load(swarm_stack.DOCUMENTATION)["options"]

    assert set(documented) == set(swarm_stack.ARGUMENT_SPEC)
    for name, spec in swarm_stack.ARGUMENT_SPEC.items():
        for key in ("type", "default", "choices", "required"):
            assert documented[name].get(key) == spec.get(key), (name, key)


def test_examples_and_return_are_yaml_and_examples_pass_the_modules_own_check() -> None:
    examples = yaml.safe_load(swarm_stack.EXAMPLES)
    definition = examples[0]["flowstead.airflow.swarm_stack"]["definition"]

    assert swarm_stack.check_shape(definition) == []
    assert swarm_stack.check_relations("shop", definition, True) == []
    assert {"actions", "failures", "services", "rolled_back"} <= set(yaml.safe_load(swarm_stack.RETURN))


def test_a_socket_that_is_no_engine_is_a_clear_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    wrong = tmp_path / "file"
    wrong.write_text("")

    result = run(capsys, definition=DEFINITION, object_key="key", docker_socket=str(wrong))

    assert "Docker does not answer on" in result["msg"]
