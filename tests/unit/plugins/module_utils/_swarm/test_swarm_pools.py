from __future__ import annotations

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.pools import (
    check_pools,
    free_pool,
    refuse_overlap,
    warn_overlap,
)


def net(network, interface="eth0"):
    return {"interface": interface, "network": network}


TEN = {"m1": [net("10.77.0.0/24")], "m2": [net("10.77.0.0/24")]}
OTHER = {"m1": [net("192.0.2.0/24")], "m2": [net("192.0.2.0/24"), net("172.17.0.0/16", "docker0")]}


def test_pools_that_no_host_knows_are_fine():
    assert refuse_overlap(["172.20.0.0/14"], 24, TEN) == []


def test_dockers_choice_is_fine_where_no_host_has_such_addresses():
    assert refuse_overlap([], 0, OTHER) == []


def test_dockers_choice_is_refused_for_several_hosts_in_its_range_with_a_free_pool():
    (problem,) = refuse_overlap([], 0, TEN)
    assert "10.0.0.0/8 with 10.77.0.0/24 of m1 (eth0)" in problem
    assert "for example [172.20.0.0/14]" in problem


def test_dockers_choice_is_left_to_docker_for_one_host():
    assert refuse_overlap([], 0, {"m1": [net("10.77.0.0/24")]}) == []


def test_a_pool_that_is_asked_for_may_not_overlap_on_one_host_either():
    assert "10.64.0.0/10 with 10.77.0.0/24" in refuse_overlap(["10.64.0.0/10"], 0, {"m1": [net("10.77.0.0/24")]})[0]


def test_a_network_of_any_host_counts():
    (problem,) = refuse_overlap(["172.16.0.0/12"], 0, OTHER)
    assert "172.17.0.0/16 of m2 (docker0)" in problem
    assert "m1" not in problem


def test_a_proposed_pool_overlaps_nothing():
    taken = {"m1": [net("172.16.0.0/12"), net("192.168.4.0/24"), net("10.240.0.0/12")]}
    assert free_pool(taken) == "10.224.0.0/16"
    assert free_pool({"m1": [net("0.0.0.0/1"), net("128.0.0.0/1")]}) == ""


@pytest.mark.parametrize(
    ("pools", "size", "said"),
    [
        (["172.20.0.1/14"], 0, "is no IPv4 subnet"),
        (["nonsense"], 0, "is no IPv4 subnet"),
        (["172.20.0.0/25"], 0, "too small for one network of the length 24 (swarm_subnet_size, by default)"),
        (["172.20.0.0/25"], 24, "too small for one network of the length 24 (swarm_subnet_size)"),
        (["172.20.0.0/14", "172.21.0.0/16"], 0, "which overlap"),
    ],
)
def test_a_pool_that_docker_would_refuse_is_refused(pools, size, said):
    assert said in check_pools(pools, size)[0]
    assert said in refuse_overlap(pools, size, OTHER)[0]


def test_a_pool_of_exactly_one_network_is_enough():
    assert check_pools(["172.20.0.0/24"], 24) == []


def test_a_live_swarm_that_overlaps_is_only_told():
    assert "10.0.0.0/8 with 10.77.0.0/24 of m1 (eth0)" in warn_overlap(["10.0.0.0/8"], TEN)[0]
    assert warn_overlap(["10.0.0.0/8"], {"m1": TEN["m1"]}) == []
    assert warn_overlap(["172.20.0.0/14"], TEN) == []


def test_a_long_list_of_overlaps_is_cut():
    hosts = {f"h{number}": [net("10.77.0.0/24")] for number in range(20)}
    assert "and 14 more" in refuse_overlap([], 0, hosts)[0]
