#!/usr/bin/python
# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one command with the surroundings of a stack's service."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_run
short_description: Run one command with the surroundings of a stack's service
version_added: "0.1.0"
author: flowstead.airflow contributors (@flowstead)
description:
  - Runs a command as a one-off job of the swarm, and returns what it printed and its exit code. The job has the
    image, environment, secrets, configs, mounts, networks, user and placement of a service that is deployed, so that
    migrations, user management and questions to the application need no container that somebody keeps for them, and
    no secret in anybody's shell.
  - The job is no part of the stack, publishes no port, answers to no name of the stack, and is removed in any case,
    also when this module is ended by a signal. One that a killed run left behind is removed by the next run for the
    same stack, once its time is up.
  - A command that cannot start is explained, with the node, the cause, the last log lines and what to do.
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.swarm
attributes:
  check_mode:
    support: full
    details:
      - Nothing is run. What would run, and where, is returned; an unknown stack, service or node, and constraints
        that no node meets, are errors as in a real run.
  diff_mode:
    support: N/A
    details: [Nobody knows what a command changes.]
  idempotent:
    support: none
    details:
      - The command runs each time. Whether it has anything to do is for the command, or for a C(when) of the task.
options:
  stack:
    description: Name of the stack.
    type: str
    required: true
  service:
    description: The service of the stack whose surroundings the command gets, without the name of the stack.
    type: str
    required: true
  command:
    description:
      - Program and arguments, as a list; or a text, which is cut into words as a shell would do it. They take the
        place of the service's command, and its entrypoint stays.
      - No shell runs. For a pipe or a variable give one, as in C(['sh', '-c', 'first | second']).
      - It has no terminal and nobody to ask. A command that wants a confirmation needs its option for that.
      - Whoever may ask the swarm, and whoever sees processes of the node, can read it while it runs. Let the command
        read a secret from the service's files in C(/run/secrets).
    type: raw
    required: true
  entrypoint:
    description: In the place of the service's entrypoint. An empty list runs the command without any.
    type: list
    elements: str
  environment:
    description:
      - Variables beside those of the service, or in their place.
      - Values are not shown in output of Ansible, but C(docker service inspect) shows them while the command runs.
        Secrets belong to the service.
    type: dict
    default: {}
  image:
    description: In the place of the service's image, for example the one that is to be deployed next.
    type: str
    default: ""
  user:
    description: In the place of the service's user, as C(user), C(uid) or C(uid:gid).
    type: str
    default: ""
  workdir:
    description: Directory in the container in which it runs, in the place of the service's.
    type: str
    default: ""
  node:
    description:
      - The node on which it runs, by its host name, or by its ID where more than one node has that name. It has to
        meet the constraints, too.
    type: str
    default: ""
  constraints:
    description:
      - Placement constraints, in the place of the service's. An empty list lets every node run it, also those on
        which the service's mounts may be missing.
    type: list
    elements: str
  memory_mb:
    description:
      - Limit of memory, in MiB, in the place of the service's.
      - The job reserves what the service reserves, but not more than this.
    type: int
  timeout:
    description:
      - Seconds for everything, from the search for a node and the pull of the image to the end of the command.
      - A command that is still running then is ended, and the task fails.
    type: int
    default: 600
  stop_timeout:
    description: Seconds that a command whose time is up has between SIGTERM and SIGKILL.
    type: int
    default: 10
  pending_timeout:
    description: Seconds in which Swarm has to find a node.
    type: int
    default: 60
  accepted_rc:
    description: Exit codes that are no failure.
    type: list
    elements: int
    default: [0]
  read_only:
    description:
      - Whether the command only looks, so that the task reports no change. Otherwise it reports one each time; where
        the output says whether there was one, use C(changed_when).
    type: bool
    default: false
  mask:
    description:
      - Whether passwords in URLs, and values of the service's environment that its names call secret, are stars in
        RV(stdout) and RV(stderr). In messages they are in any case.
      - With V(false) a document comes as it is. Then set C(no_log) for the task.
      - What the files in C(/run/secrets) hold is not known to this module. Give it in O(hide), or set C(no_log), when
        the command may print it.
    type: bool
    default: true
  hide:
    description:
      - What must not show in output and messages, each value in every spelling (quoted in a URL, the password of a
        URL, line by line).
    type: list
    elements: str
    default: []
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
  - Run it on one manager of the swarm (C(run_once)).
  - Of output longer than 20 MiB the end is returned.
  - For commands that take long, use C(async) with more seconds than O(timeout), so that no connection has to last as
    long.
