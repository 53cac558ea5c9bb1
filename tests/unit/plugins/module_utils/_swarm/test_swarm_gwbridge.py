from __future__ import annotations

import ipaddress

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.gwbridge import (
    gwbridge_document,
    gwbridge_missing,
    is_ours,
    parse_routes,
    parse_subnet,
    read_gwbridge,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem
from fake_swarm_engine import FakeEngine

# As a Linux host prints it: a default route, 192.0.2.0/24 on eth0, 172.17.0.0/16 on docker0, 10.209.0.0/24.
ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
docker_gwbridge\t0000D10A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


def test_routes_are_read_in_the_byte_order_of_the_kernel():
    assert parse_routes(ROUTES) == [
        ("eth0", ipaddress.IPv4Network("0.0.0.0/0")),
        ("eth0", ipaddress.IPv4Network("192.0.2.0/24")),
        ("docker0", ipaddress.IPv4Network("172.17.0.0/16")),
        ("docker_gwbridge", ipaddress.IPv4Network("10.209.0.0/24")),
    ]


def test_a_free_subnet_is_to_be_made():
    assert gwbridge_missing(None, "10.210.0.0/24", ROUTES)


def test_the_default_route_and_the_bridge_itself_are_no_overlap():
    assert gwbridge_missing(None, "10.209.0.0/24", ROUTES)


@pytest.mark.parametrize(("subnet", "owner"), [("192.0.2.128/25", "eth0"), ("172.16.0.0/12", "docker0")])
def test_a_subnet_that_the_host_routes_already_is_refused_with_its_owner(subnet, owner):
    with pytest.raises(SwarmProblem, match=f"overlaps.*{owner}"):
        gwbridge_missing(None, subnet, ROUTES)


def test_a_bridge_with_the_wanted_subnet_is_kept_although_the_host_routes_it():
    assert not gwbridge_missing({"IPAM": {"Config": [{"Subnet": "10.209.0.0/24"}]}}, "10.209.0.0/24", ROUTES)


@pytest.mark.parametrize("subnet", ["10.209.0.1/24", "10.209.0.0", "fd00::/64", "a/24", "10.209.0.0/29"])
def test_what_is_no_subnet_for_containers_is_refused(subnet):
    with pytest.raises(SwarmProblem, match="swarm_gwbridge_subnet"):
        parse_subnet(subnet)


def test_the_host_is_the_first_address_and_the_documented_options_are_set():
    document = gwbridge_document("10.209.0.0/24")
    assert document["IPAM"]["Config"] == [{"Subnet": "10.209.0.0/24", "Gateway": "10.209.0.1"}]
    assert document["Options"] == {
        "com.docker.network.bridge.name": "docker_gwbridge",
        "com.docker.network.bridge.enable_icc": "false",
        "com.docker.network.bridge.enable_ip_masquerade": "true",
    }
    assert is_ours(document)
    assert not is_ours({"Labels": None})


def test_a_network_with_a_longer_name_is_not_the_bridge():
    assert read_gwbridge(FakeEngine(networks=[{"Name": "my_docker_gwbridge"}])) is None
