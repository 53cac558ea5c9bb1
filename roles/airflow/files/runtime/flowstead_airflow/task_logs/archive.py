# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Airflow's own S3 and GCS classes as the archive beside Splunk.

They upload a whole local file, append it to what is there, and then remove it. So they never get the log file but a
copy of what the archive does not have yet, in a directory of its own; that it is gone afterwards is how they say that
it worked.
Source: S3RemoteLogIO of apache-airflow-providers-amazon 9.39.0, GCSRemoteLogIO of -google 22.8.0.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import typing as t
from pathlib import Path

from flowstead_airflow.task_logs import paths
from flowstead_airflow.task_logs.delivery import OpenLog
from flowstead_airflow.task_logs.settings import BucketSettings, TaskLogSettings

#: The stock classes read the connection's ID there and nowhere else.
_CONNECTION = "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID"


class ArchiveError(Exception):
    """The archive did not take a file; it stays for the sweeper."""


class Archive:
    """The archive.

    Args:
        given: the settings; they name an archive.
        logs: the log folder.
        spool: directory for copies.
    """

    def __init__(self, given: TaskLogSettings | BucketSettings, logs: Path, spool: Path) -> None:
        self._given = given
        self._logs = logs
        self._staging = spool / "archive"
        if given.connection:
            os.environ.setdefault(_CONNECTION, given.connection)

    def add(self, file: OpenLog, ti: t.Any = None) -> int:
        """Upload what the archive does not have of a file, up to its present end; bytes uploaded.

        Raises:
            ArchiveError: when that did not work.
        """
        begin, end = file.mark.archived, file.size
        if end <= begin:
            return 0
        self.upload(file.descriptor, begin, end, paths.source_of(file.relative), ti)
        file.mark.archived = end
        file.mark.store()
        return end - begin

    def upload(self, descriptor: int, begin: int, end: int, source: str, ti: t.Any = None) -> None:
        """Append a part of a file to what the archive has of a source.

        Raises:
            ArchiveError: when that did not work.
        """
        self._staging.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._staging, ignore_cleanup_errors=True) as directory:
            copy = Path(directory, source)
            try:
                copy.parent.mkdir(parents=True)
                _copy(descriptor, begin, end, copy)
                self._stock(Path(directory)).upload(source, ti)
            except Exception as error:  # whatever the cloud's library raises
                raise ArchiveError(f"{self._given.archive}/{source}: {error}") from error
            if copy.exists():
                raise ArchiveError(
                    f"{self._given.archive}/{source}: not uploaded; the reason is in the log before this"
                )

    def has(self, descriptor: int, relative: str) -> bool:
        """Whether the archive's copy ends with all that a file has: then its writer died right after the upload.

        Raises:
            ArchiveError: it could not be read. Airflow's class for S3 swallows that, and the one for GCS does not.
        """
        source = paths.source_of(relative)
        try:
            _sources, logs = self._stock(self._logs).read(source, None)
        except Exception as error:  # whatever the cloud's library raises
            raise ArchiveError(f"{self._given.archive}/{source}: {error}") from error
        content = os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace").rstrip("\n")
        return any(str(text).rstrip("\n").endswith(content) for text in logs or [])

    def read(self, relative: str, ti: t.Any) -> tuple[list[str], list[t.Any]]:
        """Sources and lines as the stock class gives them: whole texts, or streams where it has them."""
        stock = self._stock(self._logs)
        stream = getattr(stock, "stream", None)
        sources, logs = (stream or stock.read)(relative, ti)
        return list(sources), list(logs or [])

    def clean(self) -> None:
        """Remove copies that a process left which died; only while no other one is at work."""
        shutil.rmtree(self._staging, ignore_errors=True)

    def _stock(self, folder: Path) -> t.Any:
        shared = {"remote_base": self._given.archive, "base_log_folder": folder, "delete_local_copy": True}
        if self._given.archive.startswith("s3:"):
            return _s3(**shared)
        return _gcs(**shared)


def _s3(**shared: t.Any) -> t.Any:
    from airflow.providers.amazon.aws.log.s3_task_handler import S3RemoteLogIO  # noqa: PLC0415

    return S3RemoteLogIO(**shared, acl_policy=_option("aws", "s3_task_handler_acl_policy"))


def _gcs(**shared: t.Any) -> t.Any:
    from airflow.providers.google.cloud.log.gcs_task_handler import GCSRemoteLogIO  # noqa: PLC0415

    return GCSRemoteLogIO(**shared, gcp_key_path=_option("logging", "google_key_path"))


def _option(section: str, key: str) -> str | None:
    from airflow.configuration import conf  # noqa: PLC0415

    return conf.get(section, key, fallback=None) or None


def _copy(descriptor: int, begin: int, end: int, to: Path) -> None:
    with to.open("wb") as target:
        while begin < end:
            chunk = os.pread(descriptor, min(1 << 20, end - begin), begin)
            if not chunk:
                return
            target.write(chunk)
            begin += len(chunk)
