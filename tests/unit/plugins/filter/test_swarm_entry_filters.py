from __future__ import annotations

from pathlib import Path

import yaml
from ansible_collections.flowstead.airflow.plugins.filter.swarm_entry import FilterModule

ROOT = Path(__file__).parents[4]


def test_the_filters_are_offered_under_their_documented_names_and_choose():
    filters = FilterModule().filters()
    for name in filters:
        document = yaml.safe_load((ROOT / f"plugins/filter/{name}.yml").read_text())["DOCUMENTATION"]
        assert document["name"] == name
    answer = {"swarm": {"manager": True, "state": "active", "node_id": "id1"}, "cluster": {"error": ""}}
    answers = filters["swarm_answers"](["m1", "m2"], {"m1": {}, "m2": {"node": answer}}, "node")
    assert filters["swarm_entry"](answers) == "m2"
