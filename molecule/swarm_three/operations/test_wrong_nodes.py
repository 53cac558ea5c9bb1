"""Names of nodes that are refused."""

from __future__ import annotations

import json

from cluster import Cluster
from conftest_shared import play, said
from lab_hosts import MANAGERS


def test_a_node_that_nobody_knows_is_refused_with_those_that_there_are(cluster: Cluster):
    before = [node["Availability"] for node in cluster.nodes()]
    done = play("--extra-vars", json.dumps({"swarm_drain_node": "swarm9"}), playbook="playbooks/drain.yml")
    assert done.returncode == 2
    for words in ("no node swarm9", *MANAGERS):
        assert words in said(done), words
    done = play(playbook="playbooks/drain.yml")
    assert done.returncode == 2
    assert "swarm_drain_node is empty" in said(done)
    assert [node["Availability"] for node in cluster.nodes()] == before
