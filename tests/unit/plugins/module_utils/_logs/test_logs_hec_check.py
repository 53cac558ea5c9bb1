"""The check of a collector against the strict double, over real TLS where that matters."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import typing as t
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._logs import hec_check
from ansible_collections.flowstead.airflow.plugins.module_utils._logs.collector import Collector
from ansible_collections.flowstead.airflow.plugins.module_utils._logs.hec_check import Check, check_all
from certificates import Certificates
from splunk_double import SplunkDouble, from_dict
from splunk_double.answers import CODES

TOKEN, SEARCH_TOKEN = "hec-token-0001", "search-token-0001"
OPTIONS: dict[str, t.Any] = {
    "indexes": ["main", "airflow", "secret"],
    "tokens": [
        {"token": TOKEN, "name": "tasks", "indexes": ["airflow"], "index": "airflow"},
        {"token": "off", "name": "off", "enabled": False},
        {"token": "open", "name": "open"},
        {"token": "ack", "name": "ack", "ack": True},
    ],
    "readers": [
        {"token": SEARCH_TOKEN, "indexes": ["airflow"]},
        {"name": "person", "user": "anna", "password": "let-me-in", "indexes": ["airflow"]},
        {"name": "powerless", "token": "powerless", "may_search": False},
    ],
}


@pytest.fixture
def double() -> t.Iterator[SplunkDouble]:
    with SplunkDouble(from_dict(OPTIONS)) as one:
        yield one


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hec_check, "_PAUSE", 0.02)


def describe(double: SplunkDouble, **changes: t.Any) -> Collector:
    given = Collector(
        name="Splunk",
        variable="airflow_logs.splunk",
        url=double.hec_url,
        token=TOKEN,
        index="airflow",
        search_url=double.search_url,
        search_token=SEARCH_TOKEN,
        timeout=2.0,
        ack_timeout=0.1,
        search_timeout=0.1,
    )
    return replace(given, **changes)


def run(collector: Collector, *, write: bool = True) -> Check:
    (check,) = check_all([collector], "worker-1", write=write)
    assert TOKEN not in repr((check.problems, check.found))
    return check


def problem_of(collector: Collector, *, write: bool = True) -> tuple[str, str, str]:
    (problem,) = run(collector, write=write).problems
    assert problem.check == "hec"
    return problem.variable, problem.problem, problem.fix


def test_an_event_is_sent_and_found_again(double: SplunkDouble) -> None:
    check = run(describe(double))
    found = check.found.as_dict()
    assert check.problems == []
    assert found.pop("seconds") < 2
    assert found == {
        "name": "Splunk",
        "address": urlsplit(double.hec_url).netloc,
        "healthy": True,
        "accepted": True,
        "acknowledged": None,
        "found": True,
        "index": "airflow",
        "warnings": [],
    }
    (event,) = double.events
    assert (event["source"], event["sourcetype"], event["host"]) == (
        "flowstead:hec_check",
        "flowstead:check",
        "worker-1",
    )


def test_in_check_mode_nothing_is_written_and_both_logins_are_still_looked_at(double: SplunkDouble) -> None:
    check = run(describe(double), write=False)
    assert (check.problems, check.found.accepted, check.found.found, double.events) == ([], True, None, [])
    check = run(describe(double, token="wrong", search_token="wrong"), write=False)
    assert [one.variable for one in check.problems] == ["airflow_logs.splunk.token", "airflow_logs.splunk.search_token"]


def test_a_token_with_acknowledgement_is_waited_for(double: SplunkDouble) -> None:
    check = run(describe(double, token="ack", index="main", search_url="", search_token=""))
    assert (check.problems, check.found.acknowledged) == ([], True)

    double.settings.ack_seconds = 60
    variable, problem, _fix = problem_of(describe(double, token="ack", index="main", search_url="", search_token=""))
    assert (variable, "did not acknowledge it within 0.1 s" in problem) == ("airflow_logs.splunk.url", True)


@pytest.mark.parametrize("code", sorted(set(CODES) - {0}))
def test_every_code_is_told_with_its_variable_and_status(double: SplunkDouble, code: int) -> None:
    double.answer_next(code)
    variable, problem, fix = problem_of(describe(double, search_url="", search_token=""))
    assert variable.split(".")[-1] in ("url", "token", "index")
    assert f"(HTTP {CODES[code][0]}, code {code})" in problem
    assert fix


@pytest.mark.parametrize(
    ("changes", "variable", "told"),
    [
        ({"token": "nobody-knows-it"}, "token", "does not know this token"),
        ({"token": "off"}, "token", "the token is disabled"),
        ({"index": "secret"}, "index", "may not write into the index secret"),
        ({"search_token": "nobody-knows-it"}, "search_token", "refuses the token (401"),
        ({"search_token": "powerless"}, "search_token", "may not search (403"),
        ({"search_token": "", "search_user": "anna", "search_password": "x"}, "search_password", "of user anna (401"),
        ({"token": "open", "index": "nowhere"}, "index", "cannot be found in the index nowhere within 0.1 s"),
        ({"token": "open", "index": "secret"}, "index", "cannot be found in the index secret"),
    ],
)
def test_what_is_wrong_in_splunk_names_the_variable(
    double: SplunkDouble, changes: dict[str, str], variable: str, told: str
) -> None:
    name, problem, _fix = problem_of(describe(double, **changes))
    assert (name, told in problem) == (f"airflow_logs.splunk.{variable}", True), problem


def test_a_user_with_a_password_may_search_too_and_without_an_index_all_are_searched(double: SplunkDouble) -> None:
    check = run(describe(double, index="", search_token="", search_user="anna", search_password="let-me-in"))
    assert (check.problems, check.found.index) == ([], "airflow")


def test_the_event_of_an_earlier_check_is_not_taken_for_this_one(double: SplunkDouble) -> None:
    assert run(describe(double)).problems == []
    variable, problem, _fix = problem_of(describe(double, token="open", index=""))
    assert (variable, "in any index that may be read" in problem) == ("airflow_logs.splunk.index", True)


def test_an_event_that_takes_time_is_waited_for(double: SplunkDouble) -> None:
    double.settings.index_seconds = 0.3
    check = run(describe(double, search_timeout=5.0))
    assert (check.problems, check.found.found) == ([], True)
    assert 0.3 <= (check.found.seconds or 0) < 2


@pytest.mark.parametrize("code", [18, 19, 20])
def test_an_ill_collector_is_told_before_anything_is_sent(double: SplunkDouble, code: int) -> None:
    double.set_mode("unhealthy", code=code)
    variable, problem, _fix = problem_of(describe(double))
    assert (variable, f"code {code})" in problem) == ("airflow_logs.splunk.url", True)
    assert [one["path"] for one in double.requests] == ["/services/collector/health"]


def test_a_busy_collector_is_told(double: SplunkDouble) -> None:
    double.set_mode("busy")
    assert "its queues are full (HTTP 503, code 9)" in problem_of(describe(double))[1]


def test_a_hanging_one_ends_after_the_timeout_and_a_missing_one_at_once(double: SplunkDouble) -> None:
    double.set_mode("hang")
    variable, problem, _fix = problem_of(describe(double, timeout=0.2))
    assert (variable, "does not answer as Splunk's HTTP Event Collector within 0.2 s" in problem) == (
        "airflow_logs.splunk.url",
        True,
    )
    double.set_mode("down")
    _variable, problem, fix = problem_of(describe(double))
    assert "refuses the connection" in problem
    assert "it listens on 8088, at Splunk Cloud on 443" in fix
    double.set_mode("up")
    double.set_mode("down", side="search")
    variable, _problem, fix = problem_of(describe(double))
    assert (variable, "Splunk Cloud opens it on request only" in fix) == ("airflow_logs.splunk.search_url", True)


def test_a_name_that_does_not_resolve_is_told(double: SplunkDouble) -> None:
    variable, problem, _fix = problem_of(describe(double, url="https://splunk.invalid:8088"))
    assert (variable, "splunk.invalid does not resolve" in problem) == ("airflow_logs.splunk.url", True)


@pytest.fixture
def tls(certificates: Certificates) -> t.Iterator[t.Callable[..., SplunkDouble]]:
    """Start a double with a certificate."""
    started: list[SplunkDouble] = []

    def start(*names: str, days: int = 1) -> SplunkDouble:
        started.append(SplunkDouble(from_dict({**OPTIONS, "certificate": str(certificates.pem(*names, days=days))})))
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_over_tls_with_a_private_authority_all_is_well(
    tls: t.Callable[..., SplunkDouble], certificates: Certificates
) -> None:
    check = run(describe(tls("127.0.0.1"), ca_certificate=certificates.ca_pem))
    assert (check.problems, check.found.found, check.found.warnings) == ([], True, [])


@pytest.mark.parametrize(
    ("server", "ca", "expected"),
    [
        (("127.0.0.1", 1), "", ("ca_certificate", "does not come from any authority this host trusts")),
        (("127.0.0.1", -1), "right", ("url", "is outside of its dates")),
        (("splunk.example.com", 1), "right", ("url", "is for another name")),
        (("127.0.0.1", 1), "no pem", ("ca_certificate", "it is not a PEM certificate")),
    ],
)
def test_a_certificate_that_cannot_be_trusted_is_told_for_both_sides(
    tls: t.Callable[..., SplunkDouble],
    certificates: Certificates,
    server: tuple[str, int],
    ca: str,
    expected: tuple[str, str],
) -> None:
    (name, days), (variable, told) = server, expected
    double = tls(name, days=days)
    problems = run(describe(double, ca_certificate=certificates.ca_pem if ca == "right" else ca)).problems
    assert [one.variable for one in problems] == [
        f"airflow_logs.splunk.{variable}",
        f"airflow_logs.splunk.search_{variable}",
    ]
    assert all(told in one.problem for one in problems)
    assert double.requests == []


def test_the_search_side_can_have_an_authority_of_its_own(
    tls: t.Callable[..., SplunkDouble], certificates: Certificates, tmp_path: Path
) -> None:
    other = Certificates(tmp_path)
    double = tls("127.0.0.1")
    (problem,) = run(describe(double, ca_certificate=certificates.ca_pem, search_ca_certificate=other.ca_pem)).problems
    assert problem.variable == "airflow_logs.splunk.search_ca_certificate"
    assert (
        run(describe(double, ca_certificate=other.ca_pem, search_ca_certificate=certificates.ca_pem))
        .problems[0]
        .variable
        == "airflow_logs.splunk.ca_certificate"
    )


def test_without_validation_it_works_and_warns(tls: t.Callable[..., SplunkDouble]) -> None:
    check = run(describe(tls("splunk.example.com"), validate_certs=False))
    assert check.problems == []
    assert "can pose as Splunk" in check.found.warnings[0]


def test_http_to_a_tls_port_and_https_to_a_plain_port_are_told_apart(
    tls: t.Callable[..., SplunkDouble], double: SplunkDouble
) -> None:
    encrypted = tls("127.0.0.1")
    url = encrypted.hec_url.replace("https", "http")
    variable, problem, fix = problem_of(describe(encrypted, url=url, search_url="", search_token=""))
    assert (variable, fix) == ("airflow_logs.splunk.url", "write https:// in place of http://")
    assert "speaks TLS, and the address says http" in problem

    url = double.hec_url.replace("http", "https")
    variable, problem, fix = problem_of(describe(double, url=url, search_url="", search_token=""))
    assert (variable, "does not speak TLS" in problem) == ("airflow_logs.splunk.url", True)
    assert fix.startswith("write http://")


@pytest.mark.parametrize("path", ["/", "/services/collector", "/services/collector/event/1.0", "/services"])
def test_a_path_of_the_collector_in_the_url_changes_nothing(double: SplunkDouble, path: str) -> None:
    assert run(describe(double, url=double.hec_url + path)).problems == []


def test_a_path_that_is_not_there_is_told_with_the_ports_that_people_confuse(double: SplunkDouble) -> None:
    variable, problem, fix = problem_of(describe(double, url=f"{double.hec_url}/wrong"))
    assert (variable, "it answers 404 to /services/collector/health" in problem) == ("airflow_logs.splunk.url", True)
    assert "8000 is Splunk Web" in fix
    problems = run(describe(double, url=double.search_url, search_url=double.hec_url)).problems
    assert [one.variable for one in problems] == ["airflow_logs.splunk.url", "airflow_logs.splunk.search_url"]


@pytest.mark.parametrize(
    ("changes", "variable", "told"),
    [
        ({"url": "splunk.example.com:8088"}, "url", "no address"),
        ({"url": "ftp://splunk.example.com"}, "url", "no address"),
        ({"url": "https://splunk.example.com:port"}, "url", "no address"),
        ({"url": "https://me:secret@splunk.example.com"}, "url", "has a login in it"),
        ({"url": "https://splunk.example.com?token=secret"}, "url", "has a query in it"),
        ({"token": ""}, "token", "there is no token"),
        ({"token": f"Splunk {TOKEN}"}, "token", "begins with 'Splunk'"),
        ({"token": f"{TOKEN}\n"}, "token", "has blanks, line ends"),
        ({"token": f"{TOKEN}ü"}, "token", "has blanks, line ends"),
        ({"search_token": "Bearer x"}, "search_token", "begins with 'Bearer'"),
        ({"search_token": ""}, "search_token", "there is no login to search"),
        ({"search_user": "anna", "search_password": "x"}, "search_token", "there are two logins"),
        ({"search_token": "", "search_user": "anna"}, "search_password", "half of the login is missing"),
        ({"search_url": ""}, "search_url", "a login to search and no address"),
        ({"index": 'x" OR index="*'}, "index", "no index can have this name"),
        ({"index": "*"}, "index", "no index can have this name"),
        ({"index": "_internal"}, "index", "no index can have this name"),
    ],
)
def test_a_mistake_is_told_without_asking_anybody(
    double: SplunkDouble, changes: dict[str, str], variable: str, told: str
) -> None:
    problems = run(describe(double, **changes), write=False).problems
    assert [(one.variable, told in one.problem) for one in problems] == [(f"airflow_logs.splunk.{variable}", True)]
    assert "secret" not in repr(problems).replace("'a secret'", "")


def test_a_variable_can_have_another_name(double: SplunkDouble) -> None:
    variable, _problem, _fix = problem_of(describe(double, token="wrong", variables={"token": "vault_hec_token"}))
    assert variable == "vault_hec_token"


def test_an_unencrypted_way_out_of_the_host_and_a_missing_search_give_warnings() -> None:
    # 203.0.113.0/24 is nobody's; a proxy that refuses keeps the test on this host.
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    plain = Collector(
        name="x", variable="v", url="http://203.0.113.1:8088", token="t", proxy=f"http://127.0.0.1:{port}"
    )
    check = Check(plain, "worker-1")
    check.run()
    assert [one.variable for one in check.problems] == ["v.proxy"]
    assert ["v.url: the token and every line" in one for one in check.found.warnings] == [True]


def test_without_a_search_it_warns_that_nobody_looked(double: SplunkDouble) -> None:
    check = run(describe(double, search_url="", search_token=""))
    assert (check.problems, check.found.found) == ([], None)
    assert "nobody looked whether it was kept" in check.found.warnings[0]


def test_all_collectors_are_asked_and_all_their_problems_told(double: SplunkDouble) -> None:
    checks = check_all(
        [describe(double, token="wrong"), describe(double), describe(double, index="secret", search_token="wrong")],
        "worker-1",
    )
    assert [[one.variable.split(".")[-1] for one in check.problems] for check in checks] == [
        ["token"],
        [],
        ["index", "search_token"],
    ]


class _Foreign(http.server.BaseHTTPRequestHandler):
    answer: tuple[int, str] = (200, "")

    def do_GET(self) -> None:
        status, body = self.answer
        self.send_response(status)
        self.send_header("Location", "https://login.example.com/?from=x")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: t.Any) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (200, "<html>Splunk Web</html>", "it is no HTTP Event Collector: it answers 200"),
        (200, "[]", "it is no HTTP Event Collector"),
        (200, json.dumps({"code": "17"}), "it is no HTTP Event Collector"),
        (303, "", "it redirects /services/collector/health to https://login.example.com/"),
        (403, "denied", "refuses the request (403)"),
        (502, "bad gateway", "finds no Splunk behind it (502)"),
    ],
)
def test_what_is_no_splunk_is_told(status: int, body: str, told: str) -> None:
    handler = type("Handler", (_Foreign,), {"answer": (status, body)})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        collector = Collector("Splunk", "v", f"http://127.0.0.1:{server.server_address[1]}", TOKEN)
        assert told in problem_of(collector)[1]
        server.shutdown()
