"""What the playbook `status` says of a platform that is well; of others, tests/e2e and the host that is cut off."""

from __future__ import annotations

from cluster import Cluster
from conftest_shared import changed, play, said, went_well
from lab_hosts import MANAGERS


def test_a_healthy_platform_is_one_screen_without_a_difference_to_the_inventory(
    cluster: Cluster, secrets: dict[str, str]
):
    cluster.await_strength()
    done = went_well(play("-v", playbook="playbooks/status.yml"))
    told = said(done)
    assert "on http://swarm1.lab.test:8080: healthy" in told
    assert "The inventory and what runs: no difference" in told
    assert "\\n" not in told, "it is shown line by line"
    for text in (*MANAGERS, "leader", "2/2 running", "3/3 running"):
        assert text in told, text
    assert changed(done.stdout, hosts=3) == 0
    assert not {name for name, value in secrets.items() if value in done.stdout + done.stderr}
