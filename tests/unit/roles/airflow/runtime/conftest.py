"""Task logs against the strict double of Splunk."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from task_logs_place import Place

# Its path is known from here on.
from splunk_double import Reader, SplunkDouble, Token  # isort: skip


@pytest.fixture(name="splunk")
def _splunk() -> t.Iterator[SplunkDouble]:
    indexes = ["airflow", "airflow_sales"]
    with SplunkDouble(
        indexes=indexes,
        tokens=[Token("secret", indexes=indexes, index="airflow")],
        readers=[Reader(token="reading", indexes=indexes)],
    ) as splunk:
        yield splunk


@pytest.fixture(name="place")
def _place(tmp_path: Path, splunk: SplunkDouble) -> Place:
    return Place(tmp_path, splunk)
