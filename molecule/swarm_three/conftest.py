"""Fixtures of this scenario, and the tables that its tests print."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from conftest_shared import airflow, cluster, hosts, secrets  # noqa: F401  fixtures
from report import TABLES, Table


@pytest.fixture(scope="session")
def faults() -> Table:
    """What each fault cost."""
    return TABLES["faults"]


@pytest.fixture(scope="session")
def figures() -> Table:
    """Times and sizes."""
    return TABLES["figures"]


def pytest_sessionfinish() -> None:
    """Keep the tables, so that the end of `make test` can show them."""
    for table in TABLES.values():
        table.save()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the tables below the test results."""
    for table in TABLES.values():
        if table.rows:
            terminalreporter.section(table.title)
            terminalreporter.write(table.text() + "\n")
