#!/usr/bin/python
# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check a DAG release in the production image, before anybody uses it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dag_check
short_description: Check a DAG release in the production image before it is activated
version_added: 0.1.0
description:
  - Imports every DAG file of a release as the DAG processor would, in a one-off job of the swarm. The job has the
    image, environment, secrets, configs, mounts, networks and user of the running DAG processor, so that an import
    error, a missing driver or a wrong setting shows before the release is used.
  - Finds import errors, DAG IDs that occur twice, also in other bundles, queues without workers, files that take too
    long, and cycles; and reports all of them at once, with file and line.
  - The job is no part of the stack, publishes no port, answers to no name of the stack, and is removed in any case.
    One that a killed run left behind is removed by the next.
  - A job that cannot run is explained, with the node, the cause, the last log lines and what to do.
author:
  - flowstead.airflow contributors (@flowstead)
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.swarm
attributes:
  check_mode:
    support: full
    details: ["In check mode nothing is checked, because nothing was staged."]
  diff_mode:
    support: N/A
    details: [Changes nothing that lasts.]
  idempotent:
    support: full
    details: [It never reports a change.]
options:
  stack:
    description: Name of the stack that runs Airflow.
    type: str
    required: true
  service:
    description: The service of the stack whose surroundings the check gets.
    type: str
    default: dag-processor
  bundle:
    description: Name of the bundle.
    type: str
    required: true
  release:
    description: The release, which has to be on the share. Nobody need use it yet.
    type: str
    required: true
  queues:
    description: Queues that have workers. Tasks on any other queue are a problem.
    type: list
    elements: str
    required: true
  known:
    description:
      - DAG ID to bundle, for DAGs that Airflow knows. A DAG of the release that is in another bundle is a problem.
      - RV(flowstead.airflow.airflow_bundle_info#module:known) has this form.
    type: dict
    default: {}
  parse_seconds:
    description: Seconds that importing one file may take.
    type: float
    default: 30
  memory_mb:
    description:
      - Least limit of memory for the check, in MiB. A higher limit of the service stays, and without a limit there is
        none.
    type: int
    default: 2048
  timeout:
    description: Seconds for everything.
    type: int
    default: 300
  pending_timeout:
    description: Seconds in which Swarm has to find a node for the check.
    type: int
    default: 60
  registry_auth:
    description:
      - Registry to C(username) and C(password), for a node that does not have the image yet.
      - Passwords are masked in all output.
    type: dict
    default: {}
  docker_socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
notes:
  - Run it on one manager of the swarm.
"""

EXAMPLES = r"""
- name: Check what was staged
  flowstead.airflow.dag_check:
    stack: airflow
    bundle: dags
    release: 20261126T142301Z-1a2b3c4d5e6f
    queues: [default, reports]
    known: "{{ airflow.known }}"
  register: checked
"""

RETURN = r"""
problems:
  description:
    - What is wrong. C(kind) is one of import_error, duplicate_dag_id, unknown_queue, slow_file, cycle, no_such_path.
      C(line) may be none.
  returned: when the check ran
  type: list
  elements: dict
  sample:
    - kind: import_error
      file: sales/daily.py
      line: 12
      message: "ModuleNotFoundError: No module named 'pandas'"
      fix: add it to the image
dags:
  description: DAG ID to C(file), C(queues) and C(tasks), the number of tasks.
  returned: when the check ran
  type: dict
  sample: {sales_daily: {file: sales/daily.py, queues: [default], tasks: 4}}
files:
  description: File to the seconds that it took.
  returned: when the check ran
  type: dict
  sample: {sales/daily.py: 0.41}
seconds:
  description: Seconds that importing all files took.
  returned: when the check ran
  type: float
node:
  description: Host name of the node on which the check ran.
  returned: when the check ran
  type: str
job_seconds:
  description: Seconds from the creation of the job to its end.
  returned: when the check ran
  type: float
failure:
  description:
    - Why the check could not run, with C(cause), C(node), C(exit_code), C(message), C(log) and C(advice).
      RV(flowstead.airflow.swarm_stack#module:failures) describes them.
  returned: when the job failed
  type: dict
"""

import secrets
import time
import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._airflow import release_check
from ansible_collections.flowstead.airflow.plugins.module_utils._docker import job, job_spec
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.diagnose import describe
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.live import NotASwarmManager, check_manager
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.module import StackModule

KIND = "dag_check"
#: The program's status when it could not check at all.
COULD_NOT_CHECK = 2
ARGUMENT_SPEC: dict[str, t.Any] = {
    "stack": {"type": "str", "required": True},
    "service": {"type": "str", "default": "dag-processor"},
    "bundle": {"type": "str", "required": True},
    "release": {"type": "str", "required": True},
    "queues": {"type": "list", "elements": "str", "required": True},
    "known": {"type": "dict", "default": {}},
    "parse_seconds": {"type": "float", "default": 30},
    "memory_mb": {"type": "int", "default": 2048},
    "timeout": {"type": "int", "default": 300},
    "pending_timeout": {"type": "int", "default": 60},
    # The passwords are masked by StackModule; no_log would mask user names, and words that contain one.
    "registry_auth": {"type": "dict", "default": {}, "no_log": False},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def problems_of(params: t.Mapping[str, t.Any]) -> list[str]:
    """Everything that is wrong with the parameters."""
    problems = []
    for key, pattern, example in (
        ("bundle", release_check.BUNDLE, "dags"),
        ("release", release_check.RELEASE, "20261126T142301Z-1a2b3c4d5e6f"),
    ):
        if not pattern.fullmatch(params[key]):
            problems.append(f"{key} is {params[key]!r}: give a name such as {example}")
    for key in ("timeout", "pending_timeout", "parse_seconds"):
        if params[key] <= 0:
            problems.append(f"{key} is {params[key]:g}: give more than 0")
    problems += [
        f"queues has {queue!r}: give names without a comma" for queue in params["queues"] if not queue or "," in queue
    ]
    for registry, login in params["registry_auth"].items():
        if not isinstance(login, dict) or not {"username", "password"} <= login.keys():
            problems.append(f"registry_auth.{registry} is not complete: give username and password")
    return problems


def advice(failure: t.Mapping[str, t.Any], params: t.Mapping[str, t.Any]) -> str:
    """What to do, in words of a check."""
    log = "\n".join(failure["log"])
    if "No module named flowstead_airflow" in log:
        return "The image has no runtime of this version of the collection: build and deploy the image again."
    if failure["exit_code"] == COULD_NOT_CHECK:
        return "The program says above why it could not check; the DAG files were not judged."
    if failure["cause"] == "oom":
        return "The files need more memory than the check may use: raise memory_mb."
    if failure["cause"] == "missing_mount":
        return (
            f"The directory of bundle {params['bundle']} is not on that node: mount the share there "
            "(role flowstead.airflow.dag_share), or make the directory with dag_release."
        )
    if failure["cause"] == "registry_auth":
        return "The node does not have the image and may not pull it: give registry_auth, or deploy the image there."
    return str(failure["advice"])


def run(engine: Engine, params: t.Mapping[str, t.Any], module: StackModule) -> dict[str, t.Any]:
    """The check; returns the result."""
    check_manager(engine.get("/info"))
    stack, bundle, release = params["stack"], params["bundle"], params["release"]
    service = job.find(engine, stack, params["service"])
    now = time.time()
    job.sweep(engine, KIND, stack, now)
    spec = job_spec.clone(
        service,
        job_spec.job_name(stack, f"check-{bundle}", secrets.token_hex(4)),
        release_check.command(bundle, release, params["queues"], params["parse_seconds"], params["known"]),
        kind=KIND,
        stack=stack,
        until=now + params["timeout"],
        memory_mb=params["memory_mb"],
    )
    mask = job_spec.mask_of(service)
    one = job.Job(
        engine,
        spec,
        params["timeout"],
        pending_timeout=params["pending_timeout"],
        auth=params["registry_auth"],
        mask=mask,
    )
    try:
        outcome = one.run(release_check.has_answer)
    finally:
        if one.left_behind:
            module.warn(f"The job {spec['Name']} was not removed: {one.left_behind}")
    try:
        answer = release_check.answer_of(outcome.stdout)
    except release_check.BadAnswer as error:
        raise release_check.BadAnswer(mask(str(error))) from None
    answer["problems"] += release_check.duplicates(answer["dags"], params["known"], bundle)
    for problem in answer["problems"]:
        problem.update(message=mask(str(problem["message"])), fix=mask(str(problem.get("fix") or "")))
    return {**answer, "node": outcome.node, "job_seconds": outcome.seconds}


def main() -> None:
    """Entry point."""
    module = StackModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params: dict[str, t.Any] = module.params
    wrong = problems_of(params)
    if wrong:
        module.fail_json(msg="Nothing was checked. " + "; ".join(wrong))
    if module.check_mode:
        module.exit_json(changed=False, skipped=True, msg="Nothing is checked in check mode: nothing was staged.")
    where = f"Release {params['release']} of bundle {params['bundle']} was not checked"
    engine = Engine(params["docker_socket"])
    try:
        result = run(engine, params, module)
    except job.JobFailed as error:
        failure = {**error.failure, "advice": advice(error.failure, params)}
        module.fail_json(msg=f"{where}. {describe(failure)}", failure=failure)
    except (EngineError, EngineUnreachable, NotASwarmManager, job.NoSuchService, release_check.BadAnswer) as error:
        module.fail_json(msg=f"{where}. {error}")
    finally:
        engine.close()
    if result["problems"]:
        text = release_check.report(params["bundle"], params["release"], result["problems"], result["node"])
        module.fail_json(msg=text, **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
