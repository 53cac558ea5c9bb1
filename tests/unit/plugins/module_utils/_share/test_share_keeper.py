"""Behaviour of the share on a host: what is done, in which order, and what is refused with nothing changed."""

from __future__ import annotations

import copy
import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._share.keeper import Keeper, Outcome
from ansible_collections.flowstead.airflow.plugins.module_utils._share.mark import NAME
from ansible_collections.flowstead.airflow.plugins.module_utils._share.mounts import Mount
from ansible_collections.flowstead.airflow.plugins.module_utils._share.planning import ShareError
from ansible_collections.flowstead.airflow.plugins.module_utils._share.settings import read_settings
from fake_host import UNITS, FakeHost

PATH = "/srv/airflow/dags"
UNIT = f"{UNITS}srv-airflow-dags.mount"
DROP_IN = f"{UNITS}docker.service.d/flowstead-dag-share.conf"


def keep(host: FakeHost, check_mode: bool = False, **changes: t.Any) -> Outcome:
    """Bring an NFS share to a host."""
    export = {"host": "nfs", "path": changes.pop("export", "/dags"), "options": changes.pop("options", [])}
    settings = {"type": "nfs", "path": PATH, "nfs": export, **changes}
    return Keeper(read_settings(settings), host, check_mode).present()


def take_away(host: FakeHost, check_mode: bool = False) -> Outcome:
    """Remove it."""
    return Keeper(read_settings({"path": PATH}), host, check_mode).absent()


def state(host: FakeHost) -> t.Any:
    """Everything about a host that lasts."""
    return copy.deepcopy((host.files, host.links, host.directories, host.mounted, host.exports, host.closed))


def refused(host: FakeHost, **changes: t.Any) -> str:
    """Why a share is refused; nothing may have changed."""
    before = state(host)
    with pytest.raises(ShareError) as caught:
        keep(host, **changes)
    assert state(host) == before
    return str(caught.value)


@pytest.fixture
def host() -> FakeHost:
    """A host without a share."""
    return FakeHost()


@pytest.fixture
def mounted(host: FakeHost) -> FakeHost:
    """A host that has the share."""
    keep(host)
    host.commands.clear()
    return host


def test_check_then_real_then_again_mounts_once(host: FakeHost) -> None:
    before = state(host)
    planned = keep(host, check_mode=True)
    assert state(host) == before
    assert host.commands == []

    done = keep(host)
    assert done.actions == planned.actions
    assert {one["after_header"] for one in done.diff} >= {UNIT, DROP_IN}
    assert done.share_id == "dags-prod"
    assert [(one.path, one.source) for one in host.mounted] == [(PATH, "nfs:/dags")]
    assert host.closed == {PATH}
    assert keep(host).actions == keep(host, check_mode=True).actions == []


def test_the_share_is_looked_at_aside_before_anything_is_written(host: FakeHost) -> None:
    keep(host)

    programs = [" ".join(command[:2]) for command in host.commands]
    assert programs.index("mount -t") < programs.index("umount /run/flowstead-dag-share")
    assert programs.index("umount /run/flowstead-dag-share") < programs.index("systemctl daemon-reload")
    assert programs[-1] == "systemctl start"
    assert "/run/flowstead-dag-share" not in host.directories


def test_check_mode_on_a_host_without_the_package_says_which(host: FakeHost) -> None:
    host.helpers.clear()

    assert keep(host, check_mode=True).missing_package == "nfs-common"
    with pytest.raises(ShareError) as caught:
        keep(host)
    assert caught.value.package == "nfs-common"
    assert not host.files


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "dag_share_publisher"),
        ({"home.py": ""}, "may be the wrong export"),
        ({NAME: "dags-test"}, "is the share 'dags-test', not 'dags-prod', which dag_share_id asks for"),
        ({NAME: "<html>"}, "is no ID"),
    ],
)
def test_a_wrong_export_is_refused_by_name_with_nothing_changed(
    host: FakeHost, files: dict[str, str], words: str
) -> None:
    host.exports["nfs:/dags"] = files

    assert words in refused(host, id="dags-prod")


