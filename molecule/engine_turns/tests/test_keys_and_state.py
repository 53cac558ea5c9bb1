"""A swarm's own secrets are new, and its state outlives its managers."""

from __future__ import annotations

import json
import time
from pathlib import Path

from conftest_shared import changed, play, refused, went_well
from lab_hosts import Hosts, wait_for
from managers import BACKUP, HOSTS, RESTORE, ROTATE, SWARM, Swarm, extra
from report import Table

_STATE = "/var/lib/docker/swarm"


def tokens(swarm: Swarm) -> list[str]:
    """With which workers and managers join."""
    return [swarm.docker(f"swarm join-token --quiet {kind}").strip() for kind in ("worker", "manager")]


def authorities(hosts: Hosts) -> set[str]:
    """What each node takes for the swarm's authority."""
    return {hosts.run(host, f"cat {_STATE}/certificates/swarm-root-ca.crt") for host in HOSTS}


def test_tokens_and_the_authority_are_new_on_every_node_and_no_task_notices(
    hosts: Hosts, swarm: Swarm, inventory: Path, figures: Table
):
    running, before, authority = swarm.running(), tokens(swarm), authorities(hosts)
    words = extra(swarm_rotate=["worker_token", "manager_token", "ca"])
    went_well(play("--check", *words, playbook=ROTATE, inventory=inventory))
    assert tokens(swarm) == before
    began = time.monotonic()
    done = went_well(play("-vvv", *words, playbook=ROTATE, inventory=inventory))
    figures.add("tokens and authority of a swarm of three managers are new", time.monotonic() - began)
    after = tokens(swarm)
    secrets = {token.split("-")[3] for token in (*before, *after)}
    assert len(secrets) == 4, "the parts that are secret are new, too"
    assert not any(secret in done.stdout + done.stderr for secret in secrets)
    assert len(authority) == len(authorities(hosts)) == 1
    assert authorities(hosts) != authority
    assert swarm.running() == running


def test_a_lock_and_its_new_key_are_kept_on_the_controller_and_in_no_output(
    hosts: Hosts, swarm: Swarm, inventory: Path, tmp_path: Path
):
    running, file = swarm.running(), tmp_path / "key"
    words = extra(swarm_autolock="enabled", swarm_unlock_key_file=str(file))
    try:
        outputs = [went_well(play("-vvv", *words, playbook=SWARM, inventory=inventory))]
        first = swarm.docker("swarm unlock-key --quiet").strip()
        assert (file.read_text().strip(), file.stat().st_mode & 0o777) == (first, 0o600)
        assert changed(went_well(play(*words, playbook=SWARM, inventory=inventory)).stdout, hosts=3) == 0
        again = extra(swarm_rotate=["unlock_key"])
        outputs.append(went_well(play("-vvv", *words, *again, playbook=ROTATE, inventory=inventory)))
        second = swarm.docker("swarm unlock-key --quiet").strip()
        assert file.read_text().strip() == second != first
        assert not any(key in done.stdout + done.stderr for done in outputs for key in (first, second))
    finally:
        off = extra(swarm_autolock="disabled", swarm_unlock_key_file=str(file))
        went_well(play(*off, playbook=SWARM, inventory=inventory))
    assert swarm.running() == running


def test_a_backup_costs_no_task_and_brings_back_a_swarm_of_which_no_manager_has_its_state(
    hosts: Hosts, swarm: Swarm, inventory: Path, tmp_path: Path, figures: Table
):
    swarm.docker("config create kept /etc/hostname", on=HOSTS[:1])
    where = tmp_path / "kept"
    words = extra(swarm_backup_directory=str(where))
    went_well(play("--check", *words, playbook=BACKUP, inventory=inventory))
    assert not where.exists()
    began = time.monotonic()
    went_well(play(*words, playbook=BACKUP, inventory=inventory))
    figures.add("a backup of a swarm with work in flight", time.monotonic() - began)
    assert ({node[:2] for node in swarm.nodes().values()}, swarm.lost()) == ({("Ready", "Active")}, [])
    (archive,), (manifest,) = where.glob("*.tar.gz"), where.glob("*.json")
    assert {file.stat().st_mode & 0o777 for file in (archive, manifest)} == {0o600}
    host = next(name for name in HOSTS if name in archive.name)
    restore = extra(swarm_restore_host=host, swarm_restore_archive=str(archive))
    refused(play(*restore, playbook=RESTORE, inventory=inventory), "swarm_restore_force")
    assert set(swarm.nodes()) == set(HOSTS)

    for name in HOSTS:
        hosts.run(name, "systemctl stop docker.socket docker", timeout=180)
        hosts.run(name, f"rm -r {_STATE} && systemctl start docker", timeout=180)
    began = time.monotonic()
    went_well(play(*restore, playbook=RESTORE, inventory=inventory))
    went_well(play(playbook=SWARM, inventory=inventory))
    figures.add("a swarm whose managers are all lost comes back from it", time.monotonic() - began)
    listed = swarm.docker("node ls --format '{{.Hostname}} {{.Status}}'").splitlines()
    assert sorted(listed) == [f"{name} Ready" for name in HOSTS], "no dead twin is left"
    assert json.loads(swarm.docker("config inspect kept"))[0]["Spec"]["Name"] == "kept"
    wait_for("the service to be back", lambda: len(swarm.running()) == 4, 180)
    assert changed(play(playbook=SWARM, inventory=inventory).stdout, hosts=3) == 0
    # What the dead managers ran counts as lost from here on.
    swarm.work()
