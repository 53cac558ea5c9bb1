"""The share is full, read-only, cannot link, cannot lock, or belongs to somebody else."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import subprocess
import typing as t
from pathlib import Path

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._release import manifest, operations
from ansible_collections.flowstead.airflow.plugins.module_utils._release.errors import ReleaseError, explain
from ansible_collections.flowstead.airflow.plugins.module_utils._share import mark
from fake_share import Broken, Share

OLD = {"a.py": "a = 1\n", "lib/b.py": "b = 1\n"}
NEW = {"a.py": "a = 2\n", "lib/b.py": "b = 1\n"}


@pytest.fixture
def share(tmp_path: Path) -> Share:
    one = Share(tmp_path)
    one.run("prepare")
    one.publish(OLD)
    return one


@pytest.fixture
def small(tmp_path: Path) -> t.Iterator[Share]:
    """A share of 1 MB, in memory."""
    if os.getuid() != 0:
        pytest.skip("NOT TESTED: a share that is full or read-only needs a mount; run this test as root")
    place = tmp_path / "mount"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"NOT TESTED: a share that is full or read-only needs a mount, and: {made.stderr}")
    try:
        one = Share(place)
        one.run("prepare")
        one.publish(OLD)
        one.top = tmp_path
        yield one
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_share_is_told_before_anything_is_sent(small: Share) -> None:
    before = small.current()
    word = manifest.pack(manifest.Manifest("shop", {"big.py": manifest.File("0" * 64, 3_000_000, False)}))
    with pytest.raises(ReleaseError, match=r"needs 3\.0 MB, and 1\.0 MB are free.*prune"):
        small.run("stage", _manifest=word)
    assert small.current() == before


def test_a_share_that_gets_full_meanwhile_is_cleaned_up(small: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    before = small.current()
    monkeypatch.setattr(
        "ansible_collections.flowstead.airflow.plugins.module_utils._release.operations.refuse_full", lambda *_: None
    )
    with pytest.raises(OSError, match="No space") as caught:
        small.stage({f"{number}.py": f"{number}" * 300_000 for number in range(6)})
    assert "the share is full" in explain(caught.value, "")
    assert small.current() == before
    small.all_complete()


def test_a_read_only_share_names_the_setting(small: Share) -> None:
    staged = small.stage(NEW)["release"]
    place = str(small.path.parents[1])
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    actions: list[tuple[str, dict[str, t.Any]]] = [
        ("activate", {"release": staged}), ("rollback", {}), ("prune", {}), ("discard", {"release": staged}),
    ]  # fmt: skip
    for action, options in actions:
        with pytest.raises(OSError, match="Read-only") as caught:
            small.run(action, **options)
        assert "dag_share_publisher" in explain(caught.value, "")
    for check in (False, True):
        with pytest.raises(OSError, match="Read-only"):
            small.stage({"x.py": "x"}, check=check)
    assert small.run("status")["current"] == small.current()
    assert small.run("verify")["problems"] == []
    with pytest.raises(OSError, match="Read-only"):
        small.run("prepare")


@pytest.mark.parametrize("operation", ["mkdir", "create", "write", "fsync", "rename"])
def test_an_operation_that_fails_leaves_the_old_release_and_nothing_else(share: Share, operation: str) -> None:
    before, releases = share.current(), share.root.releases()
    with pytest.raises(OSError, match="No space"):
        share.stage(NEW, files=Broken(errors={operation: errno.ENOSPC}, only=".incoming"
                                      if operation != "rename" else "releases/"))  # fmt: skip
    assert (share.current(), share.root.releases()) == (before, releases)
    share.all_complete()


@pytest.mark.parametrize("number", [errno.EMLINK, errno.EPERM, errno.EXDEV, errno.ENOTSUP])
def test_a_file_system_that_cannot_link_gets_copies(share: Share, number: int) -> None:
    done = share.stage(NEW, files=Broken(errors={"link": number}))
    assert done["transferred"] == {"files": 1, "bytes": 6, "linked": 0, "copied": 1}
    share.all_complete()


def test_a_link_that_fails_for_another_reason_is_an_error(share: Share) -> None:
    with pytest.raises(OSError, match="Input/output"):
        share.stage(NEW, files=Broken(errors={"link": errno.EIO}))
    share.all_complete()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_share_without_locks_is_named(share: Share, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with pytest.raises(ReleaseError, match=r"cannot be locked .* version 4\.1"):
        share.run("prune")


def test_a_server_that_is_away_is_told(share: Share, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_path: str, seconds: float) -> None:
        raise mark.ShareSilent(f"no answer within {seconds:g} s")

    monkeypatch.setattr(operations, "look", silent)
    for action in ("prepare", "status", "prune"):
        with pytest.raises(ReleaseError, match=r"does not answer \(no answer within 15 s\)"):
            share.run(action)


def test_root_that_counts_as_nobody_is_explained(tmp_path: Path) -> None:
    share = Share(tmp_path)
    with pytest.raises(OSError, match="not permitted") as caught:
        share.run("prepare", owner="12345", files=Broken(errors={"chown": errno.EPERM}))
    assert "root_squash" in explain(caught.value, "")
    # Without an owner nobody tries to give anything away.
    assert share.run("prepare", files=Broken(errors={"chown": errno.EPERM}))["changed"]


def test_what_is_written_and_read_back_differently_is_never_a_release(
    share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases = share.root.releases()

    class Lossy(Broken):
        def settle(self, path: str) -> str:
            if path.endswith("a.py"):
                with open(path, "r+b") as stream:
                    stream.write(b"z")
            return super().settle(path)

    with pytest.raises(ReleaseError, match=r"a\.py: was written and has other content"):
        share.stage(NEW, files=Lossy())
    assert share.root.releases() == releases
    share.all_complete()


def test_an_upload_that_is_not_what_was_asked_for_is_refused(share: Share) -> None:
    text = "a = 2\n"
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    word = manifest.pack(manifest.Manifest("shop", {"a.py": manifest.File(sha256, len(text), False)}))
    other = share.upload({"0" * 64: b"", sha256: text.encode()}, [sha256])
    assert share.run("stage", _manifest=word, _content=other)["release"]
    for content, message in (("AAAA", "is damaged"), (other[: len(other) // 8 * 4], "is damaged")):
        word = manifest.pack(manifest.Manifest("shop", {"b.py": manifest.File("1" * 64, 6, False)}))
        with pytest.raises(ReleaseError, match=message):
            share.run("stage", _manifest=word, _content=content)
    with pytest.raises(ReleaseError, match="nobody asked for"):
        share.run("stage", _manifest=word, _content=other)
    share.all_complete()
