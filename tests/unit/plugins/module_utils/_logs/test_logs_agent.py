"""Settings of a node's log agent, and the configuration files made of them."""

from __future__ import annotations

import json
import typing as t

import lupa
import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._logs import agent as agents
from ansible_collections.flowstead.airflow.plugins.module_utils._logs.agent_configs import render

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"
SPLUNK: dict[str, t.Any] = {
    "url": "https://splunk.example.com:8088",
    "token": "hidden-token",
    "ca_certificate": PEM,
    "index": "platform",
    "host_index": "hosts",
}
SETTINGS: dict[str, t.Any] = {
    "type": "syslog_ng",
    "node": "node1",
    "environment": "prod",
    "splunk": SPLUNK,
    "host_lines": True,
    "history": False,
    "buffer_mb": 256,
    "journal_mb": 1024,
}


def settings(**changes: t.Any) -> dict[str, t.Any]:
    return {**SETTINGS, **changes}


def rendered(kind: str, **changes: t.Any) -> str:
    given = settings(type=kind, **changes)
    assert agents.find_problems(given) == []
    return render(agents.read_settings(given, "/etc/ca.pem", "/var/lib/agent"))


def document(kind: str, **changes: t.Any) -> dict[str, t.Any]:
    """A configuration in YAML, which is JSON after its first line."""
    return t.cast("dict[str, t.Any]", json.loads(rendered(kind, **changes).split("\n", 1)[1]))


# --- what is refused --------------------------------------------------------------------------------------------


def test_every_problem_is_named_at_once_and_no_secret_is_shown() -> None:
    wrong = settings(
        type="rsyslog",
        node="node 1",
        environment="",
        buffer_mb=1,
        journal_mb=0,
        splunk={
            "url": "splunk.example.com",
            "token": 'hidden" and more',
            "ca_certificate": "hidden",
            "index": "Main",
            "host_index": "_internal",
            "sourcetype": 'a"b',
        },
        drivers=["json-file"],
    )
    found = {problem.variable: problem.line() for problem in agents.find_problems(wrong)}
    assert set(found) == {
        "log_agent_type",
        "log_agent_node",
        "log_agent_environment",
        "log_agent_buffer_mb",
        "log_agent_journal_mb",
        "log_agent_splunk.url",
        "log_agent_splunk.token",
        "log_agent_splunk.ca_certificate",
        "log_agent_splunk.index",
        "log_agent_splunk.host_index",
        "log_agent_splunk.sourcetype",
        "airflow_logs.components.driver",
    }
    assert not any("hidden" in line for line in found.values())
    assert "Set it to journald" in found["airflow_logs.components.driver"]


def test_an_agent_without_an_address_and_a_token_is_refused() -> None:
    assert {problem.variable for problem in agents.find_problems(settings(splunk={}))} == {
        "log_agent_splunk.url",
        "log_agent_splunk.token",
    }


@pytest.mark.parametrize(
    "url", ["https://me:secret@splunk.example.com:8088", 'https://splunk.example.com/"x', "https://s.example/$x"]
)
def test_an_address_that_would_show_a_login_or_break_the_file_is_refused(url: str) -> None:
    (problem,) = agents.find_problems(settings(splunk={**SPLUNK, "url": url}))
    assert problem.variable == "log_agent_splunk.url"
    assert "secret" not in problem.line()


def test_fluent_bit_cannot_ask_below_a_path() -> None:
    behind = {**SPLUNK, "url": "https://gateway.example.com/splunk"}
    assert agents.find_problems(settings(splunk=behind)) == []
    (problem,) = agents.find_problems(settings(type="fluent_bit", splunk=behind))
    assert problem.variable == "log_agent_splunk.url"


def test_the_token_is_not_in_the_text_of_an_agent() -> None:
    assert "hidden" not in repr(agents.read_settings(SETTINGS))


# --- what is asked before ---------------------------------------------------------------------------------------


def test_each_index_is_tried_with_the_variable_that_names_it() -> None:
    asked = agents.collectors(SETTINGS)
    assert [(one["index"], one["variables"]["index"]) for one in asked] == [
        ("platform", "log_agent_splunk.index"),
        ("hosts", "log_agent_splunk.host_index"),
    ]
    assert len(agents.collectors(settings(host_lines=False))) == 1
    assert len(agents.collectors(settings(splunk={**SPLUNK, "host_index": None}))) == 1


# --- syslog-ng; its behaviour is tested with the program itself, in tests/log_agent -----------------------------


