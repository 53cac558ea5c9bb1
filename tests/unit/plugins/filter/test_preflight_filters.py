"""The filters around a preflight, as roles call them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.flowstead.airflow.plugins.filter.preflight import FilterModule

FILTERS = FilterModule().filters()
ROOT = Path(__file__).parents[4]


def test_a_verdict_on_something_else_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="a dictionary of hosts"):
        FILTERS["preflight_verdict"]([])


def test_a_verdict_takes_numbers_as_an_inventory_writes_them() -> None:
    results = {"one": {"problems": [], "clock": {"controller": 0.0, "host": -60.0}}}

    assert "at least 60 s behind" in FILTERS["preflight_verdict"](results, now=1.0, clock_seconds="30")


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_every_filter_is_documented_with_its_arguments(name: str) -> None:
    documents = yaml.safe_load((ROOT / "plugins" / "filter" / f"{name}.yml").read_text(encoding="utf-8"))
    code = FILTERS[name].__code__
    arguments = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]

    assert documents["DOCUMENTATION"]["name"] == name
    assert set(documents["DOCUMENTATION"]["options"]) == {"_input", *arguments}
    assert yaml.safe_load(documents["EXAMPLES"])
    assert documents["RETURN"]["_value"]["description"]
