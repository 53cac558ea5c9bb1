"""What an operator finds on the hosts, asked with the hosts' own tools."""

from __future__ import annotations

import json

import pytest
from lab_hosts import MANAGERS, SERVICES, Hosts

SHARE = "/srv/airflow/dags"


@pytest.mark.parametrize("host", MANAGERS)
def test_docker_runs_starts_at_boot_and_is_held(hosts: Hosts, host: str):
    assert hosts.run(host, "systemctl", "is-active", "docker").strip() == "active"
    assert hosts.run(host, "systemctl", "is-enabled", "docker").strip() == "enabled"
    assert {"docker.io", "containerd"} <= set(hosts.run(host, "apt-mark", "showhold").split())
    assert json.loads(hosts.run(host, "cat", "/etc/docker/daemon.json"))["log-driver"] == "local"


@pytest.mark.parametrize("host", [*MANAGERS, SERVICES])
def test_no_proxy_is_baked_into_the_package_manager(hosts: Hosts, host: str):
    assert hosts.ask(host, "grep", "-ril", "proxy", "/etc/apt").stdout == ""


@pytest.mark.parametrize("host", [*MANAGERS, SERVICES])
def test_no_unit_failed(hosts: Hosts, host: str):
    assert hosts.run(host, "systemctl", "--failed", "--no-legend", "--plain") == ""


def test_all_hosts_manage_one_swarm(hosts: Hosts):
    seen = {
        hosts.run(host, "docker", "info", "--format", "'{{.Swarm.Cluster.ID}} {{.Swarm.Managers}} {{.Swarm.Nodes}}'")
        for host in MANAGERS
    }
    assert len(seen) == 1
    assert seen.pop().split()[1:] == ["3", "3"]


@pytest.mark.parametrize("host", MANAGERS)
def test_the_share_is_mounted_by_nfs_as_it_should_be(hosts: Hosts, host: str):
    mount = json.loads(hosts.run(host, "findmnt", "--json", "--mountpoint", SHARE))["filesystems"][0]
    options = set(mount["options"].split(","))
    assert mount["fstype"] == "nfs4"
    assert mount["source"].startswith("services1.lab.test:")
    assert {"hard", "nodev", "nosuid", "noatime"} <= options
    assert ("rw" if host == "swarm1" else "ro") in options, "only the publisher may write"


@pytest.mark.parametrize("host", MANAGERS)
def test_docker_waits_for_the_share(hosts: Hosts, host: str):
    needed = hosts.run(host, "systemctl", "show", "docker", "--property=RequiresMountsFor,Requires,After")
    assert SHARE in needed or SHARE.strip("/").replace("/", "-") in needed
    assert hosts.run(host, "cat", f"{SHARE}/.flowstead-share").strip()


def test_the_database_shows_the_certificate_of_the_labs_authority(hosts: Hosts):
    hosts.write("swarm2", "/tmp/authority.pem", hosts.facts["authority"])
    for port, words in ((5432, ("-starttls", "postgres")), (5671, ()), (5000, ())):
        done = hosts.ask(
            "swarm2",
            *("openssl", "s_client", "-connect", f"services1.lab.test:{port}", "-servername", "services1.lab.test"),
            *(
                "-verify_hostname",
                "services1.lab.test",
                "-verify_return_error",
                "-CAfile",
                "/tmp/authority.pem",
                *words,
            ),
            "</dev/null",
        )
        assert "Verify return code: 0 (ok)" in done.stdout, f"port {port}: {done.stdout[-500:]}{done.stderr[-500:]}"


def test_the_database_is_postgresql_17_and_lets_nobody_in_without_tls(hosts: Hosts):
    assert " 17." in hosts.run(SERVICES, "psql --version || pg_config --version")
    rules = hosts.run(SERVICES, "sh", "-c", "'grep -hv ^# /etc/postgresql/17/*/pg_hba.conf'")
    assert not [line for line in rules.splitlines() if line.split()[:1] in (["host"], ["hostnossl"])]


def test_the_registry_lets_nobody_in_without_a_login(hosts: Hosts, secrets: dict[str, str]):
    script = (
        "import base64, ssl, sys, urllib.error, urllib.request\n"
        "context = ssl.create_default_context(cafile='/tmp/authority.pem')\n"
        "request = urllib.request.Request('https://services1.lab.test:5000/v2/_catalog')\n"
        "login = sys.stdin.readline().strip()\n"
        "if login: request.add_header('Authorization', 'Basic ' + base64.b64encode(login.encode()).decode())\n"
        "try: print(urllib.request.urlopen(request, context=context).read().decode())\n"
        "except urllib.error.HTTPError as error: print(error.code)\n"
    )
    hosts.write("swarm2", "/tmp/authority.pem", hosts.facts["authority"])
    hosts.write("swarm2", "/tmp/catalog.py", script)
    assert hosts.run("swarm2", "echo | python3 /tmp/catalog.py").strip() == "401"
    assert hosts.run("swarm2", "echo airflow:wrong | python3 /tmp/catalog.py").strip() == "401"
    hosts.write("swarm2", "/tmp/login", f"airflow:{secrets['registry']}\n")
    assert "flowstead/airflow" in hosts.run("swarm2", "python3 /tmp/catalog.py < /tmp/login; rm /tmp/login")


def test_the_broker_has_no_guest_and_waits_as_long_as_the_longest_task(hosts: Hosts):
    users = json.loads(hosts.run(SERVICES, "rabbitmqctl", "-q", "--formatter", "json", "list_users"))
    assert [user["user"] for user in users] == ["airflow"]
    timeout = hosts.run(
        SERVICES, "rabbitmqctl", "eval", "'{ok, T} = application:get_env(rabbit, consumer_timeout), T.'"
    )
    assert int(timeout) >= 3600 * 1000


def test_valkey_answers_who_has_its_password_and_nobody_else(hosts: Hosts, secrets: dict[str, str]):
    conversation = (
        "import socket, sys\n"
        "words = sys.stdin.readline().split()\n"
        "with socket.create_connection(('services1.lab.test', 6379), timeout=20) as link:\n"
        "    stream = link.makefile('rw', newline='\\r\\n')\n"
        "    for line in ([f'AUTH {words[0]}'] if words else []) + ['PING']:\n"
        "        print(line, file=stream, flush=True)\n"
        "        said = stream.readline().strip()\n"
        "print(said)\n"
    )
    hosts.write("swarm3", "/tmp/ping.py", conversation)
    assert "NOAUTH" in hosts.run("swarm3", "echo | python3 /tmp/ping.py")
    hosts.write("swarm3", "/tmp/password", f"{secrets['redis']}\n")
    assert hosts.run("swarm3", "python3 /tmp/ping.py < /tmp/password; rm /tmp/password").strip() == "+PONG"


def test_only_version_4_of_nfs_is_served(hosts: Hosts):
    versions = hosts.run(SERVICES, "cat", "/proc/fs/nfsd/versions").split()
    assert "-3" in versions
    assert "+4.2" in versions
