"""Behaviour of the question whether this host may mount an export."""

from __future__ import annotations

import os
import socket
import threading
import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.endpoints import check_endpoints
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.nfs import check_nfs
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.problems import CheckFailed, Problem
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.wire import Endpoint
from nfs_double import DELAY, NOTDIR, PERM, WRONGSEC, NfsDouble

Serve = t.Callable[[t.Callable[[socket.socket], None]], int]


def endpoint(port: int, **changes: t.Any) -> Endpoint:
    """An export at a port."""
    settings: dict[str, t.Any] = {"path": "/export/dags", "timeout": 2.0, **changes}
    return Endpoint(name="DAG share", variable="dag_share_nfs", protocol="nfs", host="127.0.0.1", port=port, **settings)


def problem_of(serve: Serve, double: NfsDouble, **changes: t.Any) -> Problem:
    """The one problem that a check of the double finds."""
    facts, (problem,) = check_endpoints([endpoint(serve(double), **changes)])
    assert facts == []
    return problem


@pytest.mark.parametrize("version", ["4.1", "4.2"])
@pytest.mark.parametrize("fragments", [0, 7])
def test_an_export_that_may_be_mounted_passes_and_leaves_nothing_behind(
    serve: Serve, version: str, fragments: int
) -> None:
    (facts,), problems = check_endpoints([endpoint(serve(NfsDouble(fragments=fragments)), version=version)])

    assert problems == []
    assert (facts["name"], facts["version"]) == ("DAG share", version)


def test_the_root_of_the_server_can_be_asked_for(serve: Serve) -> None:
    assert check_endpoints([endpoint(serve(NfsDouble()), path="/")])[1] == []


def test_an_export_that_does_not_exist_is_named_up_to_the_part_that_is_missing(serve: Serve) -> None:
    problem = problem_of(serve, NfsDouble(), path="/export/nowhere/deep")

    assert (problem.variable, problem.value) == ("dag_share_nfs.path", "/export/nowhere/deep")
    assert "there is no /export/nowhere on the server" in problem.problem
    assert "NFS4ERR_NOENT" in problem.problem
    assert "/etc/exports" in problem.fix


def test_an_export_for_other_hosts_says_so(serve: Serve) -> None:
    problem = problem_of(serve, NfsDouble({"/export/dags": PERM}), reserved_port=True)

    assert problem.variable == "dag_share_nfs.path"
    assert "this host may not use it (NFS4ERR_PERM)" in problem.problem


def test_an_export_that_wants_kerberos_says_so(serve: Serve) -> None:
    problem = problem_of(serve, NfsDouble({"/export/dags": WRONGSEC}))

    assert "Kerberos" in problem.problem
    assert "sec=sys" in problem.fix


def test_a_file_is_no_export(serve: Serve) -> None:
    problem = problem_of(serve, NfsDouble(files=["/export/dags/x"]), path="/export/dags/x")

    assert "NFS4ERR_NOTDIR" in problem.problem
    assert NOTDIR == 20


def test_a_server_without_the_version_says_so(serve: Serve) -> None:
    problem = problem_of(serve, NfsDouble(minors=(0,)))

    assert (problem.variable, problem.value) == ("dag_share_nfs.version", "4.1")
    assert "not version 4.1" in problem.problem


def test_a_server_of_nfs_3_says_so(serve: Serve) -> None:
    problem = problem_of(serve, NfsDouble(versions=(2, 3)))

    assert problem.variable == "dag_share_nfs.port"
    assert "it offers versions 2 to 3" in problem.problem


def test_a_server_that_refuses_auth_sys_says_so(serve: Serve) -> None:
    assert "AUTH_SYS" in problem_of(serve, NfsDouble(auth_too_weak=True)).problem


def test_another_service_on_the_port_is_recognised(serve: Serve) -> None:
    problem = problem_of(serve, t.cast(NfsDouble, lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_10.0\r\n")))

    assert problem.variable == "dag_share_nfs.port"
    assert "another service listens there" in problem.fix


def test_nothing_on_the_port_is_told(closed_port: int) -> None:
    _facts, (problem,) = check_endpoints([endpoint(closed_port)])

    assert "nothing listens" in problem.problem


def test_a_server_that_just_started_is_waited_for(serve: Serve) -> None:
    pauses: list[float] = []

    check_nfs(endpoint(serve(NfsDouble(delays=3))), pause=pauses.append)

    assert len(pauses) == 3


def test_a_server_that_never_gets_ready_is_given_up_on(serve: Serve) -> None:
    with pytest.raises(CheckFailed) as caught:
        check_nfs(endpoint(serve(NfsDouble({"/export/dags": DELAY})), timeout=0.2), pause=lambda _seconds: None)

    assert "NFS4ERR_DELAY" in caught.value.problem


@pytest.mark.skipif(os.geteuid() != 0, reason="ports below 1024 are for root")
def test_an_export_that_wants_a_low_port_is_told_from_one_that_is_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        double = NfsDouble(insecure=False)

        def serve_twice() -> None:
            for _time in range(2):
                connection, _address = listener.accept()
                with connection:
                    double.sequence = 0
                    double(connection)

        thread = threading.Thread(target=serve_twice, daemon=True)
        thread.start()
        _facts, (problem,) = check_endpoints([endpoint(listener.getsockname()[1])])
        thread.join(10)

    assert (problem.variable, problem.value) == ("dag_share_nfs.options", "noresvport")
    assert "resvport" in problem.fix
    assert double.port < 1024
