# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Describe a host's Docker Engine, its swarm membership and, on a manager, the swarm."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_node_info
short_description: Describe a host's Docker Engine, its swarm membership and, on a manager, the swarm
version_added: "0.1.0"
author: flowstead.airflow contributors (@flowstead)
description:
  - Reads the engine's API over its unix socket, in two calls on a worker and three on a manager.
  - Tells the host's networks as well, and who holds the swarm's ports while the host is in no swarm.
  - A host without an engine is described as such and is no error, unless O(timeout) says to wait for one.
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.swarm
attributes:
  check_mode:
    support: full
    details:
      - Does not wait in check mode.
  diff_mode:
    support: N/A
    details:
      - Changes nothing.
  idempotent:
    support: full
options:
  docker_socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
  timeout:
    description:
      - Seconds to wait until the engine answers; the module fails when it does not.
      - With V(0) it looks once, and an engine that does not answer is an answer.
    type: int
    default: 0
  join_tokens:
    description: Also return the tokens with which hosts join. They are secrets, so set C(no_log) on the task.
    type: bool
    default: false
  wanted:
    description:
      - What this host is to be in its swarm. RV(wanted) returns it, so that the filter
        P(flowstead.airflow.swarm_formation#filter) can compare the wishes of all hosts with what is there.
      - An empty C(advertise_address) becomes the address of the interface with the default route.
      - C(listen_address) names the port that is looked at besides 7946; with C(gwbridge_subnet), the subnets of
        C(docker_gwbridge) are read too.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Look at this host
  flowstead.airflow.swarm_node_info:
  register: node

- name: Wait until the engine answers
  flowstead.airflow.swarm_node_info:
    timeout: 60
"""

RETURN = r"""
engine:
  description: The engine. C(error) says why it does not answer when C(reachable) is false.
  type: dict
  returned: always
  sample: {reachable: true, error: "", version: "27.5.1", api_version: "1.47"}
swarm:
  description:
    - This host's membership. C(state) is one of inactive, pending, active, error, locked.
    - C(cluster_id) is known on managers only, which C(manager) tells.
  type: dict
  returned: always
  sample:
    state: active
    node_id: vzn1k8zca4z63fo2vfzalqdht
    cluster_id: tg4tsdr1hadvs4t6bdapp5a5i
    manager: true
    address: 192.0.2.11
    error: ""
    remote_managers: [{node_id: vzn1k8zca4z63fo2vfzalqdht, address: "192.0.2.11:2377"}]
cluster:
  description: The swarm's settings; empty unless this host is a manager. C(error) is set when the swarm has no leader.
  type: dict
  returned: always
  sample: {error: "", address_pools: ["10.0.0.0/8"], subnet_size: 24, data_path_port: 4789, autolock: false}
nodes:
  description: All nodes of the swarm, by host name; empty unless this host is a manager.
  type: list
  elements: dict
  returned: always
  sample:
    - id: vzn1k8zca4z63fo2vfzalqdht
      hostname: manager-1
      role: manager
      availability: active
      labels: {}
      state: ready
      message: ""
      address: 192.0.2.11
      engine_version: "27.5.1"
      leader: true
      reachability: reachable
      manager_address: "192.0.2.11:2377"
networks:
  description: Interface and IPv4 network of each route of the host, without the default one.
  type: list
  elements: dict
  returned: always
  sample: [{interface: eth0, network: 192.0.2.0/24}]
listeners:
  description: Who listens on the swarm's TCP ports. Empty on a member, whose engine does.
  type: list
  elements: dict
  returned: always
  sample: [{port: 7946, address: 0.0.0.0, process: consul (pid 812)}]
gwbridge:
  description: Subnets of C(docker_gwbridge), when O(wanted) has a C(gwbridge_subnet).
  type: list
  elements: str
  returned: always
  sample: [10.209.0.0/24]
wanted:
  description: The option O(wanted), with the C(advertise_address) that was found.
  type: dict
  returned: always
join_tokens:
  description: Tokens for C(manager) and C(worker). Secret.
  type: dict
  returned: on a manager, when O(join_tokens) is true
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import Engine, EngineError
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.gwbridge import read_gwbridge, subnets_of
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.host import (
    GOSSIP_PORT,
    own_address,
    port_of,
    read_holders,
    read_networks,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import read_node, wait_until

ARGUMENT_SPEC: dict[str, t.Any] = {
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
    "timeout": {"type": "int", "default": 0},
    "join_tokens": {"type": "bool", "default": False, "no_log": False},
    "wanted": {"type": "dict", "default": {}},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    engine = Engine(module.params["docker_socket"])
    seconds = 0 if module.check_mode else module.params["timeout"]
    node: dict[str, t.Any] = {}

    def answers() -> bool:
        node.update(read_node(engine, tokens=module.params["join_tokens"]))
        return bool(node["engine"]["reachable"])

    try:
        answered = wait_until(answers, seconds)
    except EngineError as error:
        module.fail_json(msg=str(error))
    if seconds and not answered:
        module.fail_json(msg=f"Waited {seconds} s. {node['engine']['error']}", **node)
    wanted = dict(module.params["wanted"])
    if wanted.get("advertise_address") == "":
        wanted["advertise_address"] = own_address()
    bridge: list[str] = []
    listeners: list[dict[str, t.Any]] = []
    if node["swarm"]["state"] == "inactive":
        listeners = read_holders({GOSSIP_PORT, port_of(str(wanted.get("listen_address", "")))})
    if node["engine"]["reachable"] and wanted.get("gwbridge_subnet"):
        bridge = subnets_of(read_gwbridge(engine))
    module.exit_json(
        changed=False, networks=read_networks(), listeners=listeners, gwbridge=bridge, wanted=wanted, **node
    )


if __name__ == "__main__":
    main()
