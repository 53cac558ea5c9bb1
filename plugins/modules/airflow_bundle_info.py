#!/usr/bin/python
# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Airflow knows of DAG bundles, and whether it has read a release."""

from __future__ import annotations

DOCUMENTATION = r"""
module: airflow_bundle_info
short_description: Tell what Airflow knows of DAG bundles, and wait until it has read a release
version_added: 0.1.0
description:
  - Reads import errors, the bundle and release of each DAG, and the releases that unfinished runs still need, through
    Airflow's REST API. Thousands of runs are read page by page, and none is missed when others end meanwhile.
  - With O(wait) it asks the DAG processor to look at the bundle and at its files now, and waits until Airflow has every
    DAG from the release, or an import error of the release appears.
  - A file that was being read while the bundle moved on is stored by Airflow under the new release with its old
    content. Such a DAG does not count until it has been read again. Nor does one that was read but whose stored form,
    which new runs get, is still that of another release.
author:
  - flowstead.airflow contributors (@flowstead)
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.airflow
attributes:
  check_mode:
    support: full
    details: ["In check mode it does not wait, because nothing was activated."]
  diff_mode:
    support: N/A
    details: [Changes nothing.]
  idempotent:
    support: full
notes:
  - Airflow stores a DAG only every C([core] min_serialized_dag_update_interval) seconds, 30 unless it is set. Of two
    releases within that time, such as one that is rolled back, the second is stored late. Set it to 0.
options:
  url:
    description: Base URL of Airflow as the target reaches it. May carry a path.
    type: str
    required: true
  username:
    description: A user of the FAB auth manager who may read every DAG, and edit them for O(wait), such as role Op.
    type: str
    required: true
  password:
    description: The user's password.
    type: str
    required: true
  ca_path:
    description:
      - PEM file, on the target, of the authority that signed Airflow's certificate.
      - Without it, the authorities that the host trusts.
    type: path
  validate_certs:
    description: Whether Airflow's certificate has to be trusted.
    type: bool
    default: true
  bundle:
    description: The bundle that is looked at. Required for O(wait). Without it, all bundles.
    type: str
  gather:
    description: What to read. RV(known) comes with V(dags), and RV(in_use) with V(runs).
    type: list
    elements: str
    choices: [import_errors, dags, runs]
    default: [import_errors, dags, runs]
  wait:
    description: Wait until Airflow has read a release that was activated, before anything of O(gather) is read.
    type: dict
    suboptions:
      release:
        description: The release.
        type: str
        required: true
      dags:
        description: DAG IDs that it holds, such as the keys of RV(flowstead.airflow.dag_check#module:dags).
        type: list
        elements: str
        required: true
      timeout:
        description: Seconds for the wait.
        type: int
        default: 180
      since:
        description:
          - When it was activated, in ISO 8601 and by Airflow's clock, such as RV(server_time) of a call before.
          - Without it, when the module began.
        type: str
"""

EXAMPLES = r"""
- name: Look at all bundles
  flowstead.airflow.airflow_bundle_info:
    url: http://127.0.0.1:8080
    username: admin
    password: "{{ airflow_admin.password }}"
    bundle: dags
  register: before

- name: Wait until Airflow has read the release
  flowstead.airflow.airflow_bundle_info:
    url: http://127.0.0.1:8080
    username: admin
    password: "{{ airflow_admin.password }}"
    bundle: dags
    gather: []
    wait:
      release: 20261126T142301Z-1a2b3c4d5e6f
      dags: "{{ checked.dags | list }}"
      since: "{{ before.server_time }}"
  register: read
"""

RETURN = r"""
import_errors:
  description:
    - Files of O(bundle) that Airflow cannot read now. C(line) may be none, C(error) is the last line of the trace.
    - Airflow 3.3.2 hides a file that never held a DAG when another bundle has a DAG in a file of the same path.
  returned: with import_errors in O(gather)
  type: list
  elements: dict
  sample:
    - bundle: dags
      file: sales/daily.py
      timestamp: "2026-11-26T14:23:05.123456Z"
      line: 12
      error: "ModuleNotFoundError: No module named 'pandas'"
dags:
  description: DAGs of O(bundle), with the release that Airflow has them from. Stale ones are among them.
  returned: with dags in O(gather)
  type: list
  elements: dict
  sample:
    - dag_id: sales_daily
      bundle: dags
      bundle_version: 20261126T142301Z-1a2b3c4d5e6f
      file: sales/daily.py
      stale: false
      paused: false
known:
  description: DAG ID to bundle, of every bundle, without stale DAGs.
  returned: with dags in O(gather)
  type: dict
  sample: {sales_daily: dags}
runs:
  description:
    - Unfinished runs of O(bundle). They are queued or running, or have tasks that did not end.
    - C(bundle_version) is the release the run is pinned to, or none. C(bundle_versions) is every release that the run
      or its tasks refer to.
  returned: with runs in O(gather)
  type: list
  elements: dict
  sample:
    - dag_id: sales_daily
      run_id: scheduled__2026-11-26T00:00:00+00:00
      state: running
      bundle: dags
      bundle_version: 20261126T142301Z-1a2b3c4d5e6f
      bundle_versions: [20261126T142301Z-1a2b3c4d5e6f]
in_use:
  description: Every release that C(runs) refers to. These must not be pruned.
  returned: with runs in O(gather)
  type: list
  elements: str
  sample: [20261126T142301Z-1a2b3c4d5e6f]
server_time:
  description: Airflow's clock when the module began.
  returned: always
  type: str
  sample: "2026-11-26T14:23:01+00:00"
read:
  description: Whether Airflow has every DAG of the release. The module does not fail when it has not.
  returned: with O(wait), not in check mode
  type: bool
release_errors:
  description: Import errors of the release, in the form of C(import_errors). One ends the wait.
  returned: with O(wait), not in check mode
  type: list
  elements: dict
missing:
  description: DAG ID to the reason, for DAGs that Airflow does not have from the release.
  returned: with O(wait), not in check mode
  type: dict
  sample: {sales_daily: Airflow has it from release 20261125T090000Z-0123456789ab}
timed_out:
  description: Whether the time was up first.
  returned: with O(wait), not in check mode
  type: bool
trouble:
  description: Why Airflow did not answer at the last look. Empty when it did.
  returned: with O(wait), not in check mode
  type: str
seconds:
  description: Seconds of the wait.
  returned: with O(wait), not in check mode
  type: float
"""

