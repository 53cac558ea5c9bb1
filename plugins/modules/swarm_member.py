# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a host a member of a Docker swarm, or take it out."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_member
short_description: Make a host a member of a Docker swarm, or take it out
version_added: "0.1.0"
author: flowstead.airflow contributors (@flowstead)
description:
  - Founds a swarm, or joins one, over the engine's unix socket, and waits until the host is an active member.
  - A host that is a member already stays one; the settings with which the swarm was founded are compared and reported.
  - A host in another swarm, or in a state that only a person can resolve, is an error that names the way out.
  - With O(state=absent) a manager is demoted before it leaves, so that the others keep their majority.
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.swarm
attributes:
  check_mode:
    support: full
    details:
      - A host without an engine is taken for one that will get it.
      - O(join_addresses) may be empty, for a swarm that is yet to be founded.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description: Whether the host is to be a member.
    type: str
    choices: [present, absent]
    default: present
  advertise_address:
    description: Address by which the other members reach this one. Needed with O(state=present).
    type: str
    default: ""
  listen_address:
    description: Address and port on which a manager listens.
    type: str
    default: 0.0.0.0:2377
  data_path_address:
    description: Address for the traffic of containers, when it is not O(advertise_address).
    type: str
    default: ""
  found:
    description:
      - Found a swarm, with this host as its first manager. Only one host of a swarm does that.
      - Otherwise the host joins a swarm through O(join_addresses).
    type: bool
    default: false
  join_addresses:
    description:
      - Managers to join through, as C(address:port).
      - An empty list is an error for a host that is no member yet, unless O(found) is set.
    type: list
    elements: str
    default: []
  join_token:
    description: Token for the wanted role.
    type: str
    default: ""
  cluster_id:
    description: ID of the swarm that is expected. A manager of another one is an error.
    type: str
    default: ""
  availability:
    description: Availability with which the host enters.
    type: str
    choices: [active, pause, drain]
    default: active
  address_pools:
    description: Subnets that overlay networks are cut from. Fixed when the swarm is founded; empty for Docker's choice.
    type: list
    elements: str
    default: []
  subnet_size:
    description: Length of those networks' subnets. Fixed when the swarm is founded; V(0) for Docker's choice.
    type: int
    default: 0
  data_path_port:
    description: UDP port of the traffic of containers. Fixed when the swarm is founded; V(0) for Docker's choice.
    type: int
    default: 0
  gwbridge_subnet:
    description:
      - Subnet of the bridge C(docker_gwbridge), which is then made before the host enters.
      - The host is its first address. Empty for Docker's choice.
    type: str
    default: ""
  end_swarm:
    description: With O(state=absent), leave also as the last manager. That ends the swarm, its services and secrets.
    type: bool
    default: false
  timeout:
    description: Seconds until the host has to be an active member, or out.
    type: int
    default: 60
  docker_socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
"""

EXAMPLES = r"""
- name: Found a swarm
  flowstead.airflow.swarm_member:
    advertise_address: 192.0.2.11
    found: true

- name: Join it as a worker
  flowstead.airflow.swarm_member:
    advertise_address: 192.0.2.21
    join_addresses: ["192.0.2.11:2377"]
    join_token: "{{ tokens.join_tokens.worker }}"
  no_log: true

- name: Leave it
  flowstead.airflow.swarm_member:
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, or would be.
  type: list
  elements: str
  returned: always
  sample: [create docker_gwbridge, init]
node:
  description: This host afterwards, as RV(flowstead.airflow.swarm_node_info#module:swarm).
  type: dict
  returned: always
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.leaving import leave
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.membership import (
    Membership,
    Outcome,
    enter,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem, read_node

ARGUMENT_SPEC: dict[str, t.Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "advertise_address": {"type": "str", "default": ""},
    "listen_address": {"type": "str", "default": "0.0.0.0:2377"},
    "data_path_address": {"type": "str", "default": ""},
    "found": {"type": "bool", "default": False},
    "join_addresses": {"type": "list", "elements": "str", "default": []},
    "join_token": {"type": "str", "default": "", "no_log": True},
    "cluster_id": {"type": "str", "default": ""},
    "availability": {"type": "str", "choices": ["active", "pause", "drain"], "default": "active"},
    "address_pools": {"type": "list", "elements": "str", "default": []},
    "subnet_size": {"type": "int", "default": 0},
    "data_path_port": {"type": "int", "default": 0},
    "gwbridge_subnet": {"type": "str", "default": ""},
    "end_swarm": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 60},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    engine = Engine(module.params["docker_socket"], timeout=max(60.0, module.params["timeout"]))
    try:
        before = read_node(engine)["swarm"]
        outcome = _change(module, engine)
        after = read_node(engine)["swarm"]
    except (SwarmProblem, EngineError, EngineUnreachable) as error:
        module.fail_json(msg=str(error))
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(
        changed=outcome.changed,
        actions=outcome.actions,
        node=after,
        diff={"before": {"state": before["state"]}, "after": {"state": _state_after(module, before, outcome)}},
    )


def _change(module: AnsibleModule, engine: Engine) -> Outcome:
    given = module.params
    if given["state"] == "absent":
        return leave(engine, end_swarm=given["end_swarm"], check_mode=module.check_mode, timeout=given["timeout"])
    if not given["advertise_address"]:
        module.fail_json(msg="advertise_address is empty: name the address by which other members reach this host.")
    if given["found"] and given["join_addresses"]:
        module.fail_json(
            msg="found and join_addresses are both set: a host founds a swarm, or joins one. Take one away."
        )
    if given["join_addresses"] and not given["join_token"] and not module.check_mode:
        module.fail_json(msg="join_addresses is set and join_token is empty: a host joins with the token of its role.")
    wanted = Membership(
        advertise_address=given["advertise_address"],
        listen_address=given["listen_address"],
        data_path_address=given["data_path_address"],
        found=given["found"],
        join_addresses=tuple(given["join_addresses"]),
        join_token=given["join_token"],
        availability=given["availability"],
        address_pools=tuple(given["address_pools"]),
        subnet_size=given["subnet_size"],
        data_path_port=given["data_path_port"],
        gwbridge_subnet=given["gwbridge_subnet"],
        cluster_id=given["cluster_id"],
    )
    return enter(engine, wanted, check_mode=module.check_mode, timeout=given["timeout"])


def _state_after(module: AnsibleModule, before: t.Mapping[str, t.Any], outcome: Outcome) -> str:
    if not {"init", "join", "leave"} & set(outcome.actions):
        return str(before["state"])
    return "active" if module.params["state"] == "present" else "inactive"


if __name__ == "__main__":
    main()
