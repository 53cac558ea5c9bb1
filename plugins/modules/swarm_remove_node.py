# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a node out of a swarm for good."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_remove_node
short_description: Take a node out of a swarm for good
version_added: "0.1.0"
author: flowstead.airflow contributors (@flowstead)
description:
  - Runs on a manager that stays. Demotes the node when it is a manager, waits until it has left, and removes its
    record. A node that the swarm does not have is fine.
  - Empty the node first with M(flowstead.airflow.swarm_drain), and let its host leave with
    M(flowstead.airflow.swarm_member), after this module agreed in check mode. It refuses the last manager, and a
    manager without which the others are no majority.
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.swarm
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  node:
    description: A host of O(members), the node's host name, or its ID where more than one node has that name.
    type: str
    required: true
  members:
    description:
      - Hosts of the run that answered, and what M(flowstead.airflow.swarm_node_info) returned there.
    type: dict
    default: {}
  gone:
    description:
      - The node's host cannot be reached and is not to come back. Its record is removed by force.
      - Without it, a node whose host is not among O(members) is refused.
    type: bool
    default: false
  timeout:
    description: Seconds until the swarm has to have seen that the node was demoted, and that it left.
    type: int
    default: 60
  docker_socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
"""

EXAMPLES = r"""
- name: Take away what a dead host left
  flowstead.airflow.swarm_remove_node:
    node: worker-7
    gone: true
"""

RETURN = r"""
node:
  description:
    - The node. C(host) is the host of O(members) that is this node, and C(ready) whether it works.
    - Empty when the swarm has no such node.
  type: dict
  returned: success
  sample: {id: vzn1k8zca4z63fo2vfzalqdht, hostname: worker-7, role: worker, host: "", ready: false}
others:
  description: Host names of the swarm's other nodes.
  type: list
  elements: str
  returned: success
  sample: [manager-1, worker-1]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem, read_node
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.nodes import node_hostname
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.removing import (
    demote,
    plan_removal,
    remove_record,
)

ARGUMENT_SPEC: dict[str, t.Any] = {
    "node": {"type": "str", "required": True},
    "members": {"type": "dict", "default": {}},
    "gone": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 60},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    engine = Engine(module.params["docker_socket"])
    try:
        module.exit_json(**_remove(module, engine))
    except (SwarmProblem, EngineError, EngineUnreachable) as error:
        module.fail_json(msg=str(error))


def _remove(module: AnsibleModule, engine: Engine) -> dict[str, t.Any]:
    given = module.params
    here = read_node(engine)["swarm"]
    if not here["manager"]:
        raise SwarmProblem("This host manages no swarm. Run this on a manager.")
    live = engine.get("/nodes")
    removal = plan_removal(live, given["members"], given["node"], gone=given["gone"])
    names = sorted(node_hostname(node) for node in live if not removal or node["ID"] != removal.id)
    if removal is None:
        return {"changed": False, "node": {}, "others": names, "diff": {"before": {}, "after": {}}}
    for text in removal.warnings:
        module.warn(text)
    if not module.check_mode:
        if removal.id == here["node_id"]:
            raise SwarmProblem(f"Node {removal.hostname} is this host. Run this on a manager that stays.")
        demote(engine, removal, given["timeout"])
        remove_record(engine, removal, given["timeout"])
    return {
        "changed": True,
        "node": removal.facts(),
        "others": names,
        "diff": {"before": {removal.hostname: removal.facts()}, "after": {}},
    }


if __name__ == "__main__":
    main()
