"""One private Docker Engine for all tests of this directory, and the tables that they leave."""

from __future__ import annotations

import sys
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from packages import NotInstallable, engine_packages
from private_engine import CannotStart, PrivateEngine, swarm_of_one

sys.path.append(str(Path(__file__).resolve().parents[2] / "molecule" / "support"))
from ansible_collections.flowstead.airflow.plugins.module_utils._docker import absent, runner, waiting
from local_registry import LocalRegistry, registry_on
from report import TABLES, Table
from stacks import Stack


@pytest.fixture(scope="session")
def packages() -> Iterator[None]:
    """What an engine needs, on this machine."""
    try:
        with engine_packages():
            yield
    except NotInstallable as reason:
        pytest.fail(str(reason), pytrace=False)


@pytest.fixture(scope="session")
def docker(packages: None) -> Iterator[PrivateEngine]:
    """A swarm of one node with the images ``tiny:1`` and ``tiny:2``."""
    try:
        with swarm_of_one() as engine:
            yield engine
    except CannotStart as reason:
        pytest.fail(str(reason), pytrace=False)


@pytest.fixture(scope="session")
def registry(docker: PrivateEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRegistry]:
    """A registry with a login beside that engine; it holds ``tiny:1``."""
    try:
        with registry_on(docker, tmp_path_factory.mktemp("registry")) as made:
            yield made
    except CannotStart as reason:
        pytest.fail(str(reason), pytrace=False)


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "stack" in request.fixturenames:
        monkeypatch.setattr(waiting, "SHORTEST_STABLE", 1.0)
        for module in (runner, absent):
            monkeypatch.setattr(module, "POLL", 0.2)


@pytest.fixture
def stack(docker: PrivateEngine, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A stack with a name of its own; nothing of it is left afterwards."""
    made = Stack(docker.socket, f"t{abs(hash(request.node.name)) % 10**8}")
    yield made
    made.remove()


@pytest.fixture(scope="session")
def tables() -> Iterator[dict[str, Table]]:
    """Tables for the end of `make test`."""
    yield TABLES
    for name in ("findings", "diagnosis"):
        TABLES[name].save()


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    """The same tables at the end of these tests."""
    for name in ("findings", "diagnosis"):
        if TABLES[name].rows:
            terminalreporter.section(TABLES[name].title)
            terminalreporter.write_line(TABLES[name].text())
