from __future__ import annotations

import json

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm import firewall_nftables as nftables
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.firewall import FirewallProblem, Opening, must
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.firewall_others import (
    plan_firewalld,
    plan_ufw,
    ufw_is_on,
)

TWO = Opening(members=("192.0.2.1", "192.0.2.2"), manager=True)


def answering(*answer):
    """A program that always says the same."""

    def run(command, data=""):
        assert command
        assert isinstance(data, str)
        return answer

    return run


def chain(name="input", family="inet", table="filter", **given):
    return {"chain": {"family": family, "table": table, "name": name, "type": "filter", "hook": "input", **given}}


def rule(expr, comment="", handle=4, chain_name="input"):
    found = {"family": "inet", "table": "filter", "chain": chain_name, "handle": handle, "expr": expr}
    return {"rule": {**found, "comment": comment} if comment else found}


DROPS = chain(policy="drop")


def applied(plan, base=(DROPS,)):
    """The ruleset and the files after a plan, as far as our rules go."""
    inserts = [line for line in plan.commands[0][1].splitlines() if line.startswith("insert")]
    rules = [rule([], line.split('comment "')[1].rstrip('"'), handle) for handle, line in enumerate(inserts, 10)]
    return [*base, *rules], {path: text for path, text in plan.files.items() if text is not None}


def test_rules_go_to_the_front_of_the_chain_that_drops_and_only_for_members():
    plan = nftables.plan_nftables([DROPS], TWO, {})
    command, script = plan.commands[0]
    assert command == ["nft", "-f", "-"]
    assert script.splitlines() == [
        f"insert rule inet filter input ip saddr {{ 192.0.2.1, 192.0.2.2 }} {match} accept "
        f'comment "flowstead-swarm {TWO.digest}"'
        for match in ("udp dport { 4789, 7946 }", "tcp dport { 2377, 7946 }")
    ]
    assert set(plan.files) == {nftables.RULES_FILE, nftables.UNIT_FILE}


def test_nothing_is_ever_flushed_or_added_as_a_table():
    plan = nftables.plan_nftables([DROPS], TWO, {})
    for text in [plan.commands[0][1], *plan.files.values()]:
        assert "flush" not in text
        assert "add table" not in text


def test_a_second_run_changes_nothing():
    ruleset, files = applied(nftables.plan_nftables([DROPS], TWO, {}))
    assert not nftables.plan_nftables(ruleset, TWO, files).changed


def test_a_new_member_replaces_our_rules_in_one_transaction_and_no_others():
    ruleset, files = applied(nftables.plan_nftables([DROPS], TWO, {}))
    others = rule([{"accept": None}], "ssh", handle=3)
    plan = nftables.plan_nftables([*ruleset, others], Opening(("192.0.2.1",), manager=True), files)
    deleted = [line for line in plan.commands[0][1].splitlines() if line.startswith("delete")]
    assert deleted == [f"delete rule inet filter input handle {handle}" for handle in (10, 11)]


def test_rules_that_were_loaded_twice_are_put_right():
    ruleset, files = applied(nftables.plan_nftables([DROPS], TWO, {}))
    assert nftables.plan_nftables([*ruleset, *ruleset[1:]], TWO, files).changed


def test_rules_that_somebody_flushed_come_back():
    _ruleset, files = applied(nftables.plan_nftables([DROPS], TWO, {}))
    plan = nftables.plan_nftables([DROPS], TWO, files)
    assert plan.commands
    assert plan.files == {}


@pytest.mark.parametrize(
    "ruleset",
    [[], [chain(policy="accept")], [chain(policy="drop", hook="forward")], [chain(policy="drop", type="nat")]],
    ids=["no chain", "accepts", "forward", "nat"],
)
def test_a_host_that_keeps_nothing_out_needs_nothing(ruleset):
    assert not nftables.plan_nftables(ruleset, TWO, {}).changed


def test_a_chain_that_accepts_and_rejects_at_its_end_counts():
    ruleset = [chain(policy="accept"), rule([{"reject": None}])]
    assert nftables.plan_nftables(ruleset, TWO, {}).commands


def test_a_chain_of_iptables_is_not_written_to():
    with pytest.raises(FirewallProblem, match=r"ip filter INPUT.*belongs to iptables"):
        nftables.plan_nftables([chain("INPUT", family="ip", policy="drop")], TWO, {})


def test_a_ruleset_of_firewalld_is_not_written_to():
    with pytest.raises(FirewallProblem, match="firewalld"):
        nftables.plan_nftables([chain("filter_INPUT", table="firewalld", policy="drop")], TWO, {})


