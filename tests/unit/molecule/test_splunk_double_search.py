"""The search side of Splunk's double speaks a small part of the language, and refuses everything else."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest
from splunk_client import OPEN_TOKEN, OPTIONS, TOKEN, ask, find, raws, results, send
from splunk_double import SplunkDouble, from_dict, spl

SEARCH = 'search index="airflow" source="a"'


def put(double: SplunkDouble, *events: dict[str, object], token: str = TOKEN) -> None:
    assert send(double, "".join(json.dumps(event) for event in events), token=token).status == 200


def test_a_result_is_what_was_sent_as_texts(splunk: SplunkDouble) -> None:
    put(
        splunk,
        {"time": 1700000000.5, "event": "line", "source": "a", "host": "h", "fields": {"seq": 7, "t": ["x", "y"]}},
    )
    (result,) = results(find(splunk, SEARCH))
    assert {**result, "_indextime": ""} == {
        "_raw": "line",
        "_time": "2023-11-14T22:13:20.500+00:00",
        "_indextime": "",
        "host": "h",
        "index": "airflow",
        "source": "a",
        "sourcetype": "httpevent",
        "seq": "7",
        "t": ["x", "y"],
    }
    assert set(results(find(splunk, f"{SEARCH} | fields seq"))[0]) == {"_raw", "_time", "seq"}


def test_the_newest_come_first_until_they_are_sorted(splunk: SplunkDouble) -> None:
    put(splunk, *({"time": 100 + n // 2, "event": f"{n}", "source": "a", "fields": {"seq": n}} for n in range(12)))
    everything = [str(n) for n in range(12)]
    assert raws(find(splunk, SEARCH)) == everything[::-1]
    assert raws(find(splunk, f"{SEARCH} | sort 0 +_time +num(seq)")) == everything
    assert raws(find(splunk, f"{SEARCH} | sort 0 _time")) == [
        "1",
        "0",
        "3",
        "2",
        "5",
        "4",
        "7",
        "6",
        "9",
        "8",
        "11",
        "10",
    ]
    assert raws(find(splunk, f"{SEARCH} | sort 0 str(seq)")) == sorted(everything)
    assert raws(find(splunk, f"{SEARCH} | sort 3 - seq | head 2")) == ["11", "10"]
    assert len(raws(find(splunk, f"{SEARCH} | head"))) == 10


def test_sort_without_a_number_keeps_ten_thousand() -> None:
    assert spl.parse(f"{SEARCH} | sort _time").commands[0].limit == 10_000


def test_a_sorted_search_is_shown_as_it_grows_unless_previews_are_off(splunk: SplunkDouble) -> None:
    put(splunk, {"event": "x", "source": "a"})
    lines = find(splunk, f"{SEARCH} | sort 0 _time", preview="1").body.splitlines()
    assert [json.loads(line)["preview"] for line in lines] == [True, False]


def test_no_results_are_one_line_without_a_result(splunk: SplunkDouble) -> None:
    assert find(splunk, SEARCH).body == b'{"preview":false,"offset":0,"lastrow":true}\n'


def test_an_index_that_may_not_be_read_gives_no_results(splunk: SplunkDouble) -> None:
    put(splunk, {"event": "x", "source": "a", "index": "secret"}, token=OPEN_TOKEN)
    anna = "Basic " + base64.b64encode(b"anna:let-me-in:1").decode()
    assert raws(find(splunk, 'search index="secret"')) == []
    assert raws(find(splunk, 'search index="*"')) == []
    assert raws(find(splunk, 'search index="secret"', anna)) == ["x"]


@pytest.mark.parametrize("source", ['say "hi"', r"back\slash", r"end\\", 'x" OR index="main', "a | head 1", "[a]", "ü"])
def test_quotes_and_backslashes_are_found_when_they_are_escaped(splunk: SplunkDouble, source: str) -> None:
    put(splunk, {"event": "right", "source": source}, {"event": "wrong", "source": "other", "index": "main"})
    quoted = source.replace("\\", "\\\\").replace('"', '\\"')
    assert raws(find(splunk, f'search index="airflow" source="{quoted}"')) == ["right"]


def test_values_compare_without_case_and_an_asterisk_is_a_wildcard_also_in_quotes(splunk: SplunkDouble) -> None:
    put(splunk, {"event": "1", "source": "Dag/a"}, {"event": "2", "source": "dag/b"})
    assert raws(find(splunk, 'search index=airflow source="DAG/A"')) == ["1"]
    assert raws(find(splunk, 'search index=airflow source="dag/*"')) == ["2", "1"]


def test_an_indexed_field_is_found_with_two_colons_or_when_its_value_is_in_the_event(splunk: SplunkDouble) -> None:
    put(splunk, {"event": "has v1", "fields": {"f": "v1"}}, {"event": "without", "fields": {"f": "v2"}})
    assert raws(find(splunk, 'search index="airflow" f="v1"')) == ["has v1"]
    assert raws(find(splunk, 'search index="airflow" f="v2"')) == []
    assert raws(find(splunk, 'search index="airflow" f::"v2"')) == ["without"]
    splunk.settings.indexed_fields.append("f")
    assert raws(find(splunk, 'search index="airflow" f="v2"')) == ["without"]


def test_a_key_of_a_json_event_is_a_field(splunk: SplunkDouble) -> None:
    put(splunk, {"event": {"level": "info", "n": 1}}, {"event": "level=warning"})
    assert raws(find(splunk, "search index=airflow level=info n=1")) == ['{"level":"info","n":1}']
    assert raws(find(splunk, "search index=airflow level=warning")) == ["level=warning"]


@pytest.mark.parametrize(
    "search",
    [
        'index="airflow"',
        "| makeresults count=1",
        'search source="a"',
        'search index="airflow" source="a" OR index="secret"',
        'search index="airflow" NOT source="a"',
        'search index="airflow" source!="a"',
        'search index="airflow" free text',
        'search index="airflow" "text"',
        'search index="airflow" source="a',
        'search index="airflow" source="a"x="b"',
        'search index="airflow" source=',
        'search index="airflow" [search index="secret"]',
        "search index=airflow `macro`",
        'search index="airflow" | delete',
        'search index="airflow" | rest /services/authentication/users',
        'search index="airflow" | sort 0',
        'search index="airflow" | sort 0 _time | ',
        'search index="airflow" | head -1',
        'search index="airflow" | fields a b(c)',
    ],
)
def test_anything_else_is_refused_with_a_fatal_message(splunk: SplunkDouble, search: str) -> None:
    reply = find(splunk, search)
    assert (reply.status, reply.json["messages"][0]["type"]) == (400, "FATAL")


@pytest.mark.parametrize(
    ("login", "status"),
    [
        ("", 401),
        ("Bearer wrong", 401),
        ("Splunk reader-token", 401),
        ("Basic YW5uYTp4", 401),
        ("Bearer powerless", 403),
    ],
)
def test_a_login_is_asked_for(splunk: SplunkDouble, login: str, status: int) -> None:
    assert find(splunk, SEARCH, login).status == status


def test_time_bounds_include_the_earliest_and_leave_out_the_latest(splunk: SplunkDouble) -> None:
    now = time.time()
    put(splunk, *({"time": when, "event": str(when), "source": "a"} for when in (100, 200, 300)))
    put(splunk, {"time": now - 120, "event": "recent", "source": "a"})
    assert raws(find(splunk, SEARCH, earliest_time="100", latest_time="300")) == ["200", "100"]
    assert raws(find(splunk, SEARCH, earliest_time="1970-01-01T00:05:00.000+00:00", latest_time="400")) == ["300"]
    assert raws(find(splunk, SEARCH, earliest_time="-5m", latest_time="now")) == ["recent"]
    for wrong in ("yesterday", "1970-01-01T00:05:00", "-5x", "rt-5m"):
        assert find(splunk, SEARCH, earliest_time=wrong).status == 400


def test_arguments_that_the_real_one_does_not_know_are_refused(splunk: SplunkDouble) -> None:
    assert find(splunk, SEARCH, colour="red").json["messages"][0]["text"].startswith('Argument "colour"')
    assert find(splunk, SEARCH, output_mode="xml").status == 400
    assert ask(splunk.search_url, "/services/search/jobs/export", "", Authorization="Bearer reader-token").status == 404


def test_searches_are_remembered_with_their_text(splunk: SplunkDouble) -> None:
    find(splunk, SEARCH)
    find(splunk, f"{SEARCH} OR index=secret")
    assert [(one["status"], one["search"]) for one in splunk.searches] == [
        (200, SEARCH),
        (400, f"{SEARCH} OR index=secret"),
    ]
    splunk.clear()
    assert (splunk.searches, splunk.state()["search"]["answers"]) == ([], {})


def test_an_event_can_take_time_to_be_found(splunk: SplunkDouble) -> None:
    put(splunk, {"event": "x", "source": "a"})
    splunk.settings.index_seconds = 60
    assert (raws(find(splunk, SEARCH)), splunk.count()) == ([], 1)


def test_a_source_is_found_by_who_continues_a_file_with_half_a_line_and_after_all_was_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"

    def found(double: SplunkDouble) -> list[str]:
        return raws(find(double, 'search index=airflow source="B*"'))

    with SplunkDouble(from_dict({**OPTIONS, "events_file": str(path)})) as double:
        put(double, {"event": "1", "source": "a"}, {"event": "2", "source": "b"})
    with path.open("a") as file:
        file.write('{"serial":3,"source":"b')
    with SplunkDouble(from_dict({**OPTIONS, "events_file": str(path)})) as double:
        put(double, {"event": "3", "source": "b/1"}, {"event": "4", "source": "a"})
        assert sorted(found(double)) == ["2", "3"]
        double.clear()
        assert found(double) == []
        put(double, {"event": "5", "source": "b"})
        assert found(double) == ["5"]
