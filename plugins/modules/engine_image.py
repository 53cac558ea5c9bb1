#!/usr/bin/python
# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: engine_image
short_description: Make, check, pull, push or remove one image of a Docker Engine
version_added: 0.1.0
description:
  - Imports a root file system or takes an image that was built under another name, tries commands in it,
    and only then gives it its name. A name that exists is left as it is, so a name should tell the content.
  - Talks to the engine's socket with the Python standard library; nothing else is needed on the target.
author:
  - flowstead.airflow contributors (@flowstead)
options:
  name:
    description:
      - Repository and tag, for example V(flowstead/airflow:3.3.2-0123456789ab).
      - With O(state=inspected), O(state=pulled) and O(state=tried), a digest can stand in place of the tag or behind
        it.
    type: str
    required: true
  state:
    description:
      - V(inspected) reads and never changes anything.
      - V(present) makes the image from O(directory) or O(source) when the engine has none of this name.
      - V(pulled) takes it from the registry in its name, where that has it; a registry that does not is no error.
      - V(pushed) pushes it to the registry in its name, unless it was pushed from this engine before.
      - V(tried) runs O(checks) in an image that is there, all of them, and returns what they said. A check that fails
        does not fail the module. Nothing changes.
      - V(absent) removes the name.
    type: str
    choices: [inspected, present, pulled, pushed, tried, absent]
    default: present
  directory:
    description: With O(state=present), a root file system to import.
    type: path
  source:
    description: With O(state=present), a local image that gets the name; its old name is removed.
    type: str
  changes:
    description: Dockerfile instructions for an imported image, such as V(ENV A=b).
    type: list
    elements: str
    default: []
  checks:
    description:
      - Commands that have to end with 0 in a throwaway container without network before the image gets its name.
      - When one fails, the image is removed and the module fails with the command's output.
    type: list
    elements: list
    default: []
  check_environment:
    description: Environment variables for O(checks).
    type: dict
    default: {}
  timeout:
    description: Seconds that the engine may take for one answer, and so the longest time for one of O(checks).
    type: int
    default: 60
  username:
    description: With O(state=pulled) and O(state=pushed), the registry's user.
    type: str
  password:
    description: With O(state=pulled) and O(state=pushed), the registry's password; it goes to the engine in a header.
    type: str
  docker_socket:
    description: The engine's unix socket.
    type: path
    default: /var/run/docker.sock
extends_documentation_fragment:
  - flowstead.airflow.attributes
attributes:
  check_mode:
    support: full
    details:
      - Where no engine answers yet, check mode takes it that the image is missing.
  diff_mode:
    support: full
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Import a root file system once its Airflow answers
  flowstead.airflow.engine_image:
    name: flowstead/airflow:3.3.2-0123456789ab
    directory: /var/tmp/build/rootfs
    changes:
      - ENV PATH=/opt/airflow-venv/bin:/usr/bin:/bin
      - ENTRYPOINT ["/usr/bin/tini", "--"]
    checks:
      - [airflow, version]

- name: Push an image
  flowstead.airflow.engine_image:
    name: registry.example.com/flowstead/airflow:3.3.2-0123456789ab
    state: pushed
    username: builder
    password: "{{ vault_registry_password }}"
"""

RETURN = r"""
exists:
  description: Whether the engine has the image after this run; in check mode, whether it has it now.
  returned: always
  type: bool
image:
  description: The image, when there is one.
  returned: when it exists
  type: dict
  contains:
    id:
      description: Its ID.
      type: str
    created:
      description: When it was made.
      type: str
    size_mb:
      description: Its size in MB of 1024 x 1024 bytes.
      type: int
    digests:
      description: The names with digest under which registries know it.
      type: list
      elements: str
data_root:
  description: The directory in which the engine keeps images.
  returned: O(state=inspected), when the engine answers
  type: str
data_root_free_mb:
  description: What is free there, in MB.
  returned: O(state=inspected), when the engine answers
  type: int
checks:
  description: What each command of O(checks) said.
  returned: O(state=tried), when the image exists
  type: list
  elements: dict
  contains:
    command:
      description: The command.
      type: list
      elements: str
    code:
      description: Its exit code.
      type: int
    output:
      description: What it wrote.
      type: str
layers:
  description: The layers of the image that hold something, the lowest first.
  returned: O(state=tried), when the image exists
  type: list
  elements: dict
  contains:
    bytes:
      description: Its size.
      type: int
    created_by:
      description: The instruction that made it.
      type: str
in_registry:
  description: Whether the registry has the image.
  returned: O(state=pulled), when the engine does not have it
  type: bool
digest:
  description: The digest that the registry answered.
  returned: when pushed
  type: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.image_store import (
    ImageFailed,
    ImageStore,
    free_bytes,
)

#: States that need no tag, which a digest does not have.
STATES_OF_DIGESTS = ("inspected", "pulled", "tried")

