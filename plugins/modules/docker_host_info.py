#!/usr/bin/python
# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at everything that a host has of Docker, in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_host_info
short_description: Look at a host's Docker packages, files, units, engine and membership in one call
version_added: 0.1.0
description:
  - Tells what is there, so that a role runs tasks only for what has to change. On a host that is as it should be, one
    call takes the place of a dozen.
  - Works without an engine, without systemd and without dpkg; what is not there is empty.
author:
  - flowstead.airflow contributors (@flowstead)
extends_documentation_fragment:
  - flowstead.airflow.attributes
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
  packages:
    description: Packages to look for.
    type: list
    elements: str
    default: []
  files:
    description: Files whose age matters.
    type: list
    elements: path
    default: []
  texts:
    description: Files with the texts that they should hold, as a dictionary of both.
    type: dict
    default: {}
  secret_texts:
    description: The same for texts that hold secrets.
    type: dict
    default: {}
  access:
    description:
      - Whose those files have to be, and with which mode, as C(owner:group:mode) with names and four octal digits.
      - A file of O(texts) or O(secret_texts) that has another one is among RV(differing).
    type: dict
    default: {}
  units:
    description: Units of systemd to look at, with their endings.
    type: list
    elements: str
    default: []
  docker_socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
seealso:
  - module: flowstead.airflow.swarm_node_info
"""

EXAMPLES = r"""
- name: Look at the host
  flowstead.airflow.docker_host_info:
    packages: [docker-ce, containerd.io]
    files: [/run/docker.pid]
    units: [docker.service]
  register: host

- name: Start an engine that does not run
  ansible.builtin.systemd_service:
    name: docker
    state: started
  when: not host.units['docker.service'].active | default(false)
"""

RETURN = r"""
packages:
  description: Versions of installed packages, by name.
  returned: always
  type: dict
  sample: {docker-ce: "5:27.5.1-1~debian.12~bookworm"}
selections:
  description: What dpkg is to do with them, as C(dpkg --get-selections) says it.
  returned: always
  type: dict
  sample: {docker-ce: hold}
apt_ready:
  description: Python's bindings of apt and package lists are there, so that check mode can ask apt.
  returned: always
  type: bool
files:
  description: When files were modified, by path, in seconds since 1970. Files that do not exist are left out.
  returned: always
  type: dict
  sample: {/etc/docker/daemon.json: 1794000000.5}
differing:
  description: Paths of O(texts) and O(secret_texts) that are missing, hold another text or have another O(access).
  returned: always
  type: list
  elements: str
units:
  description:
    - Units that systemd knows, by name.
    - C(active), C(enabled), and C(stale) when its files changed since systemd read them.
  returned: always
  type: dict
  sample: {docker.service: {active: true, enabled: true, stale: false}}
engine:
  description: As in M(flowstead.airflow.swarm_node_info).
  returned: always
  type: dict
swarm:
  description: As in M(flowstead.airflow.swarm_node_info).
  returned: always
  type: dict
cluster:
  description: As in M(flowstead.airflow.swarm_node_info).
  returned: always
  type: dict
nodes:
  description: As in M(flowstead.airflow.swarm_node_info).
  returned: always
  type: list
  elements: dict
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import Engine, EngineError
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.host_state import (
    PACKAGE_FORMAT,
    UNIT_PROPERTIES,
    Packages,
    apt_can_be_asked,
    differing,
    parse_packages,
    parse_units,
    read_ages,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import read_node

ARGUMENT_SPEC: dict[str, t.Any] = {
    "packages": {"type": "list", "elements": "str", "default": []},
    "files": {"type": "list", "elements": "path", "default": []},
    "texts": {"type": "dict", "default": {}},
    "secret_texts": {"type": "dict", "default": {}, "no_log": True},
    "access": {"type": "dict", "default": {}},
    "units": {"type": "list", "elements": "str", "default": []},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        node = read_node(Engine(module.params["docker_socket"]))
    except EngineError as error:
        module.fail_json(msg=str(error))
    packages = read_packages(module, module.params["packages"])
    texts = {**module.params["texts"], **module.params["secret_texts"]}
    module.exit_json(
        changed=False,
        packages=packages.versions,
        selections=packages.selections,
        apt_ready=apt_can_be_asked(),
        files=read_ages([*module.params["files"], *texts]),
        differing=differing(texts, module.params["access"]),
        units=read_units(module, module.params["units"]),
        **node,
    )


def read_packages(module: AnsibleModule, names: t.Sequence[str]) -> Packages:
    """Ask dpkg, which answers 1 when it does not know one of the names."""
    command = module.get_bin_path("dpkg-query")
    if not names or not command:
        return Packages({}, {})
    code, output, error = module.run_command([command, "--show", f"--showformat={PACKAGE_FORMAT}", *names])
    if code not in (0, 1):
        module.fail_json(msg=f"{command} cannot read the list of packages: {error.strip()}")
    return parse_packages(output)


def read_units(module: AnsibleModule, names: t.Sequence[str]) -> dict[str, dict[str, t.Any]]:
    """Ask systemd, where it runs."""
    command = module.get_bin_path("systemctl")
    if not names or not command:
        return {}
    code, output, _error = module.run_command([command, "show", f"--property={','.join(UNIT_PROPERTIES)}", *names])
    return parse_units(output) if code == 0 else {}


if __name__ == "__main__":
    main()
