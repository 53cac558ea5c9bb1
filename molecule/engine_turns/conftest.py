"""Fixtures of this scenario."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1] / "support")]

from conftest_shared import (  # noqa: F401  fixtures and hooks
    figures,
    hosts,
    pytest_sessionfinish,
    pytest_terminal_summary,
)
from managers import inventory, repository, swarm  # noqa: F401