ARGUMENT_SPEC: dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "state": {
        "type": "str",
        "choices": ["inspected", "present", "pulled", "pushed", "tried", "absent"],
        "default": "present",
    },
    "directory": {"type": "path"},
    "source": {"type": "str"},
    "changes": {"type": "list", "elements": "str", "default": []},
    "checks": {"type": "list", "elements": "list", "default": []},
    "check_environment": {"type": "dict", "default": {}},
    "timeout": {"type": "int", "default": 60},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        mutually_exclusive=[("directory", "source")],
        required_together=[("username", "password")],
        supports_check_mode=True,
    )
    name = module.params["name"]
    by_digest = "@" in name and module.params["state"] in STATES_OF_DIGESTS
    if not by_digest and (":" not in name.rpartition("/")[2] or "@" in name):
        module.fail_json(msg=f"name: {name} has no tag; write repository:tag")
    try:
        engine = Engine(module.params["docker_socket"], module.params["timeout"])
        result = run(module.params, ImageStore(engine), module.check_mode)
    except EngineUnreachable as error:
        if not module.check_mode:
            module.fail_json(msg=str(error))
        module.warn(f"{error} Taken as: there is no image yet.")
        result = {"changed": module.params["state"] in ("present", "pushed"), "exists": False, "in_registry": False}
    except (EngineError, ImageFailed) as error:
        module.fail_json(msg=f"{name}: {error}")
    if result["changed"]:
        result["diff"] = {
            "before": f"{name}: {'present' if module.params['state'] != 'present' else 'absent'}\n",
            "after": f"{name}: {module.params['state']}\n",
        }
    module.exit_json(**result)


def run(params: t.Mapping[str, t.Any], images: ImageStore, check_mode: bool) -> dict[str, t.Any]:
    """Bring the image to its state; returns the module's result.

    Raises:
        ImageFailed, EngineError, EngineUnreachable: as the engine's client does.
    """
    name = params["name"]
    found = images.find(name)
    result: dict[str, t.Any] = {"changed": False, "exists": found is not None}
    if params["state"] == "inspected":
        root = images.data_root()
        result.update(data_root=root, data_root_free_mb=free_bytes(root) >> 20)
    elif params["state"] == "tried":
        result.update(_try(params, images, found is not None, check_mode))
    elif params["state"] == "present" and found is None:
        result["changed"] = True
        if not check_mode:
            _make(params, images)
            found = images.find(name)
    elif params["state"] == "pulled" and found is None:
        result["in_registry"] = result["changed"] = _pull(params, images, check_mode)
        found = images.find(name)
    elif params["state"] == "absent" and found is not None:
        result["changed"] = True
        if not check_mode:
            images.remove(name)
            found = None
    elif params["state"] == "pushed":
        repository = name.rpartition(":")[0]
        pushed = [entry for entry in (found or {}).get("RepoDigests") or [] if entry.startswith(f"{repository}@")]
        result["changed"] = not pushed
        if not pushed and not check_mode:
            if found is None:
                raise ImageFailed("this engine has no such image to push")
            result["digest"] = images.push(name, params["username"] or "", params["password"] or "")
            found = images.find(name)
    if not check_mode:
        result["exists"] = found is not None
    if found is not None:
        result["image"] = {
            "id": found["Id"],
            "created": str(found.get("Created") or ""),
            "size_mb": int(found["Size"]) >> 20,
            "digests": list(found.get("RepoDigests") or []),
        }
    return result


def _pull(params: t.Mapping[str, t.Any], images: ImageStore, check_mode: bool) -> bool:
    """Take the image from its registry; returns whether that has it."""
    login = (params["username"] or "", params["password"] or "")
    there = images.in_registry(params["name"], *login)
    if there and not check_mode:
        images.pull(params["name"], *login)
    return there


def _try(params: t.Mapping[str, t.Any], images: ImageStore, exists: bool, check_mode: bool) -> dict[str, t.Any]:
    """Run every check, whatever the ones before it said."""
    if not exists:
        if check_mode:
            return {}
        raise ImageFailed("this engine has no such image to try")
    said = []
    for command in params["checks"]:
        try:
            code, output = images.attempt(params["name"], command, params["check_environment"])
        except EngineUnreachable as error:
            # The engine has just answered; it is the command that takes longer than it may.
            raise ImageFailed(f"{command[0]} ... did not end within {params['timeout']} s ({error})") from error
        said.append({"command": list(command), "code": code, "output": output})
    return {"checks": said, "layers": images.layers(params["name"])}


def _make(params: t.Mapping[str, t.Any], images: ImageStore) -> None:
    """Make a candidate, try it, name it; a candidate that fails is removed."""
    if params["directory"]:
        candidate = images.import_directory(params["directory"], params["changes"])
    elif params["source"]:
        candidate = params["source"]
        if images.find(candidate) is None:
            raise ImageFailed(f"source: this engine has no image {candidate}")
    else:
        raise ImageFailed("this engine has no such image, and neither directory nor source says what to make it from")
    try:
        for command in params["checks"]:
            code, output = images.attempt(candidate, command, params["check_environment"])
            if code != 0:
                tail = "\n".join(output.splitlines()[-20:])
                raise ImageFailed(f"the new image does not work: {' '.join(command)} ended with {code}:\n{tail}")
        images.tag(candidate, params["name"])
    except BaseException:
        images.remove(candidate)
        raise
    if params["source"]:
        images.remove(candidate)


if __name__ == "__main__":
    main()
