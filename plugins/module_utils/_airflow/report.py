# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words in which canaries that did not pass are reported.

PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t


def failure_message(
    url: str,
    canaries: t.Sequence[t.Mapping[str, t.Any]],
    health: t.Mapping[str, str],
    import_errors: t.Sequence[t.Mapping[str, str]],
) -> str:
    """One text for all canaries: what, why, the log, then what Airflow says of itself."""
    failed = [canary for canary in canaries if not canary["passed"]]
    lines = [f"{len(failed)} of {len(canaries)} canaries did not pass at {url}:"]
    for number, canary in enumerate(failed, 1):
        run = f", run {canary['run_id']}" if canary["run_id"] else ""
        lines.append(f"{number}. queue {canary['queue']} (DAG {canary['dag_id']}{run}): {canary['problem']}")
        lines.append(f"   Advice: {canary['advice']}.")
        lines.extend(f"   | {line}" for line in canary["log"][-10:])
    if health:
        lines.append("Health: " + ", ".join(f"{name} {status}" for name, status in health.items()))
    for error in import_errors:
        lines.append(f"Import error in {error['bundle_name']}/{error['filename']}: {error['error']}")
    return "\n".join(lines)


def short_error(error: t.Mapping[str, t.Any]) -> dict[str, str]:
    """An import error with the last line of its stack trace instead of all of it."""
    trace = str(error.get("stack_trace") or "").strip().splitlines()
    return {
        "bundle_name": str(error.get("bundle_name") or ""),
        "filename": str(error.get("filename") or ""),
        "error": trace[-1].strip() if trace else "",
    }
