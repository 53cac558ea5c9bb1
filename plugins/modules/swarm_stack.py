# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deploy a stack to Docker Swarm with plan, order, wait, diagnosis and rollback."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_stack
short_description: Deploy a stack to Docker Swarm with plan, order, wait, diagnosis and rollback
version_added: 0.1.0
description:
  - Compares a Compose-style definition with the live swarm and writes only what differs.
    An unchanged stack is not written at all, so rollback points and jobs stay as they are.
  - Honours O(definition.services) C(depends_on) with its conditions, runs jobs only when their definition has changed,
    waits until every service runs, and says why when one does not.
  - When a service fails, the services that this run has changed go back to what they were, and the task fails.
  - Stores secrets and configs under names that follow their content, so that new content restarts exactly the services
    that use it, and collects what nobody uses any more.
  - Talks to the Docker Engine over its unix socket and needs nothing on the target but Python.
  - Stacks that C(docker stack deploy) made can be taken over; C(docker stack ls), C(ps) and C(rm) keep working.
options:
  name:
    description: Name of the stack.
    type: str
    required: true
  state:
    description:
      - With V(present), the stack is as O(definition) says.
      - With V(absent), its services, networks, secrets and configs are removed. Volumes are never removed.
    type: str
    choices: [present, absent]
    default: present
  definition:
    description:
      - The stack as a mapping in Compose style. This or O(compose_file) is required with O(state=present).
      - Unknown keys are refused, and every problem is reported at once.
      - The content of a secret stands under C(secrets.<name>.data). It is never shown.
      - Short forms of the Compose specification are understood, such as V(80:8080) for a port, V(data:/data) for a
        mount, a list of V(NAME=value) for the environment, and a command in one line. C(version) and C(x-) keys are
        ignored.
    type: dict
    suboptions:
      services:
        description: Name to service, with the keys of the Compose specification that Swarm can honour.
        type: dict
      networks:
        description: Name to network. Overlay is the default driver.
        type: dict
      secrets:
        description: Name to C(data), or to C(external) and C(name).
        type: dict
      configs:
        description: Name to C(data), or to C(external) and C(name).
        type: dict
      volumes:
        description: Name to volume.
        type: dict
  compose_file:
    description:
      - A Compose file on the controller in the place of O(definition). It is looked for like a file of
        M(ansible.builtin.copy), and files that it names (C(env_file), C(secrets.<name>.file)) beside it.
      - Secrets with C(file) or C(environment) are stored with their content, as O(definition) does with C(data).
    type: path
  compose_variables:
    description:
      - What C(${NAME}) in O(compose_file) stands for, with C(:-), C(-), C(:+), C(+), C(:?) and C(?) as in Compose.
      - The environment of the controller is not asked, so that a deployment does not depend on who started it.
    type: dict
    default: {}
  object_key:
    description:
      - Key of the hash in the names of secrets and configs. Required when one of them carries data.
      - Names of secrets can be read by everybody who may use the Docker API; with the key they tell nothing.
      - With another key, all secrets and configs get new names.
    type: str
  resolve_image:
    description:
      - When the tag of an image becomes a digest, so that all nodes run the same.
      - With V(changed), when the image of a service in O(definition) is another one than before.
      - With V(always), in every run, so that a tag that has moved is rolled out. With V(never), the tag is used.
      - An image that exists on the only node of a swarm and in no registry is used as it is.
    type: str
    choices: [never, changed, always]
    default: changed
  registry_auth:
    description: Registry to C(username) and C(password). Every node pulls with it.
    type: dict
    default: {}
  prune:
    description: Whether services and networks that O(definition) no longer has are removed, after all others run.
    type: bool
    default: true
  keep_objects:
    description: How many versions of each secret and config stay, the current one included.
    type: int
    default: 2
  wait:
    description:
      - Whether to wait until all services run.
      - Without it, the module still waits for what the conditions in C(depends_on) ask for.
    type: bool
    default: true
  timeout:
    description: Seconds after which the deployment has failed.
    type: int
    default: 900
  task_failures:
    description: How many tasks of a service may fail before the deployment has failed.
    type: int
    default: 3
  pending_timeout:
    description: Seconds for which no node may be found for a task.
    type: int
    default: 60
  rollback:
    description: Whether services that this run has changed go back to what they were when one fails. Jobs never do.
    type: bool
    default: true
  recreate:
    description:
      - Whether to take away and make anew what Swarm cannot change, which are the options of a network and the mode of
        a service. The services concerned, and all that use such a network, are down meanwhile.
      - Without it, such a difference is a problem that is named before anything is written.
    type: bool
    default: false
  docker_socket:
    description: Path of the Docker Engine's socket.
    type: path
    default: /var/run/docker.sock
  _slice:
    description: Internal, set by the action plugin. Seconds after which the module reports how far it has come.
    type: float
  _resume:
    description: Internal, set by the action plugin. Where an earlier slice stopped.
    type: str
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.swarm
  - flowstead.airflow.attributes.action
