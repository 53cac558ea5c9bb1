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
join_tokens:
  description: Tokens for C(manager) and C(worker). Secret.
  type: dict
  returned: on a manager, when O(join_tokens) is true
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import Engine, EngineError
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import read_node, wait_until

ARGUMENT_SPEC: dict[str, t.Any] = {
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
    "timeout": {"type": "int", "default": 0},
    "join_tokens": {"type": "bool", "default": False, "no_log": False},
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
    module.exit_json(changed=False, **node)


if __name__ == "__main__":
    main()
