"""Bad input: one clear error that names all of it, and nothing is written."""

from __future__ import annotations

import json
import typing as t

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.refused import SERVICE
from ansible_collections.flowstead.airflow.plugins.modules import swarm_stack
from stacks import Definition, Stack, service

#: What one mistake is called.
WRONG: dict[str, tuple[Definition, str]] = {
    "a secret over the limit": (
        {"services": {"web": service()}, "secrets": {"big": {"data": "x" * 512_000}}},
        "secrets.big: holds 512000 bytes; 511999 is the limit of Swarm",
    ),
    "a name over the limit": (
        {"services": {"w" * 63: service()}},
        "characters; 63 is the limit",
    ),
    "a secret that nobody declares": (
        {"services": {"web": service(secrets=["nosuch"])}},
        "services.web.secrets[0]: 'nosuch' is not declared under secrets",
    ),
    "a secret that should exist": (
        {"services": {"web": service(secrets=["db"])}, "secrets": {"db": {"external": True, "name": "nosuch"}}},
        "secrets.db: the external secret 'nosuch' does not exist; create it, or give its data here",
    ),
    "a constraint that no node meets": (
        {"services": {"web": service(deploy={"placement": {"constraints": ["node.labels.zone == moon"]}})}},
        "no ready node meets 'node.labels.zone == moon'",
    ),
    "an image that does not exist": (
        {"services": {"web": service(image="localhost:1/nosuch:9")}},
        "services.web.image: localhost:1/nosuch:9 cannot be found",
    ),
    "more memory than a node has": (
        {"services": {"web": service(deploy={"resources": {"reservations": {"memory": "1024G"}}})}},
        "1.04858e+06 MiB are reserved, and the largest fitting node has",
    ),
    "keys that Swarm does not honour": (
        {"services": {"web": {**service(), **dict.fromkeys(SERVICE, "x")}}},
        "services.web.privileged: Swarm does not honour this key; use cap_add",
    ),
}


def refusal(stack: Stack, definition: Definition, capsys: pytest.CaptureFixture[str]) -> dict[str, t.Any]:
    """What the module answers; nothing of the stack may exist afterwards."""
    given = {
        "name": stack.name,
        "definition": definition,
        "object_key": "test-key",
        "docker_socket": stack.engine.socket_path,
    }
    with patch_module_args(given), pytest.raises(SystemExit):
        swarm_stack.main()
    result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    assert result["failed"] is True
    assert "nothing has been changed" in result["msg"]
    assert [kind for kind in ("services", "networks", "secrets", "configs") if stack.exists(kind)] == []
    return result


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_named_before_anything_is_written(
    stack: Stack, capsys: pytest.CaptureFixture[str], mistake: str
) -> None:
    definition, said = WRONG[mistake]

    result = refusal(stack, definition, capsys)

    assert said in result["msg"]
    assert len(result["problems"]) == (len(SERVICE) if "keys" in mistake else 1), result["msg"]


def test_mistakes_of_all_kinds_are_named_in_one_error(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    definition: Definition = {"services": {}, "secrets": {}}
    for number, (wrong, _said) in enumerate(WRONG.values()):
        for name, entry in wrong["services"].items():
            definition["services"][name if len(name) > 9 else f"web{number}"] = entry
        definition["secrets"].update(wrong.get("secrets", {}))

    result = refusal(stack, definition, capsys)

    said = [said.replace("services.web", "") for _wrong, said in WRONG.values()]
    assert [text for text in said if text not in result["msg"]] == []
    assert len(result["problems"]) == len(WRONG) - 1 + len(SERVICE), result["msg"]
