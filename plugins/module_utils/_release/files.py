# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every operation that changes the share, one method each, and nothing else.

PRIVATE to the collection. Tests put a class in its place that dies, or fails, before the n-th of them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import typing as t
import uuid

_CHUNK = 1 << 20
#: A file system that cannot link here can still copy: too many links, not ours (protected_hardlinks), another device.
NO_LINK = frozenset({errno.EMLINK, errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS})


class Files:
    """The real ones. Modes are what is asked for, whatever the umask; what was written is on the disk."""

    def before(self, operation: str, path: str) -> None:
        """Called before each operation."""

    def make_directory(self, path: str, mode: int = 0o755) -> None:
        """Make one directory."""
        self.before("mkdir", path)
        os.mkdir(path, mode)
        self._fix_mode(path, mode)

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Make a file that does not exist yet. It is on the disk only after :meth:`sync_file`."""
        self.before("create", path)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            self.before("write", path)
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
            if stat.S_IMODE(os.fstat(handle).st_mode) != mode:
                self.before("chmod", path)
                os.fchmod(handle, mode)
        finally:
            os.close(handle)

    def sync_file(self, path: str) -> None:
        """Bring a file to the disk. For many files, this is much faster after all of them are written."""
        self.before("fsync", path)
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def settle(self, path: str) -> str:
        """Bring a file to the disk; the SHA-256 of what the disk or server has then, and not this host's memory."""
        self.before("fsync", path)
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(handle)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            return _digest(handle)
        finally:
            os.close(handle)

    def link(self, source: str, path: str) -> None:
        """Give a file a second name."""
        self.before("link", path)
        os.link(source, path, follow_symlinks=False)

    def symlink(self, target: str, path: str) -> None:
        """Make a symbolic link."""
        self.before("symlink", path)
        os.symlink(target, path)

    def rename(self, source: str, path: str) -> None:
        """Rename at once; an existing file or link is replaced, a directory with content is not."""
        self.before("rename", path)
        os.rename(source, path)

    def unlink(self, path: str) -> None:
        """Delete a file or a link."""
        self.before("unlink", path)
        os.unlink(path)

    def remove_directory(self, path: str) -> None:
        """Delete an empty directory."""
        self.before("rmdir", path)
        os.rmdir(path)

    def change_owner(self, path: str, uid: int, gid: int) -> None:
        """Change owner and group; -1 leaves one as it is."""
        self.before("chown", path)
        os.chown(path, uid, gid, follow_symlinks=False)

    def change_mode(self, path: str, mode: int) -> None:
        """Change permissions."""
        self.before("chmod", path)
        os.chmod(path, mode)

    def sync_directory(self, path: str) -> None:
        """Bring the names in a directory to the disk."""
        self.before("fsync", path)
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system that knows no such thing
                raise
        finally:
            os.close(handle)

    def note(self, handle: int, text: bytes) -> None:
        """Write the short text that a lock file holds."""
        self.before("note", "")
        os.ftruncate(handle, 0)
        os.pwrite(handle, text, 0)

    def replace(self, path: str, text: str, drafts: str, mode: int = 0o644) -> None:
        """Give a file new content at once; the draft lies in another directory of the same file system."""
        draft = os.path.join(drafts, f"{os.path.basename(path)}.{uuid.uuid4().hex}")
        self.write(draft, text.encode(), mode)
        self.sync_file(draft)
        self.rename(draft, path)
        self.sync_directory(os.path.dirname(path))

    def remove_tree(self, path: str) -> None:
        """Delete a directory with all that is in it, or a file."""
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            self.unlink(path)
            return
        for directory, names, files in os.walk(path, topdown=False, onerror=_raise):
            for name in files:
                self.unlink(os.path.join(directory, name))
            for name in names:
                child = os.path.join(directory, name)
                if os.path.islink(child):
                    self.unlink(child)
                else:
                    self.remove_directory(child)
        self.remove_directory(path)

    def _fix_mode(self, path: str, mode: int) -> None:
        found = stat.S_IMODE(os.lstat(path).st_mode)
        if found & 0o777 != mode & 0o777 or (mode & ~found):  # a set-group-ID bit that was inherited may stay
            self.before("chmod", path)
            os.chmod(path, mode | (found & stat.S_ISGID))


def digest_file(path: str) -> str:
    """SHA-256 of a file."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return _digest(handle)
    finally:
        os.close(handle)


def _digest(handle: int) -> str:
    digest = hashlib.sha256()
    while True:
        chunk = os.read(handle, _CHUNK)
        if not chunk:
            return digest.hexdigest()
        digest.update(chunk)


def read_bytes(path: str) -> bytes:
    """All of a file, which is no link."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as stream:
        return stream.read()


def _raise(error: OSError) -> t.NoReturn:
    raise error
