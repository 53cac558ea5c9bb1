"""What the platform tells the components of Airflow about a bucket of task logs, put where a test is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / place) for place in ("collections", "tests/unit/plugins/module_utils/_platform")]

from ansible_collections.flowstead.airflow.plugins.module_utils._platform.environment import config_data, secret_data
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.platform import Platform
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.services import services
from platform_samples import platform_of
from splunk_double import SplunkDouble


class Server(t.Protocol):
    """A store with one bucket, and with the certificate of its authority where that is not public."""

    authority: Path | None

    def sink(self, key: t.Any) -> dict[str, t.Any]:
        """The bucket as a sink in the platform's variables."""


class Told:
    """What the platform tells its components; what it gives them as files is below ``root``."""

    def __init__(self, root: Path, server: Server, key: t.Any, splunk: SplunkDouble | None = None) -> None:
        self.root, self._server, self._splunk = root, server, splunk
        self._platform = self._describe(key)
        self.give(key)
        for name, text in config_data(self._platform).items():
            (root / f"{name}.json").write_text(self._here(text))

    def give(self, key: t.Any) -> None:
        """Give all components this key."""
        for name, content in secret_data(self._describe(key)).items():
            if name.startswith(("connections", "splunk")):
                (self.root / name).write_text(self._here(content))

    def environ(self, *components: str) -> dict[str, str]:
        """The part of these components' environment that logs are about."""
        kept = ("AIRFLOW__LOGGING__", "AIRFLOW__SECRETS__", "AIRFLOW__WORKERS__SECRETS", "FLOWSTEAD_TASK_LOGS")
        found = {
            name: self._here(value)
            for service in services(self._platform, "image")
            if service.component in components
            for name, value in service.environment.items()
            if name.startswith(kept) and name != "AIRFLOW__LOGGING__BASE_LOG_FOLDER"
        }
        return {**found, "FLOWSTEAD_NODE": "node1"}

    def _describe(self, key: t.Any) -> Platform:
        tasks = self._server.sink(key)
        if self._splunk:
            tasks["splunk"] = {"url": self._splunk.hec_url, "token": "hec-token", "index": "airflow"}
        return platform_of({"airflow_logs": {"tasks": tasks}})

    def _here(self, text: str) -> str:
        places = {
            "/opt/flowstead/ca/logs_bucket_ca.pem": str(self._server.authority),
            "/run/secrets": str(self.root),
            "/etc/flowstead": str(self.root),
            "/opt/airflow/logs": str(self.root / "logs"),
        }
        for place, here in places.items():
            text = text.replace(place, here)
        return text


#: Commands of the runtime in one process, which imports Airflow once: the arguments on each line of the input.
_COMMANDS = """
import contextlib, importlib, io, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
from flowstead_airflow.task_logs.__main__ import main
for line in sys.stdin:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = main(json.loads(line))
    print(json.dumps([status, said.getvalue()]), flush=True)
"""


class Commands:
    """``python -m flowstead_airflow.task_logs``, again and again, in the environment of a component.

    Args:
        environ: more of its environment.
        modules: what it imports at once, while others do something else.
    """

    def __init__(self, environ: t.Mapping[str, str], *modules: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _COMMANDS, *modules],
            env={**os.environ, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Commands:
        return self

    def __exit__(self, *_ended: object) -> None:
        self.end()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """One command's exit status, and what it said."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(arguments), file=self._process.stdin, flush=True)
        while not (line := self._process.stdout.readline()).startswith("["):
            assert line, "the command broke off"
        status, said = json.loads(line)
        return status, said
