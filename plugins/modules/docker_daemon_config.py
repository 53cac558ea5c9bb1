# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write Docker's daemon.json only when the engine itself accepts it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_daemon_config
short_description: Write Docker's daemon.json only when the engine itself accepts it
version_added: "0.1.0"
author: flowstead.airflow contributors (@flowstead)
description:
  - Lays settings over the C(daemon.json) of a host, checks the result, and replaces the file in one step.
  - The check has two parts. Rules of this collection refuse what breaks a swarm or fills a disk. Then C(dockerd)
    itself reads the candidate, so that a file which the engine cannot start with never lands.
  - Keys of the live file that no layer names are kept. A layer takes a key away with the value null.
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.engine
attributes:
  check_mode:
    support: full
    details:
      - Without C(dockerd) on the host only the rules of this collection are checked.
  diff_mode:
    support: full
    details:
      - User names and passwords in URLs are hidden.
  idempotent:
    support: full
options:
  path:
    description: The file.
    type: path
    default: /etc/docker/daemon.json
  layers:
    description: Settings, as keys and values of C(daemon.json). Later entries win; mappings merge, lists are replaced.
    type: list
    elements: dict
    required: true
  swarm:
    description: The engine is or will be a member of a swarm, so that settings which a swarm refuses are refused.
    type: bool
    default: true
  reload_only:
    description:
      - Refuse a change that the running engine could only take over by a restart.
      - Nothing is written then, and the message names the keys.
    type: bool
    default: false
  dockerd:
    description: Path of the engine's program.
    type: path
    default: dockerd
"""

EXAMPLES = r"""
- name: Rotate logs, and fetch images through a mirror
  flowstead.airflow.docker_daemon_config:
    layers:
      - log-driver: local
        log-opts: {max-size: 20m, max-file: "5"}
      - registry-mirrors: ["https://mirror.example.com"]

- name: Take a key away
  flowstead.airflow.docker_daemon_config:
    layers:
      - log-driver: local
        debug: null
"""

RETURN = r"""
changed_keys:
  description: Keys whose values differ from the live file.
  type: list
  elements: str
  returned: always
  sample: [log-opts]
restart_keys:
  description: Those of them that a running engine only takes over when it starts again.
  type: list
  elements: str
  returned: always
  sample: [log-opts]
problems:
  description: Everything that speaks against the settings.
  type: list
  elements: str
  returned: on failure
"""

import os
import tempfile
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.daemon_config import (
    ConfigProblem,
    changed_keys,
    find_problems,
    format_config,
    mask_credentials,
    merge_layers,
    parse_config,
    read_verdict,
    restart_keys,
)

ARGUMENT_SPEC: dict[str, t.Any] = {
    "path": {"type": "path", "default": "/etc/docker/daemon.json"},
    "layers": {"type": "list", "elements": "dict", "required": True},
    "swarm": {"type": "bool", "default": True},
    "reload_only": {"type": "bool", "default": False},
    "dockerd": {"type": "path", "default": "dockerd"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        module.exit_json(**configure(module))
    except ConfigProblem as problem:
        module.fail_json(
            msg=f"{module.params['path']} stays as it is. " + " ".join(problem.problems), problems=problem.problems
        )


def configure(module: AnsibleModule) -> dict[str, t.Any]:
    """Merge, check and write; returns the module's result."""
    path = Path(module.params["path"])
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    live = parse_config(text, str(path))
    wanted = merge_layers(live, module.params["layers"])
    problems = find_problems(wanted, swarm=module.params["swarm"])
    if problems:
        raise ConfigProblem(problems)
    result: dict[str, t.Any] = {
        "changed": live != wanted or not path.exists(),
        "changed_keys": changed_keys(live, wanted),
        "restart_keys": restart_keys(live, wanted),
        "diff": {
            "before_header": str(path),
            "after_header": str(path),
            "before": mask_credentials(format_config(live)) if path.exists() else "",
            "after": mask_credentials(format_config(wanted)),
        },
    }
    if not result["changed"]:
        return result
    if module.params["reload_only"] and result["restart_keys"]:
        raise ConfigProblem(
            [
                f"A running engine only takes over {', '.join(result['restart_keys'])} by a restart, and this host "
                "is a member of a swarm. Run the playbook change_daemon: it empties each node before it restarts it."
            ]
        )
    _check_and_write(module, path, format_config(wanted))
    return result


def _check_and_write(module: AnsibleModule, path: Path, text: str) -> None:
    handle, candidate = tempfile.mkstemp(prefix="daemon-", suffix=".json", dir=module.tmpdir)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
    module.add_cleanup_file(candidate)
    dockerd = module.get_bin_path(module.params["dockerd"])
    if dockerd is None and not module.check_mode:
        raise ConfigProblem([f"{module.params['dockerd']} is not on this host, so nobody can check the settings."])
    if dockerd is not None:
        refusal = _ask_dockerd(module, dockerd, candidate)
        if refusal:
            raise ConfigProblem([f"{dockerd} refuses the settings: {refusal.replace(candidate, str(path))}"])
    if module.check_mode:
        return
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    module.atomic_move(candidate, str(path))
    module.set_mode_if_different(str(path), 0o644, False)


def _ask_dockerd(module: AnsibleModule, dockerd: str, candidate: str) -> str:
    _code, usage, _error = module.run_command([dockerd, "--help"])
    validates = "--validate" in usage
    command = [dockerd, "--config-file", candidate]
    if validates:
        command.append("--validate")
    else:
        handle, alive = tempfile.mkstemp(prefix="daemon-", suffix=".pid", dir=module.tmpdir)
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(str(os.getpid()))
        module.add_cleanup_file(alive)
        command += ["--pidfile", alive]
    code, output, error = module.run_command(command)
    return read_verdict(code, output + error, validates=validates)


if __name__ == "__main__":
    main()
