from __future__ import annotations

import datetime
import http.server
import sys
import threading
import types
import typing as t
from pathlib import Path

import pytest
from flowstead_airflow import broker, probe, settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "AIRFLOW__API__PORT",
        "AIRFLOW__API__BASE_URL",
        "AIRFLOW__API__SSL_CERT",
        "AIRFLOW__CORE__HOSTNAME_CALLABLE",
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD",
        "FLOWSTEAD_QUEUES",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(settings, "SECRETS", tmp_path)


@pytest.fixture(name="host")
def _host(monkeypatch: pytest.MonkeyPatch) -> str:
    module = types.ModuleType("sample_names")
    module.own = lambda: "10.0.5.7"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sample_names", module)
    monkeypatch.setenv("AIRFLOW__CORE__HOSTNAME_CALLABLE", "sample_names.own")
    return "10.0.5.7"


def ago(seconds: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=seconds)


class Server:
    """A real HTTP server that answers 200 for one path and 404 for every other."""

    def __init__(self, path: str) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if self.path == path else 404)
                self.end_headers()

            def log_message(self, format: str, *args: t.Any) -> None:
                pass

        self.server = http.server.HTTPServer(("localhost", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self) -> str:
        self.thread.start()
        return str(self.server.server_port)

    def __exit__(self, *_error: t.Any) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_the_api_server_is_asked_under_the_path_that_users_see(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://data.example.com/airflow/")
    with Server("/airflow/api/v2/version") as port:
        monkeypatch.setenv("AIRFLOW__API__PORT", port)
        assert probe.main(["api-server"]) == 0
    assert capsys.readouterr().out.startswith("healthy: ")


def test_an_answer_that_is_not_200_is_unhealthy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Server("/elsewhere") as port:
        monkeypatch.setenv("AIRFLOW__API__PORT", port)
        assert probe.main(["api-server"]) == 1
    assert capsys.readouterr().out == f"unhealthy: http://localhost:{port}/api/v2/version answers 404\n"


def test_a_server_that_does_not_listen_is_unhealthy_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Server("/health") as port:
        pass
    monkeypatch.setenv("AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT", port)
    assert probe.main(["scheduler"]) == 1
    out = capsys.readouterr().out
    assert "does not answer" in out
    assert out.count("\n") == 1


def test_a_scheduler_without_health_server_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK", "False")
    with pytest.raises(probe.Unhealthy, match="enable_health_check"):
        probe.scheduler()


def test_tls_is_used_when_the_server_has_a_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, str, bool]] = []

    def get(port: int, path: str, tls: bool) -> int:
        asked.append((port, path, tls))
        return 200

    monkeypatch.setenv("AIRFLOW__API__SSL_CERT", "/opt/flowstead/ca/api.pem")
    assert probe.api_server(get).startswith("https://")
    assert asked == [(8080, "/api/v2/version", True)]


@pytest.mark.parametrize(("component", "kind"), [("dag-processor", "DagProcessorJob"), ("triggerer", "TriggererJob")])
def test_a_recent_heartbeat_of_this_host_is_healthy(host: str, component: str, kind: str) -> None:
    def read(asked_kind: str, asked_host: str) -> datetime.datetime:
        assert (asked_kind, asked_host) == (kind, host)
        return ago(4)

    assert probe.job(component, read) == f"{kind} on {host}: heartbeat 4 s ago"


def test_an_old_heartbeat_is_unhealthy(host: str) -> None:
    with pytest.raises(probe.Unhealthy, match=r"on 10\.0\.5\.7 is 31 s old, allowed are 30 s"):
        probe.job("triggerer", lambda *_: ago(31))


