"""What each action does on the share, in check mode too."""

from __future__ import annotations

import hashlib
import os
import stat
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._release import manifest, switching
from ansible_collections.flowstead.airflow.plugins.module_utils._release.errors import ReleaseError, ReleaseProblems
from ansible_collections.flowstead.airflow.plugins.module_utils._release.files import Files
from fake_share import Share

OLD = {"a.py": "a = 1\n", "lib/b.py": "b = 1\n"}
NEW = {"a.py": "a = 2\n", "lib/b.py": "b = 1\n", "c.py": "c = 1\n"}


@pytest.fixture
def share(tmp_path: Path) -> Share:
    one = Share(tmp_path)
    one.run("prepare")
    return one


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_fresh_bundle_is_valid_with_an_empty_release(tmp_path: Path) -> None:
    share = Share(tmp_path)
    done = share.run("prepare", environment="prod")
    assert done["changed"]
    assert (done["current"], done["previous"]) == (share.current(), "")
    assert share.content() == {}
    assert (share.path / ".sentinel").read_text() == '{"format": 1, "bundle": "shop", "environment": "prod"}\n'
    assert share.run("prepare", environment="prod") == {
        "changed": False, "actions": [], "current": done["current"], "release": done["current"], "previous": "",
        "diff": {}, "warnings": [],
    }  # fmt: skip


def test_a_staged_release_is_complete_and_nobody_uses_it(share: Share) -> None:
    before = share.current()
    done = share.stage(OLD, executable=("a.py",))
    assert (done["changed"], done["current"], done["files"]) == (True, before, 2)
    assert done["differences"] == {"added": ["a.py", "lib/b.py"], "changed": [], "removed": []}
    assert done["diff"] == {"prepared": "+ a.py\n+ lib/b.py\n"}
    assert done["transferred"] == {"files": 2, "bytes": 12, "linked": 0, "copied": 0}
    assert manifest.RELEASE.fullmatch(done["release"])
    assert done["release"].endswith(done["hash"][:12])
    found = share.root.manifest(done["release"])
    assert (found.hash, found.source) == (done["hash"], {"commit": "c0ffee"})
    share.all_complete()


def test_modes_are_those_that_containers_need_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        share = Share(tmp_path)
        share.run("prepare")
        top = share.path / "releases" / share.publish(OLD, executable=("a.py",))
    finally:
        os.umask(before)
    assert [mode(path) for path in (share.path, share.path / "releases", top, top / "lib")] == [0o755] * 4
    assert [mode(top / name) for name in ("a.py", "lib/b.py", "MANIFEST.json")] == [0o755, 0o644, 0o644]
    assert mode(share.path / ".sentinel") == 0o644


def test_the_same_content_is_never_published_twice(share: Share) -> None:
    first = share.publish(OLD)
    share.publish(NEW)
    before = share.snapshot()
    again = share.stage(OLD)
    assert (again["changed"], again["release"], again["transferred"]["files"]) == (False, first, 0)
    assert share.snapshot()[2:] == before[2:]


def test_staging_counts_the_releases_that_are_there_with_it(share: Share) -> None:
    first = share.stage(OLD)
    assert first["stored"] == len(list((share.path / "releases").iterdir())) == 2, "the first one is empty"
    assert share.stage(NEW)["stored"] == 3
    assert share.stage(OLD)["stored"] == 3


def test_only_what_changed_is_sent_and_the_rest_is_linked(share: Share) -> None:
    first = share.publish(OLD)
    done = share.stage(NEW)
    assert done["transferred"] == {"files": 2, "bytes": 12, "linked": 1, "copied": 0}
    assert done["differences"] == {"added": ["c.py"], "changed": ["a.py"], "removed": []}
    inodes = {os.stat(share.path / "releases" / name / "lib/b.py").st_ino for name in (first, done["release"])}
    assert len(inodes) == 1


def test_a_change_of_the_executable_bit_is_a_new_release_that_is_copied_on_the_share(share: Share) -> None:
    first = share.publish(OLD)
    done = share.stage(OLD, executable=("a.py",))
    assert done["transferred"] == {"files": 0, "bytes": 0, "linked": 1, "copied": 1}
    assert done["differences"]["changed"] == ["a.py"]
    assert mode(share.path / "releases" / first / "a.py") == 0o644


