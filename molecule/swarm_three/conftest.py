"""Fixtures of this scenario, and the tables that its tests print."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from conftest_shared import airflow, cluster, hosts, secrets, splunk  # noqa: F401  fixtures
from report import TABLES, Table
from witness import witness


@pytest.fixture(scope="session")
def faults() -> Table:
    """What each fault cost."""
    return TABLES["faults"]


@pytest.fixture(scope="session")
def losses() -> Table:
    """What became of log lines."""
    return TABLES["logs"]


@pytest.fixture(scope="session")
def figures() -> Table:
    """Times and sizes."""
    return TABLES["figures"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> t.Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the platform beside a failure: what takes the hosts away leaves nothing to look at."""
    report = yield
    found = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and call.when == "call" and found is not None:
        report.sections.append(("the platform when the test failed", witness(found)))
    return report


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
