"""Every answer of the collector has a variable to change and something to do."""

from __future__ import annotations

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._logs import hec_codes
from splunk_double.answers import CODES

FIELDS = {
    **dict.fromkeys((1, 2, 3, 4, 10, 14, 16, 28), "token"),
    **dict.fromkeys((5, 6, 8, 9, 11, 12, 13, 15, 18, 19, 20, 23, 26, 27), "url"),
    7: "index",
}


@pytest.mark.parametrize(("code", "field"), sorted(FIELDS.items()))
def test_each_code_names_what_to_change_and_what_to_do(code: int, field: str) -> None:
    meaning = hec_codes.explain_code(code, "", "airflow_prod")
    assert (meaning.field, bool(meaning.problem), bool(meaning.fix)) == (field, True, True)
    assert "code that this check does not know" not in meaning.problem


def test_no_code_is_left_out() -> None:
    assert {*FIELDS, hec_codes.SUCCESS, hec_codes.HEALTHY} >= set(CODES)


def test_what_may_work_later_is_told_apart_from_what_never_will() -> None:
    assert {code for code, (status, _text) in CODES.items() if status >= 500} == hec_codes.TEMPORARY & set(CODES)


def test_a_wrong_index_is_named_and_the_default_index_is_told_as_such() -> None:
    assert "the index airflow_prod" in hec_codes.explain_code(7, "", "airflow_prod").problem
    assert "add airflow_prod to the token's allowed indexes" in hec_codes.explain_code(7, "", "airflow_prod").fix
    assert "default index" in hec_codes.explain_code(7, "", "").problem


def test_an_unknown_code_is_told_with_splunks_words() -> None:
    assert "99, Out of tea" in hec_codes.explain_code(99, "Out of tea", "").problem


@pytest.mark.parametrize(
    ("status", "headers", "field", "told"),
    [
        (302, {"location": "https://other/x?secret=1"}, "url", "redirects /x to https://other/x"),
        (401, {}, "url", "refuses the request (401)"),
        (403, {}, "url", "refuses the request (403)"),
        (404, {}, "url", "no HTTP Event Collector: it answers 404 to /x"),
        (200, {}, "url", "no HTTP Event Collector: it answers 200 to /x"),
        (407, {}, "proxy", "a proxy wants a login (407)"),
        (413, {}, "url", "too large for it (413)"),
        (429, {"retry-after": "7"}, "url", "says to wait 7 s"),
        (429, {"retry-after": "<b>"}, "url", "for now (429)"),
        (502, {}, "url", "no Splunk behind it (502)"),
        (503, {}, "url", "no Splunk behind it (503)"),
        (504, {}, "url", "no Splunk behind it (504)"),
        (500, {}, "url", "it fails with 500"),
    ],
)
def test_a_status_without_a_code_is_explained(status: int, headers: dict[str, str], field: str, told: str) -> None:
    meaning = hec_codes.explain_status(status, headers, "/x")
    assert (meaning.field, told in meaning.problem) == (field, True)
    assert "secret" not in meaning.problem