"""

EXAMPLES = r"""
- name: Ask whether the database can be reached
  flowstead.airflow.swarm_run:
    stack: airflow-prod
    service: scheduler
    command: airflow db check
    read_only: true
  run_once: true

- name: Make a user, once
  flowstead.airflow.swarm_run:
    stack: airflow-prod
    service: api-server
    command: [airflow, users, create, --username, ada, --firstname, Ada, --lastname, Lovelace,
              --email, ada@example.com, --role, Viewer, --use-random-password]
  register: made
  changed_when: "'already exist' not in made.stdout"
  run_once: true

- name: Migrate the shop's database with the image that is to be deployed next
  flowstead.airflow.swarm_run:
    stack: shop
    service: web
    image: registry.example.com/shop:1.5.0
    command: ["sh", "-c", "DATABASE_URL=$(cat /run/secrets/database_url) exec ./manage migrate"]
    timeout: 3600
  async: 3700
  poll: 10
  run_once: true

- name: Look at a node's share as a worker sees it
  flowstead.airflow.swarm_run:
    stack: airflow-prod
    service: worker-default
    command: [ls, -l, /opt/airflow/bundles]
    entrypoint: []
    node: swarm2
    read_only: true
  run_once: true
"""

RETURN = r"""
cmd:
  description: The command's words.
  returned: when the parameters are right
  type: list
  elements: str
  sample: [airflow, db, check]
rc:
  description: Its exit code.
  returned: when it ended by itself
  type: int
  sample: 0
stdout:
  description: What it wrote to standard output.
  returned: when it ran
  type: str
  sample: Connection successful.
stderr:
  description: What it wrote to standard error.
  returned: when it ran
  type: str
  sample: ""
masked:
  description: Whether something in RV(stdout) or RV(stderr) was made stars by O(mask) or O(hide).
  returned: when it ran
  type: bool
  sample: false
node:
  description: Host name of the node on which it ran.
  returned: when it ran
  type: str
  sample: swarm2
seconds:
  description: Seconds from the creation of the job to its end.
  returned: when it ran
  type: float
  sample: 6.5
image:
  description: The image.
  returned: when the service is there
  type: str
  sample: registry.example.com/airflow:2026.11.1@sha256:9f1b2c
nodes:
  description: Host names of the nodes that may run it.
  returned: when the service is there
  type: list
  elements: str
  sample: [swarm1, swarm2]
swept:
  description: Names of jobs that earlier runs had left behind, and that this one removed.
  returned: when it ran
  type: list
  elements: str
  sample: []
