# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide which manager's state is kept, and whether one may be restored."""

from __future__ import annotations

DOCUMENTATION = r"""
name: swarm_backup_plan
short_description: Choose the manager whose engine is stopped for a backup
version_added: "0.1.0"
author: flowstead.airflow contributors (@flowstead)
description:
  - Takes what M(flowstead.airflow.swarm_node_info) said on each host, and names the manager that is missed least. That
    is one that does not lead, preferably one that takes no tasks. Nothing is read or changed.
options:
  _input:
    description: Inventory host names and what the module returned there.
    type: dict
    required: true
  wanted:
    description: Take this host.
    type: str
    default: ""
  accept_outage:
    description: Choose also where the swarm cannot be managed meanwhile, as with one manager.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Decide
  ansible.builtin.set_fact:
    plan: "{{ members | flowstead.airflow.swarm_backup_plan }}"
"""

RETURN = r"""
_value:
  description:
    - C(host), C(entry) (another manager), C(node_id), C(drain) (whether tasks have to leave the host first),
      C(outage) and C(problems).
  type: dict
"""

import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.keeping import plan_backup, plan_restore


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"swarm_backup_plan": plan_backup, "swarm_restore_problems": plan_restore}
