# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set role, labels and availability of a swarm's nodes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_nodes
short_description: Set role, labels and availability of a swarm's nodes
version_added: "0.1.0"
author: flowstead.airflow contributors (@flowstead)
description:
  - Runs on one manager for all nodes; nodes are named by their ID, since host names can be ambiguous.
  - Promotions are written first, then records of replaced nodes go, and demotions come last, each waited for before the
    next is written.
    The swarm itself refuses what would cost it its majority.
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.swarm
attributes:
  check_mode:
    support: full
    details:
      - On a host that manages no swarm yet, every node is reported as one that would be set.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  nodes:
    description: The nodes. Nodes that are not named are left alone.
    type: list
    elements: dict
    required: true
    suboptions:
      id:
        description: The node's ID. May be empty in check mode, for a host that has not joined yet.
        type: str
        required: true
      role:
        description: V(keep) leaves it as it is.
        type: str
        choices: [keep, manager, worker]
        default: keep
      availability:
        description: V(keep) leaves it as it is, so that a node that somebody drained stays drained.
        type: str
        choices: [keep, active, pause, drain]
        default: keep
      labels:
        description: Labels and their values.
        type: dict
        default: {}
  purge_labels:
    description: Remove labels of the named nodes that are not wanted.
    type: bool
    default: false
  remove_replaced:
    description:
      - Remove records of nodes that are down and whose host name and address belong to a named node that is ready.
      - One with another address, or a manager that the others cannot do without, stays and is a warning.
      - After a change of leaders, and after a restore, such a node is unknown for a while before it is down. That is
        waited for, five minutes at most; in check mode it is a warning.
    type: bool
    default: false
  timeout:
    description: Seconds until a node has to have taken over its role.
    type: int
    default: 60
  docker_socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
"""

EXAMPLES = r"""
- name: Label a node, and let it take tasks
  flowstead.airflow.swarm_nodes:
    nodes:
      - id: vzn1k8zca4z63fo2vfzalqdht
        role: worker
        availability: active
        labels: {airflow.workers: etl}
"""

RETURN = r"""
changes:
  description: Nodes that were changed, or would be.
  type: list
  elements: dict
  returned: always
  sample:
    - {id: vzn1k8zca4z63fo2vfzalqdht, hostname: worker-1, fields: [Labels]}
removed:
  description: Records of replaced nodes that were removed, or would be.
  type: list
  elements: dict
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
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem, read_node
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.nodes import (
    UNKNOWN_SECONDS,
    NodeChange,
    WantedNode,
    await_role,
    has_unknown_twin,
    label_text,
    plan_nodes,
    plan_replaced,
    read_settled,
    write_change,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.removing import remove_replaced

ARGUMENT_SPEC: dict[str, t.Any] = {
    "nodes": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "id": {"type": "str", "required": True},
            "role": {"type": "str", "choices": ["keep", "manager", "worker"], "default": "keep"},
            "availability": {"type": "str", "choices": ["keep", "active", "pause", "drain"], "default": "keep"},
            "labels": {"type": "dict", "default": {}},
        },
    },
    "purge_labels": {"type": "bool", "default": False},
    "remove_replaced": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 60},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    engine = Engine(module.params["docker_socket"])
    wanted = [
        WantedNode(
            id=entry["id"],
            role=entry["role"],
            availability=entry["availability"],
            labels={key: label_text(value) for key, value in entry["labels"].items()},
        )
        for entry in module.params["nodes"]
    ]
    try:
        module.exit_json(**_set_nodes(module, engine, wanted))
    except (SwarmProblem, EngineError, EngineUnreachable) as error:
        module.fail_json(msg=str(error))


def _set_nodes(module: AnsibleModule, engine: Engine, wanted: list[WantedNode]) -> dict[str, t.Any]:
    coming = [entry for entry in wanted if not entry.id]
    if coming and not module.check_mode:
        raise SwarmProblem(f"{len(coming)} of the nodes have no ID: their hosts are not in the swarm.")
    known = [entry for entry in wanted if entry.id]
    here = read_node(engine)
    if module.check_mode and not here["swarm"]["manager"]:
        module.warn("No swarm is managed here yet; all nodes would be set once it exists.")
        return {
            "changed": True,
            "changes": [],
            "removed": [],
        }
    remove = module.params["remove_replaced"]
    ids = {entry.id for entry in known}
    live = engine.get("/nodes")
    purge = module.params["purge_labels"]
    changes = plan_nodes(live, known, purge_labels=purge)
    by_id = {entry.id: entry for entry in known}
    demotions = [change for change in changes if change.demotes]
    if not module.check_mode:
        for change in changes:
            if not change.demotes:
                write_change(engine, change, by_id[change.id], purge_labels=purge)
                await_role(engine, change, timeout=module.params["timeout"])
        if remove:
            live = read_settled(engine, UNKNOWN_SECONDS, unsettled=lambda live: has_unknown_twin(live, ids))
    replaced: list[dict[str, str]] = []
    if remove:
        replaced, kept = plan_replaced(live, ids)
        for text in kept:
            module.warn(text)
    if not module.check_mode:
        # A dead manager still has a vote, without which the swarm may refuse to demote a living one.
        for node in replaced:
            remove_replaced(engine, node)
        for change in demotions:
            write_change(engine, change, by_id[change.id], purge_labels=purge)
            await_role(engine, change, timeout=module.params["timeout"])
    return {
        "changed": bool(changes or replaced or coming),
        "changes": [{"id": change.id, "hostname": change.hostname, "fields": _fields(change)} for change in changes],
        "removed": replaced,
        "diff": {
            "before": {
                **{change.hostname or change.id: change.before for change in changes},
                **{f"{node['hostname']} ({node['id']})": "replaced, down" for node in replaced},
            },
            "after": {change.hostname or change.id: change.after for change in changes},
        },
    }


def _fields(change: NodeChange) -> list[str]:
    return sorted(key for key in change.after if change.after[key] != change.before.get(key))


if __name__ == "__main__":
    main()
