# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide whose engine may change next in a swarm."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_engine_turns
short_description: Decide whose engine may change next in a swarm
version_added: "0.1.0"
author: flowstead.airflow contributors (@flowstead)
description:
  - Runs on a manager and changes nothing. Takes what differs on each host, looks at the live swarm, and says who goes
    when. Managers go one at a time and the leader last, then workers. Only hosts on which something differs have one.
  - A host that needs a restart is to be emptied first. A manager has a turn only while the others are a majority.
  - Everything that speaks against it is told at once, in one error. With nothing to do, there is no error unless a host
    could not be asked.
  - Leadership moves, so ask again before each turn, and take the first round of the answer.
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.swarm
attributes:
  check_mode:
    support: full
    details: [It does the same in check mode.]
  diff_mode:
    support: none
    details: [It changes nothing.]
  idempotent:
    support: full
options:
  members:
    description:
      - Hosts of the run in their order, and what M(flowstead.airflow.swarm_node_info) returned there. A host that could
        not be asked has an empty dictionary.
    type: dict
    required: true
  changes:
    description:
      - What differs on each host, as a dictionary with C(restart) and C(reload) (lists of texts), and C(refused)
        (why the host cannot become what is asked for).
      - A host that is missing here has nothing to do.
    type: dict
    default: {}
  batch:
    description: How many workers go together.
    type: int
    default: 1
  accept_outage:
    description:
      - Go on with one or two managers, without which the swarm is not managed for as long as a restart takes, and where
        no other node could take a node's tasks.
    type: bool
    default: false
  docker_socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
seealso:
  - module: flowstead.airflow.swarm_drain
  - module: flowstead.airflow.swarm_readmit
"""

EXAMPLES = r"""
- name: Ask whose turn it is
  flowstead.airflow.swarm_engine_turns:
    members: "{{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, 'node'))) }}"
    changes:
      manager-1: {restart: ["daemon.json: log-opts"]}
      worker-1: {reload: ["daemon.json: registry-mirrors"]}
  register: turns
"""

RETURN = r"""
rounds:
  description:
    - Lists of hosts, in their order; those of one list may go together.
    - C(action) is V(restart) (empty it, change it, give it back), V(reload) (change it while it works) or V(restore)
      (give it back, because an earlier run ended between).
    - C(alone) says that no other node could take its tasks.
  type: list
  elements: list
  returned: success
  sample:
    - - host: manager-2
        id: vzn1k8zca4z63fo2vfzalqdht
        hostname: manager-2
        role: manager
        action: restart
        why: ["daemon.json: log-opts"]
        alone: false
plan:
  description: The same for people, one text for each host.
  type: list
  elements: str
  returned: success
  sample: ["manager-2 (manager): restart: daemon.json: log-opts"]
short:
  description: Services that run fewer tasks than they want, as C(name running/wanted).
  type: list
  elements: str
  returned: success
  sample: []
problems:
  description: Everything that speaks against changing any of them.
  type: list
  elements: str
  returned: failure
"""

import dataclasses
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.drain import weak_services
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import read_node
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.nodes import read_settled
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.turns import Member, plan_turns

ARGUMENT_SPEC: dict[str, t.Any] = {
    "members": {"type": "dict", "required": True},
    "changes": {"type": "dict", "default": {}},
    "batch": {"type": "int", "default": 1},
    "accept_outage": {"type": "bool", "default": False},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    engine = Engine(module.params["docker_socket"])
    try:
        module.exit_json(**_decide(module, engine))
    except (EngineError, EngineUnreachable) as error:
        module.fail_json(msg=str(error), problems=[str(error)])


def _decide(module: AnsibleModule, engine: Engine) -> dict[str, t.Any]:
    here = read_node(engine)
    live: list[dict[str, t.Any]] | None = None
    services: list[dict[str, t.Any]] = []
    short: list[str] = []
    if here["swarm"]["manager"] and here["swarm"]["state"] == "active" and not here["cluster"]["error"]:
        live, services = read_settled(engine), engine.get("/services") or []
        short = weak_services(engine, {service["Spec"]["Name"] for service in services})
    members = [
        _member(host, answer, module.params["changes"].get(host) or {})
        for host, answer in module.params["members"].items()
    ]
    turns = plan_turns(
        members,
        live,
        services,
        batch=module.params["batch"],
        accept_outage=module.params["accept_outage"],
    )
    if turns.problems:
        module.fail_json(
            msg="No node was touched in this turn. " + "\n".join(turns.problems), problems=list(turns.problems)
        )
    return {
        "changed": False,
        "rounds": [[dataclasses.asdict(turn) for turn in found] for found in turns.rounds],
        "plan": [turn.text for found in turns.rounds for turn in found],
        "short": short,
    }


def _member(host: str, answer: t.Mapping[str, t.Any], found: t.Mapping[str, t.Any]) -> Member:
    return Member(
        host,
        answer or {},
        restart=tuple(found.get("restart") or ()),
        reload=tuple(found.get("reload") or ()),
        refused=str(found.get("refused") or ""),
    )


if __name__ == "__main__":
    main()
