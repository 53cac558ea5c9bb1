"""A publisher dies before any of its file operations, and publishers meet."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._release import operations, staging
from ansible_collections.flowstead.airflow.plugins.module_utils._release.errors import ReleaseError
from fake_share import Broken, Share, in_child
from release_deaths import CASES, OLD, die_everywhere, two_releases


@pytest.fixture(autouse=True)
def _one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The n-th operation is always the same one."""
    monkeypatch.setattr(staging.Stager.__init__, "__defaults__", (1,))


@pytest.mark.parametrize("case", CASES)
def test_a_publisher_that_dies_before_any_operation_leaves_a_complete_current_release_and_the_next_run_succeeds(
    tmp_path: Path, case: str
) -> None:
    assert die_everywhere(tmp_path, case) > 5


def test_a_killed_rollback_goes_back_to_the_same_release_when_it_is_repeated(tmp_path: Path) -> None:
    template = Share(tmp_path / "template")
    template.top.mkdir()
    two_releases(template)
    newest, first = template.current(), template.root.previous(template.current())
    for number in range(1, 500):
        share = Share(tmp_path / f"{number}")
        shutil.copytree(template.top, share.top, symlinks=True)
        code = in_child(lambda: share.run("rollback", files=Broken(die_at=number)))  # noqa: B023
        if share.current() == newest:
            assert share.run("rollback", expected=newest)["release"] == first
        assert share.current() == first
        assert share.root.previous(first) not in ("", newest)
        if code == 0:
            return
    pytest.fail("it never came to its end")


def test_a_preparation_that_dies_before_any_operation_is_finished_by_the_next_run(tmp_path: Path) -> None:
    for number in range(1, 500):
        share = Share(tmp_path / f"{number}")
        share.top.mkdir()
        code = in_child(lambda: share.run("prepare", files=Broken(die_at=number)))  # noqa: B023
        if (share.path / ".sentinel").exists():
            share.current()
        else:
            with pytest.raises(ReleaseError, match="prepare"):
                share.run("status")
        share.run("prepare")
        share.current()
        share.all_complete()
        assert len(share.root.releases()) == 1, f"operation {number}"
        assert share.run("prepare")["changed"] is False
        if code == 0:
            assert number > 10
            return
    pytest.fail("it never came to its end")


def test_two_publishers_at_once_take_turns_and_readers_never_see_anything_partial(tmp_path: Path) -> None:
    share = Share(tmp_path)
    share.run("prepare")

    def publisher(who: int) -> None:
        mine = Share(tmp_path)
        mine.top = tmp_path / f"publisher-{who}"
        mine.top.mkdir()
        for number in range(8):
            content = {f"{name}.py": f"{who} {number if name < 3 else 0}\n" for name in range(12)}
            release = mine.stage(content)["release"]
            mine.run("activate", release=release)
            mine.run("prune", keep=2)

    children = []
    for who in range(2):
        child = os.fork()
        if child == 0:
            try:
                publisher(who)
            except BaseException as error:
                print(error, flush=True)
                os._exit(1)
            os._exit(0)
        children.append(child)
    codes: list[int] = []
    looks = 0
    while len(codes) < len(children):
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid in children:
            codes.append(os.waitstatus_to_exitcode(status))
        # what a reader does: resolve once, then read the release
        target = os.readlink(share.path / "current")
        try:
            names = set(os.listdir(share.path / target))
        except FileNotFoundError:
            names = set()
        if target == os.readlink(share.path / "current"):  # not one that was replaced, and pruned, meanwhile
            assert names == {"MANIFEST.json"} or len(names) == 13, names
            looks += 1
        time.sleep(0.002)
    assert codes == [0, 0]
    assert looks > 10
    share.current()
    share.all_complete()


def test_a_publisher_that_waits_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    share = Share(tmp_path)
    share.run("prepare")
    share.publish(OLD)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        work = operations.Operations(
            {"path": str(share.path), "bundle": "shop", "environment": "", "lock_timeout": 1, "action": "stage"}, False
        )
        with work._locked("stage"):
            os.write(writing, b"x")
            time.sleep(30)
        os._exit(0)
    os.read(reading, 1)
    try:
        with pytest.raises(ReleaseError, match=rf"held by stage on \S+, process {child}, since 20.*lock_timeout"):
            share.run("prune", lock_timeout=0)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert share.run("prune", lock_timeout=0)["changed"] is False
