# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open the ports of a swarm's member for the other members."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_firewall
short_description: Open the ports of a swarm's member for the other members
version_added: "0.1.0"
author: flowstead.airflow contributors (@flowstead)
description:
  - Lets the other members in, and nobody else, on 7946/tcp and 7946/udp (gossip), the data path port (UDP), on managers
    the port of managers (TCP), and with O(encrypted) by the IP protocol 50.
  - Only rules of this module are added and removed, now and for the next boot. Nothing is flushed or loaded anew,
    so the rules of Docker and of others stay. The firewall itself is neither installed nor switched on.
  - With V(nftables), rules go to the front of the host's own input chains that drop, since an accept in another table
    opens nothing. The service C(flowstead-swarm-firewall) puts them back after a boot, and when C(nftables.service)
    is restarted or reloaded. Chains of iptables are refused.
  - Ports that services publish are not its business; Docker's rules let them in past V(ufw) and V(firewalld).
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.firewall
attributes:
  check_mode:
    support: full
    details:
      - A firewall that is not installed yet is taken for one that is to be set.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description: Whether the ports are to be open. With V(absent) all rules of this module go.
    type: str
    choices: [present, absent]
    default: present
  backend:
    description:
      - Which firewall. V(auto) is the one that is on, ufw before firewalld before nftables chains that drop;
        without any of them, nothing is done.
      - Another one than V(auto) is an error when it is not on.
    type: str
    choices: [auto, ufw, firewalld, nftables]
    default: auto
  zone:
    description: Zone of firewalld. Empty for its default zone.
    type: str
    default: ""
  members:
    description: Addresses of all members. Needed with O(state=present).
    type: list
    elements: str
    default: []
  manager:
    description: Whether this host is a manager.
    type: bool
    default: false
  manager_port:
    description: TCP port of managers.
    type: int
    default: 2377
  data_path_port:
    description: UDP port of the traffic of containers.
    type: int
    default: 4789
  encrypted:
    description: Whether overlay networks are encrypted.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Let two other members in
  flowstead.airflow.swarm_firewall:
    backend: ufw
    members: [192.0.2.11, 192.0.2.12, 192.0.2.13]
    manager: true
"""

RETURN = r"""
backend:
  description: The firewall that was looked at; empty when there is none.
  type: str
  returned: always
  sample: nftables
commands:
  description: Commands that were run, or would be.
  type: list
  elements: str
  returned: always
  sample: ["ufw prepend allow proto tcp from 192.0.2.11 to any port 7946 comment flowstead-swarm"]
