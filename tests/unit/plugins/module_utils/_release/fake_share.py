"""A share in a temporary directory, sources as dicts, and file operations that die or fail where a test says."""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import os
import stat
import traceback
import typing as t
from pathlib import Path

from ansible_collections.flowstead.airflow.plugins.module_utils._release import artifact, manifest
from ansible_collections.flowstead.airflow.plugins.module_utils._release.files import Files
from ansible_collections.flowstead.airflow.plugins.module_utils._release.layout import Root
from ansible_collections.flowstead.airflow.plugins.module_utils._release.manifest import File, Manifest
from ansible_collections.flowstead.airflow.plugins.module_utils._release.operations import Operations
from ansible_collections.flowstead.airflow.plugins.module_utils._release.source import Source
from ansible_collections.flowstead.airflow.plugins.module_utils._release.verifying import verify

Result = dict[str, t.Any]
KILLED = 77


class Broken(Files):
    """Dies before its n-th operation, or lets operations fail with an error."""

    def __init__(self, die_at: int = 0, errors: dict[str, int] | None = None, only: str = "") -> None:
        self.count = 0
        self._die_at = die_at
        self._errors = errors or {}
        self._only = only

    def before(self, operation: str, path: str) -> None:
        self.count += 1
        if self.count == self._die_at:
            os._exit(KILLED)
        number = self._errors.get(operation)
        if number is not None and self._only in path:
            raise OSError(number, os.strerror(number), path)


class Share:
    """One bundle's root, used as the action plugin uses the module."""

    def __init__(self, top: Path, bundle: str = "shop") -> None:
        self.top = top
        self.path = top / "prod" / bundle
        self.bundle = bundle
        self.root = Root(str(self.path), bundle)

    def run(self, action: str, check: bool = False, files: Files | None = None, **options: t.Any) -> Result:
        params = {
            "action": action, "bundle": self.bundle, "environment": "", "path": str(self.path), "lock_timeout": 20,
            "owner": None, "group": None, "mode": None, "release": None, "expected": None, "hash": None, "keep": 5,
            "in_use": [], "_manifest": None, "_content": None, "_upload": None, **options,
        }  # fmt: skip
        return Operations(params, check, files).run()

    def stage(
        self, content: dict[str, str], files: Files | None = None, executable: tuple[str, ...] = (), check: bool = False
    ) -> Result:
        """Look, send what is missing, stage."""
        data = {hashlib.sha256(text.encode()).hexdigest(): text.encode() for text in content.values()}
        described = {
            path: File(hashlib.sha256(text.encode()).hexdigest(), len(text.encode()), path in executable)
            for path, text in content.items()
        }
        word = manifest.pack(Manifest(self.bundle, described, source={"commit": "c0ffee"}))
        answer = self.run("stage", check, files, _manifest=word)
        wanted: set[str] = set()
        while not check and not answer["release"]:
            wanted |= set(answer["missing"])
            answer = self.run("stage", check, files, _manifest=word, _content=self.upload(data, wanted))
        return answer

    def upload(self, data: dict[str, bytes], wanted: t.Iterable[str]) -> str:
        source = Source(Manifest(self.bundle, {}))
        blobs = self.top / "blobs"
        blobs.mkdir(exist_ok=True)
        for sha256 in wanted:
            (blobs / sha256).write_bytes(data[sha256])
            source.places[sha256] = str(blobs / sha256)
        packed = io.BytesIO()
        artifact.write_upload(packed, source, set(wanted))
        return base64.b64encode(packed.getvalue()).decode()

    def publish(self, content: dict[str, str], **more: t.Any) -> str:
        release: str = self.stage(content, **more)["release"]
        self.run("activate", release=release)
        return release

    def current(self) -> str:
        """The current release, after a proof that it is complete."""
        name = self.root.current()
        assert verify(self.root.release(name), self.root.manifest(name)) == []
        return name

    def all_complete(self) -> None:
        """Nothing in releases/ is partial, and nothing else lies about."""
        for name in os.listdir(self.path / "releases"):
            assert verify(self.root.release(name), self.root.manifest(name)) == [], name
        assert not self.root.incoming()
        assert set(os.listdir(self.path)) <= {".sentinel", ".lock", ".history", ".incoming", "releases", "current"}

    def content(self) -> dict[str, str]:
        """What readers see."""
        top = self.path / "current"
        return {
            str(path.relative_to(top)): path.read_text()
            for path in sorted(top.rglob("*")) if path.is_file() and path.name != "MANIFEST.json"
        }  # fmt: skip

    def snapshot(self) -> list[tuple[str, int, float]]:
        """Everything that is there, to see that nothing was touched."""
        found = []
        for path in sorted(self.top.rglob("*")):
            status = path.lstat()
            when = 0.0 if stat.S_ISDIR(status.st_mode) else status.st_mtime
            found.append((str(path), status.st_ino, when))
        return found


def in_child(action: t.Callable[[], object]) -> int:
    """Run in a real process of its own; its exit status."""
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _pid, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


NO_SPACE = errno.ENOSPC