def test_content_that_stands_in_several_places_is_sent_once(share: Share) -> None:
    done = share.stage({f"{number}.py": "same\n" for number in range(5)})
    assert (done["transferred"]["files"], done["files"]) == (1, 5)
    share.all_complete()


def test_a_file_of_an_old_release_that_somebody_changed_is_not_taken_over(share: Share) -> None:
    first = share.publish(OLD)
    (share.path / "releases" / first / "lib/b.py").write_text("b = 9\n")
    done = share.stage(NEW)
    assert share.root.release(done["release"])
    assert (share.path / "releases" / done["release"] / "lib/b.py").read_text() == "b = 1\n"
    assert done["transferred"]["files"] == 3


def test_a_file_that_nobody_wrote_to_since_it_was_published_is_linked_unread(share: Share) -> None:
    release = share.publish({"a.py": "one", "b.py": "two"})
    file = share.path / "releases" / release / "a.py"
    before = file.stat().st_mtime_ns - 10**9
    file.write_text("0ne")  # only somebody who reads it can tell
    os.utime(file, ns=(before, before))
    done = share.stage({"a.py": "one", "b.py": "changed"})
    assert (done["transferred"]["files"], done["transferred"]["linked"]) == (1, 1)
    assert (share.path / "releases" / done["release"] / "a.py").stat().st_ino == file.stat().st_ino


def test_a_file_that_was_edited_in_its_release_is_not_taken_over(share: Share) -> None:
    release = share.publish({"a.py": "one", "b.py": "two"})
    edited = share.path / "releases" / release / "a.py"
    seal = (edited.parent / "MANIFEST.json").stat().st_mtime_ns
    edited.write_text("0ne")  # as long as before
    os.utime(edited, ns=(seal, seal))  # within the same tick of the clock as the last word of its release
    done = share.stage({"a.py": "one", "b.py": "changed"})
    assert done["transferred"]["files"] == 2
    assert (share.path / "releases" / done["release"] / "a.py").read_text() == "one"


def test_a_damaged_release_with_the_wanted_content_is_made_anew(share: Share) -> None:
    first = share.publish(OLD)
    (share.path / "releases" / first / "a.py").write_text("a = 9\n")
    done = share.stage(OLD)
    assert done["changed"]
    assert done["release"] not in ("", first)
    assert first in done["warnings"][0]


def test_content_that_was_pruned_after_the_look_is_asked_for_again(share: Share) -> None:
    first = share.publish(OLD)
    data = {hashlib.sha256(text.encode()).hexdigest(): text.encode() for text in NEW.values()}
    files = {
        path: manifest.File(hashlib.sha256(text.encode()).hexdigest(), len(text), False) for path, text in NEW.items()
    }
    word = manifest.pack(manifest.Manifest("shop", files))
    looked = share.run("stage", _manifest=word)
    assert sorted(looked["missing"]) == sorted({files["a.py"].sha256, files["c.py"].sha256})
    # somebody publishes something else and prunes between the two calls
    share.publish({"z.py": "z = 1\n"})
    share.publish({"z.py": "z = 2\n"})
    switching.remove_release(Files(), share.root, first)
    done = share.run("stage", _manifest=word, _content=share.upload(data, looked["missing"]))
    assert (done["release"], done["missing"]) == ("", [files["lib/b.py"].sha256])
    share.all_complete()
    assert share.run("stage", _manifest=word, _content=share.upload(data, data))["release"]


def test_activating_flips_at_once_and_a_second_time_does_nothing(share: Share) -> None:
    empty = share.current()
    release = share.stage(OLD)["release"]
    done = share.run("activate", release=release, expected=empty)
    assert (done["changed"], done["current"], done["previous"], done["replaced"]) == (True, release, empty, empty)
    assert done["diff"]["prepared"] == f"current: {empty} -> {release}\n+ a.py\n+ lib/b.py\n"
    assert os.readlink(share.path / "current") == f"releases/{release}"
    assert share.content() == OLD
    again = share.run("activate", release=release, expected=empty)
    assert (again["changed"], again["previous"]) == (False, empty)


