# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a node of a swarm back after maintenance, and wait until all is well again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_readmit
short_description: Take a node of a swarm back after maintenance, and wait until all is well again
version_added: "0.1.0"
author: flowstead.airflow contributors (@flowstead)
description:
  - Runs on a manager, for one node that O(owner) drained with M(flowstead.airflow.swarm_drain). Waits until the node is
    ready and, where it is a manager, reachable for the others; gives it back the availability that it had; and waits
    until all services are at full strength.
  - Only when it returns may the next node go.
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.swarm
attributes:
  check_mode:
    support: full
    details: [It does not wait in check mode.]
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  node:
    description: Its ID, or its host name where no other node has it.
    type: str
    required: true
  owner:
    description: Who drained it. A node that somebody else drained stays drained. Empty is a person.
    type: str
    default: ""
  timeout:
    description: Seconds until the node has to be ready. It stays drained when it is not.
    type: int
    default: 120
  services_timeout:
    description: Seconds until services have to be at full strength once it is back. V(0) does not wait.
    type: int
    default: 300
  short:
    description: Services that were short before the maintenance, as M(flowstead.airflow.swarm_engine_turns) returned
      them.
    type: list
    elements: str
    default: []
  docker_socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
"""

EXAMPLES = r"""
- name: Take the node back
  flowstead.airflow.swarm_readmit:
    node: vzn1k8zca4z63fo2vfzalqdht
    owner: engine-turns
"""

RETURN = r"""
node:
  description: The node, after the change.
  type: dict
  returned: success
  sample: {id: vzn1k8zca4z63fo2vfzalqdht, hostname: worker-1, availability: active}
weak:
  description: Services that are not at full strength, as C(name running/wanted).
  type: list
  elements: str
  returned: always
  sample: []
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.drain import (
    availability_result,
    find_node,
    plan_restore,
    write_availability,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.nodes import node_hostname, read_settled
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.readmit import (
    await_back,
    await_strength,
    still_short,
)

ARGUMENT_SPEC: dict[str, t.Any] = {
    "node": {"type": "str", "required": True},
    "owner": {"type": "str", "default": ""},
    "timeout": {"type": "int", "default": 120},
    "services_timeout": {"type": "int", "default": 300},
    "short": {"type": "list", "elements": "str", "default": []},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    engine = Engine(module.params["docker_socket"])
    try:
        _readmit(module, engine)
    except (SwarmProblem, EngineError, EngineUnreachable) as error:
        module.fail_json(msg=str(error), weak=[])


def _readmit(module: AnsibleModule, engine: Engine) -> None:
    given = module.params
    node = find_node(read_settled(engine, 0 if module.check_mode else given["timeout"]), given["node"])
    if not module.check_mode:
        await_back(engine, node["ID"], given["timeout"])
        node = engine.get(f"/nodes/{node['ID']}")
    change = plan_restore(node, owner=given["owner"])
    if change and not module.check_mode:
        write_availability(engine, change)
    result: dict[str, t.Any] = {**availability_result(node, change), "weak": []}
    if given["services_timeout"] and not module.check_mode:
        short = {text.rpartition(" ")[0] for text in given["short"]}
        result["weak"] = list(await_strength(engine, short, given["services_timeout"]))
    if result["weak"]:
        module.fail_json(msg=still_short(node_hostname(node), result["weak"], given["services_timeout"]), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
