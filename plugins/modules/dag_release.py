#!/usr/bin/python
# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build, stage, activate, roll back and prune releases of DAGs on the share."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dag_release
short_description: Build, stage, activate, roll back and prune releases of DAGs on the share
version_added: 0.1.0
description:
  - Brings a bundle's DAGs to the share as immutable releases, and decides by one rename which of them is the current
    one. Readers see the old release or the new one, and never a part of either, wherever a publisher is killed.
  - A release is what its content is. Paths, content and executable bits decide about its hash; times and places do not.
    The same content is never published twice.
  - Only content that no release on the share has is sent and written; the rest is linked. Everything that is written is
    on the disk and was read back before it counts. A file that somebody wrote to since then is not taken over; its time
    says so. O(action=verify) reads all content.
  - The source is checked on the controller before the first byte goes out, and all of its problems are told at once.
    That includes syntax errors, file and line. Whether Airflow can import the DAGs is not told here.
  - Publishers on several hosts take turns through a lock on the share, and whoever waits is told for whom.
  - Runs on a host that may write to the share; O(action=build) runs on the controller only.
author:
  - flowstead.airflow contributors (@flowstead)
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.airflow
  - flowstead.airflow.attributes.action
attributes:
  check_mode:
    support: full
    details: [A release that would be staged has no name yet.]
  diff_mode:
    support: full
    details: [Files that are added, changed and removed against the current release.]
  idempotent:
    support: full
    details: [O(action=rollback) without O(release) goes one release further back each time.]
  action:
    support: full
    details: [The source is read, checked and packed on the controller.]
options:
  action:
    description:
      - V(build) writes the source as one file on the controller, the same bytes for the same source.
      - V(prepare) makes the bundle's root with an empty release, so that the bundle is valid from the first moment.
      - V(stage) brings the source to the share as a release that nobody uses yet. Content that a release has already
        makes no new one; its name is returned.
      - V(activate) makes O(release) the current one.
      - V(rollback) goes back to O(release), or to the one that was current before.
      - V(discard) removes O(release), when it never was the current one.
      - V(prune) removes releases that nothing needs, and what killed publishers have left.
      - V(status) tells what is there.
      - V(verify) reads every file of a release and compares it with what was published.
    type: str
    choices: [build, prepare, stage, activate, rollback, discard, prune, status, verify]
    required: true
  bundle:
    description: Name of the bundle.
    type: str
    required: true
  path:
    description: The bundle's root on the host. Required for all actions but V(build).
    type: str
  environment:
    description: Name of the environment. Where it is given, a root of another environment is refused.
    type: str
    default: ""
  source:
    description:
      - What to release, on the controller. Required for O(action=build) and O(action=stage).
      - Relative paths are looked up beside the playbook, then in the directory where Ansible was started.
      - C(.git), C(__pycache__), compiled files and what editors leave are left out. Symbolic links to files of the
        source become files; all others are refused.
    type: dict
    suboptions:
      directory:
        description: A directory.
        type: str
      repository:
        description: A Git repository. What is committed is released, never what lies in its working tree.
        type: str
      ref:
        description: Branch, tag or commit of O(source.repository). C(HEAD) when it is not given.
        type: str
      subdirectory:
        description: The part of O(source.repository) to release.
        type: str
      artifact:
        description: A file that O(action=build) has written.
        type: str
  dest:
    description: Directory on the controller for the artifact. Required for O(action=build).
    type: str
  hash:
    description:
      - The hash that the content must have, or 12 of its first digits or more. Anything else is refused.
      - This is how the same artifact is promoted from one environment to the next.
    type: str
  check_syntax:
    description:
      - Compile Python files that the share does not have yet, with the controller's Python.
      - Turn this off where DAGs use syntax that is newer than that, and leave it to the check in the image.
    type: bool
    default: true
  limits:
    description: What a release may have at most.
    type: dict
    suboptions:
      max_file_mb:
        description: Megabytes of one file.
        type: int
        default: 10
      max_files:
        description: Number of files.
        type: int
        default: 20000
      max_total_mb:
        description: Megabytes of all files.
        type: int
        default: 500
  release:
    description: Name of a release. Required for O(action=activate) and O(action=discard).
    type: str
  expected:
    description:
      - The release that has to be current for O(action=activate) and O(action=rollback). When another one is, somebody
        else was there, and nothing is changed.
      - It is not looked at when the wanted release is the current one already.
    type: str
  keep:
    description: For O(action=prune), the number of newest releases that stay.
    type: int
    default: 5
  in_use:
    description: For O(action=prune), releases that stay since unfinished runs use them.
    type: list
    elements: str
    default: []
  owner:
    description:
      - For O(action=prepare), the user whose directory this is, by name or number. Directories that publishers write to
        become theirs. Without it, owners stay as they are.
      - A publisher should always work as the same user.
    type: str
  group:
    description: For O(action=prepare), the group, by name or number.
    type: str
  mode:
    description:
      - For O(action=prepare), the mode of these directories in octal, such as V('2775'). New ones have V('0755').
      - A mode with which containers could not read the directory is refused; they run as user 50000, group 0.
    type: str
  lock_timeout:
    description: Seconds to wait for another publisher.
    type: int
    default: 60
  _manifest:
    description: Internal, set by the action plugin. What the source consists of.
    type: str
  _content:
    description: Internal, set by the action plugin. Content that the share lacks.
    type: str
  _upload:
    description: Internal, set by the action plugin. A file on the host with content that the share lacks.
    type: str