attributes:
  action:
    support: partial
    details:
      - The module runs on the target in slices, and a line is shown whenever something changes.
  check_mode:
    support: full
    details:
      - Without an engine or a swarm, everything is planned as new.
  diff_mode:
    support: full
  idempotent:
    support: full
notes:
  - Run it on one manager of the swarm.
  - The task needs no C(no_log); secrets are masked by the module, and with C(no_log) a failure could not be explained.
author:
  - flowstead.airflow contributors (@flowstead)
"""

EXAMPLES = r"""
- name: Deploy a web service behind its migration
  flowstead.airflow.swarm_stack:
    name: shop
    object_key: "{{ shop_object_key }}"
    definition:
      services:
        migrate:
          image: registry.example.com/shop:1.4.0
          command: [shop, migrate]
          secrets: [database_url]
          deploy:
            mode: replicated-job
        web:
          image: registry.example.com/shop:1.4.0
          command: [shop, serve]
          secrets: [database_url]
          depends_on:
            migrate:
              condition: service_completed_successfully
          healthcheck:
            test: [CMD, shop, healthy]
            interval: 10s
          deploy:
            replicas: 2
      secrets:
        database_url:
          data: "{{ shop_database_url }}"

- name: See what a deployment would change
  flowstead.airflow.swarm_stack:
    name: shop
    object_key: "{{ shop_object_key }}"
    definition: "{{ shop_definition }}"
  check_mode: true
  diff: true

- name: Deploy a Compose file as it is
  flowstead.airflow.swarm_stack:
    name: shop
    object_key: "{{ shop_object_key }}"
    compose_file: shop/compose.yml
    compose_variables:
      TAG: 1.4.0

- name: Remove the stack
  flowstead.airflow.swarm_stack:
    name: shop
    state: absent
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in order.
  type: list
  elements: dict
  returned: always
  contains:
    kind:
      description: One of service, job, network, secret, config.
      type: str
    name:
      description: Name of the service in the definition, or name of the object in the swarm.
      type: str
    action:
      description: One of create, update, run again, recreate, remove.
      type: str
    reason:
      description: Why.
      type: str
  sample: [{kind: service, name: web, action: update, reason: "changed: image"}]
services:
  description: Service name to its id, image, action, whether it is a job, and its running and desired tasks.
  type: dict
  returned: always
  sample: {web: {id: 3jzr, image: "shop:1.4.0", action: none, job: false, running: 2, desired: 2}}
finishing:
  description:
    - Old tasks of changed services that still finish their work, each for its grace period at most. A rollout with
      C(start-first) does not wait for them.
  type: list
  elements: dict
  returned: success
  sample: [{service: worker, task: 0zkm2hbcs5ox, node: worker-1, state: running, grace_seconds: 21600.0}]
failures:
  description: What failed, why, and what to do.
  type: list
  elements: dict
  returned: always
  contains:
    service:
      description: Name of the service.
      type: str
    cause:
      description:
        - One of image_pull, registry_auth, unschedulable, port_conflict, unhealthy, oom, crash_loop, missing_secret,
          missing_mount, bad_command, address_exhaustion, rolled_back, moved, refused, timeout.
      type: str
    node:
      description: Host name of the node.
      type: str
    exit_code:
      description: Exit code of the container.
      type: int
    message:
      description: What Swarm says.
      type: str
    log:
      description: The last log lines.
      type: list
      elements: str
    sums:
      description: What it asks for and what each node or network has left, when that is why it does not run.
      type: list
      elements: str
    advice:
      description: What to do.
      type: str
rolled_back:
  description: Whether everything that this run had changed was restored.
  type: bool
  returned: always
api_calls:
  description: Requests sent to the Docker Engine.
  type: int
  returned: always
api_seconds:
  description: Seconds spent waiting for its answers.
  type: float
  returned: always
