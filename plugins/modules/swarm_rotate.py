# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotate a swarm's join tokens, certificate authority or unlock key."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_rotate
short_description: Rotate a swarm's join tokens, certificate authority or unlock key
version_added: "0.1.0"
author: flowstead.airflow contributors (@flowstead)
description:
  - Runs on a manager, for the whole swarm, and rotates exactly what O(rotate) names, in one request. None of the new
    values is returned.
  - With a new certificate authority it returns when every node has a certificate of it and trusts no other.
  - Whether something was rotated before cannot be told, so that this is a change each time.
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.swarm
attributes:
  check_mode:
    support: full
    details:
      - Says what would be rotated, and fails where a real run would refuse.
  diff_mode:
    support: full
    details:
      - Names what is new, and never a value.
  idempotent:
    support: none
    details:
      - A rotation is an action.
options:
  rotate:
    description:
      - V(worker_token) and V(manager_token) are the secrets with which hosts join; members stay members.
      - V(ca) is the authority that signs the certificates of nodes. Nodes get new certificates by themselves, without a
        restart. It also shows in the text of both join tokens, whose secret parts stay.
      - A node that is not ready is an error before anything is rotated, since V(ca) does not end without it. One
        that is under way already is waited for, and no other is begun.
      - V(unlock_key) is that of an autolocked swarm. A manager that is off meanwhile still needs the old one.
    type: list
    elements: str
    choices: [worker_token, manager_token, ca, unlock_key]
    required: true
  timeout:
    description:
      - Seconds until every node has to have a certificate of a new authority.
      - When the time is over, the module fails and names the nodes that have not. The rotation goes on.
    type: int
    default: 600
  docker_socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
"""

EXAMPLES = r"""
- name: Give the swarm new join tokens
  flowstead.airflow.swarm_rotate:
    rotate: [worker_token, manager_token]

- name: Give it a new authority, and wait until every node has a certificate of it
  flowstead.airflow.swarm_rotate:
    rotate: [ca]
"""

RETURN = r"""
rotated:
  description: What was rotated, or would be.
  type: list
  elements: str
  returned: always
  sample: [worker_token, ca]
resumed:
  description: Whether a new authority was under way already, so that it was waited for.
  type: bool
  returned: always
  sample: false
behind:
  description: Nodes that are not done with the new authority.
  type: list
  elements: str
  returned: always
  sample: []
seconds:
  description: How long it took.
  type: float
  returned: always
  sample: 4.2
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.rotation import THINGS, refusal, rotate

ARGUMENT_SPEC: dict[str, t.Any] = {
    "rotate": {"type": "list", "elements": "str", "choices": list(THINGS), "required": True},
    "timeout": {"type": "int", "default": 600},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    engine = Engine(module.params["docker_socket"])
    began = time.monotonic()
    try:
        done = rotate(engine, module.params["rotate"], check_mode=module.check_mode, timeout=module.params["timeout"])
    except (SwarmProblem, EngineError, EngineUnreachable) as error:
        module.fail_json(msg=str(error), rotated=[], resumed=False, behind=[], seconds=time.monotonic() - began)
    told: dict[str, t.Any] = {
        "changed": bool(done.rotated),
        "rotated": done.rotated,
        "resumed": done.resumed and "ca" in done.rotated,
        "behind": done.behind,
        "seconds": time.monotonic() - began,
        "diff": {
            "before": {"rotated": [f"{thing}: the old one" for thing in done.rotated]},
            "after": {"rotated": [f"{thing}: a new one" for thing in done.rotated]},
        },
    }
    if done.behind:
        module.fail_json(msg=refusal(done, module.params["timeout"]), **told)
    module.exit_json(**told)


if __name__ == "__main__":
    main()