"""

EXAMPLES = r"""
- name: Make the root of a team's bundle
  flowstead.airflow.dag_release:
    action: prepare
    bundle: shop
    environment: prod
    path: /srv/airflow/dags/prod/shop
    group: team_shop
    mode: "2775"

- name: Build an artifact from a tag
  flowstead.airflow.dag_release:
    action: build
    bundle: shop
    source:
      repository: /src/shop
      ref: v1.4.0
      subdirectory: dags
    dest: /src/artifacts
  delegate_to: localhost

- name: Stage the artifact that acceptance has approved
  flowstead.airflow.dag_release:
    action: stage
    bundle: shop
    path: /srv/airflow/dags/prod/shop
    source:
      artifact: /src/artifacts/shop-1a2b3c4d5e6f.tar.gz
    hash: 1a2b3c4d5e6f
  register: staged

- name: Make it the current one, if nobody else has done so with another
  flowstead.airflow.dag_release:
    action: activate
    bundle: shop
    path: /srv/airflow/dags/prod/shop
    release: "{{ staged.release }}"
    expected: "{{ staged.current }}"

- name: Go back
  flowstead.airflow.dag_release:
    action: rollback
    bundle: shop
    path: /srv/airflow/dags/prod/shop
    expected: "{{ staged.release }}"

- name: Remove what nothing needs
  flowstead.airflow.dag_release:
    action: prune
    bundle: shop
    path: /srv/airflow/dags/prod/shop
    keep: 5
    in_use: [20261126T142301Z-1a2b3c4d5e6f]
"""

RETURN = r"""
release:
  description:
    - The release that was staged, activated or looked at. Empty in check mode when it would be made.
  returned: all actions but build
  type: str
  sample: 20261126T142301Z-1a2b3c4d5e6f
current:
  description: The current release, after a change. Empty when C(current) is damaged.
  returned: all actions but build
  type: str
  sample: 20261126T142301Z-1a2b3c4d5e6f
previous:
  description: The release that O(action=rollback) would go back to. Empty when there is none.
  returned: all actions but build
  type: str
  sample: 20261125T101500Z-0f1e2d3c4b5a
replaced:
  description: The release that was current before.
  returned: activate and rollback, when something changed
  type: str
  sample: 20261125T101500Z-0f1e2d3c4b5a