def test_the_threshold_is_airflows_own_setting(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD", "60")
    assert probe.job("triggerer", lambda *_: ago(31))


def test_no_running_job_of_this_host_is_unhealthy(host: str) -> None:
    with pytest.raises(probe.Unhealthy, match=r"no running DagProcessorJob of host 10\.0\.5\.7"):
        probe.job("dag-processor", lambda *_: None)


def test_a_host_name_function_that_cannot_be_called_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__HOSTNAME_CALLABLE", "no_such_module.name")
    with pytest.raises(probe.Unhealthy, match=r"HOSTNAME_CALLABLE=no_such_module\.name cannot be called"):
        probe.own_hostname()


def test_a_database_that_is_not_postgresql_is_refused_without_its_url(tmp_path: Path) -> None:
    (tmp_path / "database_url").write_text("mysql+mysqldb://u:hidden@h/d", encoding="utf-8")
    with pytest.raises(probe.Unhealthy, match=r"database is mysql;") as caught:
        probe.last_heartbeat("TriggererJob", "h")
    assert "hidden" not in str(caught.value)


class Driver:
    """A PostgreSQL driver that knows one query's shape and closes what it opens."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.open = 0
        self.asked: t.Any = None

    def connect(self, url: str, connect_timeout: int) -> t.Any:
        assert 0 < connect_timeout <= probe.DEADLINE
        self.urls.append(url)
        self.open += 1
        return self

    def cursor(self) -> t.Any:
        return self

    def execute(self, query: str, parameters: t.Any) -> None:
        assert query.count("%s") == len(parameters)
        assert "'running'" in query
        self.asked = parameters

    def fetchone(self) -> t.Any:
        return ("a time",)

    def close(self) -> None:
        self.open -= 1


def test_the_database_is_asked_through_whatever_sqlalchemy_driver_the_url_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "database_url").write_text("postgresql+psycopg://a:b%2Fc@db:5432/x?sslmode=require\n", encoding="utf-8")
    driver = Driver()
    monkeypatch.setattr(probe, "_driver", lambda: driver)
    assert probe.last_heartbeat("TriggererJob", "10.0.5.7") == "a time"
    assert driver.urls == ["postgresql://a:b%2Fc@db:5432/x?sslmode=require"]
    assert driver.asked == ("TriggererJob", "10.0.5.7")
    assert driver.open == 0


def test_a_worker_that_consumes_every_wanted_queue_is_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSTEAD_QUEUES", "default,big")

    def consumed(node: str) -> list[str]:
        assert node == broker.node_name()
        return ["big", "default", "extra"]

    assert probe.worker(consumed).endswith("consumes default, big")


def test_a_worker_that_lost_a_queue_is_unhealthy_and_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSTEAD_QUEUES", "default,big")
    with pytest.raises(probe.Unhealthy, match=r"does not consume big \(it consumes default\)"):
        probe.worker(lambda _: ["default"])
    with pytest.raises(probe.Unhealthy, match=r"does not consume default, big \(it consumes nothing\)"):
        probe.worker(lambda _: [])


def test_a_worker_that_does_not_answer_is_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSTEAD_QUEUES", "default")
    with pytest.raises(probe.Unhealthy, match="does not answer through the broker"):
        probe.worker(lambda _: None)


def test_a_worker_without_wanted_queues_cannot_be_called_healthy() -> None:
    with pytest.raises(probe.Unhealthy, match="FLOWSTEAD_QUEUES names no queue"):
        probe.worker(lambda _: ["default"])


def test_an_unexpected_error_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(node: str) -> t.NoReturn:
        raise OSError("first\nsecond")

    monkeypatch.setenv("FLOWSTEAD_QUEUES", "default")
    monkeypatch.setattr(broker, "consumed_queues", fail)
    assert probe.main(["worker"]) == 1
    assert capsys.readouterr().out == "unhealthy: OSError: first second\n"


def test_a_probe_that_hangs_ends_itself(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(probe, "DEADLINE", 1)
    monkeypatch.setenv("FLOWSTEAD_QUEUES", "default")
    monkeypatch.setattr(broker, "consumed_queues", lambda _: threading.Event().wait())
    assert probe.main(["worker"]) == 1
    assert capsys.readouterr().out == "unhealthy: no answer within 1 s\n"


def test_an_unknown_component_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        probe.main(["webserver"])
    assert caught.value.code == 2
