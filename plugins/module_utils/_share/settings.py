# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory says about the DAG share: checked completely, then as one value.

PRIVATE to the collection. Pure: no I/O, no Ansible.

Source: nfs(5); the Amazon EFS user guide, "Recommended NFS mount options"; amazon-efs-utils, mount_options.py (tls is
required by iam and accesspoint).
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from .._platform.problems import Problem, show
from .options import OWNED, efs_options, nfs_options

Settings = t.Mapping[str, t.Any]

_PATH = re.compile(r"(/[A-Za-z0-9._+@-]+){2,}")
_EXPORT = re.compile(r"/|(/[A-Za-z0-9._+@-]+)+")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9a-fA-F:]*:[0-9a-fA-F:.]*")
_OPTION = re.compile(r"[a-z][a-z0-9_.-]*(=[A-Za-z0-9_.:/@-]+)?")
_UNIT = re.compile(r"[A-Za-z0-9@:_.\\-]+\.(service|socket|target)")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,63}")
_FILE_SYSTEM = re.compile(r"fs-[0-9a-f]+")
_ACCESS_POINT = re.compile(r"fsap-[0-9a-f]+")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]+")
_VERSIONS = ("4.1", "4.2")
#: Directories that hosts themselves live in, also on deeper levels.
_SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/usr")


@dataclass(frozen=True)
class Share:
    """The DAG share as one host is to see it.

    Attributes:
        kind: ``nfs``, ``efs`` or ``local``.
        path: where the host sees it.
        what: what is mounted, as mount(8) takes it; empty for a local one.
        options: how, without ``rw`` and ``ro`` missing; empty for a local one.
        must_be_mounted: for a local one, that something else mounts it.
        writable: this host may publish.
        share_id: what its mark has to say; empty takes what is there.
        create_mark: a host that may write marks an empty share.
        mount_seconds: how long one attempt to mount may take.
        retry_seconds: pause between attempts after one failed.
        units: units of systemd that must not run without the share.
    """

    kind: str
    path: str
    what: str = ""
    options: tuple[str, ...] = ()
    must_be_mounted: bool = False
    writable: bool = False
    share_id: str = ""
    create_mark: bool = True
    mount_seconds: int = 30
    retry_seconds: int = 10
    units: tuple[str, ...] = ("docker.service",)

    @property
    def remote(self) -> bool:
        """Whether this role mounts it."""
        return self.kind != "local"


def find_problems(settings: Settings, prefix: str = "") -> list[Problem]:
    """Everything that is wrong with the settings.

    Args:
        settings: type, path, nfs, efs, local, publisher, id, sentinel_create, mount_seconds, retry_seconds, units;
            of the types that the argument spec asks for. Missing ones have their defaults.
        prefix: what the names of the variables begin with.
    """
    reader = _Reader(settings, prefix)
    path = settings.get("path") or ""
    clean = _PATH.fullmatch(path) and not _has_dots(path)
    if not clean or any(f"{path}/".startswith(f"{system}/") for system in _SYSTEM):
        reader.add("path", "this is no directory to see a share at", "Write an absolute path such as /srv/airflow/dags")
    share_id = settings.get("id") or ""
    if share_id and not _ID.fullmatch(share_id):
        reader.add("id", "this is no ID", "Use 3 to 64 letters, digits, dots, dashes and underscores")
    for name in ("mount_seconds", "retry_seconds"):
        if not 1 <= settings.get(name, 30) <= 600:
            reader.add(name, "this is out of bounds", "Use 1 to 600 seconds")
    if any(not _UNIT.fullmatch(unit) for unit in settings.get("units") or ()):
        reader.add("units", "these are not all names of units", "Write names such as docker.service")
    kind = settings.get("type") or "local"
    if kind == "nfs":
        _check_nfs(reader, settings.get("nfs") or {})
    elif kind == "efs":
        _check_efs(reader, settings.get("efs") or {})
    elif kind != "local":
        reader.add("type", "there is no such type", "Use nfs, efs or local")
    return reader.problems


