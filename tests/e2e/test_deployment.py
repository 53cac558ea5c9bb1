"""The story of one deployment, told in order: each test goes on from where the one before left the machine."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import threading
import typing as t
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from browser import look, sign_in
from machine import (
    ROOT,
    STACK,
    URL,
    Checkout,
    containers,
    docker,
    footprint,
    processes,
    run,
    services,
    specs,
    versions,
    written,
)

WORKERS = ("worker-default", "worker-batch")
LONG_RUNNING = {"api-server", "scheduler", "dag-processor", "triggerer", *WORKERS}
GIB = 1024**3


@pytest.fixture(scope="module", autouse=True)
def figures(checkout: Checkout, reports: list[str]):
    """Print how long each step took, at the end."""
    yield
    reports += [f"{name:<44} {seconds:7.1f} s" for name, seconds in checkout.durations.items()]


def test_the_first_run_in_check_mode_changes_nothing_on_an_untouched_host(checkout: Checkout):
    checkout.make("controller", name="make controller (.venv from pins)").succeeded()
    before = footprint()
    done = checkout.play("--check", "--diff", name="first run in check mode").succeeded()
    assert done.changed > 0, "check mode on an untouched host has to predict changes"
    assert footprint() == before
    assert not [value for value in checkout.secrets.values() if value in done.output]


def test_make_up_ends_with_a_green_canary_and_says_where_to_go(checkout: Checkout):
    done = checkout.make("up", name="make up").succeeded()
    summary = done.output[done.output.rindex("TASK [") :]
    assert URL in summary
    assert f"admin / {checkout.secrets['admin']}" in summary
    assert "Canary for queue default: success on worker default" in summary
    assert "Canary for queue batch: success on worker batch" in summary
    assert set(services()) == LONG_RUNNING | {"migrate", "init"}


def test_make_up_again_changes_nothing_and_shows_no_secret_but_the_printed_login(checkout: Checkout):
    before = versions()
    done = checkout.make("up", "ARGS=-vvv", name="make up again, with -vvv").succeeded()
    assert done.changed == 0
    assert versions() == before, "an unchanged run must not write to any service"
    shown = {name for name, value in checkout.secrets.items() if value in done.output}
    assert shown <= {"admin"}


def test_the_printed_login_opens_the_printed_address(checkout: Checkout):
    page = sign_in(URL, "admin", checkout.secrets["admin"])
    assert page.signed_in
    assert not sign_in(URL, "admin", "wrong-password").signed_in


def test_workers_hold_no_database_url_and_no_signing_key(checkout: Checkout):
    secrets = checkout.secrets
    for worker in WORKERS:
        (container,) = containers(worker)
        environment = docker("exec", container, "env")
        files = docker("exec", container, "sh", "-c", "cat /run/secrets/* && ls /run/secrets")
        assert "database_url" not in files
        assert "jwt" not in files
        assert secrets["database"] not in files + environment
        assert secrets["jwt"] not in files + environment
        assert "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" not in environment
        assert secrets["results"] in files, "the result backend is set explicitly, with a user of its own"


def test_no_secret_shows_in_inspect_labels_or_process_lists(checkout: Checkout):
    secrets = checkout.secrets
    names = docker("service", "ls", "-q").split()
    seen = docker("service", "inspect", *names) + docker("inspect", *docker("ps", "-aq").split())
    objects = docker("secret", "ls", "-q").split()
    seen += docker("secret", "inspect", *objects)
    seen += "\n".join(path.read_bytes().decode(errors="replace") for path in Path("/proc").glob("[0-9]*/cmdline"))
    assert not {name for name, value in secrets.items() if value in seen}


def test_all_components_together_stay_under_four_gib(reports: list[str]):
    total = 0
    for name in sorted(LONG_RUNNING):
        for container in containers(name):
            used = container_memory(container)
            reports.append(f"memory {name:<36} {used / 1024**2:7.0f} MiB")
            total += used
    reports.append(f"memory of all components{'':<20} {total / 1024**2:7.0f} MiB")
    assert 0 < total < 4 * GIB


def test_status_is_one_screen_while_all_is_well(checkout: Checkout):
    done = checkout.play(playbook="playbooks/status.yml", name="status").succeeded()
    assert done.changed == 0
    for text in ("healthy", "The inventory and what runs: no difference", socket.gethostname(), "1/1 running"):
        assert text in done.output, text
    assert not [value for value in checkout.secrets.values() if value in done.output]


@pytest.fixture
def stray() -> t.Iterator[str]:
    """A service of the stack that finds no node, and that the inventory does not know, for one test; its name."""
    name = f"{STACK}_stray"
    image = services()["scheduler"]["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
    words = ["--detach", "--no-resolve-image", "--constraint", "node.labels.nowhere==yes"]
    docker("service", "create", *words, "--label", f"com.docker.stack.namespace={STACK}", "--name", name, image)
    try:
        yield name
    finally:
        docker("service", "rm", name)


def test_status_says_for_machines_what_is_wrong_and_what_to_do_and_fails(
    checkout: Checkout, stray: str, tmp_path: Path
):
    shown = tmp_path / "status.json"
    checkout.play("-e", "status_format=json", "-e", f"status_file={shown}", playbook="playbooks/status.yml").failed()
    found = json.loads(shown.read_text())
    assert shown.stat().st_mode & 0o777 == 0o600
    assert found["healthy"] is False
    (failure,) = found["failures"]
    assert (failure["service"], failure["cause"]) == ("stray", "unschedulable")
    assert "No node may or can run it" in failure["advice"]
    assert [(one["name"], one["action"]) for one in found["drift"]] == [(stray, "remove")]
    assert [node["hostname"] for node in found["nodes"]] == [socket.gethostname()]


def test_status_is_a_page_for_people_that_needs_no_other_file(checkout: Checkout, stray: str, tmp_path: Path):
    shown = tmp_path / "status.html"
    checkout.play("-e", "status_format=html", "-e", f"status_file={shown}", playbook="playbooks/status.yml").failed()
    page = look(shown, ROOT / "tests/output/status.png")
    assert "1 problem" in page.heading
    assert "stray" in page.evidence
    assert page.rows[0].split()[0] == socket.gethostname()
    assert page.asked == [shown.as_uri()]


def test_a_changed_setting_updates_only_the_services_it_concerns(checkout: Checkout):
    before = specs()
    override = {
        "airflow_components": {
            "triggerer": {"replicas": 1, "memory_mb": 1100, "memory_reservation_mb": 128},
            **{
                name: {"replicas": 1, "memory_mb": 1024, "memory_reservation_mb": 128}
                for name in ("api_server", "scheduler", "dag_processor")
            },
        }
    }
    checkout.play(
        "-e", json.dumps(override), "--diff", playbook="playbooks/airflow.yml", name="one setting changed"
    ).succeeded()
    assert written(before, specs()) == {"triggerer"}


def test_a_broken_image_fails_with_a_diagnosis_while_the_old_version_serves(checkout: Checkout, tmp_path: Path):
    derived_image("flowstead-test/broken:1", tmp_path, "echo 'this image is broken on purpose' >&2; exit 1")
    before = specs()
    with Watch(f"{URL}/api/v2/version") as watch:
        done = checkout.play(
            "-e",
            json.dumps({"airflow_image": {"source": "existing", "reference": "flowstead-test/broken:1"}}),
            playbook="playbooks/airflow.yml",
            name="broken image",
        ).failed()
    assert "migrate" in done.output
    assert "this image is broken on purpose" in done.output, "the diagnosis shows the last log lines"
    assert watch.asked > 0
    assert watch.refused == 0, "the old version has to answer throughout"
    after = specs()
    assert {name: after[name] for name in LONG_RUNNING} == {name: before[name] for name in LONG_RUNNING}


def test_a_version_whose_scheduler_dies_is_rolled_back_and_the_play_fails(checkout: Checkout, tmp_path: Path):
    dies = "echo 'this scheduler dies on purpose' >&2; exit 1"
    dying = f'[ "$1" = scheduler ] && {{ {dies}; }}; exec python -m airflow "$@"'
    derived_image("flowstead-test/broken:2", tmp_path, dying)
    before = specs()
    image = {"airflow_image": {"source": "existing", "reference": "flowstead-test/broken:2"}}
    done = checkout.play("-e", json.dumps(image), playbook="playbooks/airflow.yml", name="scheduler dies").failed()
    assert "this scheduler dies on purpose" in done.output, "the diagnosis shows the last log lines"
    assert "Rolled back" in done.output
    after = specs()
    assert {name: after[name] for name in LONG_RUNNING} == {name: before[name] for name in LONG_RUNNING}


def test_an_image_that_does_not_exist_is_refused_before_anything_is_written(checkout: Checkout):
    before = versions()
    done = checkout.play(
        "-e",
        json.dumps({"airflow_image": {"source": "existing", "reference": "flowstead-test/absent:9"}}),
        playbook="playbooks/airflow.yml",
    ).failed()
    assert "flowstead-test/absent:9" in done.output
    assert versions() == before


def test_after_the_broken_images_a_rotated_secret_reaches_the_services_that_hold_it_and_no_other(checkout: Checkout):
    before = specs()
    old = checkout.secrets["api_secret"]
    (checkout.path / "inventories/local/.secrets/api_secret").unlink()
    checkout.make("up", name="rotated secret").succeeded()
    new = checkout.secrets["api_secret"]
    assert new != old
    changed = written(before, specs())
    assert "dag-processor" not in changed
    assert {"api-server", "scheduler", "triggerer", *WORKERS} <= changed
    files = docker("exec", containers("worker-default")[0], "cat", "/run/secrets/api_secret_key")
    assert files == new


BAD_INPUT = [
    ({"airflow_wrokers": []}, ["airflow_wrokers", "airflow_workers"]),
    ({"airflow_longest_task_seconds": "soon"}, ["airflow_longest_task_seconds", "soon"]),
    ({"airflow_admin": {"username": "admin"}}, ["airflow_admin.password"]),
    (
        {"airflow_database": {"host": "10.209.0.1", "password": "changeme", "sslmode": "require"}},
        ["airflow_database.password"],
    ),
    ({"airflow_version": "9.9.9"}, ["airflow_version", "9.9.9", "3.3.2"]),
    ({"airflow_public_url": "localhost:8080"}, ["airflow_public_url", "localhost:8080"]),
]


def test_every_problem_of_an_inventory_is_named_at_once_before_anything_is_changed(checkout: Checkout):
    before = versions()
    everything = {key: value for variables, _ in BAD_INPUT for key, value in variables.items()}
    done = checkout.play("-e", json.dumps(everything), name="six mistakes at once").failed()
    assert not [word for _, words in BAD_INPUT for word in words if word not in done.output]
    assert versions() == before


def test_all_that_a_host_cannot_carry_is_named_at_once_before_anything_is_changed(checkout: Checkout):
    before = versions()
    variables = {
        "airflow_components": {
            "api_server": {"replicas": 1, "port": 22022},
            "scheduler": {"replicas": 1, "memory_mb": 9000000, "memory_reservation_mb": 9000000},
        },
        "airflow_database": {
            "host": "10.209.0.1",
            "port": 1,
            "password": "a-test-value-for-nothing",
            "sslmode": "require",
        },
        "airflow_broker": {
            "type": "redis",
            "host": "10.209.0.1",
            "port": 2,
            "password": "another-test-value-for-nothing",
            "tls": False,
        },
        "airflow_preflight_endpoints": True,
    }
    with listener(22022):
        done = checkout.play("-e", json.dumps(variables), playbook="playbooks/preflight.yml").failed()
    for word in ("22022", "listens on", "MiB are missing", "airflow_database", "airflow_broker"):
        assert word in done.output
    assert done.output.count("nothing listens on that port") >= 2
    assert versions() == before


def test_the_built_collection_in_check_mode_predicts_nothing_from_an_empty_path(checkout: Checkout, tmp_path: Path):
    galaxy = str(checkout.path / ".venv/bin/ansible-galaxy")
    run(galaxy, "collection", "build", "--output-path", str(tmp_path / "dist"), cwd=checkout.path).succeeded()
    (tarball,) = (tmp_path / "dist").glob("flowstead-airflow-*.tar.gz")
    # Its dependencies come with the Python package `ansible`; Galaxy is not asked.
    run(
        galaxy, "collection", "install", "--no-deps", "-p", str(tmp_path / "installed"), str(tarball), cwd=tmp_path
    ).succeeded()
    shutil.copytree(checkout.path / "inventories/local", tmp_path / "inventory")
    done = run(
        str(checkout.path / ".venv/bin/ansible-playbook"),
        "flowstead.airflow.site",
        "-i",
        str(tmp_path / "inventory"),
        "--check",
        "--diff",
        cwd=tmp_path,
        environment={"ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "installed")},
    )
    checkout.durations["from the installed tarball, in check mode"] = done.seconds
    assert done.succeeded().changed == 0


def test_make_down_removes_what_runs_and_keeps_data(checkout: Checkout):
    checkout.make("down", name="make down").succeeded()
    assert not processes("dockerd", "containerd", "postgres", "redis-server")
    assert Path("/var/lib/postgresql").exists()
    assert (checkout.path / "inventories/local/.secrets/admin").exists()
    assert checkout.make("down").succeeded().changed == 0


def test_make_down_with_purge_leaves_no_data_no_settings_and_no_server(checkout: Checkout, untouched: dict[str, t.Any]):
    checkout.make("down", "PURGE=1", name="make down PURGE=1").succeeded()
    after = footprint()
    assert after["processes"] == []
    before = {path for path in untouched["files"] if not path.startswith("/etc/docker/")}  # goes with the engine
    assert after["files"] == before, "what was brought is gone, and what was there before stays"
    assert not after["gateway"]


MEMORY = """
if [ -f /sys/fs/cgroup/memory.current ]; then
  cat /sys/fs/cgroup/memory.current; awk '$1 == "inactive_file" {print $2}' /sys/fs/cgroup/memory.stat