import typing as t
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.bundles import Bundles, parse_time
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.client import (
    AirflowClient,
    AirflowError,
    AirflowMisconfigured,
    AirflowUnreachable,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._airflow.release_watch import ReleaseWatch

ARGUMENT_SPEC: dict[str, t.Any] = {
    "url": {"type": "str", "required": True},
    "username": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "bundle": {"type": "str"},
    "gather": {
        "type": "list",
        "elements": "str",
        "choices": ["import_errors", "dags", "runs"],
        "default": ["import_errors", "dags", "runs"],
    },
    "wait": {
        "type": "dict",
        "options": {
            "release": {"type": "str", "required": True},
            "dags": {"type": "list", "elements": "str", "required": True},
            "timeout": {"type": "int", "default": 180},
            "since": {"type": "str"},
        },
    },
}


def problems_of(params: t.Mapping[str, t.Any]) -> list[str]:
    """Everything that is wrong with the parameters."""
    problems = []
    if not params["url"].startswith(("http://", "https://")):
        problems.append(f"url is {params['url']}: it has to start with http:// or https://")
    wait = params["wait"]
    if wait and not params["bundle"]:
        problems.append("bundle is missing: wait needs it")
    if wait and wait["since"]:
        try:
            parse_time(wait["since"])
        except ValueError:
            problems.append(f"wait.since is {wait['since']!r}: give a time such as 2026-11-26T14:23:01+00:00")
    return problems


def wait_for(bundles: Bundles, bundle: str, wait: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Wait for the release; returns that part of the result."""
    watch = ReleaseWatch(
        bundles, bundle, wait["release"], wait["dags"], timeout=wait["timeout"], since=parse_time(wait["since"])
    )
    watch.run()
    missing = watch.missing()
    return {
        "read": not missing and not watch.errors,
        "release_errors": [error.result() for error in watch.errors],
        "missing": missing,
        "timed_out": watch.timed_out,
        "trouble": watch.trouble,
        "seconds": watch.seconds,
    }


def gather(bundles: Bundles, bundle: str, wanted: t.Collection[str]) -> dict[str, t.Any]:
    """Read what is wanted; returns that part of the result."""
    result: dict[str, t.Any] = {}
    dags = bundles.dags() if {"dags", "runs"} & set(wanted) else []
    if "import_errors" in wanted:
        result["import_errors"] = [error.result() for error in bundles.import_errors(bundle)]
    if "dags" in wanted:
        result["dags"] = [dag.result() for dag in dags if bundle in ("", dag.bundle)]
        result["known"] = {dag.dag_id: dag.bundle for dag in dags if not dag.stale}
    if "runs" in wanted:
        runs = bundles.unfinished_runs({dag.dag_id: dag.bundle for dag in dags})
        # A run whose bundle nobody knows counts for every bundle: a release too many is kept rather than one too few.
        own = [run for run in runs if not bundle or run.bundle in ("", bundle)]
        result["runs"] = [run.result() for run in own]
        result["in_use"] = sorted({version for run in own for version in run.versions})
    return result


def main() -> None:
    """Entry point."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    wrong = problems_of(params)
    if wrong:
        module.fail_json(msg="Airflow was not asked. " + "; ".join(wrong))
    bundle = params["bundle"] or ""
    try:
        client = AirflowClient(
            params["url"],
            params["username"],
            params["password"],
            ca_path=params["ca_path"] or "",
            validate_certs=params["validate_certs"],
        )
        bundles = Bundles(client)
        client.version()
        began = datetime.fromtimestamp(bundles.now(), timezone.utc).isoformat()
        result: dict[str, t.Any] = {"server_time": began}
        if params["wait"] and not module.check_mode:
            result.update(wait_for(bundles, bundle, params["wait"]))
        result.update(gather(bundles, bundle, params["gather"]))
    except AirflowMisconfigured as error:
        module.fail_json(msg=f"{error.problem}.\nFix: {error.fix}.")
    except AirflowUnreachable as error:
        module.fail_json(
            msg=f"{error}.\nFix: Look at the api-server, and at the way from this host to {params['url']}."
        )
    except AirflowError as error:
        hint = ""
        if error.status == 403:
            hint = f"\nFix: Give user {params['username']} a role that may read every DAG, such as Op."
        module.fail_json(msg=f"{error}{hint}")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
