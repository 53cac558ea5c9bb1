"""DAG releases on three nodes that mount the share by NFS: one story, each test goes on from the one before.

`sales` and `finance` are bundles of releases; workers of the queue `finance` see nothing but the bundle `finance`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import typing as t
import urllib.parse
from pathlib import Path

import pytest
from airflow_api import Airflow
from cluster import Cluster
from conftest_shared import changed, play, refused, said, went_well
from lab_hosts import MANAGERS, ROOT, SERVICES, Hosts, Waiting, wait_for
from report import Table

SHARE = "/srv/airflow/dags/lab"
PUBLISHER = "swarm1"
DAGS = "playbooks/dags.yml"

SALES = '''
"""Two rounds of tasks, each of which says which version of this file it runs."""
import os
import socket
import time

from airflow.sdk import DAG, task
from sales_version import VERSION

with DAG("sales_report", schedule=None, catchup=False, is_paused_upon_creation=False, max_active_runs=10):

    @task
    def first(number: int, dag_run=None) -> str:
        for _second in range(int((dag_run.conf or {}).get("seconds", 0))):
            if os.path.exists("/tmp/end-" + dag_run.run_id):
                break
            time.sleep(1)
        return VERSION

    @task
    def second(before: str) -> dict:
        return {"before": before, "version": VERSION, "host": socket.gethostname()}

    second.expand(before=first.expand(number=[0, 1, 2]))
'''
FINANCE = """
from airflow.sdk import DAG, task

with DAG("finance_close", schedule=None, catchup=False, is_paused_upon_creation=False):

    @task(queue="finance")
    def close() -> str:
        with open(__file__) as stream:
            return stream.readline()

    close()
"""


class Sources:
    """Directories with DAGs on the controller."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._made = 0

    def make(self, files: t.Mapping[str, str]) -> Path:
        """A directory with these files."""
        self._made += 1
        place = self.root / str(self._made)
        for name, text in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
        return place

    def sales(self, version: str, **more: str) -> Path:
        """The bundle `sales` in a version."""
        return self.make({"sales.py": SALES, "sales_version.py": f"VERSION = {version!r}\n", **more})


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    """Where the tests write DAGs."""
    return Sources(tmp_path_factory.mktemp("dags"))