failure:
  description:
    - Why it failed, with C(cause), C(node), C(exit_code), C(message), C(log) and C(advice).
      RV(flowstead.airflow.swarm_stack#module:failures) describes them. C(cause) may also be V(node_down).
  returned: when it could not start, ended with an exit code, or took too long
  type: dict
"""

import secrets
import shlex
import time
import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._docker import job, job_spec, run_spec
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.diagnose import Mask, describe
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.live import NotASwarmManager, check_manager
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.module import StackModule
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.streams import Printed
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.drain import find_node
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.node import SwarmProblem

KIND = "swarm_run"
ARGUMENT_SPEC: dict[str, t.Any] = {
    "stack": {"type": "str", "required": True},
    "service": {"type": "str", "required": True},
    "command": {"type": "raw", "required": True},
    "entrypoint": {"type": "list", "elements": "str"},
    # Its values are hidden by StackModule; no_log would also make stars of every 1 and true in the output.
    "environment": {"type": "dict", "default": {}, "no_log": False},
    "image": {"type": "str", "default": ""},
    "user": {"type": "str", "default": ""},
    "workdir": {"type": "str", "default": ""},
    "node": {"type": "str", "default": ""},
    "constraints": {"type": "list", "elements": "str"},
    "memory_mb": {"type": "int"},
    "timeout": {"type": "int", "default": 600},
    "stop_timeout": {"type": "int", "default": 10},
    "pending_timeout": {"type": "int", "default": 60},
    "accepted_rc": {"type": "list", "elements": "int", "default": [0]},
    "read_only": {"type": "bool", "default": False},
    "mask": {"type": "bool", "default": True},
    "hide": {"type": "list", "elements": "str", "default": [], "no_log": True},
    # The passwords are masked by StackModule; no_log would mask user names, and words that contain one.
    "registry_auth": {"type": "dict", "default": {}, "no_log": False},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}
Item = dict[str, t.Any]
Words = t.Callable[[str], str]


class Plan(t.NamedTuple):
    """What would run: the job, what to tell of it, and what hides secrets in texts."""

    spec: Item
    told: Item
    hide: Words
    mask: Words


def wishes_of(params: t.Mapping[str, t.Any]) -> run_spec.Wishes:
    """The parameters, checked; the node is not known yet.

    Raises:
        run_spec.BadWish: with everything that is wrong with them.
    """
    problems = run_spec.constraint_problems(params["constraints"] or [])
    words, environment = [], {}
    try:
        words = run_spec.words_of(params["command"])
    except run_spec.BadWish as error:
        problems.append(str(error))
    try:
        environment = run_spec.environment_of(params["environment"])
    except run_spec.BadWish as error:
        problems.append(str(error))
    for key in ("timeout", "stop_timeout", "pending_timeout", "memory_mb"):
        if params[key] is not None and params[key] <= 0:
            problems.append(f"{key} is {params[key]}: give more than 0")
    problems += [f"{key} is empty: give a name" for key in ("stack", "service") if not params[key]]
    problems += [
        f"registry_auth.{registry} is not complete: give username and password"
        for registry, login in params["registry_auth"].items()
        if not isinstance(login, dict) or not {"username", "password"} <= login.keys()
    ]
    if problems:
        raise run_spec.BadWish("; ".join(problems))
    same = {key: params[key] for key in ("entrypoint", "image", "user", "workdir", "constraints", "memory_mb")}
    return run_spec.Wishes(words, environment=environment, stop_seconds=params["stop_timeout"], **same)


def plan(engine: Engine, params: t.Mapping[str, t.Any], wishes: run_spec.Wishes) -> Plan:
    """What would run.

    Raises:
        run_spec.BadWish: no node may run it.
        job.NoSuchService, SwarmProblem, NotASwarmManager: what it needs is not there.
    """
    check_manager(engine.get("/info"))
    stack = params["stack"]
    service = job.find(engine, stack, params["service"])
    nodes = engine.get("/nodes") or []
    wanted = find_node(nodes, params["node"]) if params["node"] else None
    cloned = job_spec.clone(
        service,
        job_spec.job_name(stack, f"run-{params['service']}", secrets.token_hex(4)),
        wishes.command,
        kind=KIND,
        stack=stack,
        until=time.time() + params["timeout"],
    )
    spec = run_spec.adapt(cloned, wishes._replace(node=wanted["ID"] if wanted else ""))
    fitting, reason = run_spec.candidates(spec, nodes, wanted)
    if reason:
        raise run_spec.BadWish(f"{reason[0].upper()}{reason[1:]}. Change node or constraints, or the node")
    told = {"cmd": wishes.command, "image": spec["TaskTemplate"]["ContainerSpec"]["Image"], "nodes": fitting}
    hidden, of_service = Mask(params["hide"]), job_spec.mask_of({"Spec": spec})
    return Plan(spec, told, hidden, lambda text: of_service(hidden(text)))


def run(engine: Engine, params: t.Mapping[str, t.Any], planned: Plan, module: StackModule) -> dict[str, t.Any]:
    """Run it; returns the result, with ``failure`` for a command that did not end well."""
    swept = job.sweep(engine, KIND, params["stack"], time.time())
    one = job.Job(
        engine,
        planned.spec,
        params["timeout"],
        pending_timeout=params["pending_timeout"],
        auth=params["registry_auth"],
        mask=planned.mask,
    )
    result: dict[str, t.Any] = {**planned.told, "swept": swept}
    try:
        outcome = one.run()
        printed = outcome.printed
        result.update(rc=0, node=outcome.node, seconds=outcome.seconds)
    except job.JobFailed as error:
        printed = error.printed
        result.update(failure=error.failure, node=error.failure["node"], seconds=error.seconds)
        if error.failure["exit_code"]:
            result["rc"] = error.failure["exit_code"]
    finally:
        if one.left_behind:
            module.warn(f"The job {planned.spec['Name']} was not removed: {one.left_behind}")
    if printed.lost:
        module.warn(f"What the command printed could not be read, or only in part: {planned.mask(printed.lost)}")
    return {**result, **_shown(printed, planned.mask if params["mask"] else planned.hide)}


def _shown(printed: Printed, mask: Words) -> Item:
    raw = {"stdout": "\n".join(printed.stdout), "stderr": "\n".join(printed.stderr)}
    shown = {"stdout": "\n".join(map(mask, printed.stdout)), "stderr": "\n".join(map(mask, printed.stderr))}
    return {**shown, "masked": shown != raw}


def message(params: t.Mapping[str, t.Any], result: t.Mapping[str, t.Any]) -> str:
    """Why the task fails, in a few lines."""
    words = shlex.join(result["cmd"])
    failure = result.get("failure")
    if failure is None:
        return f"{words} ended with exit code 0, which is not among accepted_rc ({params['accepted_rc']})."
    if failure["cause"] == "crash_loop" and failure["exit_code"]:
        head = f"{words} ended with exit code {failure['exit_code']} on {failure['node']}."
        return "\n".join([head, *(f"  | {line}" for line in failure["log"])])
    return describe({**failure, "service": words})


def advice(failure: t.Mapping[str, t.Any], params: t.Mapping[str, t.Any]) -> str:
    """What to do, in words of a command."""
    if failure["cause"] == "timeout":
        return (
            f"It was ended (SIGTERM, and SIGKILL {params['stop_timeout']} s later). What it had done by then stays. "
            "If it only needs longer, raise timeout."
        )
    return {
        "crash_loop": "The command says itself what is wrong. Exit codes that are none go into accepted_rc.",
        "oom": "It needs more memory than it may use: raise memory_mb.",
        "bad_command": "The program is not in the image, or may not be executed. Check command, entrypoint and user.",
        "missing_mount": "A directory that the service mounts is not on that node: give node, or constraints that the "
        "service has, or make the directory there.",
        "registry_auth": "The node does not have the image and may not pull it: give registry_auth.",
    }.get(failure["cause"], str(failure["advice"]))


def main() -> None:
    """Entry point."""
    module = StackModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params: dict[str, t.Any] = module.params
    changed = not params["read_only"]
    engine = Engine(params["docker_socket"])
    try:
        planned = plan(engine, params, wishes_of(params))
    except run_spec.BadWish as error:
        module.fail_json(msg=f"Nothing was run. {error}.")
    except (EngineError, EngineUnreachable, NotASwarmManager, SwarmProblem, job.NoSuchService) as error:
        module.fail_json(msg=f"Nothing was run. {error}")
    words = shlex.join(planned.told["cmd"])
    if module.check_mode:
        where = ", ".join(planned.told["nodes"])
        text = f"Would run {words} with {planned.told['image']} on one of: {where}"
        module.exit_json(changed=changed, msg=text, **planned.told)
    try:
        result = run(engine, params, planned, module)
    except (EngineError, EngineUnreachable) as error:
        refused = isinstance(error, EngineError) and error.status < 500 and error.request == "POST /services/create"
        text = f"{words} was not run." if refused else f"What became of {words} is not known."
        module.fail_json(msg=f"{text} {error}", **planned.told)
    finally:
        engine.close()
    failure = result.get("failure")
    if result.get("rc") in params["accepted_rc"]:
        result.pop("failure", None)
        module.exit_json(changed=changed, **result)
    if failure:
        failure["advice"] = advice(failure, params)
    module.fail_json(msg=message(params, result), changed=changed, **result)


if __name__ == "__main__":
    main()