"""

import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.absent import Remover
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.compose import long_form
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.definition import check_shape, sound_part
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.diagnose import describe
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.live import NotASwarmManager
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.module import StackModule
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.preparing import Impossible, problems_beside
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.relations import check_relations
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.runner import Runner
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.schema import Problem
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.state import Options, State
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.waiting import Limits

ARGUMENT_SPEC: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "definition": {"type": "dict"},
    # The action plugin reads the file and hands it over as a definition.
    "compose_file": {"type": "path"},
    "compose_variables": {"type": "dict", "default": {}, "no_log": False},
    "object_key": {"type": "str", "no_log": True},
    "resolve_image": {"type": "str", "choices": ["never", "changed", "always"], "default": "changed"},
    # Declaring this no_log would mask user names, and with them every word that contains one; the passwords are
    # masked by StackModule.
    "registry_auth": {"type": "dict", "default": {}, "no_log": False},
    "prune": {"type": "bool", "default": True},
    "keep_objects": {"type": "int", "default": 2, "no_log": False},
    "wait": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 900},
    "task_failures": {"type": "int", "default": 3},
    "pending_timeout": {"type": "int", "default": 60},
    "rollback": {"type": "bool", "default": True},
    "recreate": {"type": "bool", "default": False},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
    "_slice": {"type": "float"},
    "_resume": {"type": "str", "no_log": False},
}


def problems_of(params: t.Mapping[str, t.Any]) -> list[Problem]:
    """Everything that is wrong with the parameters."""
    problems = [
        Problem(key, f"{params[key]} is not allowed", f"give {least} or more")
        for key, least in (("keep_objects", 1), ("timeout", 1), ("task_failures", 1), ("pending_timeout", 1))
        if params[key] < least
    ]
    if params["state"] == "absent":
        return problems
    if params["definition"] is None:
        return [*problems, Problem("definition", "is missing", "give it, or compose_file, or state: absent")]
    shape = check_shape(params["definition"])
    for registry, login in params["registry_auth"].items():
        if not isinstance(login, dict) or not {"username", "password"} <= login.keys():
            shape.append(Problem(f"registry_auth.{registry}", "is not complete", "give username and password"))
    # Relations make sense only between parts that have their right shape.
    sound = sound_part(params["definition"], shape) if shape else params["definition"]
    return problems + shape + check_relations(params["name"], sound, bool(params["object_key"]))


def explain(name: str, problems: t.Sequence[Problem]) -> str:
    """All problems in one message."""
    head = f"Stack {name} cannot be deployed, and nothing has been changed. "
    count = "There is 1 problem" if len(problems) == 1 else f"There are {len(problems)} problems"
    return head + count + ":\n" + "\n".join(f"  - {problem}" for problem in problems)


def main() -> None:
    """Entry point."""
    module = StackModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params: dict[str, t.Any] = module.params
    params["definition"] = long_form(params["definition"])
    state = State.unpack(params["_resume"]) if params["_resume"] else None
    options = Options(
        name=params["name"],
        definition=params["definition"] or {},
        object_key=params["object_key"] or "",
        resolve_image=params["resolve_image"],
        registry_auth=params["registry_auth"],
        prune=params["prune"],
        keep_objects=params["keep_objects"],
        wait=params["wait"],
        timeout=params["timeout"],
        limits=Limits(params["task_failures"], params["pending_timeout"]),
        rollback=params["rollback"],
        recreate=params["recreate"],
        check=module.check_mode,
    )
    engine = Engine(params["docker_socket"])
    problems = [] if state else problems_of(params)
    if problems:
        sound = options._replace(definition=sound_part(options.definition, problems), check=False)
        problems += problems_beside(Runner(engine, sound), problems)
        module.fail_json(msg=explain(params["name"], problems), problems=[str(item) for item in problems])
    runner = (Remover if params["state"] == "absent" else Runner)(engine, options, state)
    try:
        step = runner.run(None if module.check_mode else params["_slice"])
    except Impossible as error:
        module.fail_json(msg=explain(params["name"], error.problems), problems=[str(item) for item in error.problems])
    except (EngineError, EngineUnreachable, NotASwarmManager) as error:
        known = [describe(failure) for failure in runner.state.failures]
        module.fail_json(
            msg="\n".join([f"Stack {params['name']}: {error}", *known]),
            changed=bool(runner.state.actions),
            actions=runner.state.actions,
            failures=runner.state.failures,
        )
    finally:
        engine.close()
    state = runner.state
    state.calls += len(engine.calls)
    state.seconds += engine.seconds
    if step.result is None:
        state.slices += 1
        module.exit_json(changed=bool(state.actions), _progress=step.lines, _resume=state.pack())
        return
    for note in dict.fromkeys(state.notes):
        module.warn(note)
    result = {**step.result, "api_calls": state.calls, "api_seconds": round(state.seconds, 3)}
    if not module._diff:
        del result["diff"]
    if params["_slice"]:
        result["_progress"] = step.lines
    if step.failed:
        module.fail_json(msg=step.failed, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
