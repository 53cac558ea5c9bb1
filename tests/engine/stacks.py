"""A stack on the private engine, and services that a tiny image can run.

Services use ``endpoint_mode: dnsrr`` because not every kernel has what virtual IPs need.
"""

from __future__ import annotations

import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.absent import Remover
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import Engine
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.objects import STACK_LABEL
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.runner import Runner, Step
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.state import Options
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.waiting import Limits

Definition = dict[str, t.Any]


class Stack:
    """One stack on the private engine."""

    def __init__(self, socket: str, name: str) -> None:
        self.engine = Engine(socket)
        self.name = name

    def deploy(self, definition: Definition, **options: t.Any) -> Step:
        self.engine.calls.clear()
        given = {"timeout": 60.0, "object_key": "test-key", "limits": Limits(2, 5.0), **options}
        return Runner(self.engine, Options(self.name, definition, **given)).run()

    def remove(self, **options: t.Any) -> Step:
        self.engine.calls.clear()
        return Remover(self.engine, Options(self.name, {}, timeout=60.0, **options)).run()

    def writes(self) -> list[str]:
        return [call for call in self.engine.calls if not call.startswith("GET ")]

    def service(self, name: str) -> dict[str, t.Any]:
        found: dict[str, t.Any] = self.engine.get(f"/services/{self.name}_{name}")
        return found

    def exists(self, kind: str) -> list[str]:
        found = self.engine.get(f"/{kind}", {"filters": {"label": [f"{STACK_LABEL}={self.name}"]}})
        return [item.get("Name") or item["Spec"]["Name"] for item in found]


def service(**changes: t.Any) -> Definition:
    return {
        "image": "tiny:1",
        "init": True,
        "command": ["sleep", "100000"],
        "stop_grace_period": "1s",
        **changes,
        "deploy": {"endpoint_mode": "dnsrr", "update_config": {"monitor": "1s"}, **changes.get("deploy", {})},
    }


def job(command: str, **changes: t.Any) -> Definition:
    return {"image": "tiny:1", "command": ["sh", "-c", command], **changes, "deploy": {"mode": "replicated-job"}}
