# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host as the share's code needs it: files, commands, mounts. Tests put another one in its place.

PRIVATE to the collection.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import typing as t
from pathlib import Path

from . import mark, mountpoint
from . import mounts as mount_table
from .mounts import Mount

RECORD = "/var/lib/flowstead/dag_share.json"
#: mount.nfs and mount.efs live here, also where PATH does not say so.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Ran(t.NamedTuple):
    """How a command ended; 124 is too late, as with timeout(1)."""

    code: int
    output: str


class System:
    """The real one."""

    look = staticmethod(mark.look)
    create_mark = staticmethod(mark.create)
    protect = staticmethod(mountpoint.protect)
    unprotect = staticmethod(mountpoint.unprotect)
    users = staticmethod(mount_table.users)

    def has_systemd(self) -> bool:
        """Whether systemd runs this host."""
        return os.path.isdir("/run/systemd/system")

    def mounts(self) -> list[Mount]:
        """What is mounted."""
        return mount_table.parse_mountinfo(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace"))

    def has_command(self, name: str) -> bool:
        """Whether a program is there."""
        return any(os.access(os.path.join(directory, name), os.X_OK) for directory in _PATH.split(":"))

    def run(self, command: t.Sequence[str], seconds: float) -> Ran:
        """Run a command to its end, or kill it with all that it started: mount(8) leaves the work to mount.nfs."""
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C", "PATH": _PATH},
            start_new_session=True,
        )
        try:
            output, _error = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return Ran(124, f"no end within {seconds:g} s")
        return Ran(process.returncode, output.decode(errors="replace").strip())

    def read(self, path: str) -> str | None:
        """The text of a file, None where there is none."""
        try:
            return Path(path).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None

    def write(self, path: str, text: str) -> None:
        """Write a file for all to read, whole or not at all."""
        target = Path(path)
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                os.fchmod(stream.fileno(), 0o644)
                stream.write(text)
            os.replace(draft, path)
        except BaseException:
            os.unlink(draft)
            raise

    def delete(self, path: str) -> None:
        """Delete a file, and its directory when that is a drop-in directory and empty now."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        if path.endswith(".conf") and not os.listdir(os.path.dirname(path)):
            os.rmdir(os.path.dirname(path))

    def is_link(self, path: str) -> bool:
        """Whether there is a symbolic link."""
        return os.path.islink(path)

    def real_parent(self, path: str) -> str:
        """The directory above a path, without symbolic links; never looks at what is mounted on the path."""
        return os.path.realpath(os.path.dirname(path))

    def entries(self, path: str) -> list[str]:
        """Some names in a directory of this host; empty where there is none."""
        try:
            return sorted(os.listdir(path))[:5]
        except FileNotFoundError:
            return []

    def is_directory(self, path: str) -> bool:
        """Whether there is a directory."""
        return os.path.isdir(path)

    def make_directory(self, path: str, mode: int) -> None:
        """Make a directory and those above it."""
        os.makedirs(path, mode=mode, exist_ok=True)

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        os.rmdir(path)

    def record(self) -> dict[str, t.Any]:
        """What an earlier run kept."""
        text = self.read(RECORD)
        return t.cast("dict[str, t.Any]", json.loads(text)) if text else {}