def test_workers_open_no_port_of_managers_and_encryption_opens_esp():
    script = nftables.plan_nftables([DROPS], Opening(("192.0.2.1",), encrypted=True), {}).commands[0][1]
    assert "2377" not in script
    assert "meta l4proto esp accept" in script


def test_ipv6_members_get_rules_of_their_own():
    script = nftables.plan_nftables([DROPS], Opening(("192.0.2.1", "2001:db8::1")), {}).commands[0][1]
    assert "ip6 saddr { 2001:db8::1 } tcp" in script
    assert "ip saddr { 192.0.2.1 } tcp" in script
    assert len(script.splitlines()) == 4


def test_removal_takes_what_is_ours_and_nothing_else():
    ruleset, files = applied(nftables.plan_nftables([DROPS], TWO, {}))
    plan = nftables.plan_nftables([*ruleset, rule([], "ssh", handle=3)], None, files)
    assert all(line.startswith("delete rule") for line in plan.commands[0][1].splitlines())
    assert "handle 3\n" not in plan.commands[0][1]
    assert plan.files == {nftables.RULES_FILE: None, nftables.UNIT_FILE: None}
    assert not nftables.plan_nftables([DROPS], None, {}).changed


def test_the_live_ruleset_is_read_as_json():
    text = json.dumps({"nftables": [{"metainfo": {}}, DROPS]})
    ruleset = nftables.read_ruleset(answering(0, text, ""))
    assert nftables.dropping_chains(ruleset) == [("inet", "filter", "input")]


def test_a_program_that_fails_is_an_error_with_its_words():
    with pytest.raises(FirewallProblem, match=r"`nft -f -` failed with 1: no such table"):
        must(answering(1, "", "no such table\n"), ["nft", "-f", "-"])


def ufw_text(*rules):
    comment = b"flowstead-swarm".hex()
    return "\n".join(
        f"### tuple ### allow {proto} {ports or 'any'} 0.0.0.0/0 any {source} in comment={comment}\n-A x"
        for proto, ports, source in rules
    )


def test_ufw_gets_two_rules_for_each_member_in_front_of_others():
    plan = plan_ufw([], Opening(("192.0.2.1",), manager=True))
    assert [" ".join(command) for command, _data in plan.commands] == [
        "ufw prepend allow proto tcp from 192.0.2.1 to any port 2377,7946 comment flowstead-swarm",
        "ufw prepend allow proto udp from 192.0.2.1 to any port 4789,7946 comment flowstead-swarm",
    ]


def test_ufw_is_left_alone_when_its_rules_are_there_and_rules_of_others_are_never_touched():
    ours = ufw_text(("tcp", "2377,7946", "192.0.2.1"), ("udp", "4789,7946", "192.0.2.1"))
    others = "### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in\n### tuple ### deny tcp 7946 0.0.0.0/0 any any in"
    assert not plan_ufw([ours + "\n" + others], Opening(("192.0.2.1",), manager=True)).changed
    gone = [command[2:5] for command, _data in plan_ufw([ours + "\n" + others], None).commands]
    assert gone == [["delete", "allow", "proto"]] * 2


@pytest.mark.parametrize(("text", "on"), [("ENABLED=yes\n", True), ("ENABLED=no\n", False), ("#ENABLED=yes", False)])
def test_ufw_is_on_when_its_settings_say_so(text, on):
    assert ufw_is_on(text) is on


def test_firewalld_is_told_for_now_and_for_the_next_start():
    plan = plan_firewalld("", "", Opening(("192.0.2.1",)), "internal")
    commands = [command for command, _data in plan.commands]
    assert [command[:3] for command in commands] == [
        ["firewall-cmd", "--zone=internal", commands[0][2]],
        ["firewall-cmd", "--permanent", "--zone=internal"],
    ]
    assert (
        '--add-rich-rule=rule priority="-2377" family="ipv4" source address="192.0.2.1" '
        'port port="7946" protocol="tcp" accept'
    ) in commands[0]


def test_firewalld_is_left_alone_when_its_rules_are_there():
    wanted = plan_firewalld("", "", TWO).after
    text = "\n".join([*wanted, 'rule family="ipv4" source address="192.0.2.9" accept'])
    assert not plan_firewalld(text, text, TWO).changed
    removals = plan_firewalld(text, text, None).commands
    assert len(removals) == 2
    assert not any("192.0.2.9" in word for command, _data in removals for word in command)
