"""Behaviour of the module hec_check."""

from __future__ import annotations

import json
import typing as t

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.flowstead.airflow.plugins.modules import hec_check
from certificates import Certificates
from splunk_double import Reader, SplunkDouble, Token

TOKEN, SEARCH_TOKEN = "3f2a9c1b-7d10-4c55-9a1d-hec-token", "eyJraWQ-search-token"
Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def double(certificates: Certificates) -> t.Iterator[SplunkDouble]:
    """Splunk over TLS with an authority of its own."""
    with SplunkDouble(
        indexes=["main", "airflow"],
        tokens=[Token(TOKEN, indexes=["airflow"], index="airflow")],
        readers=[Reader(token=SEARCH_TOKEN, indexes=["airflow"])],
        certificate=str(certificates.pem("127.0.0.1")),
    ) as one:
        yield one


@pytest.fixture
def run(double: SplunkDouble, certificates: Certificates, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the module with one endpoint for each dict of changes; give its result."""

    def run_module(*changes: dict[str, t.Any], check_mode: bool = False) -> dict[str, t.Any]:
        endpoint = {
            "name": "Splunk for task logs",
            "variable": "airflow_logs.splunk",
            "url": double.hec_url,
            "token": TOKEN,
            "index": "airflow",
            "ca_certificate": certificates.ca_pem,
            "search_url": double.search_url,
            "search_token": SEARCH_TOKEN,
        }
        arguments = {
            "_ansible_check_mode": check_mode,
            "endpoints": [{**endpoint, **one} for one in changes],
            "search_timeout": 0.1,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit):
            hec_check.main()
        printed = capsys.readouterr().out
        assert TOKEN not in printed
        assert SEARCH_TOKEN not in printed
        return t.cast("dict[str, t.Any]", json.loads(printed))

    return run_module


def test_a_good_collector_passes_changes_nothing_and_leaves_one_event_a_run(run: Run, double: SplunkDouble) -> None:
    for number in (1, 2):
        result = run({})
        assert (result["changed"], result["problems"], double.count()) == (False, [], number)
    (endpoint,) = result["endpoints"]
    assert (endpoint["healthy"], endpoint["accepted"], endpoint["found"], endpoint["index"]) == (
        True,
        True,
        True,
        "airflow",
    )


def test_check_mode_writes_no_event(run: Run, double: SplunkDouble) -> None:
    result = run({}, check_mode=True)
    assert (result["changed"], result["problems"], double.events) == (False, [], [])
    assert "does not know this token" in run({"token": "wrong"}, check_mode=True)["msg"]


def test_every_problem_of_every_collector_is_told_at_once(run: Run) -> None:
    result = run({"token": "wrong"}, {"name": "second", "index": "main"}, {"url": "https://splunk.invalid"})
    assert result["failed"]
    assert result["msg"].startswith("3 problems on host ")
    assert [problem["variable"].split(".")[-1] for problem in result["problems"]] == ["token", "index", "url"]
    assert "second: 127.0.0.1:" in result["msg"]
    assert [one["found"] for one in result["endpoints"]] == [None, None, None]


def test_warnings_reach_the_play(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(hec_check.AnsibleModule, "warn", lambda _self, warning: warned.append(warning))
    (endpoint,) = run({"search_url": "", "search_token": ""})["endpoints"]
    assert warned == endpoint["warnings"]
    assert "airflow_logs.splunk: Splunk took an event, and nobody looked" in warned[0]


def test_the_documentation_says_what_the_module_takes() -> None:
    def compare(spec: dict[str, t.Any], documented: dict[str, t.Any]) -> None:
        assert set(spec) == set(documented)
        for name, option in spec.items():
            told = documented[name]
            for key in ("type", "elements", "default", "required"):
                assert option.get(key) == told.get(key), name
            compare(option.get("options", {}), told.get("suboptions", {}))

    compare(hec_check.ARGUMENT_SPEC, yaml.safe_load(hec_check.DOCUMENTATION)["options"])


def test_the_examples_are_understood() -> None:
    for task in yaml.safe_load(hec_check.EXAMPLES):
        given = task["flowstead.airflow.hec_check"]
        assert set(given) <= set(hec_check.ARGUMENT_SPEC)
        for endpoint in given["endpoints"] if isinstance(given["endpoints"], list) else []:
            assert set(endpoint) <= set(hec_check.ARGUMENT_SPEC["endpoints"]["options"])