hash:
  description: Hash of the content, SHA-256 over the manifest's files.
  returned: build, stage, activate, rollback, status and verify
  type: str
  sample: 1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b
files:
  description: Number of files in the source.
  returned: build and stage
  type: int
  sample: 1000
artifact:
  description: The file that was written on the controller.
  returned: build
  type: str
  sample: /src/artifacts/shop-1a2b3c4d5e6f.tar.gz
differences:
  description: What changes against the current release.
  returned: stage, activate and rollback
  type: dict
  contains:
    added:
      description: Paths that are new.
      type: list
      elements: str
    changed:
      description: Paths with other content or another executable bit.
      type: list
      elements: str
    removed:
      description: Paths that are gone.
      type: list
      elements: str
transferred:
  description: What it took.
  returned: stage, outside check mode
  type: dict
  contains:
    files:
      description: Files whose content was sent and written.
      type: int
    bytes:
      description: Their size.
      type: int
    sent:
      description: Bytes that went to the host, compressed.
      type: int
    linked:
      description: Files that were linked from releases on the share.
      type: int
    copied:
      description: Files that had to be copied there.
      type: int
stored:
  description: Number of releases on the share, the new one included.
  returned: stage
  type: int
removed:
  description: Releases that were removed.
  returned: prune and discard
  type: list
  elements: str
kept:
  description: Releases that stay.
  returned: prune
  type: list
  elements: dict
  contains:
    release:
      description: Name of the release.
      type: str
    reason:
      description: Why it stays.
      type: str
      sample: current, among the newest 5
releases:
  description: All releases that can be read, the oldest first.
  returned: status
  type: list
  elements: dict
  contains:
    release:
      description: Name of the release.
      type: str
    hash:
      description: Hash of its content.
      type: str
    created:
      description: When it was staged, UTC.
      type: str
    files:
      description: Number of files.
      type: int
    bytes:
      description: Size of all files.
      type: int
    source:
      description: Where it came from, such as C(ref), C(commit) and C(path).
      type: dict
incoming:
  description: What is being staged or removed right now, or what killed publishers have left.
  returned: status
  type: list
  elements: str
history:
  description: The last flips, each with C(at), C(from), C(to) and C(by).
  returned: status
  type: list
  elements: dict
verified:
  description: How many C(files) and C(bytes) were read.
  returned: verify
  type: dict
actions:
  description: What was done, or would be in check mode.
  returned: prepare
  type: list
  elements: str
problems:
  description: What is wrong, one line each, with the path and, where there is one, the line.
  returned: status, and on failure
  type: list
  elements: str
  sample: ["shop/daily.py:12: invalid syntax (Python 3.13 of the controller)."]
"""

import platform
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._release.errors import ReleaseError, explain
from ansible_collections.flowstead.airflow.plugins.module_utils._release.operations import Operations
from ansible_collections.flowstead.airflow.plugins.module_utils._release.spec import (
    ARGUMENT_SPEC,
    REQUIRED_IF,
    refuse_bad,
)


def main() -> None:
    """Check the options, do one action, exit once."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True, required_if=REQUIRED_IF)
    params: dict[str, t.Any] = module.params
    try:
        refuse_bad(params)
        if params["action"] == "build" or (params["action"] == "stage" and params["_manifest"] is None):
            raise ReleaseError("the source is read on the controller: use this as a task, not by itself.")
        result = Operations(params, module.check_mode).run()
    except (ReleaseError, OSError) as error:
        text = explain(error, params["path"] or "") if isinstance(error, OSError) else str(error)
        where = f"Bundle {params['bundle']} on {platform.node()}"
        module.fail_json(msg=f"{where}: {text}", problems=getattr(error, "problems", [text]))
    for warning in result.pop("warnings"):
        module.warn(warning)
    if not module._diff:
        del result["diff"]
    module.exit_json(**result)


if __name__ == "__main__":
    main()
