"""A publisher dies before any of its file operations, and publishers meet."""

from __future__ import annotations

import os
import shutil
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._release import operations, staging
from ansible_collections.flowstead.airflow.plugins.module_utils._release.errors import ReleaseError
from ansible_collections.flowstead.airflow.plugins.module_utils._release.files import Files
from fake_share import KILLED, Broken, Share, in_child

OLD = {"a.py": "a = 1\n", "lib/b.py": "b = 1\n", "lib/deep/c.py": "c = 1\n", "run.sh": "echo\n"}
NEW = {**OLD, "a.py": "a = 2\n", "new/d.py": "d = 1\n", "new/same.py": "d = 1\n"}

Act = t.Callable[[Share, Files], object]


def _two_releases(share: Share) -> None:
    share.run("prepare")
    share.publish(OLD)
    share.publish(NEW)


def _many_releases(share: Share) -> None:
    share.run("prepare")
    for number in range(5):
        share.publish({**OLD, "a.py": f"a = {number}\n"})


def _staged(share: Share) -> None:
    share.run("prepare")
    share.publish(OLD)
    share.stage(NEW)


def _published(share: Share) -> None:
    share.run("prepare")
    share.publish(OLD)


def _newest(share: Share) -> str:
    return share.root.releases()[-1]


CASES: dict[str, tuple[t.Callable[[Share], object], Act]] = {
    "stage": (_published, lambda share, files: share.stage(NEW, files)),
    "activate": (_staged, lambda share, files: share.run("activate", files=files, release=_other(share))),
    "rollback": (_two_releases, lambda share, files: share.run("rollback", files=files)),
    "prune": (_many_releases, lambda share, files: share.run("prune", files=files, keep=1)),
    "discard": (_staged, lambda share, files: share.run("discard", files=files, release=_other(share))),
}


def _other(share: Share) -> str:
    """The release with the new content."""
    return next((name for name in share.root.releases() if "new/d.py" in share.root.manifest(name).files), "")


@pytest.fixture(autouse=True)
def _one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The n-th operation is always the same one."""
    monkeypatch.setattr(staging.Stager.__init__, "__defaults__", (1,))


@pytest.mark.parametrize("case", CASES)
def test_a_publisher_that_dies_before_any_operation_leaves_a_complete_current_release_and_the_next_run_succeeds(
    tmp_path: Path, case: str
) -> None:
    arrange, act = CASES[case]
    template = Share(tmp_path / "template")
    template.top.mkdir()
    arrange(template)
    old = template.current()
    deaths = 0
    for number in range(1, 500):
        share = Share(tmp_path / f"{number}")
        shutil.copytree(template.top, share.top, symlinks=True)
        code = in_child(lambda: act(share, Broken(die_at=number)))  # noqa: B023 - the child runs at once
        after = share.current()
        assert code in (KILLED, 0), f"operation {number}"
        if code == 0:
            break
        deaths += 1
        allowed = {old, *(share.root.releases() if case in ("activate", "rollback") else ())}
        assert after in allowed, f"operation {number}"

        # the one who comes next
        done = (case == "discard" and not _other(share)) or (case == "rollback" and after != old)
        if done:
            share.run("prune")
        else:
            act(share, Files())
        share.current()
        share.all_complete()
        shutil.rmtree(share.top)
    assert deaths > 5
    assert code == 0


def test_a_killed_rollback_goes_back_to_the_same_release_when_it_is_repeated(tmp_path: Path) -> None:
    template = Share(tmp_path / "template")
    template.top.mkdir()
    _two_releases(template)
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
