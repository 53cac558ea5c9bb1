# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open ports in ufw and in firewalld.

PRIVATE to the collection.

``community.general.ufw`` and ``ansible.posix.firewalld`` take one rule for each call, four for each pair of members.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.firewall import TAG, Opening, Plan

#: Where ufw keeps rules of users; each begins with a line "### tuple ###" (ufw, backend_iptables.py).
UFW_RULES = ("/etc/ufw/user.rules", "/etc/ufw/user6.rules")
UFW_CONFIG = "/etc/ufw/ufw.conf"
_UFW_TUPLE = re.compile(
    r"^### tuple ### allow (?P<proto>\S+) (?P<ports>\S+) \S+ any (?P<source>\S+) in comment=(?P<comment>[0-9a-f]+)$",
    re.MULTILINE,
)
#: Rich rules of this priority are ours. Negative ones are looked at before any deny (firewalld.richlanguage(5)).
FIREWALLD_PRIORITY = -2377

UfwRule = tuple[str, str, str]


def plan_ufw(texts: t.Sequence[str], opening: Opening | None) -> Plan:
    """What ufw has to be told.

    Args:
        texts: contents of :data:`UFW_RULES` that exist.
    """
    live = {
        (match["proto"], "" if match["ports"] == "any" else match["ports"], match["source"])
        for text in texts
        for match in _UFW_TUPLE.finditer(text)
        if bytes.fromhex(match["comment"]).decode(errors="replace") == TAG
    }
    wanted = _ufw_rules(opening) if opening else set()
    plan = Plan(before=sorted(map(" ".join, live)), after=sorted(map(" ".join, wanted)))
    # First what is new, so that no member is shut out in between; in front of rules that deny.
    plan.commands += [(["ufw", "prepend", *_ufw_words(rule), "comment", TAG], "") for rule in sorted(wanted - live)]
    plan.commands += [(["ufw", "--force", "delete", *_ufw_words(rule)], "") for rule in sorted(live - wanted)]
    return plan


def ufw_is_on(config: str) -> bool:
    """Whether ``ufw.conf`` switches ufw on."""
    return bool(re.search(r"^\s*ENABLED\s*=\s*[\"']?yes", config, re.MULTILINE | re.IGNORECASE))


def plan_firewalld(runtime: str, permanent: str, opening: Opening | None, zone: str = "") -> Plan:
    """What firewalld has to be told; both now and for the next start, so that nothing is loaded anew.

    Args:
        runtime: output of ``firewall-cmd --list-rich-rules``.
        permanent: the same with ``--permanent``.
        zone: empty for the default zone.
    """
    wanted = _rich_rules(opening) if opening else []
    plan = Plan(before=_ours(permanent), after=wanted)
    for text, where in ((runtime, []), (permanent, ["--permanent"])):
        live = _ours(text)
        words = [f"--add-rich-rule={rule}" for rule in wanted if rule not in live]
        # firewall-cmd takes either additions or removals at once.
        gone = [f"--remove-rich-rule={rule}" for rule in live if rule not in wanted]
        place = [*where, *([f"--zone={zone}"] if zone else [])]
        plan.commands += [(["firewall-cmd", *place, *part], "") for part in (words, gone) if part]
    return plan


def _ufw_rules(opening: Opening) -> set[UfwRule]:
    rules = set()
    for member in opening.members:
        rules.add(("tcp", ",".join(map(str, opening.tcp)), member))
        rules.add(("udp", ",".join(map(str, opening.udp)), member))
        if opening.encrypted:
            rules.add(("esp", "", member))
    return rules


def _ufw_words(rule: UfwRule) -> list[str]:
    proto, ports, source = rule
    return ["allow", "proto", proto, "from", source, "to", "any", *(["port", ports] if ports else [])]


def _rich_rules(opening: Opening) -> list[str]:
    rules = []
    for member in opening.members:
        family = "ipv6" if ":" in member else "ipv4"
        head = f'rule priority="{FIREWALLD_PRIORITY}" family="{family}" source address="{member}"'
        rules += [f'{head} port port="{port}" protocol="tcp" accept' for port in opening.tcp]
        rules += [f'{head} port port="{port}" protocol="udp" accept' for port in opening.udp]
        if opening.encrypted:
            rules.append(f'{head} protocol value="esp" accept')
    return sorted(rules)


def _ours(text: str) -> list[str]:
    mark = f'rule priority="{FIREWALLD_PRIORITY}" '
    return sorted(line.strip() for line in text.splitlines() if line.strip().startswith(mark))