def test_a_publisher_marks_an_empty_share_and_no_other(host: FakeHost) -> None:
    host.exports["nfs:/dags"] = {"home.py": ""}
    assert "may be the wrong export" in refused(host, publisher=True)

    host.exports["nfs:/dags"] = {}
    assert "dag_share_sentinel_create is false" in refused(host, publisher=True, sentinel_create=False)
    assert keep(host, publisher=True).share_id == "share-made-up"
    assert keep(host, publisher=True).actions == []


def test_a_host_remembers_which_share_it_had(mounted: FakeHost) -> None:
    mounted.exports["nfs:/dags"][NAME] = "dags-test"

    assert "which this host has seen before" in refused(mounted)
    assert keep(mounted, id="dags-test").share_id == "dags-test"


def test_a_flag_is_remounted_while_in_use(mounted: FakeHost) -> None:
    mounted.busy = ["airflow (12)"]

    done = keep(mounted, publisher=True)

    assert any(action.startswith("remount") for action in done.actions)
    assert "rw" in mounted.mounted[0].options
    assert not any(command[0] == "umount" for command in mounted.commands)
    assert keep(mounted, publisher=True).actions == []


def test_an_option_that_needs_an_unmount_is_refused_while_in_use_and_applied_after(mounted: FakeHost) -> None:
    mounted.busy = ["airflow (12)", "python (13)", "python (14)", "python (15)"]

    reason = refused(mounted, options=["timeo=300"])
    assert "timeo=600 is in force, timeo=300 is asked for" in reason
    assert "airflow (12), python (13), python (14) and 1 more" in reason
    assert "drain" in reason

    mounted.busy = []
    assert keep(mounted, options=["timeo=300"]).actions
    assert "timeo=300" in mounted.mounted[0].options
    assert keep(mounted, options=["timeo=300"]).actions == []


def test_an_option_that_the_kernel_does_not_show_is_applied_too(mounted: FakeHost) -> None:
    done = keep(mounted, options=["nconnect=4"])

    assert "unmount and mount nfs:/dags on /srv/airflow/dags (the options differ in nconnect=4)" in done.actions


def test_a_drift_by_hand_is_repaired(mounted: FakeHost) -> None:
    (live,) = mounted.mounted
    mounted.mounted = [live._replace(options=(live.options - {"ro"}) | {"rw"})]

    assert keep(mounted).actions == ["remount nfs:/dags on /srv/airflow/dags (rw is in force, ro is asked for)"]


def test_an_unmounted_share_is_mounted_again(mounted: FakeHost) -> None:
    mounted.mounted = []

    assert keep(mounted).actions == ["mount nfs:/dags on /srv/airflow/dags"]


def test_another_export_is_only_taken_with_its_own_mark(mounted: FakeHost) -> None:
    mounted.exports["nfs:/two"] = {NAME: "dags-two"}

    assert "nfs:/two is the share 'dags-two', not 'dags-prod'" in refused(mounted, export="/two")
    assert keep(mounted, export="/two", id="dags-two").share_id == "dags-two"
    assert [one.source for one in mounted.mounted] == ["nfs:/two"]


def test_an_export_that_does_not_exist_leaves_the_old_mount(mounted: FakeHost) -> None:
    assert "correct dag_share_nfs.path" in refused(mounted, export="/none")


def test_a_server_that_is_away_is_told(mounted: FakeHost) -> None:
    mounted.dead = True

    assert "its server is away" in refused(mounted)