else
  cat /sys/fs/cgroup/memory/memory.usage_in_bytes
  awk '$1 == "total_inactive_file" {print $2}' /sys/fs/cgroup/memory/memory.stat
fi
"""


def container_memory(container: str) -> int:
    """Bytes that a container needs: its control group's use without reclaimable page cache, as docker stats counts."""
    usage, cache = docker("exec", container, "sh", "-c", MEMORY).split()
    return int(usage) - int(cache)


def derived_image(name: str, workspace: Path, script: str) -> None:
    """The core image, with a shell script in the place of the command `airflow`."""
    core = services()["scheduler"]["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].partition("@")[0]
    command = workspace / "airflow"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    scratch = docker("create", core, "true").strip()
    target = docker("run", "--rm", "--network", "none", core, "sh", "-c", "command -v airflow").strip()
    docker("cp", str(command), f"{scratch}:{target}")
    docker("commit", scratch, name)
    docker("rm", scratch)


class Watch:
    """Ask an address again and again, on a thread that stops by itself, and count refusals."""

    def __init__(self, url: str, interval: float = 1.0, at_most: int = 600) -> None:
        self.url, self.interval, self.at_most = url, interval, at_most
        self.asked = self.refused = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while self.asked < self.at_most and not self._stop.wait(self.interval):
            self.asked += 1
            try:
                with urllib.request.urlopen(self.url, timeout=10) as answer:
                    answer.read()
            except (urllib.error.URLError, OSError):
                self.refused += 1

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)


def listener(port: int) -> contextlib.AbstractContextManager[socket.socket]:
    """Hold a TCP port of this machine."""
    return contextlib.closing(socket.create_server(("127.0.0.1", port)))
