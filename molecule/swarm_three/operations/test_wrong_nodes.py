"""Names of nodes that are refused."""

from __future__ import annotations

import json

from cluster import Cluster
from conftest_shared import play, refused
from lab_hosts import MANAGERS


def test_a_node_that_nobody_knows_is_refused_with_those_that_there_are(cluster: Cluster):
    before = [node["Availability"] for node in cluster.nodes()]
    given = json.dumps({"swarm_drain_node": "swarm9"})
    refused(play("--extra-vars", given, playbook="playbooks/drain.yml"), "no node swarm9", *MANAGERS)
    refused(play(playbook="playbooks/drain.yml"), "swarm_drain_node is empty")
    assert [node["Availability"] for node in cluster.nodes()] == before