def test_units_that_systemd_has_not_read_are_read(mounted: FakeHost) -> None:
    mounted.loaded.pop(DROP_IN)

    assert keep(mounted).actions == ["let systemd read its units again"]
    assert keep(mounted).actions == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda host: host.directories.update({PATH: ["sales"]}), "holds files of this host (sales)"),
        (lambda host: host.files.update({"/etc/fstab": f"nfs:/x {PATH} nfs\n"}), "/etc/fstab"),
        (lambda host: setattr(host, "systemd", False), "dag_share_local.mounted"),
        (
            lambda host: host.mounted.append(Mount("8:1", PATH, "ext4", "/dev/sdb1", frozenset())),
            "something else is mounted on /srv/airflow/dags: /dev/sdb1 (ext4)",
        ),
        (
            lambda host: host.mounted.append(Mount("0:9", PATH, "nfs4", "old:/x", frozenset({"vers=4.1"}))),
            "something else is mounted on /srv/airflow/dags: old:/x",
        ),
    ],
)
def test_what_speaks_against_the_share_stops_it(
    host: FakeHost, change: t.Callable[[FakeHost], None], words: str
) -> None:
    change(host)

    assert words in refused(host)


def test_a_mount_of_somebody_else_with_these_options_is_taken_over_and_said_to_be_open_below(host: FakeHost) -> None:
    options = ",".join(read_settings({"type": "nfs", "path": PATH, "nfs": {"host": "nfs", "path": "/dags"}}).options)
    host.directories[PATH] = []
    host._mount("nfs", options, "nfs:/dags", PATH)

    done = keep(host)

    assert not any("mount nfs:/dags" in action for action in done.actions)
    assert "could not be closed" in done.warnings[0]


def test_another_path_needs_the_old_one_to_be_removed_first(mounted: FakeHost) -> None:
    assert "dag_share_path=/srv/airflow/dags" in refused(mounted, path="/srv/other/dags")


def test_a_unit_that_need_not_wait_any_more_loses_its_file(mounted: FakeHost) -> None:
    keep(mounted, units=["airflow-worker.service"])

    assert DROP_IN not in mounted.files
    assert f"{UNITS}airflow-worker.service.d/flowstead-dag-share.conf" in mounted.files


def test_removal_takes_away_everything_but_the_share(mounted: FakeHost) -> None:
    before = state(mounted)
    assert take_away(mounted, check_mode=True).actions == ["take /srv/airflow/dags off this host"]
    assert state(mounted) == before

    take_away(mounted)

    assert (mounted.files, mounted.links, mounted.mounted, mounted.closed) == ({}, set(), [], set())
    assert mounted.exports["nfs:/dags"][NAME] == "dags-prod"
    assert take_away(mounted).actions == []


def test_docker_stops_waiting_before_the_share_is_unmounted(mounted: FakeHost) -> None:
    take_away(mounted)

    programs = [command[:2] for command in mounted.commands]
    assert programs.index(["systemctl", "daemon-reload"]) < programs.index(["umount", PATH])


def test_a_share_in_use_is_not_removed(mounted: FakeHost) -> None:
    mounted.busy = ["airflow (12)"]
    before = state(mounted)

    with pytest.raises(ShareError, match=r"in use by airflow \(12\)"):
        take_away(mounted)
    assert state(mounted) == before


def test_a_local_share_is_marked_and_nothing_else(host: FakeHost) -> None:
    host.systemd = False
    host.exports[PATH] = {NAME: "dags-here"}
    local = read_settings({"path": PATH, "id": "dags-here"})

    assert Keeper(local, host).present().share_id == "dags-here"
    assert Keeper(local, host).present().actions == []
    assert host.commands == []


def test_a_local_share_that_something_else_mounts_has_to_be_there(host: FakeHost) -> None:
    host.exports["/dev/sdb1"] = {NAME: "disk"}
    disk = read_settings({"path": PATH, "local": {"mounted": True}})

    with pytest.raises(ShareError, match="nothing is mounted"):
        Keeper(disk, host).present()
    host.mounted.append(Mount("8:1", PATH, "ext4", "/dev/sdb1", frozenset({"rw"})))
    assert f"write {DROP_IN}" in Keeper(disk, host).present().actions
    assert Keeper(disk, host).present().actions == []


def test_a_share_that_becomes_local_has_to_be_unmounted_first(mounted: FakeHost) -> None:
    with pytest.raises(ShareError, match="entry point remove"):
        Keeper(read_settings({"path": PATH, "id": "x-y-z"}), mounted).present()
