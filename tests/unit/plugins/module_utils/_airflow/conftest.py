"""Airflow on loopback."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from airflow_double import Airflow, Dag


@pytest.fixture
def airflow() -> t.Iterator[Airflow]:
    """An Airflow that knows one canary, of queue default."""
    server = Airflow({"canary": Dag(queue="default")})
    yield server
    server.close()
    assert server.objections == []
