# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m flowstead_airflow.task_logs sweep [--once | --every SECONDS] [--logs DIRECTORY]``, or ``try-bucket URL``.

``sweep-bucket``, with the same options, is for logs that go to a bucket alone.

Each sweep that found something prints one line of JSON, :class:`flowstead_airflow.task_logs.sweeper.Report`.
Exit status with ``--once``: 0 everything is delivered, 1 something still waits, 2 the settings are wrong.
``try-bucket`` ends with 0 when Airflow can keep logs there, else with 1 and the reason.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import typing as t
from pathlib import Path

from flowstead_airflow.task_logs.bucket import BucketProblem, open_store, try_bucket
from flowstead_airflow.task_logs.orphans import Orphans
from flowstead_airflow.task_logs.settings import TaskLogSettingsError, base_log_folder, load, load_bucket
from flowstead_airflow.task_logs.sweeper import Report, Sweeper


def _arguments(arguments: t.Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="flowstead_airflow.task_logs", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, sinks in (("sweep", "Splunk, and a bucket beside it"), ("sweep-bucket", "a bucket alone")):
        sweep = verbs.add_parser(name, help=f"deliver what dead processes left to {sinks}; remove what is old")
        how = sweep.add_mutually_exclusive_group()
        how.add_argument("--once", action="store_true", help="one sweep (the default)")
        how.add_argument("--every", type=float, metavar="SECONDS", help="sweep at once and then again and again")
        sweep.add_argument("--logs", type=Path, help="the log folder; Airflow's base_log_folder by default")
    bucket = verbs.add_parser("try-bucket", help="write to a bucket, read back and delete, as Airflow signs in there")
    bucket.add_argument("url", metavar="URL", help="s3://BUCKET/PREFIX or gs://BUCKET/PREFIX")
    return parser.parse_args(arguments)


def _try_bucket(url: str) -> int:
    from airflow.configuration import conf  # noqa: PLC0415 - the sweeper does without Airflow

    try:
        store = open_store(
            url,
            conf.get("logging", "remote_log_conn_id", fallback="") or "",
            conf.getboolean("logging", "encrypt_s3_logs", fallback=False),
        )
        warnings = try_bucket(url, store)
    except BucketProblem as error:
        print(f"task logs: {error}", file=sys.stderr)
        return 1
    print("\n".join([*warnings, f"task logs: {url} takes objects and shows them"]))
    return 0


def _one(sweeper: Sweeper | Orphans, quiet: bool) -> Report:
    report = sweeper.sweep()
    happened = report.requests or report.archived or report.removed or report.lost or report.problems
    if happened or not quiet:
        print(report.as_json(), flush=True)
    return report


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Do it; returns the exit status."""
    options = _arguments(arguments)
    if options.verb == "try-bucket":
        return _try_bucket(options.url)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    try:
        logs = options.logs or base_log_folder()
        sweeper = Orphans(load_bucket(), logs) if options.verb == "sweep-bucket" else Sweeper(load(), logs)
    except TaskLogSettingsError as error:
        print(f"task_logs: {error}", file=sys.stderr)
        return 2
    if options.every is None:
        report = _one(sweeper, quiet=False)
        return 1 if report.waiting or report.skipped else 0
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    while not ended.is_set():
        try:
            _one(sweeper, quiet=True)
        except OSError as error:
            # A full disk or a share that is away passes; the next sweep sees it.
            print(f"task_logs: the sweep failed: {error}", file=sys.stderr, flush=True)
        ended.wait(max(0.1, options.every))
    return 0


if __name__ == "__main__":
    sys.exit(main())
