"""What a fault cost, counted and written down, for tests of all faults."""

from __future__ import annotations

import typing as t

from airflow_api import Airflow, Run
from lab_hosts import MANAGERS, Hosts
from report import Table
from splunk import VOLUME, log_path

#: Lines of an interrupted attempt, one a second, that its host may take along: printed, and not yet sent.
UNSENT = 5


def record(
    table: Table, fault: str, run: Run, times: tuple[float, float], hosts: Hosts, *, at: t.Sequence[float] = ()
) -> None:
    """One row: what the run lost, and how long recovery took.

    Args:
        times: seconds from the fault until the work was done, and until everything had its full strength.
        at: when hosts died, in seconds since 1970: how far tasks were then is known by their own clock. Without it, the
            hosts' disks say what interrupted tasks printed.
    """

    def on_disk(index: int, attempt: int) -> int:
        return max(lines_on_disk(hosts, host, run, index, attempt) for host in MANAGERS)

    state = run.state()
    lost = [entry for entry in run.instances() if entry["state"] != "success"]
    allowed = UNSENT * run.interrupted()
    finished, interrupted = run.await_lines(at, None if at else on_disk, interrupted=allowed)
    table.add(fault, 0 if state == "success" else 1, len(lost), finished, interrupted, *times)
    assert (len(lost), state) == (0, "success")
    assert finished == 0, "lines of an attempt that ended well are lost"
    assert interrupted <= allowed, f"of {run.interrupted()} interrupted attempts"


def lines_on_disk(hosts: Hosts, host: str, run: Run, index: int, attempt: int) -> int:
    """Lines of an attempt in the file that a host has of it, if it has one."""
    path = f"{VOLUME}/{log_path(run.id, index, attempt)}"
    return int(hosts.run(host, f"cat '{path}' 2>/dev/null | grep -c 'of {run.seconds}' || true"))


def active(airflow: Airflow) -> bool:
    """Whether Airflow still knows the DAGs of a directory and those of releases, and takes them for ones that exist."""
    return not any(
        airflow.keep_asking("GET", f"/api/v2/dags/{dag}")["is_stale"]
        for dag in ("probe", "sales_report", "finance_close")
    )
