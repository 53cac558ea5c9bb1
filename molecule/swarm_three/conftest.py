"""Fixtures of this scenario, and what is shown beside a failure."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from conftest_shared import (  # noqa: F401  fixtures and hooks
    airflow,
    cluster,
    figures,
    hosts,
    pytest_sessionfinish,
    pytest_terminal_summary,
    secrets,
    splunk,
)
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
