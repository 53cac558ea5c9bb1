from __future__ import annotations

from pathlib import Path

import pytest
from flowstead_airflow import settings


def test_a_variable_with_only_white_space_counts_as_unset() -> None:
    assert settings.text("NAME", "fallback", {"NAME": "  "}) == "fallback"


def test_a_missing_variable_without_default_is_named() -> None:
    with pytest.raises(settings.SettingMissing, match="FLOWSTEAD_X is not set"):
        settings.text("FLOWSTEAD_X", environ={})


def test_a_comma_list_keeps_its_order_and_drops_empty_entries() -> None:
    assert settings.names("Q", {"Q": " b, a,,c "}) == ("b", "a", "c")
    assert settings.names("Q", {}) == ()


def test_a_number_that_is_none_is_refused_with_its_name_and_value() -> None:
    assert settings.number("N", 3, {"N": "4.5"}) == 4.5
    with pytest.raises(settings.SettingMissing, match="N is 'many'"):
        settings.number("N", 3, {"N": "many"})


@pytest.mark.parametrize(
    ("value", "expected"), [("True", True), ("t", True), ("1", True), ("False", False), ("no", False)]
)
def test_truth_is_read_as_airflow_reads_it(value: str, expected: bool) -> None:
    assert settings.boolean("B", not expected, {"B": value}) is expected


def test_a_secret_loses_the_line_end_of_an_editor_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "s").write_text(" a b \r\n", encoding="utf-8")
    assert settings.secret("s", tmp_path) == " a b "


def test_a_missing_or_empty_secret_is_named_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(settings.SettingMissing, match="absent cannot be read: No such file"):
        settings.secret("absent", tmp_path)
    (tmp_path / "void").write_text("\n", encoding="utf-8")
    with pytest.raises(settings.SettingMissing, match="void is empty"):
        settings.secret("void", tmp_path)