def test_syslog_ng_verifies_the_collector_by_the_given_authority_or_by_the_hosts() -> None:
    assert 'ca-file("/etc/ca.pem") peer-verify(yes)' in rendered("syslog_ng")
    assert 'ca-dir("/etc/ssl/certs")' in rendered("syslog_ng", splunk={**SPLUNK, "ca_certificate": None})
    assert "tls(" not in rendered("syslog_ng", splunk={**SPLUNK, "url": "http://splunk.example.com:8088"})


def test_the_two_kinds_of_lines_share_the_room_on_the_disk() -> None:
    assert rendered("syslog_ng").count(f"disk-buf-size({128 << 20})") == 2
    assert rendered("syslog_ng", host_lines=False).count(f"disk-buf-size({256 << 20})") == 1


# --- Fluent Bit -------------------------------------------------------------------------------------------------

CONTAINER = {
    "MESSAGE": "said",
    "PRIORITY": "3",
    "CONTAINER_ID": "0123",
    "CONTAINER_NAME": "airflow-prod_dag-processor.1.x",
    "IMAGE_NAME": "airflow@sha256:1",
    "COM_DOCKER_STACK_NAMESPACE": "airflow-prod",
    "COM_DOCKER_SWARM_SERVICE_NAME": "airflow-prod_dag-processor",
    "COM_DOCKER_SWARM_TASK_NAME": "airflow-prod_dag-processor.1.x",
}


def fluent_event(record: dict[str, str], **changes: t.Any) -> tuple[int, dict[str, t.Any]]:
    """What the filter makes of an entry of the journal, in a real Lua."""
    (given,) = document("fluent_bit", **changes)["pipeline"]["filters"]
    runtime = lupa.LuaRuntime()
    runtime.execute(given["code"])
    code, _time, made = runtime.globals()[given["call"]]("journal", 1700000000.25, runtime.table_from(record))
    return code, plain(made) if code == 2 else {}


def plain(value: t.Any) -> t.Any:
    return {key: plain(item) for key, item in value.items()} if lupa.lua_type(value) == "table" else value


def test_fluent_bits_filter_makes_the_event_of_a_container() -> None:
    assert fluent_event(CONTAINER) == (
        2,
        {
            "time": 1700000000.25,
            "host": "node1",
            "source": "container:airflow-prod_dag-processor.1.x",
            "sourcetype": "airflow:component",
            "index": "platform",
            "event": {"message": "said", "priority": "err"},
            "fields": {
                "environment": "prod",
                "node": "node1",
                "container": "0123",
                "image": "airflow@sha256:1",
                "stack": "airflow-prod",
                "service": "airflow-prod_dag-processor",
                "component": "dag-processor",
            },
        },
    )


def test_fluent_bits_filter_makes_the_event_of_a_host_or_leaves_it_out() -> None:
    record = {"MESSAGE": "up", "_TRANSPORT": "kernel"}
    code, event = fluent_event(record)
    assert (code, event["source"], event["index"], event["sourcetype"]) == (2, "journal:kernel", "hosts", "journald")
    assert event["event"] == {"message": "up", "priority": "info"}
    assert fluent_event(record, host_lines=False)[0] == -1


def test_fluent_bit_keeps_its_place_and_its_buffer_on_the_disk_and_never_gives_up() -> None:
    found = document("fluent_bit")
    (source,) = found["pipeline"]["inputs"]
    (target,) = found["pipeline"]["outputs"]
    assert (source["db"], source["storage.type"], source["read_from_tail"]) == (
        "/var/lib/agent/journal.db",
        "filesystem",
        "on",
    )
    assert (target["retry_limit"], target["storage.total_limit_size"]) == ("no_limits", "256M")
    assert (target["host"], target["port"], target["tls"], target["tls.verify"]) == (
        "splunk.example.com",
        8088,
        "on",
        "on",
    )
    assert (target["tls.ca_file"], target["splunk_token"]) == ("/etc/ca.pem", "hidden-token")


# --- OpenTelemetry Collector ------------------------------------------------------------------------------------


def test_every_part_of_the_collectors_pipeline_exists() -> None:
    for changes in ({}, {"host_lines": False}):
        found = document("otel", **changes)
        pipeline = found["service"]["pipelines"]["logs"]
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) == set(found[kind])
        assert found["service"]["extensions"] == list(found["extensions"])


def test_the_collector_keeps_its_place_and_its_queue_on_the_disk_and_never_gives_up() -> None:
    found = document("otel", history=True)
    assert found["receivers"]["journald"] == {"start_at": "beginning", "storage": "file_storage"}
    exporter = found["exporters"]["splunk_hec"]
    assert exporter["endpoint"] == "https://splunk.example.com:8088/services/collector"
    assert exporter["retry_on_failure"]["max_elapsed_time"] == "0s"
    assert exporter["sending_queue"]["storage"] == "file_storage"
    assert exporter["tls"] == {"ca_file": "/etc/ca.pem"}
