#!/usr/bin/python
# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove, through Airflow's API, that every queue has a worker that runs tasks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_canary
short_description: Prove that every queue has a worker that runs tasks
version_added: 0.1.0
description:
  - Triggers a canary DAG for each queue through Airflow's REST API, all at the same time, and waits for them.
  - A canary passes when its task succeeded on the wanted queue, on a worker that serves that queue, and when its log
    can be read back through the API.
  - Waits for Airflow to answer and for the DAGs to be known, so it can run right after a deploy.
  - Keeps the newest five canary runs of each DAG and deletes older ones. Canary runs that still hang from an earlier
    deploy are ended.
author:
  - flowstead.airflow contributors (@flowstead)
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.action
attributes:
  action:
    support: partial
    details: [The module runs on the target in slices, the progress is printed on the controller.]
  check_mode:
    support: full
    details: [In check mode nothing is triggered, because nothing was deployed.]
  diff_mode:
    support: none
    details: [It changes nothing that is configured.]
  idempotent:
    support: full
    details: [It never reports a change.]
options:
  url:
    description: Base URL of Airflow as the target reaches it. May carry a path.
    type: str
    required: true
  username:
    description: A user of the FAB auth manager with the role Admin or Op.
    type: str
    required: true
  password:
    description: The user's password.
    type: str
    required: true
  canaries:
    description: What to prove.
    type: list
    elements: dict
    required: true
    suboptions:
      queue:
        description: The queue.
        type: str
        required: true
      dag_id:
        description: The canary DAG of the queue.
        type: str
        required: true
      workers:
        description: Groups of workers of which one has to run it. Empty means any.
        type: list
        elements: str
        default: []
  timeout:
    description: Seconds for everything, from the first try to reach Airflow.
    type: int
    default: 300
  ca_path:
    description:
      - PEM file, on the target, of the authority that signed Airflow's certificate.
      - Without it, the authorities that the host trusts.
    type: path
  validate_certs:
    description: Whether Airflow's certificate has to be trusted.
    type: bool
    default: true
  _slice:
    description: Internal, set by the action plugin. Seconds after which the module reports how far it has come.
    type: float
  _resume:
    description: Internal, set by the action plugin. Where an earlier slice stopped.
    type: str
"""

EXAMPLES = r"""
- name: Prove that the queues work
  flowstead.airflow.airflow_canary:
    url: http://127.0.0.1:8080
    username: admin
    password: "{{ airflow_admin.password }}"
    canaries:
      - queue: default
        dag_id: flowstead_canary__default
        workers: [default]
"""

RETURN = r"""
canaries:
  description: What came of each canary.
  returned: when Airflow answered
  type: list
  elements: dict
  contains:
    passed:
      description: Whether everything was as it should be.
      type: bool
    queue:
      description: The queue.
      type: str
      sample: default
    dag_id:
      description: The DAG.
      type: str
      sample: flowstead_canary__default
    run_id:
      description: The run. Empty when there was none.
      type: str
      sample: flowstead-canary__0123456789abcdef
    state:
      description: Airflow's last word on the task.
      type: str
      sample: success
    worker:
      description: The group of workers that ran it.
      type: str
      sample: default
    host:
      description: The host name that Airflow recorded for the task.
      type: str
    problem:
      description: What is wrong. Empty when it passed.
      type: str
    advice:
      description: What to look at. Empty when it passed.
      type: str
    log:
      description: The last lines of the task's log, when it did not pass.
      type: list
      elements: str
    seconds:
      description: From trigger to success.
      type: float
version:
  description: Airflow's version.
  returned: when Airflow answered
  type: str
  sample: 3.3.2
health:
  description: What each component says of itself.
  returned: when Airflow answered
  type: dict
  sample: {metadatabase: healthy, scheduler: healthy, triggerer: healthy, dag_processor: healthy}
import_errors:
  description: DAG files that Airflow cannot read, each with C(filename), C(bundle_name) and C(error).
  returned: when a canary did not pass
  type: list
  elements: dict
deleted_runs:
  description: How many old canary runs were deleted.
  returned: when every canary passed
  type: int
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.canary import Canary
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.client import (
    AirflowClient,
    AirflowError,
    AirflowMisconfigured,
    AirflowUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.flock import Flock
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.report import failure_message, short_error

ARGUMENT_SPEC: dict[str, t.Any] = {
    "url": {"type": "str", "required": True},
    "username": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "canaries": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "queue": {"type": "str", "required": True},
            "dag_id": {"type": "str", "required": True},
            "workers": {"type": "list", "elements": "str", "default": []},
        },
    },
    "timeout": {"type": "int", "default": 300},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    # The action plugin runs the module in slices.
    "_slice": {"type": "float"},
    "_resume": {"type": "str"},
}


def finish(module: AnsibleModule, flock: Flock) -> None:
    """Report on all canaries and exit."""
    client = flock.client
    result: dict[str, t.Any] = {
        "version": flock.version,
        "health": _optional(client.health, {}),
        "canaries": [canary.result() for canary in flock.canaries],
        "progress": flock.take_lines(),
    }
    if any(canary.problem for canary in flock.canaries):
        errors = _optional(client.import_errors, []) if flock.version else []
        result["import_errors"] = [short_error(error) for error in errors]
        message = failure_message(client.url, result["canaries"], result["health"], result["import_errors"])
        module.fail_json(msg=message, **result)
    try:
        flock.tidy()
    except (AirflowError, AirflowUnreachable) as error:
        module.warn(f"Old canary runs were not deleted: {error}")
    module.exit_json(changed=False, deleted_runs=flock.deleted_runs, **result)


def _optional(read: t.Callable[[], t.Any], otherwise: t.Any) -> t.Any:
    try:
        return read()
    except (AirflowError, AirflowUnreachable, AirflowMisconfigured):
        return otherwise


def main() -> None:
    """Run the canaries, or one slice of them."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    if not params["url"].startswith(("http://", "https://")):
        module.fail_json(msg=f"url is {params['url']}: it has to start with http:// or https://")
    if module.check_mode:
        module.exit_json(changed=False, skipped=True, msg="No canary in check mode: nothing was deployed.")
    flock = None
    try:
        client = AirflowClient(
            params["url"],
            params["username"],
            params["password"],
            ca_path=params["ca_path"] or "",
            validate_certs=params["validate_certs"],
        )
        if params["_resume"]:
            flock = Flock.unpack(client, params["_resume"])
        else:
            flock = Flock(client, [Canary(**wanted) for wanted in params["canaries"]], params["timeout"])
        if not flock.run(params["_slice"]):
            module.exit_json(changed=False, progress=flock.take_lines(), _resume=flock.pack())
        finish(module, flock)
    except AirflowMisconfigured as error:
        lines = flock.take_lines() if flock else []
        module.fail_json(msg=f"{error.problem}.\nFix: {error.fix}.", progress=lines)


if __name__ == "__main__":
    main()
