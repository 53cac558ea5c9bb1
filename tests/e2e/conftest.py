"""One deployment, shared by all end-to-end tests, from a clean clone on this machine."""

from __future__ import annotations

import os
import shutil
import tempfile
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import Checkout, clean_clone, footprint


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse to run where the tests could destroy something that is not theirs."""
    del session
    if os.geteuid() != 0:
        pytest.exit(
            "The end-to-end test installs Docker Engine and servers: run it as root on a machine of its own.", 2
        )
    if shutil.which("apt-get") is None:
        pytest.exit("The end-to-end test needs Debian or Ubuntu (apt-get was not found).", 2)
    found = footprint()
    if found["processes"]:
        pytest.exit(
            f"Already running here: {found['processes']}. The end-to-end test needs a machine without them; "
            "`make down PURGE=1` removes an earlier deployment.",
            2,
        )


@pytest.fixture(scope="session")
def untouched() -> dict[str, t.Any]:
    """The machine before anything was deployed; it may hold servers of others, for example a PostgreSQL."""
    return footprint()


@pytest.fixture(scope="session")
def checkout(untouched: dict[str, t.Any]) -> Iterator[Checkout]:
    """A clean clone; whatever it deployed is purged at the end, also when tests failed."""
    # Not below pytest's own directory, of which other runs of pytest keep the newest few only.
    with tempfile.TemporaryDirectory(prefix="flowstead-clone-") as name:
        path = Path(name)
        clone = Checkout(clean_clone(path))
        yield clone
        if (path / ".venv").exists():
            clone.make("down", "PURGE=1").succeeded()


@pytest.fixture(scope="session")
def reports() -> Iterator[list[str]]:
    """Lines that the test prints at its end, whatever pytest captures."""
    lines: list[str] = []
    yield lines
    output = Path(os.environ.get("E2E_REPORT", "tests/output/e2e.txt"))
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("\n".join(lines) + "\n")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show measured figures below the test results."""
    output = Path(os.environ.get("E2E_REPORT", "tests/output/e2e.txt"))
    if output.exists():
        terminalreporter.section("measured")
        terminalreporter.write(output.read_text())
