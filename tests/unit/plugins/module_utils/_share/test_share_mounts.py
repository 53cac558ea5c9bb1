"""Behaviour of the look at mounts and of the mark, on real files and processes."""

from __future__ import annotations

import os
import select
import stat
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._share import mark, mountpoint
from ansible_collections.flowstead.airflow.plugins.module_utils._share.mounts import (
    Mount,
    fstab_line,
    mount_at,
    parse_mountinfo,
    users,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._share.system import System

HOST = "24 1 98:0 / / rw,relatime shared:1 - ext4 /dev/ubda rw\n"
SHARE = "99 24 0:45 / /srv/air\\040flow rw,nosuid shared:9 - nfs4 nfs:/dags ro,vers=4.1\n"
INSIDE = "50 1 0:60 / / rw - overlay overlay rw\n51 50 0:45 /prod /opt/dags ro - nfs4 nfs:/dags ro\n"
MOUNT = Mount("0:45", "/srv/air flow", "nfs4", "nfs:/dags", frozenset({"ro"}))


def test_mountinfo_is_read_with_blanks_and_both_kinds_of_options() -> None:
    mount = mount_at("/srv/air flow", parse_mountinfo(HOST + SHARE))

    assert mount is not None
    assert (mount.device, mount.fstype, mount.source) == ("0:45", "nfs4", "nfs:/dags")
    assert mount.options == {"ro", "nosuid", "vers=4.1"}
    assert mount_at("/srv", parse_mountinfo(HOST + SHARE)) is None


def test_the_upper_of_two_mounts_counts() -> None:
    upper = SHARE.replace("nfs:/dags", "nfs:/other")

    assert mount_at("/srv/air flow", parse_mountinfo(SHARE + upper)).source == "nfs:/other"  # type: ignore[union-attr]


def test_fstab_is_searched_for_the_path_alone() -> None:
    text = "# nfs:/x /srv/dags nfs\nnfs:/a /srv/dags2 nfs defaults 0 0\nnfs:/b /srv/dags/ nfs defaults 0 0\n"

    assert fstab_line("/srv/dags", text) == "nfs:/b /srv/dags/ nfs defaults 0 0"
    assert fstab_line("/srv", text) == ""


def process(proc: Path, pid: str, namespace: str, mountinfo: str, **more: str) -> None:
    """A process in a directory like /proc."""
    (proc / pid / "ns").mkdir(parents=True)
    (proc / pid / "fd").mkdir()
    (proc / pid / "ns/mnt").symlink_to(namespace)
    (proc / pid / "cwd").symlink_to(more.get("cwd", "/"))
    (proc / pid / "comm").write_text(more.get("name", "sh"))
    (proc / pid / "mountinfo").write_text(mountinfo)


def test_users_are_open_files_here_and_mounts_in_containers_but_not_sandboxes(tmp_path: Path) -> None:
    process(tmp_path, "self", "mnt:[1]", HOST + SHARE)
    process(tmp_path, "900001", "mnt:[1]", HOST + SHARE)
    process(tmp_path, "900002", "mnt:[1]", HOST + SHARE, cwd="/srv/air flow/prod", name="bash")
    process(tmp_path, "900003", "mnt:[2]", HOST + SHARE, name="systemd-logind")
    process(tmp_path, "900004", "mnt:[3]", INSIDE, name="airflow")
    process(tmp_path, "900005", "mnt:[4]", "50 1 0:60 / / rw - overlay overlay rw\n", name="redis")
    process(tmp_path, "900006", "mnt:[1]", HOST + SHARE, name="tail")
    (tmp_path / "900006/fd/3").symlink_to("/srv/air flow/log")

    assert users(MOUNT, tmp_path) == ["bash (900002)", "airflow (900004)", "tail (900006)"]


def test_a_new_mark_is_written_once_and_kept(tmp_path: Path) -> None:
    assert mark.look(str(tmp_path), 5) == mark.Sight()
    assert mark.create(str(tmp_path), "dags-prod", 5).mark == "dags-prod"
    assert mark.create(str(tmp_path), "dags-test", 5).mark == "dags-prod"
    assert mark.look(str(tmp_path), 5).mark == "dags-prod"
    assert [path.name for path in tmp_path.iterdir()] == [mark.NAME]


def test_publishers_that_mark_a_share_at_the_same_time_agree(tmp_path: Path) -> None:
    seen: list[str] = []
    threads = [
        threading.Thread(target=lambda: seen.append(mark.create(str(tmp_path), "", 20).mark)) for _one in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(seen) == 4
    assert len(set(seen)) == 1
    assert mark.is_mark(seen[0])


def test_what_a_share_holds_is_told_without_what_servers_put_there(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "prod").mkdir()

    assert mark.look(str(tmp_path), 5).names == ("prod",)


def test_a_directory_that_is_not_there_is_an_error_and_no_exception(tmp_path: Path) -> None:
    assert "No such file" in mark.look(str(tmp_path / "none"), 5).error


def test_a_server_that_never_answers_is_given_up_on(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / mark.NAME)  # opening it waits for a writer that never comes
    before = time.monotonic()

    with pytest.raises(mark.ShareSilent):
        mark.look(str(tmp_path), 0.2)

    assert time.monotonic() - before < 5


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    # The pipe ends when the last process that holds it is gone.
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    child = f"sh -c 'exec 1>/proc/{os.getpid()}/fd/{writing}; read never < {tmp_path}/fifo' & wait"
    os.mkfifo(tmp_path / "fifo")

    assert System().run(["sh", "-c", child], 0.5).code == 124
    os.close(writing)

    assert select.select([reading], [], [], 5)[0]
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_a_command_gives_its_output_and_its_code() -> None:
    assert System().run(["sh", "-c", "echo no; exit 32"], 5) == (32, "no")


@pytest.mark.skipif(os.geteuid() != 0, reason="owner and flags are for root to set")
def test_a_closed_directory_has_no_rights_and_opens_again(tmp_path: Path) -> None:
    path = tmp_path / "srv" / "dags"

    assert mountpoint.protect(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0
    assert not mountpoint.protect(str(path))
    mountpoint.unprotect(str(path), remove=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    mountpoint.unprotect(str(path), remove=True)
    assert not path.exists()
