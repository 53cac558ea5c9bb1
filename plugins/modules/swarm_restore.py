# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a swarm back from the kept state of one of its managers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_restore
short_description: Bring a swarm back from the kept state of one of its managers
version_added: "0.1.0"
author: flowstead.airflow contributors (@flowstead)
description:
  - Runs on the host that is to be the first manager again, with an archive that M(flowstead.airflow.swarm_backup)
    wrote. Stops the engine, puts the archive's state in the place of the host's own, which is kept aside, starts the
    engine, unlocks it where that is needed, and makes this host the only manager of that swarm (C(docker swarm init
    --force-new-cluster)). When that engine then does not answer on the port by which members tell each other about
    overlay networks, it is started once more.
  - Services, secrets, configs, networks and the swarm's authority are those of the time of the backup. Data of
    volumes is not part of it.
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.swarm
attributes:
  check_mode:
    support: full
    details:
      - The archive is read and verified.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - A restore is an action. Where it was done already the swarm works, and that is an error unless O(force) is set.
options:
  path:
    description: The archive, on this host.
    type: path
    required: true
  sha256:
    description: What the archive's manifest says. Empty takes the archive on trust.
    type: str
    default: ""
  advertise_address:
    description:
      - Address by which the other members reach this host. With the address that the manager had, workers that are
        still there come back by themselves.
    type: str
    required: true
  listen_address:
    description: Address and port on which the manager listens.
    type: str
    default: 0.0.0.0:2377
  data_path_address:
    description: Address for the traffic of containers, when it is not O(advertise_address).
    type: str
    default: ""
  autolock:
    description:
      - Whether the swarm was autolocked, as the manifest says. It is so again afterwards, with the same key.
      - The host needs the address that the manager had.
    type: bool
    default: false
  unlock_key:
    description: The unlock key of the time of the backup. Needed with O(autolock).
    type: str
    default: ""
  managers:
    description:
      - How many managers the swarm had, as the manifest says. It matters with O(autolock) only.
      - Docker cannot make one manager of an autolocked swarm go on without the others (moby issue 36852). With more
        than one, restore a majority of them, each from a backup of its own and under its own address. RV(works) is
        false until then.
    type: int
    default: 1
  force:
    description: Restore also on a manager whose swarm works.
    type: bool
    default: false
  data_root:
    description: The engine's data root. Empty is what the engine says, or C(/var/lib/docker) when it does not run.
    type: path
  timeout:
    description: Seconds until the manager has to work; for each of the steps, such as a second start of the engine.
    type: int
    default: 120
  docker_socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
"""

EXAMPLES = r"""
- name: Bring the swarm back
  flowstead.airflow.swarm_restore:
    path: /var/tmp/swarm.tar.gz
    sha256: "{{ manifest.sha256 }}"
    advertise_address: 192.0.2.11
"""

RETURN = r"""
node:
  description: This host afterwards, as RV(flowstead.airflow.swarm_node_info#module:swarm).
  type: dict
  returned: success
aside:
  description: Where the state is that this host had before; empty when it had none.
  type: str
  returned: success
  sample: /var/lib/docker/swarm.before-20260131T030012Z
works:
  description: Whether the swarm works. If not, it waits for more of its managers.
  type: bool
  returned: success
counts:
  description: What the swarm has now; empty in check mode, and while it does not work.
  type: dict
  returned: success
  sample: {services: 9, secrets: 7, configs: 2, nodes: 3}
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
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem, read_node
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.reach import connect
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.restoring import Target, count, inspect, restore
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.supervisor import Systemd

ARGUMENT_SPEC: dict[str, t.Any] = {
    "path": {"type": "path", "required": True},
    "sha256": {"type": "str", "default": ""},
    "advertise_address": {"type": "str", "required": True},
    "listen_address": {"type": "str", "default": "0.0.0.0:2377"},
    "data_path_address": {"type": "str", "default": ""},
    "autolock": {"type": "bool", "default": False},
    "unlock_key": {"type": "str", "default": "", "no_log": True},
    "managers": {"type": "int", "default": 1},
    "force": {"type": "bool", "default": False},
    "data_root": {"type": "path"},
    "timeout": {"type": "int", "default": 120},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    given = module.params
    # Without the other managers an engine may not answer for as long as it looks for them.
    engine = Engine(given["docker_socket"], timeout=30.0)
    supervisor = Systemd(module.run_command)
    target = Target(
        path=Path(given["path"]),
        aside=time.strftime("swarm.before-%Y%m%dT%H%M%SZ", time.gmtime()),
        advertise_address=given["advertise_address"],
        sha256=given["sha256"],
        listen_address=given["listen_address"],
        data_path_address=given["data_path_address"],
        data_root=given["data_root"] or "",
        unlock_key=given["unlock_key"].strip(),
        autolock=given["autolock"],
        managers=given["managers"],
    )
    works = True
    counts: dict[str, int] = {}
    try:
        place = inspect(engine, target, force=given["force"])
        supervisor.check()
        if not module.check_mode:
            # A connection that breaks now must not leave the engine stopped.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            works, warning = restore(engine, supervisor, target, place, probe=connect, timeout=given["timeout"])
            if warning:
                module.warn(warning)
            counts = count(engine) if works else {}
        node = read_node(engine)["swarm"]
    except (SwarmProblem, EngineError, EngineUnreachable) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, node=node, aside=str(place.aside or ""), works=works, counts=counts)


if __name__ == "__main__":
    main()
