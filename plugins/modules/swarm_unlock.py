# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unlock a manager of an autolocked swarm."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_unlock
short_description: Unlock a manager of an autolocked swarm
version_added: "0.1.0"
author: flowstead.airflow contributors (@flowstead)
description:
  - Runs on the manager itself, which is locked after each start of its engine. It stays the member that it was.
  - Returns when the manager works, which takes a majority of managers. So unlock all of them at the same time when all
    of them are locked.
  - A host that is not locked is left alone, and the key is not looked at.
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.swarm
attributes:
  check_mode:
    support: full
    details:
      - Whether the key is the right one cannot be told.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  unlock_key:
    description: The swarm's unlock key. A locked host without one is an error.
    type: str
    default: ""
  timeout:
    description: Seconds until the manager has to work.
    type: int
    default: 60
  docker_socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
"""

EXAMPLES = r"""
- name: Unlock this manager if it is locked
  flowstead.airflow.swarm_unlock:
    unlock_key: "{{ vault_swarm_unlock_key }}"
"""

RETURN = r"""
node:
  description: This host afterwards, as RV(flowstead.airflow.swarm_node_info#module:swarm).
  type: dict
  returned: success
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.locking import unlock
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem, read_node

ARGUMENT_SPEC: dict[str, t.Any] = {
    "unlock_key": {"type": "str", "default": "", "no_log": True},
    "timeout": {"type": "int", "default": 60},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    engine = Engine(module.params["docker_socket"], timeout=max(30.0, module.params["timeout"]))
    try:
        before = read_node(engine)["swarm"]["state"]
        changed = unlock(
            engine,
            module.params["unlock_key"].strip(),
            check_mode=module.check_mode,
            timeout=module.params["timeout"],
        )
        after = read_node(engine)["swarm"]
    except (SwarmProblem, EngineError, EngineUnreachable) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=changed,
        node=after,
        diff={"before": {"state": before}, "after": {"state": "active" if changed else before}},
    )


if __name__ == "__main__":
    main()
