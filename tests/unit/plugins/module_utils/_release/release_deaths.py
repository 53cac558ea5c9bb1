"""A publisher that dies before each of its file operations, one after the other; runs on any share, also on a real one.

python3 release_deaths.py DIRECTORY     on a host, with this file, fake_share.py and the collection on the path
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import typing as t
from pathlib import Path

from ansible_collections.flowstead.airflow.plugins.module_utils._release import staging
from ansible_collections.flowstead.airflow.plugins.module_utils._release.files import Files
from fake_share import KILLED, Broken, Share, in_child

OLD = {"a.py": "a = 1\n", "lib/b.py": "b = 1\n", "lib/deep/c.py": "c = 1\n", "run.sh": "echo\n"}
NEW = {**OLD, "a.py": "a = 2\n", "new/d.py": "d = 1\n", "new/same.py": "d = 1\n"}

Act = t.Callable[[Share, Files], object]


def two_releases(share: Share) -> None:
    share.run("prepare")
    share.publish(OLD)
    share.publish(NEW)


def many_releases(share: Share) -> None:
    share.run("prepare")
    for number in range(5):
        share.publish({**OLD, "a.py": f"a = {number}\n"})


def staged(share: Share) -> None:
    share.run("prepare")
    share.publish(OLD)
    share.stage(NEW)


def published(share: Share) -> None:
    share.run("prepare")
    share.publish(OLD)


def _newest(share: Share) -> str:
    return share.root.releases()[-1]


CASES: dict[str, tuple[t.Callable[[Share], object], Act]] = {
    "stage": (published, lambda share, files: share.stage(NEW, files)),
    "activate": (staged, lambda share, files: share.run("activate", files=files, release=_other(share))),
    "rollback": (two_releases, lambda share, files: share.run("rollback", files=files)),
    "prune": (many_releases, lambda share, files: share.run("prune", files=files, keep=1)),
    "discard": (staged, lambda share, files: share.run("discard", files=files, release=_other(share))),
}


def _other(share: Share) -> str:
    """The release with the new content."""
    return next((name for name in share.root.releases() if "new/d.py" in share.root.manifest(name).files), "")


def die_everywhere(top: Path, case: str) -> int:
    """Die before the first operation, then before the second, and so on; after each death the next run puts all right.

    Args:
        top: an empty directory on the share.
        case: a key of :data:`CASES`.

    Returns:
        How many operations there were to die before.
    """
    arrange, act = CASES[case]
    template = Share(top / "template")
    template.top.mkdir()
    arrange(template)
    old = template.current()
    for number in range(1, 500):
        share = Share(top / f"{number}")
        shutil.copytree(template.top, share.top, symlinks=True)
        code = in_child(lambda: act(share, Broken(die_at=number)))  # noqa: B023 - the child runs at once
        after = share.current()
        assert code in (KILLED, 0), f"{case}, operation {number}: ended with {code}"
        if code == 0:
            return number - 1
        allowed = {old, *(share.root.releases() if case in ("activate", "rollback") else ())}
        assert after in allowed, f"{case}, operation {number}: {after} serves"
        done = (case == "discard" and not _other(share)) or (case == "rollback" and after != old)
        if done:
            share.run("prune")
        else:
            act(share, Files())
        share.current()
        share.all_complete()
        shutil.rmtree(share.top)
    raise AssertionError(f"{case} never came to its end")


def main() -> None:
    """All cases in a directory; prints how many deaths each had, as JSON."""
    # One thread, so that the n-th operation is always the same one.
    staging.Stager.__init__.__defaults__ = (1,)  # type: ignore[misc]
    found = {}
    for case in CASES:
        with tempfile.TemporaryDirectory(dir=sys.argv[1]) as place:
            found[case] = die_everywhere(Path(place), case)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
