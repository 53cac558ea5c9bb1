# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the state of a swarm's manager in a file."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_backup
short_description: Keep the state of a swarm's manager in a file
version_added: "0.1.0"
author: flowstead.airflow contributors (@flowstead)
description:
  - Runs on a manager. Stops its engine, packs the directory C(swarm) of the engine's data, starts the engine, unlocks
    the manager where that is needed, and returns when it works again. The engine is started also when packing fails.
  - Stopping an engine ends all its containers within seconds. Empty the node with M(flowstead.airflow.swarm_drain)
    first. The other managers have to be a majority without this one.
  - The file holds services, networks, configs, secrets, nodes and the swarm's authority. Without autolock its reader
    can read all of them. With autolock he needs the unlock key, which is not in it.
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.swarm
attributes:
  check_mode:
    support: full
    details:
      - RV(manifest) is then what it would be, without a checksum.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - A backup is an action.
options:
  path:
    description:
      - The file, for example C(/var/tmp/swarm.tar.gz). It must not exist, and only its owner can read it. Its
        directory needs as much free space as the state takes.
    type: path
    required: true
  unlock_key:
    description:
      - The unlock key that people hold. One that is not the swarm's is an error before anything is stopped, since a
        backup would be of no use with it.
      - The manager is unlocked also without it.
    type: str
    default: ""
  timeout:
    description: Seconds until the manager has to work again.
    type: int
    default: 120
  docker_socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
"""

EXAMPLES = r"""
- name: Keep this manager's state
  flowstead.airflow.swarm_backup:
    path: /var/tmp/swarm.tar.gz
"""

RETURN = r"""
path:
  description: The file.
  type: str
  returned: always
manifest:
  description:
    - What to know of the file. C(autolock) tells whether the unlock key of that time is needed.
    - C(sha256), C(size) and C(time) are missing in check mode.
  type: dict
  returned: success
  sample:
    cluster_id: tg4tsdr1hadvs4t6bdapp5a5i
    node_id: vzn1k8zca4z63fo2vfzalqdht
    hostname: manager-3
    address: 192.0.2.13
    manager_address: "192.0.2.13:2377"
    engine_version: "27.5.1"
    managers: [manager-1, manager-2, manager-3]
    workers: []
    autolock: false
    time: "2026-01-31T03:00:12Z"
    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    size: 48211
seconds:
  description: How long it took until the manager worked again.
  type: float
  returned: success
  sample: 9.1
"""

import signal
import time
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.backup import back_up, inspect
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.supervisor import Systemd

ARGUMENT_SPEC: dict[str, t.Any] = {
    "path": {"type": "path", "required": True},
    "unlock_key": {"type": "str", "default": "", "no_log": True},
    "timeout": {"type": "int", "default": 120},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    engine = Engine(module.params["docker_socket"])
    supervisor = Systemd(module.run_command)
    path = Path(module.params["path"])
    began = time.monotonic()
    try:
        source = inspect(engine, path, module.params["unlock_key"].strip())
        supervisor.check()
        manifest = dict(source.manifest)
        if not module.check_mode:
            # A connection that breaks now must not leave the engine stopped.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            manifest["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            packed = back_up(engine, supervisor, source, path, timeout=module.params["timeout"])
            manifest |= {"sha256": packed.sha256, "size": packed.size}
    except (SwarmProblem, EngineError, EngineUnreachable) as error:
        module.fail_json(msg=str(error), path=str(path))
    module.exit_json(changed=True, path=str(path), manifest=manifest, seconds=time.monotonic() - began)


if __name__ == "__main__":
    main()
