"""The lab is a program beside the collection, not a part of it."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "molecule" / "lab"))

from splunk_client import OPTIONS
from splunk_double import SplunkDouble, from_dict


@pytest.fixture
def splunk(tmp_path: Path) -> t.Iterator[SplunkDouble]:
    """A double with the tokens and readers of splunk_client."""
    with SplunkDouble(from_dict({**OPTIONS, "events_file": str(tmp_path / "events.jsonl")})) as double:
        yield double
