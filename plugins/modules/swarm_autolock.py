# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Switch a swarm's autolock on or off, and read its unlock key."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_autolock
short_description: Switch a swarm's autolock on or off, and read its unlock key
version_added: "0.1.0"
author: flowstead.airflow contributors (@flowstead)
description:
  - Runs on a manager. With autolock, managers keep the keys to the swarm's store encrypted on their disks. Whoever
    gets hold of a disk, or of a backup, then cannot read the swarm's secrets without the unlock key.
  - The price is that a manager whose engine was restarted, for example by a reboot, is locked until it gets the key
    from M(flowstead.airflow.swarm_unlock) or C(docker swarm unlock).
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
  enabled:
    description: Whether managers are to lock. Left as it is when not set.
    type: bool
  unlock_key:
    description: Also return the key that unlocks managers. It is a secret, so set C(no_log) on the task.
    type: bool
    default: false
  docker_socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
"""

EXAMPLES = r"""
- name: Let managers lock
  flowstead.airflow.swarm_autolock:
    enabled: true

- name: Read the key
  flowstead.airflow.swarm_autolock:
    unlock_key: true
  register: lock
  no_log: true
"""

RETURN = r"""
enabled:
  description: Whether managers lock.
  type: bool
  returned: success
unlock_key:
  description: The key that unlocks managers; empty when they do not lock. Secret.
  type: str
  returned: when O(unlock_key) is true
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.locking import (
    is_autolocked,
    read_unlock_key,
    set_autolock,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem

ARGUMENT_SPEC: dict[str, t.Any] = {
    "enabled": {"type": "bool"},
    "unlock_key": {"type": "bool", "default": False, "no_log": False},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    engine = Engine(module.params["docker_socket"])
    try:
        module.exit_json(**_switch(module, engine))
    except (SwarmProblem, EngineError, EngineUnreachable) as error:
        module.fail_json(msg=str(error))


def _switch(module: AnsibleModule, engine: Engine) -> dict[str, t.Any]:
    before = is_autolocked(engine.get("/swarm"))
    after = before if module.params["enabled"] is None else module.params["enabled"]
    changed = set_autolock(engine, after, check_mode=module.check_mode)
    result: dict[str, t.Any] = {
        "changed": changed,
        "enabled": after,
        "diff": {"before": {"autolock": before}, "after": {"autolock": after}},
    }
    if module.params["unlock_key"]:
        result["unlock_key"] = read_unlock_key(engine)
    return result


if __name__ == "__main__":
    main()
