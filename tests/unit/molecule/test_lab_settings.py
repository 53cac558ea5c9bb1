"""The lab's hosts are data, and mistakes in them are all named at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from _lab import guests
from _lab.settings import DEFAULT_HOSTS, LabError, load

ROOT = Path(__file__).resolve().parents[3]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_the_shipped_hosts_are_three_managers_and_a_host_for_services():
    lab = load("lab")
    assert [host.name for host in lab.select([])] == ["swarm1", "swarm2", "services1", "swarm3"]


def test_the_lab_inventory_has_the_hosts_that_the_lab_starts_in_the_groups_that_it_says():
    inventory = yaml.safe_load((ROOT / "inventories/lab/hosts.yml").read_text())
    groups = inventory["all"]["children"]["airflow"]["children"]
    told = {(name, group) for group, content in groups.items() for name in (content.get("hosts") or {})}
    assert told == {(host.name, group) for host in load("lab").select([]) for group in host.groups}


def test_a_name_that_is_no_host_is_refused_with_the_names_that_are():
    with pytest.raises(LabError, match=r"nobody.*swarm1"):
        load("lab").select(["nobody"])


def test_two_labs_share_no_namespace_and_no_guest_name():
    one, two = load("one"), load("two")
    assert one.namespace != two.namespace
    assert {one.umid(host) for host in one.hosts}.isdisjoint(two.umid(host) for host in two.hosts)
    assert one.state != two.state


def test_hosts_take_turns_on_the_cpus_that_there_are():
    lab = load("lab")
    used = [guests.cpu(lab, host, [2, 5]) for host in lab.select([])]
    assert used == [2, 5, 2, 5]
    assert {guests.cpu(lab, host, [3]) for host in lab.hosts} == {3}


def test_all_problems_of_a_hosts_file_come_together(tmp_path: Path):
    text = """
[network]
prefix = "ten"
[[host]]
name = "Big_Host"
address = 1
memory = 12
disk = 1
colour = "red"
[[host]]
name = "twice"
address = 7
[[host]]
name = "twice"
address = 7
"""
    with pytest.raises(LabError) as caught:
        load("A lab", write(tmp_path / "hosts.toml", text))
    for word in ("A lab", "Big_Host", "colour", "ten", "address is 1", "memory is 12", "disk is 1", "twice", "7"):
        assert word in str(caught.value)


def test_a_hosts_file_that_is_no_toml_names_the_file(tmp_path: Path):
    with pytest.raises(LabError, match=r"hosts\.toml"):
        load("lab", write(tmp_path / "hosts.toml", "[[host"))


def test_the_default_file_is_the_shipped_one():
    assert DEFAULT_HOSTS.name == "hosts.toml"
