"""What the playbook `status` says of a platform that is well, and of one that is not."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from browser import CHROMIUM
from cluster import STACK, Cluster
from conftest_shared import changed, play, said, went_well
from lab_hosts import MANAGERS, Waiting, wait_for
from report import OUTPUT

PLAYBOOK = "playbooks/status.yml"
#: A service that no node may run, and that the inventory does not know.
STRAY = f"{STACK}_stray"


@pytest.fixture(scope="module")
def stray(cluster: Cluster) -> t.Iterator[None]:
    """A service of the stack that finds no node, and that no inventory asks for."""
    image = cluster.docker(
        "service", "inspect", f"{STACK}_scheduler", "--format", "'{{.Spec.TaskTemplate.ContainerSpec.Image}}'"
    ).strip()
    label = f"com.docker.stack.namespace={STACK}"
    words = ("--detach", "--no-resolve-image", "--constraint", "node.labels.nowhere==yes", "--label", label)
    cluster.docker("service", "create", *words, "--name", STRAY, image)
    try:
        wait_for("a task without a node", lambda: "no suitable node" in tasks(cluster) or Waiting(tasks(cluster)), 60)
        yield
    finally:
        cluster.docker("service", "rm", STRAY)


def tasks(cluster: Cluster) -> str:
    """What Docker says of the stray's tasks."""
    return cluster.docker("service", "ps", "--no-trunc", "--format", "'{{.Error}}'", STRAY)


def test_a_healthy_platform_is_one_screen_without_a_difference_to_the_inventory(
    cluster: Cluster, secrets: dict[str, str]
):
    cluster.await_strength()
    done = went_well(play("-v", playbook=PLAYBOOK))
    told = said(done)
    assert "on http://swarm1.lab.test:8080: healthy" in told
    assert "The inventory and what runs: no difference" in told
    assert "\\n" not in told, "it is shown line by line"
    for text in (*MANAGERS, "leader", "2/2 running", "3/3 running"):
        assert text in told, text
    assert changed(done.stdout, hosts=3) == 0
    assert not {name for name, value in secrets.items() if value in done.stdout + done.stderr}


def test_a_platform_that_is_not_well_says_why_and_what_to_do_and_fails(stray: None, tmp_path: Path):
    shown = tmp_path / "status.json"
    done = play("-e", "status_format=json", "-e", f"status_file={shown}", playbook=PLAYBOOK)
    assert done.returncode == 2, said(done)[-3000:]
    found = json.loads(shown.read_text())
    assert shown.stat().st_mode & 0o777 == 0o600
    assert found["healthy"] is False
    (failure,) = found["failures"]
    assert (failure["service"], failure["cause"]) == ("stray", "unschedulable")
    assert "No node may or can run it" in failure["advice"]
    assert [(one["name"], one["action"]) for one in found["drift"]] == [(STRAY, "remove")]
    assert {node["hostname"] for node in found["nodes"]} == set(MANAGERS)


def test_the_page_shows_the_same_in_a_browser(stray: None, tmp_path: Path):
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only this test needs it

    assert Path(CHROMIUM).exists(), f"there is no {CHROMIUM}: run scripts/lab_needs chromium"
    shown = tmp_path / "status.html"
    done = play("-e", "status_format=html", "-e", f"status_file={shown}", playbook=PLAYBOOK)
    assert done.returncode == 2, said(done)[-3000:]
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": 1200, "height": 1000})
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            page.goto(shown.as_uri())
            assert "1 problem" in page.inner_text("h1")
            assert "stray" in page.inner_text("pre")
            rows = page.locator("tbody tr").all_inner_texts()
            assert {row.split()[0] for row in rows[:3]} == set(MANAGERS)
            assert asked == [shown.as_uri()], "the page needs no other file"
            page.screenshot(path=str(OUTPUT / "status.png"), full_page=True)
        finally:
            browser.close()
