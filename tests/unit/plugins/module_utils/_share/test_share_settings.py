"""Behaviour of the share's settings: what is refused, and what they mean."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._share.options import compare, merge, remountable
from ansible_collections.flowstead.airflow.plugins.module_utils._share.settings import find_problems, read_settings
from ansible_collections.flowstead.airflow.plugins.module_utils._share.units import (
    options_of,
    render,
    unit_name,
    what_of,
)

NFS: dict[str, t.Any] = {
    "type": "nfs",
    "path": "/srv/airflow/dags",
    "nfs": {"host": "nfs.example.com", "path": "/export/dags"},
}
EFS: dict[str, t.Any] = {"type": "efs", "path": "/srv/airflow/dags", "efs": {"file_system": "fs-0123456789abcdef0"}}
READER = (
    "nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport,"
    "lookupcache=pos,noatime,nodev,nosuid,ro,_netdev"
)


def nfs(**changes: t.Any) -> dict[str, t.Any]:
    """The NFS example with changes of the export."""
    return {**NFS, "nfs": {**NFS["nfs"], **changes}}


def efs(**changes: t.Any) -> dict[str, t.Any]:
    """The EFS example with changes of the file system."""
    return {**EFS, "efs": {**EFS["efs"], **changes}}


@pytest.mark.parametrize("settings", [NFS, EFS, {"path": "/srv/airflow/dags"}, nfs(host="fd00::1"), nfs(path="/")])
def test_good_settings_have_no_problems(settings: dict[str, t.Any]) -> None:
    assert find_problems(settings) == []


@pytest.mark.parametrize(
    ("settings", "variable", "words"),
    [
        ({**NFS, "path": "srv/dags"}, "dag_share_path", "absolute path"),
        ({**NFS, "path": "/srv/../etc"}, "dag_share_path", "absolute path"),
        ({**NFS, "path": "/srv"}, "dag_share_path", "absolute path"),
        ({**NFS, "path": "/usr/share/dags"}, "dag_share_path", "absolute path"),
        ({**NFS, "path": "/srv/air flow"}, "dag_share_path", "absolute path"),
        ({**NFS, "id": "x y"}, "dag_share_id", "letters"),
        ({**NFS, "mount_seconds": 0}, "dag_share_mount_seconds", "600"),
        ({**NFS, "units": ["docker; rm"]}, "dag_share_units", "docker.service"),
        ({**NFS, "nfs": {"path": "/export/dags"}}, "dag_share_nfs.host", "without the path"),
        (nfs(host="nfs.example.com:/export"), "dag_share_nfs.host", "without the path"),
        (nfs(path="export"), "dag_share_nfs.path", "absolute"),
        (nfs(version="3"), "dag_share_nfs.version", "4.1"),
        (nfs(port=0), "dag_share_nfs.port", "2049"),
        (nfs(options=["soft"]), "dag_share_nfs.options", "I/O error"),
        (nfs(options=["bg"]), "dag_share_nfs.options", "before the share is there"),
        (nfs(options=["vers=3"]), "dag_share_nfs.options", "setting of its own"),
        (nfs(options=["x-systemd.automount"]), "dag_share_nfs.options", "native"),
        (nfs(options=["ro,soft"]), "dag_share_nfs.options", "one option in each entry"),
        (efs(file_system="0123"), "dag_share_efs.file_system", "fs-"),
        (efs(access_point="fs-1"), "dag_share_efs.access_point", "fsap-"),
        (efs(access_point="fsap-0a", tls=False), "dag_share_efs.access_point", "efs.tls to true"),
        (efs(access_point="fsap-0a", path="/dags"), "dag_share_efs.path", "path out"),
        (efs(iam=True, tls=False), "dag_share_efs.iam", "efs.tls to true"),
        (efs(region="Frankfurt"), "dag_share_efs.region", "eu-central-1"),
    ],
)
def test_each_problem_names_the_variable_and_the_fix(settings: dict[str, t.Any], variable: str, words: str) -> None:
    (problem,) = find_problems(settings, "dag_share_")

    assert problem.variable == variable
    assert words in problem.line()


def test_all_problems_come_together() -> None:
    found = find_problems({"type": "efs", "path": "dags", "efs": {"iam": True, "tls": False}, "id": "!"})

    assert [problem.variable for problem in found] == ["path", "id", "efs.file_system", "efs.iam"]


def test_a_reader_gets_the_recommended_options_and_a_publisher_writes() -> None:
    assert ",".join(read_settings(NFS).options) == READER
    assert ",".join(read_settings({**NFS, "publisher": True}).options) == READER.replace(",ro,", ",rw,")


def test_an_option_takes_the_place_of_the_one_it_contradicts() -> None:
    assert merge(["timeo=600", "noresvport", "noatime", "ro"], ["resvport", "timeo=50", "relatime", "nconnect=4"]) == (
        "timeo=50",
        "resvport",
        "relatime",
        "ro",
        "nconnect=4",
    )


def test_an_efs_share_has_the_options_of_its_helper() -> None:
    share = read_settings(efs(region="eu-central-1", access_point="fsap-0a1b", iam=True))
    unit = render(share)["/etc/systemd/system/srv-airflow-dags.mount"]

    assert what_of(unit) == "fs-0123456789abcdef0:/"
    assert "\nType=efs\n" in unit
    assert options_of(unit) == (
        *("tls", "iam", "accesspoint=fsap-0a1b", "region=eu-central-1", "noresvport"),
        *("lookupcache=pos", "noatime", "nodev", "nosuid", "ro", "_netdev"),
    )
    assert "tls" not in read_settings(efs(tls=False)).options


def test_docker_waits_for_the_mount_and_is_started_when_it_comes_late() -> None:
    files = render(read_settings(NFS))

    assert files["/etc/systemd/system/docker.service.d/flowstead-dag-share.conf"].endswith(
        "[Unit]\nRequiresMountsFor=/srv/airflow/dags\n"
    )
    retry = files["/etc/systemd/system/flowstead-dag-share.service"]
    assert "ExecStart=systemctl start srv-airflow-dags.mount\n" in retry
    assert "--no-block start docker.service" in retry
    assert "OnFailure=flowstead-dag-share.service\n" in files["/etc/systemd/system/srv-airflow-dags.mount"]


def test_a_local_share_has_files_only_where_something_else_mounts_it() -> None:
    local = {"path": "/srv/airflow/dags"}

    assert render(read_settings(local)) == {}
    assert list(render(read_settings({**local, "local": {"mounted": True}}))) == [
        "/etc/systemd/system/docker.service.d/flowstead-dag-share.conf"
    ]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/srv/airflow/dags", "srv-airflow-dags.mount"),
        ("/srv/a-b/.c+d@e", r"srv-a\x2db-.c\x2bd\x40e.mount"),  # as systemd-escape of systemd 257 says it
        ("/.x/y", r"\x2ex-y.mount"),
    ],
)
def test_units_have_the_name_that_systemd_wants(path: str, name: str) -> None:
    assert unit_name(path) == name


LIVE = (
    "ro,nosuid,nodev,noatime,vers=4.1,rsize=131072,wsize=131072,namlen=255,hard,noresvport,fatal_neterrors=none,proto=tcp,"
    "timeo=600,retrans=2,sec=sys,clientaddr=10.77.0.11,lookupcache=pos,local_lock=none,addr=10.77.0.21"
)


def test_a_mount_as_the_kernel_shows_it_is_as_asked_for() -> None:
    assert compare(READER.split(","), LIVE.split(",")) == []


@pytest.mark.parametrize(
    ("wanted", "live", "remount"),
    [
        (READER.replace(",ro,", ",rw,"), LIVE, True),
        (READER, LIVE.replace("ro,nosuid", "rw,nosuid"), True),
        (READER, LIVE.replace("noatime", "relatime"), True),
        (READER, LIVE.replace("timeo=600", "timeo=300"), False),
        (READER, LIVE.replace(",hard,", ",soft,"), False),
        (READER, LIVE.replace("vers=4.1", "vers=4.2"), False),
        (READER, LIVE.replace("noresvport,", ""), False),
        (READER.replace("noresvport", "resvport"), LIVE, False),
        (READER.replace("rsize=1048576", "rsize=65536"), LIVE, False),
    ],
)
def test_a_different_option_is_found_and_known_to_need_a_remount_or_more(wanted: str, live: str, remount: bool) -> None:
    (difference,) = compare(wanted.split(","), live.split(","))

    assert difference.remount is remount


def test_options_that_proc_does_not_show_are_compared_by_what_was_asked_for_before() -> None:
    assert remountable(["timeo=600", "ro"], ["timeo=600", "rw"])
    assert not remountable(["timeo=600"], ["timeo=600", "actimeo=5"])
