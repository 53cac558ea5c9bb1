#!/usr/bin/python
# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that every container of a host sees a DAG release."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dag_proof
short_description: Prove that every container of this host sees a DAG release
version_added: 0.1.0
description:
  - Looks at each running container of the stack that mounts the bundle, through the container's own mount and without
    starting anything in it, and waits until C(current) leads to the release and its manifest has the right hash.
  - What the host itself sees proves nothing about a container that was started before the share was mounted; what the
    container sees does.
  - Containers that come or go meanwhile are followed. A host without such containers passes with an empty list, so
    the caller has to judge the total of all hosts.
  - A share whose server is away is told when the time is up, although reads of a hard mount would wait for ever.
author:
  - flowstead.airflow contributors (@flowstead)
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.swarm
attributes:
  check_mode:
    support: full
    details: ["In check mode it looks once and does not fail, because nothing was activated."]
  diff_mode:
    support: N/A
    details: [Changes nothing.]
  idempotent:
    support: full
options:
  stack:
    description: Name of the stack that runs Airflow.
    type: str
    required: true
  bundle:
    description: Name of the bundle.
    type: str
    required: true
  release:
    description: The release that has to be seen.
    type: str
    required: true
  hash:
    description: Hash of the release's content, whole or its first 12 or more hex digits.
    type: str
    required: true
  content:
    description: Also read every file of the release through each mount and compare it with the manifest.
    type: bool
    default: false
  timeout:
    description: Seconds until every container has to see it.
    type: int
    default: 90
  docker_socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
notes:
  - Run it on every node of the swarm, as root.
"""

EXAMPLES = r"""
- name: Prove that all containers see the release
  flowstead.airflow.dag_proof:
    stack: airflow
    bundle: dags
    release: 20261126T142301Z-1a2b3c4d5e6f
    hash: 1a2b3c4d5e6f
"""

RETURN = r"""
containers:
  description: What each container of this host sees.
  returned: when the engine answered
  type: list
  elements: dict
  contains:
    id:
      description: The container's ID.
      type: str
      sample: 3f2a9c1b7d10
    name:
      description: The container's name.
      type: str
      sample: airflow_worker-default.1.x3k
    service:
      description: The service of the swarm that it belongs to.
      type: str
      sample: airflow_worker-default
    release:
      description: Where C(current) leads. Empty when it leads nowhere.
      type: str
      sample: 20261126T142301Z-1a2b3c4d5e6f
    hash:
      description: Hash in the manifest of that release.
      type: str
    problem:
      description: What is wrong. Empty when a whole release is seen, also when it is another one.
      type: str
    seconds:
      description: Seconds until it saw the release. None when it did not.
      type: float
seconds:
  description: Seconds until all containers saw the release.
  returned: when the engine answered
  type: float
"""

import platform
import re
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.release_check import BUNDLE, BUNDLES, RELEASE
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.proof import (
    NoAnswer,
    Prover,
    Wanted,
    explain,
    late,
)

_HASH = re.compile(r"[0-9a-f]{12,64}")
ARGUMENT_SPEC: dict[str, t.Any] = {
    "stack": {"type": "str", "required": True},
    "bundle": {"type": "str", "required": True},
    "release": {"type": "str", "required": True},
    "hash": {"type": "str", "required": True},
    "content": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 90},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def problems_of(params: t.Mapping[str, t.Any]) -> list[str]:
    """Everything that is wrong with the parameters."""
    return [
        f"{key} is {params[key]!r}: give {wanted}"
        for key, pattern, wanted in (
            ("bundle", BUNDLE, "a name such as dags"),
            ("release", RELEASE, "a name such as 20261126T142301Z-1a2b3c4d5e6f"),
            ("hash", _HASH, "12 to 64 hex digits"),
        )
        if not pattern.fullmatch(params[key])
    ]


def main() -> None:
    """Entry point."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    wrong = problems_of(params)
    if wrong:
        module.fail_json(msg="Nothing was looked at. " + "; ".join(wrong))
    wanted = Wanted(f"{BUNDLES}/{params['bundle']}", params["release"], params["hash"])
    engine = Engine(params["docker_socket"])
    timeout = 0 if module.check_mode else params["timeout"]
    prover = Prover(engine, params["stack"], wanted, content=params["content"], timeout=timeout)
    host = platform.node()
    began = time.monotonic()
    proved, failure = False, ""
    try:
        proved = prover.run()
    except PermissionError as error:
        failure = f"{error.filename} may not be read: looking into containers needs root, so set become: true"
    except (EngineError, EngineUnreachable, NoAnswer) as error:
        failure = str(error)
    finally:
        engine.close()
    result = {
        "containers": [witness.result() for witness in prover.witnesses.values()],
        "seconds": round(time.monotonic() - began, 3),
    }
    if failure:
        failure = f"Release {wanted.release} is not proved on {host}. {failure}"
    elif not proved:
        failure = explain(prover.witnesses.values(), wanted, host)
    for line in late(prover.witnesses.values(), wanted, host):
        module.warn(line)
    if failure and not module.check_mode:
        module.fail_json(msg=failure, **result)
    if failure:
        result["msg"] = failure
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