def read_settings(settings: Settings) -> Share:
    """The share; the settings have no problems."""
    kind = settings.get("type") or "local"
    writable = bool(settings.get("publisher"))
    what, options = "", ()  # type: str, tuple[str, ...]
    if kind == "nfs":
        nfs = settings["nfs"]
        host = f"[{nfs['host']}]" if ":" in nfs["host"] else nfs["host"]
        what = f"{host}:{_tidy(nfs.get('path') or '/')}"
        options = nfs_options(nfs.get("version") or "4.1", nfs.get("port", 2049), nfs.get("options") or (), writable)
    elif kind == "efs":
        efs = settings["efs"]
        what = f"{efs['file_system']}:{_tidy(efs.get('path') or '/')}"
        options = efs_options(efs, writable)
    return Share(
        kind=kind,
        path=_tidy(settings["path"]),
        what=what,
        options=options,
        must_be_mounted=bool((settings.get("local") or {}).get("mounted")),
        writable=writable,
        share_id=settings.get("id") or "",
        create_mark=settings.get("sentinel_create", True),
        mount_seconds=settings.get("mount_seconds", 30),
        retry_seconds=settings.get("retry_seconds", 10),
        units=tuple(settings.get("units", ("docker.service",))),
    )


class _Reader:
    """Collects problems under the names that the user wrote."""

    def __init__(self, settings: Settings, prefix: str) -> None:
        self._settings = settings
        self._prefix = prefix
        self.problems: list[Problem] = []

    def add(self, path: str, problem: str, fix: str) -> None:
        """Remember a problem of a setting, for example of ``nfs.host``."""
        value: t.Any = self._settings
        for part in path.split("."):
            value = value.get(part) if isinstance(value, t.Mapping) else None
        self.problems.append(Problem(f"{self._prefix}{path}", show(value), problem, fix))


def _check_nfs(reader: _Reader, nfs: Settings) -> None:
    if not _HOST.fullmatch(nfs.get("host") or ""):
        reader.add("nfs.host", "this names no server", "Write its name or address, without the path")
    if not _EXPORT.fullmatch(nfs.get("path") or "") or _has_dots(nfs.get("path") or ""):
        reader.add(
            "nfs.path", "this is no export", "Write the absolute path that the server exports, such as /export/dags"
        )
    if (nfs.get("version") or "4.1") not in _VERSIONS:
        reader.add("nfs.version", "the share needs NFSv4.1 or newer", f"Use {' or '.join(_VERSIONS)}, in quotes")
    if not 1 <= nfs.get("port", 2049) <= 65535:
        reader.add("nfs.port", "this is no port", "Use 2049, unless the server listens elsewhere")
    _check_options(reader, "nfs.options", nfs.get("options") or ())


def _check_efs(reader: _Reader, efs: Settings) -> None:
    tls = efs.get("tls", True)
    if not _FILE_SYSTEM.fullmatch(efs.get("file_system") or ""):
        reader.add("efs.file_system", "this is no ID of a file system", "Write it as fs-0123456789abcdef0")
    if not _EXPORT.fullmatch(efs.get("path") or "/") or _has_dots(efs.get("path") or ""):
        reader.add("efs.path", "this is no directory of the file system", "Write an absolute path, / for all of it")
    if efs.get("region") and not _REGION.fullmatch(efs["region"]):
        reader.add("efs.region", "this is no region", "Write it as eu-central-1, or leave it out on an EC2 host")
    if efs.get("access_point"):
        if not _ACCESS_POINT.fullmatch(efs["access_point"]):
            reader.add("efs.access_point", "this is no ID of an access point", "Write it as fsap-0123456789abcdef0")
        if not tls:
            reader.add(
                "efs.access_point", "access points need TLS", "Set efs.tls to true, or leave the access point out"
            )
        if (efs.get("path") or "/") != "/":
            reader.add("efs.path", "an access point has its own directory", "Leave the path out, or the access point")
    if efs.get("iam") and not tls:
        reader.add("efs.iam", "IAM needs TLS", "Set efs.tls to true, or efs.iam to false")
    _check_options(reader, "efs.options", efs.get("options") or ())


def _check_options(reader: _Reader, path: str, options: t.Sequence[str]) -> None:
    for option in options:
        name = option.partition("=")[0]
        if not _OPTION.fullmatch(option):
            reader.add(path, f"{show(option)} is no mount option", "Write one option in each entry, such as actimeo=5")
        elif name in OWNED or name.startswith("x-"):
            reader.add(path, f"{option} is not for you to set: {OWNED.get(name, 'the unit is native')}", "Leave it out")


def _has_dots(path: str) -> bool:
    return any(part in (".", "..") for part in path.split("/"))


def _tidy(path: str) -> str:
    return path.rstrip("/") or "/"