def test_a_flip_is_refused_when_somebody_else_has_flipped(share: Share) -> None:
    empty = share.current()
    share.publish(OLD)
    release = share.stage(NEW)["release"]
    with pytest.raises(ReleaseError, match=f"not {empty}: somebody else"):
        share.run("activate", release=release, expected=empty)
    with pytest.raises(ReleaseError, match="somebody else"):
        share.run("rollback", expected=release)
    assert share.content() == OLD


def test_a_release_of_another_hash_is_not_activated(share: Share) -> None:
    done = share.stage(OLD)
    with pytest.raises(ReleaseError, match="has the hash"):
        share.run("activate", release=done["release"], hash="0" * 12)
    assert share.run("activate", release=done["release"], hash=done["hash"][:20])["changed"]


def test_a_release_that_lacks_a_file_is_not_activated(share: Share) -> None:
    release = share.stage(OLD)["release"]
    (share.path / "releases" / release / "lib/b.py").unlink()
    with pytest.raises(ReleaseError, match=r"lib/b.py: is missing"):
        share.run("activate", release=release)


@pytest.mark.parametrize("name", ["../../etc", "", "20261126T142301Z-1a2b3c4d5e6f"])
def test_only_a_release_that_exists_is_activated(share: Share, name: str) -> None:
    with pytest.raises(ReleaseError, match=r"is no name of a release|there is no release"):
        share.run("activate", release=name)


def test_going_back_goes_down_the_way_that_was_taken(share: Share) -> None:
    empty = share.current()
    first, second = share.publish(OLD), share.publish(NEW)
    done = share.run("rollback", expected=second)
    assert (done["current"], done["previous"], done["replaced"]) == (first, empty, second)
    third = share.publish({"x.py": "x\n"})
    assert share.run("status")["previous"] == first
    assert share.run("rollback", expected=third)["current"] == first
    assert share.run("rollback")["current"] == empty
    with pytest.raises(ReleaseError, match="Name the release"):
        share.run("rollback")
    assert share.run("rollback", release=second)["current"] == second


def test_a_release_that_never_was_current_can_be_discarded_and_others_cannot(share: Share) -> None:
    first, second = share.publish(OLD), share.publish(NEW)
    staged = share.stage({"x.py": "x\n"})["release"]
    for release, why in ((second, "is the current one"), (first, "was current before")):
        with pytest.raises(ReleaseError, match=why):
            share.run("discard", release=release)
    assert share.run("discard", release=staged)["removed"] == [staged]
    assert share.run("discard", release=staged)["changed"] is False
    share.all_complete()


