# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A DAG bundle of releases on a share: runs stay on the release they began with, and an empty mount is no release.

::

    <path>/.sentinel                           proof that this is the share and not an empty mount point
    <path>/releases/<release>/MANIFEST.json    one release, never changed
    <path>/current -> releases/<release>

The one module of this package that needs Airflow at import time: Airflow demands a subclass of its own class.
Source: airflow/dag_processing/bundles/base.py and dag_processing/manager.py of Airflow 3.3.2.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import typing as t
from pathlib import Path

from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion
from airflow.exceptions import AirflowException

RELEASE = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{12}")
FORMAT = 1

log = logging.getLogger(__name__)


class ReleaseError(AirflowException):
    """The share, or a release on it, is not as it has to be; the text says where and what to do."""


class ReleaseBundle(BaseDagBundle):
    """Follows ``current``, or stays on one release when Airflow asks for a version.

    Making one touches no file: scheduler and API server do that, and they have no share. Everything that would
    show Airflow fewer DAGs than there are raises instead; Airflow's DAG processor then keeps what it has.

    Args:
        path: the bundle's root, as this container sees it.
        kwargs: of BaseDagBundle: name, version, refresh_interval, view_url_template.
    """

    supports_versioning = True

    def __init__(self, *, path: str, **kwargs: t.Any) -> None:
        super().__init__(**kwargs)
        self._root = Path(path)
        self._release: str | None = None
        self._path: Path | None = None

    @property
    def path(self) -> Path:
        """The release's directory; from the first :meth:`refresh` on a local link to it.

        Asked once, the answer stays until :meth:`refresh`: a flip must not divide what one process reads.

        Raises:
            ReleaseError: when nothing was read yet and the share is not as it has to be.
        """
        if self._path is None:
            self._read()
        return t.cast(Path, self._path)

    def initialize(self) -> None:
        """Find the release.

        Raises:
            ReleaseError: when it, or the share, is not there.
        """
        self._read()
        if self.version:
            self._let_airflow_clean_up(self.version)
        super().initialize()

    def refresh(self) -> None:
        """Look where ``current`` leads now.

        Raises:
            ReleaseError: when the share is not as it has to be; release and path stay as they were.
        """
        if self.version:
            raise ReleaseError(f"bundle {self.name} stays on release {self.version}: it cannot be refreshed")
        release = self._current()
        self._path = self._point(self._root / "releases" / release)
        self._release = release

    def get_current_version(self) -> BundleVersion:
        """The release that :attr:`path` shows.

        Raises:
            ReleaseError: as :attr:`path`.
        """
        if self._release is None:
            self._read()
        return BundleVersion(version=t.cast(str, self._release))

    def _read(self) -> None:
        release = self._pinned(self.version) if self.version else self._current()
        self._release, self._path = release, self._root / "releases" / release

    def _current(self) -> str:
        self._check_root()
        link = self._root / "current"
        try:
            target = os.readlink(link)
        except OSError as error:
            reason = "is missing" if error.errno == errno.ENOENT else f"is no readable link ({error.strerror})"
            raise self._damaged(f"{link} {reason}", "activate a release") from error
        parent, _slash, release = target.rpartition("/")
        if parent != "releases" or not RELEASE.fullmatch(release):
            raise self._damaged(f"{link} leads to {target!r}, not to releases/<release>", "activate a release")
        manifest = self._root / target / "MANIFEST.json"
        if self._document(manifest, "activate another release").get("bundle") != self.name:
            raise self._damaged(f"{manifest} is of another bundle", "activate another release")
        return release

    def _pinned(self, release: str) -> str:
        self._check_root()
        directory = self._root / "releases" / release
        if not RELEASE.fullmatch(release) or not os.path.lexists(directory):
            raise ReleaseError(
                f"bundle {self.name}: release {release} is not in {self._root / 'releases'}. It was pruned, or this"
                " host does not see the share as the others do. Clear the run's tasks with the latest bundle version"
                " (run_on_latest_version), or publish that content again; prune keeps what unfinished runs need"
            )
        self._document(directory / "MANIFEST.json", "clear the run's tasks with the latest bundle version")
        return release

    def _check_root(self) -> None:
        sentinel = self._root / ".sentinel"
        try:
            found = json.loads(sentinel.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ReleaseError(
                f"bundle {self.name}: {sentinel} is missing, so {self._root} is not the share. Is the share mounted on"
                " the host (findmnt), and was the container started after that? Of a new bundle the"
                " directory is made by playbooks/airflow.yml. No DAG is lost meanwhile"
            ) from error
        except (OSError, ValueError) as error:
            raise self._damaged(f"{sentinel} cannot be read: {_reason(error)}", "make it readable") from error
        owner = found.get("bundle") if isinstance(found, dict) and found.get("format") == FORMAT else None
        if owner != self.name:
            whose = f"says bundle {owner!r}" if owner else f"is not of format {FORMAT}"
            raise self._damaged(f"{sentinel} {whose}", "mount the directory of this bundle")

    def _document(self, manifest: Path, fix: str) -> dict[str, t.Any]:
        try:
            found = json.loads(manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self._damaged(f"{manifest} cannot be read: {_reason(error)}", fix) from error
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise self._damaged(f"{manifest} is not of format {FORMAT}", fix)
        return found

    def _damaged(self, what: str, fix: str) -> ReleaseError:
        return ReleaseError(
            f"bundle {self.name}: {what}. To do: {fix} (playbooks/dags.yml -e dag_release_bundle={self.name}"
            " -e dag_release_action=status shows all releases). No DAG is lost meanwhile"
        )

    def _point(self, release: Path) -> Path:
        """A local link to the release, always under the same name.

        Airflow's DAG processor keeps the directory with each file in its queue. Under the release's own name, the
        rest of the queue would be read from the release before and stored as the new one.
        """
        link = self.base_dir / "current"
        aside = self.base_dir / f".current.{os.getpid()}"
        try:
            self.base_dir.mkdir(parents=True, exist_ok=True)
            aside.unlink(missing_ok=True)
            aside.symlink_to(release)
            aside.replace(link)
        except OSError as error:
            raise ReleaseError(
                f"bundle {self.name}: cannot make the link {link}: {_reason(error)}. Make [dag_processor]"
                " dag_bundle_storage_path a directory that this process may write to"
            ) from error
        return link

    def _let_airflow_clean_up(self, release: str) -> None:
        """An empty directory where Airflow's own bundles keep versions.

        Airflow notes each version in use, and later removes the note together with that directory. Without one it
        fails, at the same note each time, and other bundles are never cleaned.
        """
        try:
            (self.versions_dir / release).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            log.warning("Bundle %s: Airflow cannot note versions in use: %s", self.name, _reason(error))


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
