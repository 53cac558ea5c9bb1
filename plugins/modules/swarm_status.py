# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a stack and at the swarm that carries it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_status
short_description: Look at a stack and at the swarm that carries it
version_added: "0.1.0"
author: flowstead.airflow contributors (@flowstead)
description:
  - Reads nodes, services and tasks, changes nothing, and says whether all is well. For each service that failed it says
    why, on which node, with the last log lines and what to do.
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.swarm
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  name:
    description: Name of the stack.
    type: str
    required: true
  hide:
    description:
      - What must not show in log lines and messages, each value in every spelling (quoted in a URL, the password of a
        URL, line by line).
    type: list
    elements: str
    default: []
  log:
    description: Whether the last log lines of services that failed are fetched.
    type: bool
    default: true
  docker_socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
notes:
  - Run it on a manager of the swarm.
"""

EXAMPLES = r"""
- name: Look at the stack
  flowstead.airflow.swarm_status:
    name: shop
  register: shop

- name: Stop when something is wrong
  ansible.builtin.assert:
    that: shop.healthy
    fail_msg: "{{ shop.problems | join('\n') }}"
"""

RETURN = r"""
healthy:
  description: Whether every node is ready, every manager is reachable and every service is where it should be.
  type: bool
  returned: success
problems:
  description: What is wrong, a sentence each.
  type: list
  elements: str
  returned: success
  sample: [node worker-2 is down]
nodes:
  description: The swarm's nodes, managers first.
  type: list
  elements: dict
  returned: success
  sample:
    - {id: vzn1k8zca4z63fo2vfzalqdht, hostname: worker-1, role: worker, leader: false, state: ready,
       availability: active, reachability: "", engine: 26.1.5, address: 192.0.2.11}
services:
  description:
    - The stack's services. C(state) is V(converged), V(waiting) or V(failed).
    - C(failed_tasks) counts failures of the current specification that Swarm still remembers, also of a
      service that runs again.
  type: list
  elements: dict
  returned: success
  sample:
    - {name: web, stack: shop, mode: Replicated, state: converged, text: 2/2 running, running: 2, desired: 2,
       image: "registry.example.com/shop:1.4.0", digest: "sha256:9f1b2c", nodes: [worker-1, worker-2], failed_tasks: 0,
       last_failure: "", last_failure_at: "", changed_at: "2026-11-27T10:00:00.000000000Z"}
failures:
  description: Services that failed, in the form that M(flowstead.airflow.swarm_stack) returns.
  type: list
  elements: dict
  returned: success
  sample: []
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.diagnose import Mask
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.live import NotASwarmManager
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.overview import overview

ARGUMENT_SPEC: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "hide": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "log": {"type": "bool", "default": True},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    mask = Mask(module.params["hide"])
    try:
        engine = Engine(module.params["docker_socket"])
        found = overview(engine, module.params["name"], mask, log=module.params["log"])
    except (NotASwarmManager, EngineError, EngineUnreachable) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