def test_prune_keeps_what_somebody_needs_and_says_why(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    releases = [share.publish({"a.py": f"{number}\n"}) for number in range(6)]
    # names within one second are sorted by hash; the test needs them by age
    order = {name: f"202601{index + 10}T000000Z-{name[-12:]}" for index, name in enumerate(releases)}
    for old, new in order.items():
        (share.path / "releases" / old).rename(share.path / "releases" / new)
    history = (share.path / ".history").read_text()
    for old, new in order.items():
        history = history.replace(old, new)
    (share.path / ".history").write_text(history)
    names = list(order.values())
    (share.path / "current").unlink()
    os.symlink(f"releases/{names[-1]}", share.path / "current")
    staged = share.stage({"new.py": "new\n"})["release"]
    empty = next(name for name in share.root.releases() if not share.root.manifest(name).files)
    assert empty not in names

    wanted = share.run("prune", check=True, keep=1, in_use=[names[1], "", "20200101T000000Z-000000000000"])
    done = share.run("prune", keep=1, in_use=[names[1], "", "20200101T000000Z-000000000000"])
    reasons = {item["release"]: item["reason"] for item in done["kept"]}
    assert wanted["removed"] == done["removed"]
    assert reasons[names[5]] == "current"
    assert reasons[names[4]] == "previous"
    assert reasons[names[1]] == "in use"
    assert "staged less than an hour ago" in reasons[staged]
    assert set(done["removed"]) >= {names[0], names[2], names[3]}
    assert share.run("prune", keep=1, in_use=[names[1]])["changed"] is False
    later = time.time() + switching.YOUNG_SECONDS + 60
    monkeypatch.setattr(switching, "YOUNG_SECONDS", switching.YOUNG_SECONDS - (later - time.time()))
    assert names[1] in share.run("prune", keep=1)["removed"]
    share.all_complete()


def test_what_a_killed_publisher_left_is_removed_by_the_next_one(share: Share) -> None:
    left = share.path / ".incoming" / "20200101T000000Z-000000000000.abcd"
    (left / "lib").mkdir(parents=True)
    (left / "lib" / "a.py").write_text("x")
    os.symlink("releases/gone", share.path / ".incoming" / "current.abcd")
    assert share.run("status")["incoming"] == ["20200101T000000Z-000000000000.abcd", "current.abcd"]
    share.run("prune")
    assert share.run("status")["incoming"] == []


def test_status_tells_what_is_there(share: Share) -> None:
    empty = share.current()
    first = share.publish(OLD)
    done = share.run("status")
    assert (done["current"], done["previous"], done["changed"], done["problems"]) == (first, empty, False, [])
    found = {item["release"]: item for item in done["releases"]}[first]
    assert (found["files"], found["bytes"], found["source"]) == (2, 12, {"commit": "c0ffee"})
    assert [event["to"] for event in done["history"]] == [empty, first]


def test_verify_names_every_file_that_is_not_what_was_published(share: Share) -> None:
    release = share.publish({**OLD, "c.py": "c\n", "d.py": "d\n"})
    assert share.run("verify")["verified"] == {"files": 4, "bytes": 16}
    top = share.path / "releases" / release
    (top / "a.py").write_text("a = 9\n")
    (top / "lib/b.py").unlink()
    (top / "c.py").chmod(0o600)
    (top / "d.py").unlink()
    os.symlink("a.py", top / "d.py")
    (top / "extra.py").write_text("x")
    with pytest.raises(ReleaseProblems) as caught:
        share.run("verify")
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == [
        "extra.py", "a.py", "c.py", "d.py", "lib/b.py"
    ]  # fmt: skip
    assert "other content" in caught.value.problems[1]
    assert "mode 0600 instead of 0644" in caught.value.problems[2]


@pytest.mark.parametrize("name", ["../..", "20261126T142301Z-1a2b3c4d5e6f"])
def test_only_a_release_is_verified(share: Share, name: str) -> None:
    with pytest.raises(ReleaseError, match="there is no release"):
        share.run("verify", release=name)


def test_a_manifest_that_was_changed_is_noticed(share: Share) -> None:
    release = share.publish(OLD)
    path = share.path / "releases" / release / "MANIFEST.json"
    path.write_text(path.read_text().replace('"size":6', '"size":7'))
    with pytest.raises(ReleaseError, match="hash that is not that of its files"):
        share.run("verify")
    assert "hash that is not" in share.run("status")["problems"][0]
    assert share.publish(NEW) == share.current()


def test_a_missing_current_is_damage_that_activating_repairs(share: Share) -> None:
    release = share.publish(OLD)
    (share.path / "current").unlink()
    for action in ("prune", "prepare", "verify"):
        with pytest.raises(ReleaseError, match="somebody deleted it"):
            share.run(action)
    assert "does not lead to a release" in share.run("status")["problems"][0]
    assert share.run("activate", release=release)["changed"]
    assert share.current() == release


@pytest.mark.parametrize("text", ["garbage", "[]", '{"trail": 5}'])
def test_a_damaged_history_stops_nothing_but_discarding(share: Share, text: str) -> None:
    staged = share.stage(OLD)["release"]
    (share.path / ".history").write_text(text)
    with pytest.raises(ReleaseError, match="was current before"):
        share.run("discard", release=staged)
    assert share.run("activate", release=staged)["changed"]
    assert share.run("status")["problems"] == []


CHECKED: list[tuple[str, dict[str, t.Any]]] = [
    ("prepare", {}), ("activate", {"release": True}), ("rollback", {}), ("prune", {"keep": 1}),
    ("discard", {"release": True}), ("status", {}), ("verify", {}),
]  # fmt: skip


@pytest.mark.parametrize(("action", "options"), CHECKED)
def test_check_mode_predicts_and_touches_nothing(share: Share, action: str, options: dict[str, t.Any]) -> None:
    share.publish(OLD)
    share.publish({"b.py": "b\n"})
    staged = share.stage(NEW)["release"]
    options = {**options, **({"release": staged} if "release" in options else {})}
    before = share.snapshot()
    predicted = share.run(action, check=True, **options)
    assert share.snapshot() == before
    done = share.run(action, **options)
    assert {key: predicted[key] for key in ("changed", "diff", "release", "previous")} == {
        key: done[key] for key in ("changed", "diff", "release", "previous")
    }


def test_check_mode_predicts_preparing_and_staging_and_touches_nothing(tmp_path: Path) -> None:
    share = Share(tmp_path)
    predicted = share.run("prepare", check=True)
    assert list(tmp_path.iterdir()) == []
    assert predicted["actions"] == share.run("prepare")["actions"]
    before = share.snapshot()
    looked = share.stage(OLD, check=True)
    assert (looked["changed"], looked["release"], len(looked["missing"])) == (True, "", 2)
    assert looked["diff"] == {"prepared": "+ a.py\n+ lib/b.py\n"}
    assert share.snapshot() == before


def test_a_foreign_root_is_refused(share: Share) -> None:
    other = Share(share.top, bundle="shop")
    other.bundle = "billing"
    for action in ("prepare", "status", "prune"):
        with pytest.raises(ReleaseError, match="belongs to the bundle 'shop'"):
            other.run(action)
    with pytest.raises(ReleaseError, match="is of the bundle"):
        share.run("stage", _manifest=manifest.pack(manifest.Manifest("billing", {})))
    share.run("prepare", environment="")
    (share.path / ".sentinel").write_text('{"format": 1, "bundle": "shop", "environment": "prod"}')
    with pytest.raises(ReleaseError, match="'shop' of 'dev'"):
        share.run("status", environment="dev")


def test_a_root_that_is_not_there_is_explained(tmp_path: Path) -> None:
    share = Share(tmp_path)
    with pytest.raises(ReleaseError, match="no bundle shop yet, or the share is not mounted"):
        share.run("status")
    share.path.mkdir(parents=True)
    with pytest.raises(ReleaseError, match=r"\.sentinel does not exist"):
        share.run("status")
    (share.path / "old.py").write_text("x")
    with pytest.raises(ReleaseError, match=r"holds old\.py: it is not a directory of releases"):
        share.run("prepare")
    with pytest.raises(ReleaseError, match="the share is not mounted"):
        Share(tmp_path / "no" / "where").run("prepare")


def test_a_teams_directory_gets_its_owner_group_and_mode(tmp_path: Path) -> None:
    share = Share(tmp_path)
    me = {"owner": str(os.getuid()), "group": str(os.getgid()), "mode": "2775"}
    assert share.run("prepare", **me)["changed"]
    for name in ("", "releases", ".incoming"):
        assert mode(share.path / name) == 0o2775
    assert mode(share.path / ".lock") == 0o664
    assert share.run("prepare", **me)["changed"] is False
    assert share.run("prepare", mode="0755", check=True)["changed"]
    assert share.run("prepare", mode="0755")["changed"]
    share.publish(OLD)
    share.all_complete()


def test_an_owner_is_changed_where_he_differs_and_nowhere_else(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("NOT TESTED: only root can give files away; run this test as root")
    share = Share(tmp_path)
    share.run("prepare", owner="12345", group="23456")
    owned = (
        share.path,
        share.path / "releases",
        share.path / ".incoming",
        share.path / ".lock",
        share.path / ".history",
    )
    assert {(path.stat().st_uid, path.stat().st_gid) for path in owned} == {(12345, 23456)}
    assert share.run("prepare", owner="12345")["changed"] is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "2770", "group": "1000"}, "containers could not read"),
        ({"mode": "rwx"}, "is no mode"),
        ({"owner": "nobody-knows-them"}, "nobody-knows-them"),
        ({"group": "nobody-knows-them"}, "nobody-knows-them"),
    ],
)
def test_access_that_cannot_work_is_refused(tmp_path: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(ReleaseError, match=message):
        Share(tmp_path).run("prepare", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_group_root_may_be_closed_to_others(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("NOT TESTED: only root can give files to the group root; run this test as root")
    assert Share(tmp_path).run("prepare", mode="2750", group="0")["changed"]


def test_check_mode_foretells_a_preparation_on_a_share_that_an_earlier_step_would_have_mounted(tmp_path: Path) -> None:
    share = Share(tmp_path / "not" / "mounted")

    result = share.run("prepare", check=True)

    assert result["changed"] is True
    assert list(tmp_path.iterdir()) == []
