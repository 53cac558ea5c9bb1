# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make overlay networks of a swarm."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_networks
short_description: Make overlay networks of a swarm
version_added: "0.1.0"
author: flowstead.airflow contributors (@flowstead)
description:
  - Runs on one manager for all networks, in one call of the engine's API when there is nothing to do.
  - Docker cannot change a network in place. One that differs from what is asked for is an error that names each
    difference; nothing is created then, and nothing is ever removed, since that would cut off what is attached.
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.swarm
attributes:
  check_mode:
    support: full
    details:
      - On a host that manages no swarm yet, every network is reported as one that would be created.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  networks:
    description: The networks. Others are left alone.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The network's name.
        type: str
        required: true
      attachable:
        description: Whether containers outside of services may join it.
        type: bool
        default: true
      encrypted:
        description: Whether traffic between hosts is encrypted (IPsec, IP protocol 50).
        type: bool
        default: false
      internal:
        description: Whether the network has no way out.
        type: bool
        default: false
      subnet:
        description: IPv4 subnet. Empty for the next free one of the swarm's address pools.
        type: str
        default: ""
      driver_opts:
        description: Options of the overlay driver, for example C(com.docker.network.driver.mtu).
        type: dict
        default: {}
  docker_socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
"""

EXAMPLES = r"""
- name: Make an encrypted network with a smaller MTU
  flowstead.airflow.swarm_networks:
    networks:
      - name: monitoring
        encrypted: true
        driver_opts: {com.docker.network.driver.mtu: "1350"}
"""

RETURN = r"""
created:
  description: Names of the networks that were created, or would be.
  type: list
  elements: str
  returned: always
  sample: [monitoring]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.networks import (
    WantedNetwork,
    check_networks,
    create_networks,
    network_body,
    plan_networks,
    refuse,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem

ARGUMENT_SPEC: dict[str, t.Any] = {
    "networks": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "attachable": {"type": "bool", "default": True},
            "encrypted": {"type": "bool", "default": False},
            "internal": {"type": "bool", "default": False},
            "subnet": {"type": "str", "default": ""},
            "driver_opts": {"type": "dict", "default": {}},
        },
    },
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    engine = Engine(module.params["docker_socket"])
    wanted = [WantedNetwork(**entry) for entry in module.params["networks"]]
    try:
        refuse(check_networks(wanted))
        create, problems = plan_networks(_read(engine, module.check_mode), wanted)
        refuse(problems)
        if not module.check_mode:
            create_networks(engine, create)
    except (SwarmProblem, EngineError, EngineUnreachable) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(create),
        created=[network.name for network in create],
        diff={"before": {}, "after": {network.name: network_body(network) for network in create}},
    )


def _read(engine: Engine, check_mode: bool) -> list[dict[str, t.Any]]:
    try:
        return engine.get("/networks") or []
    except EngineUnreachable:
        if check_mode:
            return []
        raise


if __name__ == "__main__":
    main()
