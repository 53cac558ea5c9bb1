from __future__ import annotations

import base64
import http.server
import io
import json
import socketserver
import tarfile
import threading
import typing as t
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.image_store import (
    ImageFailed,
    ImageStore,
    free_bytes,
)


class _Server(socketserver.ThreadingUnixStreamServer):
    """An engine with one image and one container; it answers 404 to what the real one does not know."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        self.seen: list[tuple[str, str, dict[str, list[str]], dict[str, str], bytes]] = []
        self.push_lines: list[dict[str, t.Any]] = []
        self.import_lines: list[dict[str, t.Any]] = [{"status": "sha256:feed"}]
        self.exit_code = 0
        self.start_status = 204
        super().__init__(path, _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: t.Any) -> None:
        pass

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        blocks = []
        while size := int(self.rfile.readline(), 16):
            blocks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(blocks)

    def _handle(self) -> None:
        url = urlsplit(self.path)
        path = "/" + url.path.split("/", 2)[2] if url.path.startswith("/v1.") else url.path
        body = self._body()
        self.server.seen.append((self.command, path, parse_qs(url.query), dict(self.headers), body))
        status, answer = self._answer(self.command, path)
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_DELETE = _handle

    def _answer(self, method: str, path: str) -> tuple[int, bytes]:
        lines = {
            "POST /images/create": self.server.import_lines,
            "POST /images/registry.example.com:5000/airflow/push": self.server.push_lines,
        }.get(f"{method} {path}")
        if lines is not None:
            return 200, b"\r\n".join(json.dumps(line).encode() for line in lines)
        known: dict[str, tuple[int, bytes]] = {
            "GET /distribution/registry.example.com:5000/airflow:1/json": (
                200,
                b'{"Descriptor": {"digest": "sha256:d"}}',
            ),
            "GET /distribution/registry.example.com:5000/airflow:2/json": (404, b'{"message": "manifest unknown"}'),
            "GET /distribution/registry.example.com:5000/airflow:3/json": (500, b'{"message": "name unknown: no"}'),
            "GET /distribution/registry.example.com:5000/airflow:4/json": (401, b'{"message": "unauthorized"}'),
            "GET /version": (200, b'{"ApiVersion": "1.41"}'),
            "GET /images/airflow:1/json": (200, b'{"Id": "sha256:feed"}'),
            "GET /images/airflow:1/history": (
                200,
                b'[{"Size": 9, "CreatedBy": "COPY"}, {"Size": 0, "CreatedBy": "ENV"}, {"Size": 4, "CreatedBy": null}]',
            ),
            "POST /images/sha256:feed/tag": (201, b""),
            "DELETE /images/airflow:1": (200, b"[]"),
            "POST /containers/create": (201, b'{"Id": "c0ffee"}'),
            "POST /containers/c0ffee/start": (self.server.start_status, b'{"message": "no such command"}'),
            "POST /containers/c0ffee/wait": (200, json.dumps({"StatusCode": self.server.exit_code}).encode()),
            "GET /containers/c0ffee/logs": (200, b"3.3.2\r\n"),
            "DELETE /containers/c0ffee": (204, b""),
        }
        if self.server.start_status == 204:
            known["POST /containers/c0ffee/start"] = (204, b"")
        return known.get(f"{method} {path}", (404, b'{"message": "no such thing"}'))


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> t.Iterator[_Server]:
    with _Server(str(tmp_path / "engine.sock")) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.fixture(name="store")
def _store(server: _Server) -> t.Iterator[ImageStore]:
    engine = Engine(str(server.server_address))
    yield ImageStore(engine)
    engine.close()


def test_a_missing_image_is_none_and_no_error(store: ImageStore) -> None:
    assert store.find("airflow:1") == {"Id": "sha256:feed"}
    assert store.find("airflow:2") is None


def test_a_directory_is_streamed_as_an_archive_with_its_instructions(
    store: ImageStore, server: _Server, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_bytes(b"x" * 3_000_000)
    assert store.import_directory(str(root), ["ENV A=b c", 'ENTRYPOINT ["tini", "--"]']) == "sha256:feed"
    _method, _path, query, _headers, body = server.seen[-1]
    assert query == {"fromSrc": ["-"], "changes": ["ENV A=b c", 'ENTRYPOINT ["tini", "--"]']}
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert archive.getmember("./file").size == 3_000_000


def test_an_import_that_the_engine_refuses_fails_with_its_words(
    store: ImageStore, server: _Server, tmp_path: Path
) -> None:
    server.import_lines = [{"status": "reading"}, {"error": "no space left on device"}]
    with pytest.raises(ImageFailed, match="no space left on device"):
        store.import_directory(str(tmp_path), [])


def test_an_incomplete_archive_leaves_no_image(store: ImageStore, server: _Server, tmp_path: Path) -> None:
    with pytest.raises(ImageFailed, match=r"tar could not read .*nowhere"):
        store.import_directory(str(tmp_path / "nowhere"), [])
    assert ("DELETE", "/images/sha256:feed") in [entry[:2] for entry in server.seen]


def test_a_command_runs_without_network_and_its_container_is_removed(store: ImageStore, server: _Server) -> None:
    server.exit_code = 3
    assert store.attempt("airflow:1", ["airflow", "version"], {"A": "1"}) == (3, "3.3.2")
    create = next(entry for entry in server.seen if entry[1] == "/containers/create")
    sent = json.loads(create[4])
    assert sent["HostConfig"]["NetworkMode"] == "none"
    assert (sent["Cmd"], sent["Env"]) == (["airflow", "version"], ["A=1"])
    assert server.seen[-1][:2] == ("DELETE", "/containers/c0ffee")


def test_a_container_that_does_not_start_is_removed_too(store: ImageStore, server: _Server) -> None:
    server.start_status = 400
    with pytest.raises(EngineError, match="no such command"):
        store.attempt("airflow:1", ["nonsense"], {})
    assert server.seen[-1][:2] == ("DELETE", "/containers/c0ffee")


def test_a_name_is_split_at_its_last_colon(store: ImageStore, server: _Server) -> None:
    store.tag("sha256:feed", "registry.example.com:5000/airflow:1")
    assert server.seen[-1][2] == {"repo": ["registry.example.com:5000/airflow"], "tag": ["1"]}


def test_removing_what_is_not_there_is_fine(store: ImageStore) -> None:
    store.remove("airflow:1")
    store.remove("airflow:2")


def test_a_login_goes_to_the_engine_in_a_header_and_nowhere_else(store: ImageStore, server: _Server) -> None:
    server.push_lines = [{"status": "Pushed"}, {"aux": {"Tag": "1", "Digest": "sha256:abcd"}}]
    assert store.push("registry.example.com:5000/airflow:1", "builder", "hidden") == "sha256:abcd"
    _method, path, query, headers, body = server.seen[-1]
    login = json.loads(base64.urlsafe_b64decode(headers.pop("X-Registry-Auth")))
    assert login == {"username": "builder", "password": "hidden", "serveraddress": "registry.example.com:5000"}
    assert "hidden" not in str((path, query, headers, body))


def test_a_push_that_is_refused_or_ends_early_fails(store: ImageStore, server: _Server) -> None:
    server.push_lines = [{"error": "unauthorized: authentication required"}]
    with pytest.raises(ImageFailed, match="authentication required"):
        store.push("registry.example.com:5000/airflow:1", "", "")
    server.push_lines = [{"status": "Pushing"}]
    with pytest.raises(ImageFailed, match="without a digest"):
        store.push("registry.example.com:5000/airflow:1", "", "")


def test_an_engine_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(EngineUnreachable):
        ImageStore(Engine(str(tmp_path / "none.sock"))).find("airflow:1")


def test_free_space_is_measured_where_the_directory_would_be(tmp_path: Path) -> None:
    assert free_bytes(str(tmp_path / "not/yet/there")) == pytest.approx(free_bytes(str(tmp_path)), rel=0.2)


@pytest.mark.parametrize(("tag", "there"), [("1", True), ("2", False), ("3", False)])
def test_a_registry_has_an_image_or_not_whatever_status_the_engine_makes_of_it(
    store: ImageStore, tag: str, there: bool
) -> None:
    assert store.in_registry(f"registry.example.com:5000/airflow:{tag}", "builder", "hidden") is there


def test_a_registry_that_refuses_the_login_is_an_error_and_no_missing_image(store: ImageStore) -> None:
    with pytest.raises(EngineError, match="unauthorized"):
        store.in_registry("registry.example.com:5000/airflow:4", "builder", "wrong")


def test_a_pull_names_image_and_tag_and_signs_in(store: ImageStore, server: _Server) -> None:
    store.pull("registry.example.com:5000/airflow:1", "builder", "hidden")
    _method, path, query, headers, _body = server.seen[-1]
    assert (path, query) == ("/images/create", {"fromImage": ["registry.example.com:5000/airflow"], "tag": ["1"]})
    login = json.loads(base64.urlsafe_b64decode(headers["X-Registry-Auth"]))
    assert (login["username"], login["serveraddress"]) == ("builder", "registry.example.com:5000")


def test_a_pull_that_the_registry_breaks_off_fails(store: ImageStore, server: _Server) -> None:
    server.import_lines = [{"status": "Pulling"}, {"error": "unexpected EOF"}]
    with pytest.raises(ImageFailed, match="unexpected EOF"):
        store.pull("registry.example.com:5000/airflow:1", "", "")


def test_layers_are_told_from_the_lowest_and_without_those_that_hold_nothing(store: ImageStore) -> None:
    assert store.layers("airflow:1") == [{"bytes": 4, "created_by": ""}, {"bytes": 9, "created_by": "COPY"}]


@pytest.mark.parametrize(
    "name", ["registry.example.com:5000/airflow@sha256:d", "registry.example.com:5000/airflow:1@sha256:d"]
)
def test_a_name_with_a_digest_is_pulled_by_its_digest(store: ImageStore, server: _Server, name: str) -> None:
    server.import_lines = [{"status": "Pull complete"}]
    store.pull(name, "", "")
    assert server.seen[-1][2] == {"fromImage": ["registry.example.com:5000/airflow"], "tag": ["sha256:d"]}