@pytest.fixture(scope="module", autouse=True)
def deaths(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[subprocess.Popen[str]]:
    """A publisher on the share that dies at one step after the other, beside all other tests; how many, as JSON."""
    tests, place = ROOT / "tests/unit/plugins/module_utils/_release", tmp_path_factory.mktemp("deaths")
    utils = place / "ansible_collections/flowstead/airflow/plugins/module_utils"
    for name in ("_release", "_share"):
        shutil.copytree(ROOT / "plugins/module_utils" / name, utils / name)
    for name in ("fake_share.py", "release_deaths.py"):
        shutil.copy(tests / name, place)
    packed = subprocess.run(["tar", "-C", str(place), "-c", "."], capture_output=True, check=True).stdout
    ssh = ["ssh", "-F", hosts.facts["ssh_config"], PUBLISHER]
    subprocess.run([*ssh, "mkdir -p /root/deaths && tar -x -C /root/deaths"], input=packed, check=True, timeout=60)
    scratch = f"{SHARE}/.deaths"
    command = f"mkdir {scratch} && cd /root/deaths && PYTHONPATH=. timeout 1800 python3 release_deaths.py {scratch}"
    with subprocess.Popen(
        [*ssh, command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()
    hosts.run(PUBLISHER, "rm", "-r", scratch)


def release(action: str, bundle: str, *words: str, **variables: t.Any) -> subprocess.CompletedProcess[str]:
    """The playbook `dags`."""
    given = {f"dag_release_{name}": str(value) for name, value in variables.items()}
    given |= {"dag_release_action": action, "dag_release_bundle": bundle}
    return play("--extra-vars", json.dumps(given), *words, playbook=DAGS)


def publish(bundle: str, source: Path, *words: str, **variables: t.Any) -> subprocess.CompletedProcess[str]:
    """Publish a directory."""
    return release("publish", bundle, *words, source=source, **variables)


def serving(hosts: Hosts, bundle: str = "sales", host: str = PUBLISHER) -> str:
    """The release that `current` names on a host."""
    return hosts.run(host, "readlink", f"{SHARE}/{bundle}/current").strip().removeprefix("releases/")


def releases(hosts: Hosts, bundle: str = "sales") -> list[str]:
    """Releases on the share."""
    return sorted(hosts.run(PUBLISHER, "ls", f"{SHARE}/{bundle}/releases").split())


def start(airflow: Airflow, dag: str, **conf: t.Any) -> str:
    """Path of a new run."""
    made = airflow.keep_asking("POST", f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})
    return f"/api/v2/dags/{dag}/dagRuns/{urllib.parse.quote(made['dag_run_id'], safe='')}"


def ended(airflow: Airflow, run: str) -> dict[str, t.Any]:
    """The run, at its end."""

    def look() -> t.Any:
        document = airflow.keep_asking("GET", run)
        return document if document["state"] in ("success", "failed") else Waiting(document["state"])

    return wait_for(f"the end of {run}", look, 600)


def instances(airflow: Airflow, run: str, task: str) -> list[dict[str, t.Any]]:
    """A run's instances of one task."""
    found = airflow.keep_asking("GET", f"{run}/taskInstances?limit=100")["task_instances"]
    return [entry for entry in found if entry["task_id"] == task]


def returned(airflow: Airflow, run: str, task: str) -> list[t.Any]:
    """What the instances of a mapped task returned."""
    values = []
    for entry in instances(airflow, run, task):
        path = f"{run}/taskInstances/{task}/xcomEntries/return_value?map_index={entry['map_index']}"
        value = airflow.keep_asking("GET", path)["value"]
        values.append(json.loads(value) if isinstance(value, str) and value[:1] in '{["' else value)
    return values


def version_of(airflow: Airflow, dag: str) -> str | None:
    """The release in which Airflow knows a DAG."""
    return airflow.keep_asking("GET", f"/api/v2/dags/{dag}/details")["bundle_version"]


def stale(airflow: Airflow, dag: str) -> bool:
    """Whether Airflow takes a DAG for one that is gone."""
    return airflow.keep_asking("GET", f"/api/v2/dags/{dag}")["is_stale"]


# --- the way it should go -----------------------------------------------------------------------------------------


def test_check_mode_foretells_the_first_release_and_changes_nothing(hosts: Hosts, sources: Sources):
    before = serving(hosts), releases(hosts)
    done = went_well(publish("sales", sources.sales("A"), "--check", "--diff"))
    assert changed(done.stdout, hosts=1) > 0
    assert "sales_version.py" in done.stdout
    assert (serving(hosts), releases(hosts)) == before


def test_a_release_serves_on_every_node_and_airflow_knows_it(
    hosts: Hosts, airflow: Airflow, sources: Sources, figures: Table
):
    began = time.monotonic()
    went_well(publish("sales", sources.sales("A")))
    figures.add("a release of two files, from the command to its end", time.monotonic() - began)
    now = serving(hosts)
    assert {serving(hosts, host=host) for host in MANAGERS} == {now}
    assert version_of(airflow, "sales_report") == now
    run = start(airflow, "sales_report")
    document = ended(airflow, run)
    assert (document["state"], document["bundle_version"]) == ("success", now)
    assert {value["version"] for value in returned(airflow, run, "second")} == {"A"}


def test_the_same_dags_again_change_nothing(hosts: Hosts, sources: Sources):
    before = serving(hosts), releases(hosts)
    assert changed(went_well(publish("sales", sources.sales("A"))).stdout, hosts=1) == 0
    assert (serving(hosts), releases(hosts)) == before


def test_a_run_in_flight_ends_on_the_release_it_began_with_while_new_runs_use_the_new_one(
    hosts: Hosts, cluster: Cluster, airflow: Airflow, sources: Sources, figures: Table
):
    old = serving(hosts)
    in_flight = start(airflow, "sales_report", seconds=900)
    wait_for(
        "three running tasks",
        lambda: sum(entry["state"] == "running" for entry in instances(airflow, in_flight, "first")) == 3,
        300,
    )
    went_well(publish("sales", sources.sales("B")))
    flipped = time.monotonic()
    new = serving(hosts)
    assert new != old
    fresh = start(airflow, "sales_report")
    assert ended(airflow, fresh)["bundle_version"] == new
    figures.add("a new run after a release: to its end, on the new code", time.monotonic() - flipped)
    assert {value["version"] for value in returned(airflow, fresh, "second")} == {"B"}
    went_well(release("prune", "sales", keep=1))
    assert airflow.keep_asking("GET", in_flight)["state"] == "running", "the test's own run was too short"
    assert old in releases(hosts), "a run that is not over needs it"
    cluster.end_tasks(urllib.parse.unquote(in_flight.rpartition("/")[2]))
    document = ended(airflow, in_flight)
    assert (document["state"], document["bundle_version"]) == ("success", old)
    values = returned(airflow, in_flight, "second")
    assert {value["version"] for value in values} == {"A"}, "tasks that began after the flip"
    assert len({value["host"] for value in values}) > 1, "on different nodes"


def test_another_teams_bundle_lives_beside_it_and_its_workers_see_nothing_else(
    hosts: Hosts, airflow: Airflow, sources: Sources
):
    went_well(publish("finance", sources.make({"finance.py": FINANCE})))
    assert hosts.run(PUBLISHER, "stat", "-c", "%u:%g:%a", f"{SHARE}/finance").strip() == "1201:1201:755"
    run = start(airflow, "finance_close")
    assert ended(airflow, run)["state"] == "success"
    for host in MANAGERS:
        for container in hosts.run(host, "docker", "ps", "-q", "--filter", "name=worker-finance").split():
            assert hosts.run(host, "docker", "exec", container, "ls", "/opt/airflow/bundles").split() == ["finance"]
            assert hosts.ask(host, "docker", "exec", container, "ls", f"{SHARE}/sales").returncode != 0


def test_a_worker_that_is_handed_another_teams_dag_refuses(hosts: Hosts, airflow: Airflow):
    text = FINANCE.replace("finance_close", "stray")
    hosts.write(SERVICES, "/srv/share/lab/examples/stray.py", text)
    wait_for("the DAG stray", lambda: airflow.keep_asking("GET", "/api/v2/dags?dag_id_pattern=stray")["dags"], 300)
    run = start(airflow, "stray")
    assert ended(airflow, run)["state"] == "failed"
    hosts.run(SERVICES, "rm", "/srv/share/lab/examples/stray.py")


# --- what has to be refused ---------------------------------------------------------------------------------------


def test_what_the_controller_can_see_is_refused_all_at_once_with_file_and_line(hosts: Hosts, sources: Sources):
    before = serving(hosts), releases(hosts)
    place = sources.sales("C", **{"broken.py": "x = 1\ndef f(:\n"})
    (place / "outside.py").symlink_to("/etc/hostname")
    (place / "loop").symlink_to(".")
    (place / "large.bin").write_bytes(b"\0" * (11 * 1024 * 1024))
    refused(publish("sales", place), "broken.py:2", "outside.py", "loop", "large.bin", "max_file_mb is 10")
    assert (serving(hosts), releases(hosts)) == before


def test_a_bundle_that_nobody_knows_is_refused_with_those_that_there_are(sources: Sources):
    refused(publish("slaes", sources.sales("C")), "slaes", "sales, finance")


def test_what_only_the_production_image_knows_is_refused_all_at_once(hosts: Hosts, sources: Sources):
    before = serving(hosts), releases(hosts)
    files = {
        "needs_more.py": "from airflow.sdk import DAG\nimport a_package_that_the_image_lacks\n",
        "same_id.py": FINANCE.replace('(queue="finance")', ""),
        "no_worker.py": FINANCE.replace("finance_close", "no_worker"),
    }
    refused(
        publish("sales", sources.sales("C", **files)),
        "needs_more.py:2",
        "a_package_that_the_image_lacks",
        "finance_close",
        "no_worker.py",
        "no worker consumes the queue finance",
        f"The release {before[0]} still serves",
    )
    assert (serving(hosts), releases(hosts)) == before


def test_a_release_that_only_fails_in_service_goes_back_by_itself(hosts: Hosts, airflow: Airflow, sources: Sources):
    before = serving(hosts)
    late = "if b'dag-processor' in open('/proc/1/cmdline', 'rb').read():\n    raise RuntimeError('only in service')\n"
    files = {"late.py": late + FINANCE.replace("finance_close", "late").replace('(queue="finance")', "")}
    refused(
        publish("sales", sources.sales("D", **files)),
        "late.py",
        "only in service",
        "Rolled back",
    )
    assert serving(hosts) == before
    wait_for("Airflow to know the old release again", lambda: version_of(airflow, "sales_report") == before, 300)
    assert not stale(airflow, "sales_report")


# --- going back, looking, cleaning up -----------------------------------------------------------------------------


def test_a_rollback_serves_the_release_before_and_another_one_returns(hosts: Hosts, airflow: Airflow, sources: Sources):
    b = serving(hosts)
    went_well(publish("sales", sources.sales("E"), check=False))
    e = serving(hosts)
    went_well(release("rollback", "sales"))
    assert serving(hosts) == b
    went_well(release("activate", "sales", name=e, check=False))
    assert serving(hosts) == e
    wait_for("Airflow to know it", lambda: version_of(airflow, "sales_report") == e, 300)


def test_an_artifact_is_promoted_by_its_hash_and_no_other_is_taken(hosts: Hosts, sources: Sources, tmp_path: Path):
    went_well(release("build", "sales", source=sources.sales("F"), dest=tmp_path))
    (artifact,) = tmp_path.glob("sales-*.tar.gz")
    digits = artifact.name.removeprefix("sales-").removesuffix(".tar.gz")
    refused(release("publish", "sales", artifact=artifact, hash="0" * 12), "0" * 12)
    went_well(release("publish", "sales", artifact=artifact, hash=digits, check=False))
    assert serving(hosts).endswith(digits)


def test_every_file_is_verified_on_the_share_and_through_every_node(hosts: Hosts):
    went_well(release("verify", "sales"))
    place = f"{SHARE}/sales/current/sales_version.py"
    kept = hosts.run(PUBLISHER, "cat", place)
    hosts.write(PUBLISHER, place, "VERSION = 'somebody edited this'\n")
    refused(release("verify", "sales"), "sales_version.py")
    hosts.write(PUBLISHER, place, kept)


def test_pruning_keeps_what_serves_and_the_newest(hosts: Hosts):
    went_well(release("prune", "sales", keep=1))
    assert serving(hosts) in releases(hosts)
    assert len(releases(hosts)) <= 3, "the one that serves, the one before, and the newest"


def test_a_publisher_that_died_at_any_step_on_the_share_left_a_release_that_serves(
    deaths: subprocess.Popen[str], figures: Table
):
    said_last, errors = deaths.communicate(timeout=900)
    assert deaths.returncode == 0, errors[-3000:]
    found = json.loads(said_last)
    assert found.keys() == {"stage", "activate", "rollback", "prune", "discard"}
    assert min(found.values()) > 5
    figures.add("steps at which a publisher died, over NFS", sum(found.values()))


def test_status_names_what_serves(hosts: Hosts):
    told = said(went_well(release("status", "")))
    assert serving(hosts) in told
    assert serving(hosts, "finance") in told
