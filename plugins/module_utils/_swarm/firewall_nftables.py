# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open ports in a host's own nftables chains.

PRIVATE to the collection.

An accept in a table of our own opens nothing: every base chain of a hook sees the packet, and a drop in any of them is
final (nft(8), "VERDICT STATEMENTS"). So the rules go to the front of the chains that drop, marked by their comment, and
nothing else in the ruleset is touched: no flush, no other table. A unit puts them back when nftables is loaded again.
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.firewall import (
    TAG,
    FirewallProblem,
    Opening,
    Plan,
    Run,
    must,
)

RULES_FILE = "/etc/flowstead/swarm-firewall.nft"
UNIT = "flowstead-swarm-firewall.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
_STOPPING = ("drop", "reject", "jump", "goto", "queue")

Chain = tuple[str, str, str]


def read_ruleset(run: Run) -> list[dict[str, t.Any]]:
    """Every object of the live ruleset, in the format of libnftables-json(5)."""
    return list(json.loads(must(run, ["nft", "-j", "list", "ruleset"]))["nftables"])


def dropping_chains(ruleset: t.Sequence[t.Mapping[str, t.Any]]) -> list[Chain]:
    """Family, table and name of each base chain that can keep incoming packets out."""
    rules: dict[Chain, list[t.Any]] = {}
    for entry in ruleset:
        rule = entry.get("rule")
        if rule and not _tag(rule):
            rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).extend(rule.get("expr", []))
    found = []
    for entry in ruleset:
        chain = entry.get("chain") or {}
        if (
            chain.get("hook") != "input"
            or chain.get("type") != "filter"
            or chain["family"] not in ("ip", "ip6", "inet")
        ):
            continue
        key = (chain["family"], chain["table"], chain["name"])
        verdicts = {name for expression in rules.get(key, []) if isinstance(expression, dict) for name in expression}
        if chain.get("policy") == "drop" or verdicts.intersection(_STOPPING):
            found.append(key)
    return found


def plan_nftables(
    ruleset: t.Sequence[t.Mapping[str, t.Any]], opening: Opening | None, files: t.Mapping[str, str]
) -> Plan:
    """What has to be changed so that members are let in; with ``opening`` None, so that nothing of ours is left.

    Args:
        ruleset: what :func:`read_ruleset` found.
        files: texts of our files that exist.

    Raises:
        FirewallProblem: another program owns a chain that drops.
    """
    wanted: dict[Chain, list[str]] = {}
    if opening is not None:
        for chain in dropping_chains(ruleset):
            _refuse_owned(chain)
            wanted[chain] = _rules(chain[0], opening)
    ours = [entry["rule"] for entry in ruleset if "rule" in entry and _tag(entry["rule"])]
    plan = Plan(before=sorted(_describe(rule) for rule in ours))
    lines = [f"delete rule {rule['family']} {rule['table']} {rule['chain']} handle {rule['handle']}" for rule in ours]
    inserts = [f"insert rule {' '.join(chain)} {rule}" for chain, rules in wanted.items() for rule in reversed(rules)]
    digest = f"{TAG} {opening.digest}" if opening else ""
    live = sorted((rule["family"], rule["table"], rule["chain"], rule["comment"]) for rule in ours)
    asked = sorted((*chain, digest) for chain, rules in wanted.items() for _rule in rules)
    plan.after = sorted(f"{' '.join(chain)}: {digest}" for chain, rules in wanted.items() for _rule in rules)
    if live != asked:
        plan.commands.append((["nft", "-f", "-"], "\n".join([*lines, *inserts]) + "\n"))
    texts = {RULES_FILE: "\n".join(inserts) + "\n", UNIT_FILE: _UNIT_TEXT} if inserts else {}
    for path in (RULES_FILE, UNIT_FILE):
        if files.get(path) != texts.get(path):
            plan.files[path] = texts.get(path)
    return plan


def _rules(family: str, opening: Opening) -> list[str]:
    rules = []
    for version, word, families in ((4, "ip", ("ip", "inet")), (6, "ip6", ("ip6", "inet"))):
        addresses = opening.addresses(version)
        if not addresses or family not in families:
            continue
        source = f"{word} saddr {{ {', '.join(addresses)} }}"
        matches = [
            f"tcp dport {{ {', '.join(map(str, opening.tcp))} }}",
            f"udp dport {{ {', '.join(map(str, opening.udp))} }}",
        ]
        if opening.encrypted:
            matches.append("meta l4proto esp")
        rules += [f'{source} {match} accept comment "{TAG} {opening.digest}"' for match in matches]
    return rules


def _refuse_owned(chain: Chain) -> None:
    family, table, name = chain
    if table == "firewalld":
        raise FirewallProblem("firewalld owns this host's rules. Set swarm_firewall to firewalld (or auto).")
    if family in ("ip", "ip6") and table == "filter" and name == "INPUT":
        raise FirewallProblem(
            f"The chain '{family} filter INPUT' drops packets, and it belongs to iptables (Docker writes there too): "
            "rules of nftables in it would make iptables refuse the whole table. Set swarm_firewall to ufw if ufw "
            "made it; or to none, and open the ports with the program that wrote the chain."
        )


def _tag(rule: t.Mapping[str, t.Any]) -> bool:
    return str(rule.get("comment", "")).startswith(TAG + " ")


def _describe(rule: t.Mapping[str, t.Any]) -> str:
    return f"{rule['family']} {rule['table']} {rule['chain']}: {rule['comment']}"


_UNIT_TEXT = f"""\
# Written by the Ansible role flowstead.airflow.swarm.
[Unit]
Description=Let members of the Docker swarm in
Documentation=file://{RULES_FILE}
After=nftables.service
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service
Before=docker.service
ConditionPathExists={RULES_FILE}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f {RULES_FILE}
ExecReload=/usr/sbin/nft -f {RULES_FILE}

[Install]
WantedBy=multi-user.target nftables.service
"""
