"""What containers and a host say reaches Splunk on the neighbour, also what they said last.

The tests follow each other on one host.
"""

from __future__ import annotations

import json
import shlex
import typing as t
from pathlib import Path

import pytest
from conftest_shared import changed, play, refused, said, went_well
from lab_hosts import Hosts, wait_for
from lab_inventory import write_inventory
from package_repository import Repository
from splunk import Splunk

HOST, NEIGHBOUR = "swarm4", "swarm5"
LOGGING, ENGINE = "playbooks/logging.yml", "playbooks/engine.yml"
UNIT = "flowstead-log-agent"
LABELS = "com.docker.stack.namespace,com.docker.swarm.service.name,com.docker.swarm.task.name"
#: A root file system that can say something: the host's own shell with its libraries.
TINY = "tar -ch /bin/sh /bin/sleep $(ldd /bin/sh /bin/sleep | grep -o '/lib[^ ]*' | sort -u) | docker import - tiny:1"


@pytest.fixture(scope="module")
def splunk(hosts: Hosts) -> t.Iterator[Splunk]:
    """Splunk on the neighbour."""
    double = Splunk(hosts, NEIGHBOUR)
    double.start()
    yield double
    double.stop()


@pytest.fixture(scope="module")
def where(hosts: Hosts, splunk: Splunk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An inventory of the host, with the agent."""
    repository = Repository(hosts, NEIGHBOUR)
    variables = {
        "docker_engine_source": "upstream",
        "docker_engine_repository_url": repository.url,
        "docker_engine_version": repository.versions[-1],
        "log_agent_type": "syslog_ng",
        "log_agent_splunk": {
            **{name: splunk.variables[name] for name in ("url", "token", "ca_certificate")},
            "index": "airflow",
            "host_index": "hosts",
        },
        "log_agent_environment": "lab",
        "log_agent_proxy": "{{ lab_proxy }}",
        "airflow_logs": {"components": {"driver": "journald"}},
    }
    inventory = write_inventory(tmp_path_factory.mktemp("agent"), hosts, {"swarm_managers": [HOST]}, variables)
    hosts.ask(HOST, "docker swarm leave --force")  # of another test, perhaps
    went_well(play(playbook=ENGINE, inventory=inventory))
    hosts.run(HOST, "docker swarm init --advertise-addr", hosts.facts["addresses"][HOST])
    hosts.run(HOST, TINY)
    return inventory


def extra(**variables: object) -> tuple[str, str]:
    """Words that set variables."""
    return "--extra-vars", json.dumps(variables)


def service(hosts: Hosts, name: str, script: str) -> None:
    """A service of a stack that says something."""
    words = ["docker service create --quiet --detach --no-resolve-image --restart-condition none --log-driver journald"]
    words += [f"--log-opt labels={LABELS}", f"--name demo_{name}"]
    words += ["--label com.docker.stack.namespace=demo --container-label com.docker.stack.namespace=demo"]
    hosts.run(HOST, *words, "tiny:1 /bin/sh -c", shlex.quote(script))


def numbers(splunk: Splunk, word: str) -> set[int]:
    """Which of the lines ``word N`` Splunk has."""
    found = [json.loads(event["raw"])["message"] for event in splunk.matching(word)]
    return {int(text.split()[1]) for text in found if text.startswith(f"{word} ")}


def test_check_mode_on_the_bare_host_foretells_the_agent(hosts: Hosts, where: Path):
    done = play("--check", "--diff", playbook=LOGGING, inventory=where)
    went_well(done)
    assert changed(done.stdout, hosts=1) > 0
    assert "Would install syslog-ng-core, syslog-ng-mod-http" in said(done)
    assert "token-of-the-collector" not in said(done)
    assert hosts.ask(HOST, f"systemctl cat {UNIT}").returncode != 0


def test_what_splunk_would_refuse_is_named_before_anything_changes(
    hosts: Hosts, splunk: Splunk, where: Path, tmp_path: Path
):
    wrong = {**splunk.variables, "token": "another-token", "index": "airflow"}
    wrong = {name: wrong[name] for name in ("url", "token", "ca_certificate", "index")}
    # playbooks/preflight.yml looks at more, and this host is too small for a platform.
    playbook = tmp_path / "preflight.yml"
    role = {"name": "flowstead.airflow.log_agent", "tasks_from": "preflight"}
    playbook.write_text(json.dumps([{"hosts": HOST, "gather_facts": False, "tasks": [{"import_role": role}]}]))
    done = play(*extra(log_agent_splunk=wrong), playbook=str(playbook), inventory=where)
    refused(done, "log_agent_splunk.token")
    assert "another-token" not in said(done)
    assert hosts.ask(HOST, f"systemctl cat {UNIT}").returncode != 0
    went_well(play(playbook=str(playbook), inventory=where))
    assert sorted(event["index"] for event in splunk.matching("hec_check")) == ["airflow", "hosts"]


def test_the_agent_runs_and_a_second_run_changes_nothing(hosts: Hosts, where: Path):
    hosts.write(HOST, f"/etc/{UNIT}/agent.yaml", "token of another agent, which was here before")
    went_well(play("--diff", playbook=LOGGING, inventory=where))
    assert hosts.run(HOST, f"systemctl is-active {UNIT}").strip() == "active"
    assert hosts.run(HOST, f"systemctl is-enabled {UNIT}").strip() == "enabled"
    assert hosts.ask(HOST, "systemctl is-active syslog-ng").stdout.strip() == "inactive"
    assert hosts.run(HOST, f"ls /etc/{UNIT}").split() == ["agent.conf", "ca.pem", "since.conf"]
    done = play(playbook=LOGGING, inventory=where)
    went_well(done)
    assert changed(done.stdout, hosts=1) == 0


def test_nobody_but_root_can_read_the_token(hosts: Hosts):
    shown = hosts.run(HOST, f"ps -eo args; systemctl show {UNIT}; systemctl cat {UNIT}")
    assert "token-of-the-collector" not in shown
    owner = hosts.run(HOST, f"stat -c %U:%a /etc/{UNIT}/agent.conf; ps -o user= -p $(systemctl show {UNIT} -P MainPID)")
    assert owner.split()[0] == "root:600"
    assert owner.split()[1] != "root"


def test_lines_of_a_container_say_where_they_come_from_and_outlive_it(hosts: Hosts, splunk: Splunk):
    service(hosts, "speaker", "n=0; while [ $n -lt 50 ]; do n=$((n+1)); echo spoken $n; done")
    wait_for("the task to end", lambda: "Complete" in hosts.run(HOST, "docker service ps demo_speaker"), 120)
    hosts.run(HOST, "docker service rm demo_speaker")
    wait_for("its lines in Splunk", lambda: numbers(splunk, "spoken") == set(range(1, 51)), 120)
    event = splunk.matching("spoken 50")[0]
    assert (event["host"], event["index"], event["sourcetype"]) == (HOST, "airflow", "airflow:component")
    fields = event["fields"]
    assert (fields["environment"], fields["node"], fields["stack"]) == ("lab", HOST, "demo")
    assert (fields["service"], fields["component"]) == ("demo_speaker", "speaker")
    assert event["source"].startswith("container:demo_speaker.1.")
    assert fields["container"]


def test_lines_of_the_host_go_into_their_own_index(hosts: Hosts, splunk: Splunk):
    hosts.run(HOST, "logger -t lamp 'hosted 1'")
    wait_for("the line in Splunk", lambda: numbers(splunk, "hosted") == {1}, 120)
    event = splunk.matching("hosted 1")[0]
    assert (event["index"], event["sourcetype"]) == ("hosts", "journald")


def test_a_host_that_loses_power_while_splunk_is_away_brings_its_lines_later(hosts: Hosts, splunk: Splunk):
    splunk.mode("down")
    service(hosts, "patient", "n=0; while [ $n -lt 500 ]; do n=$((n+1)); echo waited $n; done")
    wait_for("the task to end", lambda: "Complete" in hosts.run(HOST, "docker service ps demo_patient"), 120)
    # What the journal has not brought to the disk goes with the power; it does so every ten seconds.
    hosts.run(HOST, "journalctl --sync")
    hosts.lab("kill", HOST)
    hosts.lab("start", HOST)
    splunk.mode("up")
    wait_for("the lines in Splunk", lambda: numbers(splunk, "waited") == set(range(1, 501)), 300)


def test_an_agent_that_is_killed_starts_again_and_loses_nothing(hosts: Hosts, splunk: Splunk):
    wait_for("the engine", lambda: hosts.ask(HOST, "docker info").returncode == 0, 120)
    service(hosts, "talker", "n=0; while [ $n -lt 300 ]; do n=$((n+1)); echo talked $n; sleep 0.02; done")
    wait_for("the first lines", lambda: numbers(splunk, "talked"), 120)
    hosts.run(HOST, f"systemctl kill --signal=KILL {UNIT}")
    wait_for("all lines", lambda: numbers(splunk, "talked") == set(range(1, 301)), 300)


def test_a_new_token_takes_the_place_of_the_old_one(hosts: Hosts, splunk: Splunk, where: Path):
    wrong = {name: splunk.variables[name] for name in ("url", "ca_certificate", "index")} | {"token": "another-token"}
    went_well(play(*extra(log_agent_splunk=wrong), playbook=LOGGING, inventory=where))
    hosts.run(HOST, "logger -t lamp 'locked 1'")
    went_well(play(playbook=LOGGING, inventory=where))
    wait_for("the line in Splunk", lambda: numbers(splunk, "locked") == {1}, 120)


def test_what_the_role_made_goes_and_the_journal_stays(hosts: Hosts, where: Path):
    words = extra(teardown_confirm="yes")
    went_well(play(*words, "--tags", "logging", playbook="playbooks/teardown.yml", inventory=where))
    assert hosts.ask(HOST, f"systemctl cat {UNIT}").returncode != 0
    left = f"ls -d /etc/{UNIT} /var/lib/{UNIT} /var/lib/private/{UNIT} /etc/systemd/journald.conf.d/50-{UNIT}.conf"
    assert hosts.ask(HOST, left).stdout == ""
    assert "spoken 50" in hosts.run(HOST, "journalctl --output=cat --grep='spoken 50'")
