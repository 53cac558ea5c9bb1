"""Task logs in Splunk: refused when they could not get there, and shown when only Splunk has them.

What becomes of lines when something fails is counted among the faults.
"""

from __future__ import annotations

import json

from airflow_api import Airflow, Run
from browser import Page, log_page, see
from cluster import Cluster
from conftest_shared import play, refused
from lab_hosts import MANAGERS, Hosts
from report import Table
from splunk import VOLUME, Splunk

#: Seconds that tasks run at most whose logs are looked at meanwhile: a guest takes its time for a page of Airflow.
LONG = 600


def test_what_splunk_would_refuse_is_named_before_anything_changes(splunk: Splunk):
    wrong = {**splunk.variables, "token": "another-token", "search_token": "another-search"}
    words = ("--extra-vars", json.dumps({"airflow_logs": {"tasks": {"splunk": wrong}}}))
    done = play(*words, playbook="playbooks/preflight.yml")
    refused(done, "airflow_logs.tasks.splunk.token", *MANAGERS)
    assert "another-" not in done.stdout + done.stderr


def test_a_browser_shows_logs_that_only_splunk_has_of_a_task_that_runs_and_of_one_that_ended(
    hosts: Hosts, cluster: Cluster, airflow: Airflow, splunk: Splunk, secrets: dict[str, str], losses: Table
):
    ended = Run(airflow, tasks=2, seconds=5)
    ended.await_success()
    for host in MANAGERS:
        hosts.run(host, f"rm -rf {VOLUME}/dag_id=probe/run_id={ended.id}")
    assert ended.lost_lines() == (0, 0)

    run = Run(airflow, tasks=6, seconds=LONG)
    workers = cluster.workers()
    busy = {workers[entry["hostname"]]: entry for entry in run.await_running(6)}
    # An api-server shares the files of its own host, and asks the worker's log server elsewhere: here neither is there.
    servers = {host: hosts.run(host, "docker", "ps", "-q", "--filter", "name=_api-server").split() for host in busy}
    host = next(host for host in busy if not servers[host])
    index = busy[host]["map_index"]
    inside = f"nsenter --net=/proc/{cluster.process(host, busy[host]['hostname'])}/ns/net iptables"
    hosts.run(host, f"{inside} -I INPUT -p tcp --dport 8793 -j REJECT")
    try:
        done = see(
            hosts, secrets["admin"], [Page(log_page(run, index), [rf"probe line \d+ of {LONG}"], "running-task.png")]
        )
        state = run.state()
    finally:
        hosts.run(host, f"{inside} -D INPUT -p tcp --dport 8793 -j REJECT")
    assert done.returncode == 0, done.stdout + done.stderr
    assert state == "running", "the page has to have shown it while the task ran"

    all_lines = [f"probe line {second} of 5" for second in range(5)]
    done = see(hosts, secrets["admin"], [Page(log_page(ended, 1), all_lines, "ended-task.png")])
    assert done.returncode == 0, done.stdout + done.stderr

    run.end(cluster)
    run.await_success()
    printed = sum(run.lasted(number) for number in range(6))
    found = sum(splunk.lines_of(run, number) for number in range(6))
    losses.add("nothing", printed, printed - found, printed - found)
    assert found == printed > 0
