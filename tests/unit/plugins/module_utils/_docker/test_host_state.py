"""What a host has of Docker besides a running engine."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.host_state import (
    apt_can_be_asked,
    differing,
    parse_packages,
    parse_units,
    read_ages,
)


def test_only_installed_packages_count() -> None:
    packages = parse_packages(
        "docker-ce installed hold 5:27.5.1-1~debian.12~bookworm\n"
        "docker.io config-files deinstall 26.1.5+dfsg1-9\n"
        "runc not-installed unknown \n"
    )

    assert packages.versions == {"docker-ce": "5:27.5.1-1~debian.12~bookworm"}
    assert packages.selections == {"docker-ce": "hold"}


def test_units_are_told_apart_by_their_properties() -> None:
    units = parse_units(
        "Id=docker.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n"
        "\n"
        "Id=stale.service\nLoadState=loaded\nActiveState=failed\nUnitFileState=disabled\nNeedDaemonReload=yes\n"
        "\n"
        "Id=absent.service\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\nNeedDaemonReload=no\n"
    )

    assert units == {
        "docker.service": {"active": True, "enabled": True, "stale": False},
        "stale.service": {"active": False, "enabled": False, "stale": True},
    }


def test_no_units_are_no_error() -> None:
    assert parse_units("") == {}


def test_a_file_differs_when_it_is_missing_or_holds_another_text(tmp_path: Path) -> None:
    (tmp_path / "same").write_text("text ä\n", encoding="utf-8")
    (tmp_path / "other").write_text("text\n", encoding="utf-8")
    (tmp_path / "directory").mkdir()

    names = ("same", "other", "missing", "directory")

    assert differing({f"{tmp_path}/{name}": "text ä\n" for name in names}) == [
        f"{tmp_path}/{name}" for name in ("directory", "missing", "other")
    ]


def test_a_file_that_somebody_else_owns_or_that_others_may_read_differs(tmp_path: Path) -> None:
    me, mine = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    for name in ("same", "open", "stranger"):
        (tmp_path / name).write_text("key")
        (tmp_path / name).chmod(0o644 if name == "open" else 0o400)
    texts = dict.fromkeys((f"{tmp_path}/same", f"{tmp_path}/open", f"{tmp_path}/stranger"), "key")
    access = dict.fromkeys(texts, f"{me}:{mine}:0400") | {f"{tmp_path}/stranger": f"nobody-at-all:{mine}:0400"}

    assert differing(texts, access) == [f"{tmp_path}/open", f"{tmp_path}/stranger"]


def test_ages_are_those_of_files_that_exist(tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    os.utime(tmp_path / "old", (1000.5, 1000.5))

    assert read_ages([f"{tmp_path}/old", f"{tmp_path}/missing"]) == {f"{tmp_path}/old": 1000.5}


def test_apt_can_be_asked_when_bindings_and_lists_are_there(tmp_path: Path) -> None:
    where = (str(tmp_path), str(tmp_path / "lists"))
    (tmp_path / "apt_pkg.cpython-313-x86_64-linux-gnu.so").touch()

    assert not apt_can_be_asked(*where)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "deb.example.com_dists_trixie_main_binary-amd64_Packages").touch()
    assert apt_can_be_asked(*where)
