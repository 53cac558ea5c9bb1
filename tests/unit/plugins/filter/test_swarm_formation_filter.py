from __future__ import annotations

from ansible_collections.flowstead.airflow.plugins.filter.swarm_formation import FilterModule

OUTSIDE = {"engine": {"reachable": True, "error": ""}, "swarm": {"state": "inactive", "manager": False}}


def test_the_filter_is_offered_under_its_name_and_plans():
    plan = FilterModule().filters()["swarm_formation"]({"m1": OUTSIDE}, managers=["m1"], workers=[])
    assert (plan["founder"], plan["problems"]) == ("m1", [])