"""

import ipaddress
import os
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm import firewall_nftables as nftables
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm import firewall_others as others
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.firewall import (
    FirewallProblem,
    Opening,
    Plan,
    must,
)

ARGUMENT_SPEC: dict[str, t.Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "backend": {"type": "str", "choices": ["auto", "ufw", "firewalld", "nftables"], "default": "auto"},
    "zone": {"type": "str", "default": ""},
    "members": {"type": "list", "elements": "str", "default": []},
    "manager": {"type": "bool", "default": False},
    "manager_port": {"type": "int", "default": 2377},
    "data_path_port": {"type": "int", "default": 4789},
    "encrypted": {"type": "bool", "default": False},
}
_PROGRAMS = {"ufw": "ufw", "firewalld": "firewall-cmd", "nftables": "nft"}


class Host:
    """Programs and files of the host that the module runs on."""

    def __init__(self, module: AnsibleModule) -> None:
        self._module = module

    def has(self, backend: str) -> bool:
        return bool(self._module.get_bin_path(_PROGRAMS[backend]))

    def run(self, command: t.Sequence[str], data: str = "") -> tuple[int, str, str]:
        path = self._module.get_bin_path(command[0])
        code, out, err = self._module.run_command(
            [path or command[0], *command[1:]], data=data or None, environ_update={"LC_ALL": "C"}
        )
        return int(code), str(out), str(err)

    def read(self, paths: t.Iterable[str]) -> dict[str, str]:
        return {path: Path(path).read_text(encoding="utf-8") for path in paths if Path(path).is_file()}

    def write(self, path: str, text: str | None) -> None:
        if text is None:
            Path(path).unlink()
            return
        Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft = Path(f"{path}.new")
        draft.write_text(text, encoding="utf-8")
        os.chmod(draft, 0o644)
        draft.replace(path)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    host = Host(module)
    try:
        opening = _opening(module.params)
        backend = _choose(host, module.params["backend"])
        if backend and not host.has(backend):
            if module.params["state"] == "absent":
                module.exit_json(changed=False, backend=backend, commands=[])
            if not module.check_mode:
                raise FirewallProblem(
                    f"{backend} is not installed on this host. Install and configure it, or set swarm_firewall to "
                    "the firewall that is there (none for a host without one)."
                )
            module.warn(f"{backend} is not installed on this host yet; the plan takes it for one that will be.")
            module.exit_json(changed=True, backend=backend, commands=[])
        plan = _plan(host, backend, opening, module.params["zone"]) if backend else Plan()
        if plan.changed and not module.check_mode:
            _carry_out(host, backend, plan)
    except (FirewallProblem, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=plan.changed,
        backend=backend,
        commands=[" ".join(command) for command, _data in plan.commands],
        diff={"before": "\n".join(plan.before) + "\n", "after": "\n".join(plan.after) + "\n"},
    )


def _opening(params: t.Mapping[str, t.Any]) -> Opening | None:
    if params["state"] == "absent":
        return None
    if not params["members"]:
        raise FirewallProblem("members is empty: name the addresses of all members of the swarm.")
    for member in params["members"]:
        try:
            ipaddress.ip_address(member)
        except ValueError as error:
            raise FirewallProblem(f"members has {member!r}, which is no IP address.") from error
    return Opening(
        members=tuple(params["members"]),
        manager=params["manager"],
        manager_port=params["manager_port"],
        data_path_port=params["data_path_port"],
        encrypted=params["encrypted"],
    )


def _choose(host: Host, asked: str) -> str:
    if asked != "auto":
        return asked
    if others.ufw_is_on(host.read([others.UFW_CONFIG]).get(others.UFW_CONFIG, "")):
        return "ufw"
    if host.has("firewalld") and host.run(["firewall-cmd", "--state"])[0] == 0:
        return "firewalld"
    if host.has("nftables"):
        ruleset = nftables.read_ruleset(host.run)
        ours = host.read([nftables.RULES_FILE, nftables.UNIT_FILE])
        if ours or nftables.dropping_chains(ruleset):
            return "nftables"
    return ""


def _plan(host: Host, backend: str, opening: Opening | None, zone: str) -> Plan:
    if backend == "nftables":
        files = host.read([nftables.RULES_FILE, nftables.UNIT_FILE])
        return nftables.plan_nftables(nftables.read_ruleset(host.run), opening, files)
    if backend == "ufw":
        config = host.read([others.UFW_CONFIG]).get(others.UFW_CONFIG, "")
        if opening and not others.ufw_is_on(config):
            raise FirewallProblem(
                "ufw is installed and not switched on. Run `ufw allow OpenSSH` and `ufw enable`, "
                "or set swarm_firewall to none."
            )
        return others.plan_ufw(list(host.read(others.UFW_RULES).values()), opening)
    if host.run(["firewall-cmd", "--state"])[0] != 0:
        if opening is None:
            return Plan()
        raise FirewallProblem("firewalld is installed and does not run. Start it, or set swarm_firewall to none.")
    where = [f"--zone={zone}"] if zone else []
    runtime = must(host.run, ["firewall-cmd", *where, "--list-rich-rules"])
    permanent = must(host.run, ["firewall-cmd", "--permanent", *where, "--list-rich-rules"])
    return others.plan_firewalld(runtime, permanent, opening, zone)


def _carry_out(host: Host, backend: str, plan: Plan) -> None:
    unit_gone = nftables.UNIT_FILE in plan.files and plan.files[nftables.UNIT_FILE] is None
    if unit_gone:
        must(host.run, ["systemctl", "disable", "--now", nftables.UNIT])
    for command, data in plan.commands:
        must(host.run, command, data)
    for path, text in plan.files.items():
        host.write(path, text)
    if backend == "nftables" and nftables.UNIT_FILE in plan.files:
        must(host.run, ["systemctl", "daemon-reload"])
        if not unit_gone:
            must(host.run, ["systemctl", "enable", nftables.UNIT])


if __name__ == "__main__":
    main()
