"""Fixtures that tests of all scenarios share, and hooks that print and keep their tables."""

from __future__ import annotations

import os
import re
import subprocess
import typing as t
from pathlib import Path

import pytest
from airflow_api import DAG, Airflow
from cluster import Cluster
from lab_hosts import ROOT, SERVICES, Hosts, wait_for
from report import TABLES, Table
from splunk import Splunk

INVENTORY = ROOT / "inventories" / "lab"
SHARE = "/srv/share/lab/examples"


@pytest.fixture(scope="session")
def figures() -> Table:
    """Times and sizes."""
    return TABLES["figures"]


def pytest_sessionfinish() -> None:
    """Keep the tables, so that the end of `make test` can show them."""
    for table in TABLES.values():
        table.save()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the tables below the test results."""
    for table in TABLES.values():
        if table.rows:
            terminalreporter.section(table.title)
            terminalreporter.write(table.text() + "\n")


@pytest.fixture(scope="session")
def hosts() -> Hosts:
    """The hosts of the lab."""
    return Hosts()


@pytest.fixture(scope="session")
def secrets() -> dict[str, str]:
    """The generated passwords of the lab's inventory, by name."""
    return {entry.name: entry.read_text().split()[0] for entry in sorted((INVENTORY / ".secrets").iterdir())}


@pytest.fixture(scope="session")
def splunk(hosts: Hosts) -> Splunk:
    """Splunk on the services host, where task logs go."""
    return Splunk(hosts)


@pytest.fixture(scope="session")
def cluster(hosts: Hosts) -> Cluster:
    """The swarm and its stack."""
    return Cluster(hosts)


@pytest.fixture(scope="session")
def airflow(hosts: Hosts, secrets: dict[str, str]) -> Airflow:
    """Airflow, with the DAG that faults are tried on."""
    client = Airflow(hosts, "admin", secrets["admin"])
    dag = (Path(__file__).parent / "dags" / "probe.py").read_text()
    hosts.write(SERVICES, f"{SHARE}/probe.py", dag)

    def known() -> t.Any:
        return client.keep_asking("GET", f"/api/v2/dags?dag_id_pattern={DAG}")["dags"]

    wait_for("the DAG probe in Airflow", known, 600, pause=3)
    return client


def play(
    *words: str, playbook: str = "playbooks/site.yml", timeout: float = 1800, inventory: Path = INVENTORY
) -> subprocess.CompletedProcess[str]:
    """Run a playbook on the lab's inventory, or on another one, with the settings that people have in a clone."""
    # Molecule's own would move errors to another stream, for example.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))}
    return subprocess.run(
        [str(ROOT / ".venv/bin/ansible-playbook"), playbook, "-i", str(inventory), *words],
        cwd=ROOT,
        env={**environment, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def changed(output: str, hosts: int = 4) -> int:
    """Changed tasks over all hosts, of which there are at least ``hosts``, from Ansible's recap."""
    found = re.findall(r"^\S+\s+: ok=\d+\s+changed=(\d+)\s+unreachable=0\s+failed=0", output, re.MULTILINE)
    assert len(found) >= hosts, output[-2000:]
    return sum(int(count) for count in found)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """All output in one line: where Ansible wraps it depends on the terminal."""
    return " ".join((done.stdout + done.stderr).split())


def went_well(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """This run, which must have ended well."""
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done


def refused(done: subprocess.CompletedProcess[str], *phrases: str) -> None:
    """A run that must have failed, and must have said why."""
    told = said(done)
    assert done.returncode == 2, told[-5000:]
    missing = [phrase for phrase in phrases if phrase not in told]
    assert not missing, f"lacks {missing}: {told[-5000:]}"
