# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Empty a node of a swarm for maintenance, and let it take tasks again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_drain
short_description: Empty a node of a swarm for maintenance, and let it take tasks again
version_added: "0.1.0"
author: flowstead.airflow contributors (@flowstead)
description:
  - Runs on a manager, for one node. Draining returns when the node is empty, not when the swarm has heard of it. Tasks
    get their service's whole grace period to finish, which a restart of the engine would not give them.
  - The availability that the node had is kept in its label C(flowstead.airflow.drained-from), so that it gets back that
    one, also days later and from another machine.
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.swarm
attributes:
  check_mode:
    support: full
    details:
      - RV(tasks) are then those that would have to end or move.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  node:
    description: Its host name, or its ID where more than one node has that name.
    type: str
    required: true
  state:
    description:
      - V(drained) gives it no new tasks, ends those that it has, and waits until none is left and their services are at
        full strength on other nodes.
      - V(restored) gives it back the availability that it had before. A node that somebody else drained stays drained.
      - V(active) lets it take tasks, whoever drained it.
      - Swarm does not move running tasks to a node that came back; new ones go there.
    type: str
    choices: [drained, restored, active]
    default: drained
  timeout:
    description:
      - Seconds until the node has to be empty. Default is the longest grace period of the services there, and a
        minute.
      - A node that is not empty in time is an error that names its tasks. It stays drained; run this again to wait on.
    type: int
  services_timeout:
    description:
      - Seconds until its services have to be at full strength on other nodes, once it is empty. V(0) does not wait.
      - Those that are not are an error that names them, so that nobody empties the next node meanwhile. A service that
        was short before the drain does not count.
    type: int
    default: 300
  owner:
    description:
      - Who drains it, kept in the label C(flowstead.airflow.drained-by). Empty is a person.
      - O(state=restored) with an owner gives back only what this one drained.
    type: str
    default: ""
  accept_outage:
    description: Empty it also when no other node could take its tasks. Their services then wait for it to come back.
    type: bool
    default: false
  docker_socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
"""

EXAMPLES = r"""
- name: Empty a node, and wait for its tasks
  flowstead.airflow.swarm_drain:
    node: worker-1

- name: Give it back what it was
  flowstead.airflow.swarm_drain:
    node: worker-1
    state: restored
"""

RETURN = r"""
node:
  description: The node, after the change.
  type: dict
  returned: success
  sample: {id: vzn1k8zca4z63fo2vfzalqdht, hostname: worker-1, availability: drain}
tasks:
  description: Tasks that were on the node when draining began, or that are on it.
  type: list
  elements: dict
  returned: always
  sample:
    - {id: 0zkm2hbcs5oxrb1ghxtm9ln0o, service: airflow-prod_worker-default, slot: 2, state: running}
weak:
  description: Services of these tasks that run fewer tasks than they want, as C(name running/wanted).
  type: list
  elements: str
  returned: always
  sample: []
seconds:
  description: How long draining took.
  type: float
  returned: always
  sample: 41.7
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.drain import (
    MARGIN,
    Emptied,
    availability_result,
    await_empty,
    await_services,
    find_node,
    longest_grace,
    plan_drain,
    plan_restore,
    refusal,
    residents,
    shortage,
    visitors,
    weak_services,
    write_availability,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem, read_node
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.nodes import (
    NodeChange,
    node_hostname,
    node_state,
)

ARGUMENT_SPEC: dict[str, t.Any] = {
    "node": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["drained", "restored", "active"], "default": "drained"},
    "timeout": {"type": "int"},
    "services_timeout": {"type": "int", "default": 300},
    "owner": {"type": "str", "default": ""},
    "accept_outage": {"type": "bool", "default": False},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    engine = Engine(module.params["docker_socket"])
    try:
        if not read_node(engine)["swarm"]["manager"]:
            raise SwarmProblem("This host manages no swarm. Run this on a manager.")
        live = engine.get("/nodes")
        node = find_node(live, module.params["node"])
        if module.params["state"] == "drained":
            module.exit_json(**_drain(module, engine, live, node))
        always = module.params["state"] == "active"
        change = plan_restore(node, always=always, owner="" if always else module.params["owner"])
        _write(module, engine, change)
        module.exit_json(**availability_result(node, change), tasks=[], weak=[], seconds=0.0)
    except (SwarmProblem, EngineError, EngineUnreachable) as error:
        module.fail_json(msg=str(error))


def _drain(
    module: AnsibleModule, engine: Engine, live: list[dict[str, t.Any]], node: dict[str, t.Any]
) -> dict[str, t.Any]:
    began = time.monotonic()
    change = plan_drain(live, node, owner=module.params["owner"], alone=module.params["accept_outage"])
    before, name = residents(engine, node["ID"]), node_hostname(node)
    # Of an earlier run that was ended, too; what was short before has other reasons.
    short = {text.rpartition(" ")[0] for text in weak_services(engine, visitors(engine, node["ID"]))}
    names = visitors(engine, node["ID"]) - (short if change else set())
    seconds = module.params["timeout"]
    if seconds is None:
        seconds = longest_grace(engine, {task.service for task in before}) + MARGIN
    told: dict[str, t.Any] = {
        **availability_result(node, change),
        "tasks": [task.facts() for task in before],
        "weak": [],
    }
    _write(module, engine, change)
    found = Emptied((), node_state(node))
    if found.state == "ready" and not module.check_mode:
        found = await_empty(engine, node["ID"], seconds)
    if found.state != "ready":
        module.warn(
            f"Node {name} is {found.state}: it gets no new tasks, and whether those that it had are over cannot be "
            "known before it is back."
        )
    elif found.stayed:
        told |= {"tasks": [task.facts() for task in found.stayed], "seconds": time.monotonic() - began}
        module.fail_json(msg=refusal(name, found.stayed, seconds), **told)
    elif not module.check_mode and module.params["services_timeout"]:
        told["weak"] = list(await_services(engine, names, module.params["services_timeout"]))
        if told["weak"]:
            told["seconds"] = time.monotonic() - began
            module.fail_json(msg=shortage(name, told["weak"], module.params["services_timeout"]), **told)
    return {**told, "seconds": time.monotonic() - began}


def _write(module: AnsibleModule, engine: Engine, change: NodeChange | None) -> None:
    if change and not module.check_mode:
        write_availability(engine, change)


if __name__ == "__main__":
    main()
