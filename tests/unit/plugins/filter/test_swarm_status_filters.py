"""What people see of a stack: text and page."""

from __future__ import annotations

import typing as t
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.flowstead.airflow.plugins.filter.swarm_status import (
    FilterModule,
    swarm_status_html,
    swarm_status_text,
)

FILTERS = FilterModule().filters()
ROOT = Path(__file__).parents[4]
FOUND: dict[str, t.Any] = {
    "healthy": False,
    "problems": ["service web failed: oom: <killed>"],
    "nodes": [
        {"hostname": "m1", "role": "manager", "leader": True, "state": "ready", "availability": "active",
         "engine": "26.1.5", "address": "192.0.2.1"},
        {"hostname": "worker-1", "role": "worker", "leader": False, "state": "down", "availability": "drain",
         "engine": "26.1.5", "address": "192.0.2.2"},
    ],
    "services": [
        {"name": "web", "text": "1/2 running", "nodes": ["m1"], "failed_tasks": 3, "last_failure_at":
         "2026-11-27T10:00:00.5Z", "image": "registry.example.com:5000/team/web:1.4", "digest": "sha256:" + "ab" * 32},
        {"name": "queue", "text": "0/0 running", "nodes": [], "failed_tasks": 0, "last_failure_at": "",
         "image": "queue:1", "digest": ""},
    ],
    "failures": [
        {"service": "web", "cause": "oom", "node": "m1", "exit_code": 137, "message": "<killed>",
         "log": ["<script>alert(1)</script>"], "advice": "Raise the limit."}
    ],
}  # fmt: skip
WELL = {**FOUND, "healthy": True, "problems": [], "failures": []}


class Page(HTMLParser):
    """Elements and their text; a document that is not closed properly is refused."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.texts: list[str] = []
        self.feed(document)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert not {name for name, _value in attributes} & {"src", "href", "onload"}, "it needs no other file"
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_text_says_first_what_is_wrong_and_then_what_runs_where() -> None:
    told = swarm_status_text(FOUND, title="Airflow", when="now")

    assert told[:2] == ["Airflow: 1 problem", "  ! service web failed: oom: <killed>"]
    rows = [line.split() for line in told]
    assert ["m1", "leader", "ready", "active", "26.1.5", "192.0.2.1"] in rows
    assert ["worker-1", "worker", "down", "drain", "26.1.5", "192.0.2.2"] in rows
    assert [
        "web",
        "1/2",
        "running",
        "m1",
        "3,",
        "the",
        "last",
        "at",
        "2026-11-27T10:00:00",
        "web:1.4@abababababab",
    ] in rows
    assert ["queue", "0/0", "running", "-", "-", "queue:1"] in rows
    assert "  What to do: Raise the limit." in told
    assert told[-1] == "The inventory and what runs: no difference"


def test_a_healthy_stack_says_so_in_its_first_line() -> None:
    assert swarm_status_text(WELL, title="Airflow", when="now")[0] == "Airflow: healthy"


def test_drift_is_counted_and_named() -> None:
    actions = [{"kind": "service", "name": "web", "action": "update", "reason": "changed: image"}]

    one = swarm_status_text(WELL, title="x", when="now", drift=actions)
    assert one[-2:] == [
        "The inventory and what runs: a run of the deployment would make 1 change",
        "  service web: update, changed: image",
    ]
    assert "would make 2 changes" in swarm_status_text(WELL, title="x", when="now", drift=actions * 2)[-3]
    unknown = swarm_status_text(WELL, title="x", when="now", drift_unknown="m3 cannot be reached")
    assert unknown[-1] == "The inventory and what runs: not compared: m3 cannot be reached"


def test_a_page_is_whole_needs_no_other_file_and_takes_texts_for_texts() -> None:
    page = Page(swarm_status_html(FOUND, title="Airflow <prod>", when="27 November"))

    assert "script" not in page.seen
    assert page.seen.count("table") == 2
    for text in ("Airflow <prod>: ", "1 problem", "service web failed: oom: <killed>", "worker-1", "27 November"):
        assert text in page.texts
    assert any("<script>alert(1)</script>" in text for text in page.texts)


def test_something_else_than_the_modules_result_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="failures, healthy, nodes, problems, services"):
        swarm_status_text({}, title="x", when="now")


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_every_filter_is_documented_with_its_arguments(name: str) -> None:
    documents = yaml.safe_load((ROOT / "plugins" / "filter" / f"{name}.yml").read_text(encoding="utf-8"))
    code = FILTERS[name].__code__
    arguments = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]

    assert documents["DOCUMENTATION"]["name"] == name
    assert set(documents["DOCUMENTATION"]["options"]) == {"_input", *arguments}
    assert yaml.safe_load(documents["EXAMPLES"])
    assert documents["RETURN"]["_value"]["description"]
