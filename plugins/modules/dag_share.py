#!/usr/bin/python
# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep the DAG share mounted, marked and waited for."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dag_share
short_description: Keep the share with DAGs mounted, marked and waited for
version_added: 0.1.0
description:
  - Mounts the share by a unit of systemd, at boot and now; lets other units, such as Docker, wait for it; and closes
    the directory below, so that a missing mount cannot be taken for an empty share.
  - Before the share is used, it is mounted aside and has to carry the right mark, the file C(.flowstead-share).
    A wrong export is refused with nothing changed.
  - Options in force are compared with those asked for. What a running mount takes over is remounted; for the rest the
    share is unmounted and mounted. When somebody uses it, the module says who and what to do, and changes nothing.
  - A server that is away is told within seconds, although a hard mount would wait for it forever.
  - Docker is neither restarted nor stopped.
author:
  - flowstead.airflow contributors (@flowstead)
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.airflow
attributes:
  check_mode:
    support: full
    details: [The share itself is only looked at where it is mounted already.]
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description: V(absent) unmounts and removes what V(present) made. Nothing on the share is deleted.
    type: str
    choices: [present, absent]
    default: present
  type:
    description:
      - What the share is. V(efs) needs C(mount.efs) of amazon-efs-utils on the host.
      - V(local) mounts nothing; it is a directory of this host, or something else mounts it.
    type: str
    choices: [nfs, efs, local]
    default: local
  path:
    description: Where the host sees the share, without symbolic links.
    type: str
    required: true
  nfs:
    description: The export. Required for O(type=nfs).
    type: dict
    suboptions:
      host:
        description: Name or address of the server.
        type: str
        required: true
      path:
        description: The exported directory.
        type: str
        required: true
      port:
        description: TCP port.
        type: int
        default: 2049
      version:
        description: Version of NFS.
        type: str
        choices: ["4.1", "4.2"]
        default: "4.1"
      options:
        description: Mount options over the recommended ones; each takes the place of the one that it contradicts.
        type: list
        elements: str
        default: []
  efs:
    description: The file system. Required for O(type=efs).
    type: dict
    suboptions:
      file_system:
        description: ID of the file system.
        type: str
        required: true
      path:
        description: Directory of the file system.
        type: str
        default: /
      region:
        description: Region, for hosts that cannot ask their instance metadata.
        type: str
      access_point:
        description: ID of an access point. Needs O(efs.tls).
        type: str
      tls:
        description: Encrypt the connection.
        type: bool
        default: true
      iam:
        description: Sign in with the host's IAM role. Needs O(efs.tls).
        type: bool
        default: false
      options:
        description: Mount options over the recommended ones.
        type: list
        elements: str
        default: []
  local:
    description: More about O(type=local).
    type: dict
    suboptions:
      mounted:
        description: Something else mounts O(path). Then it has to be mounted, and O(units) wait for it.
        type: bool
        default: false
  publisher:
    description: This host may write. All others mount the share read-only.
    type: bool
    default: false
  id:
    description:
      - What the mark has to say. Empty takes what is there the first time, and refuses anything else later.
      - A publisher that marks a new share without it makes up an ID.
    type: str
    default: ""
  sentinel_create:
    description: A publisher marks a share that is empty. One that holds files and no mark is always refused.
    type: bool
    default: true
  mount_seconds:
    description: Seconds that an attempt to mount may take, also at boot.
    type: int
    default: 30
  retry_seconds:
    description: Seconds between attempts after one failed at boot.
    type: int
    default: 10
  units:
    description: Units of systemd that must not run without the share. They need not exist yet.
    type: list
    elements: str
    default: [docker.service]
"""

EXAMPLES = r"""
- name: Mount the share for reading
  flowstead.airflow.dag_share:
    type: nfs
    path: /srv/airflow/dags
    nfs:
      host: nfs.example.com
      path: /export/dags
    id: dags-prod

- name: Take it away
  flowstead.airflow.dag_share:
    state: absent
    path: /srv/airflow/dags
"""

RETURN = r"""
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: ["mount nfs.example.com:/export/dags on /srv/airflow/dags"]
share_id:
  description: What the mark says. Empty where the share was not looked at.
  returned: always
  type: str
  sample: dags-prod
missing_package:
  description: The package without which the share cannot be mounted. Outside check mode the module has failed then.
  returned: always
  type: str
  sample: nfs-common
"""

import platform
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._share.keeper import Keeper
from ansible_collections.flowstead.airflow.plugins.module_utils._share.planning import ShareError
from ansible_collections.flowstead.airflow.plugins.module_utils._share.settings import find_problems, read_settings
from ansible_collections.flowstead.airflow.plugins.module_utils._share.system import System

ARGUMENT_SPEC: dict[str, t.Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "type": {"type": "str", "choices": ["nfs", "efs", "local"], "default": "local"},
    "path": {"type": "str", "required": True},
    "nfs": {
        "type": "dict",
        "options": {
            "host": {"type": "str", "required": True},
            "path": {"type": "str", "required": True},
            "port": {"type": "int", "default": 2049},
            "version": {"type": "str", "choices": ["4.1", "4.2"], "default": "4.1"},
            "options": {"type": "list", "elements": "str", "default": []},
        },
    },
    "efs": {
        "type": "dict",
        "options": {
            "file_system": {"type": "str", "required": True},
            "path": {"type": "str", "default": "/"},
            "region": {"type": "str"},
            "access_point": {"type": "str"},
            "tls": {"type": "bool", "default": True},
            "iam": {"type": "bool", "default": False},
            "options": {"type": "list", "elements": "str", "default": []},
        },
    },
    "local": {"type": "dict", "options": {"mounted": {"type": "bool", "default": False}}},
    "publisher": {"type": "bool", "default": False},
    "id": {"type": "str", "default": ""},
    "sentinel_create": {"type": "bool", "default": True},
    "mount_seconds": {"type": "int", "default": 30},
    "retry_seconds": {"type": "int", "default": 10},
    "units": {"type": "list", "elements": "str", "default": ["docker.service"]},
}


def main() -> None:
    """Check the settings, bring the host to them, exit once."""
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[("type", "nfs", ["nfs"]), ("type", "efs", ["efs"])],
    )
    absent = module.params["state"] == "absent"
    settings = {**module.params, "type": "local"} if absent else module.params
    problems = find_problems(settings)
    if problems:
        module.fail_json(msg="Nothing was changed. " + " ".join(problem.line() for problem in problems))
    keeper = Keeper(read_settings(settings), System(), module.check_mode)
    try:
        outcome = keeper.absent() if absent else keeper.present()
    except ShareError as error:
        module.fail_json(
            msg=f"DAG share on {platform.node()}: {error}",
            missing_package=error.package,
            actions=keeper.outcome.actions,
            share_id="",
        )
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(
        changed=bool(outcome.actions),
        actions=outcome.actions,
        diff=outcome.diff,
        share_id=outcome.share_id,
        missing_package=outcome.missing_package,
    )


if __name__ == "__main__":
    main()
