# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide how hosts become one swarm."""

from __future__ import annotations

DOCUMENTATION = r"""
name: swarm_formation
short_description: Decide how hosts become one swarm
version_added: "0.1.0"
author: flowstead.airflow contributors (@flowstead)
description:
  - Takes what M(flowstead.airflow.swarm_node_info) said on each host, and says who founds the swarm,
    who joins it and through whom, and what would be in the way. Nothing is read or changed.
  - Warnings are shown, besides being returned.
options:
  _input:
    description: Inventory host names and what the module returned there. A host that could not be asked is left out.
    type: dict
    required: true
  managers:
    description: Hosts that are to be managers.
    type: list
    elements: str
    required: true
  workers:
    description: Hosts that are to be workers.
    type: list
    elements: str
    required: true
  check_mode:
    description: Take a host without an engine for one that will get it.
    type: bool
    default: false
  settings:
    description:
      - What belongs to the whole swarm, C(address_pools), C(subnet_size), C(data_path_port), C(purge_labels)
        and C(remove_replaced). What is missing is Docker's choice, or false.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Decide
  ansible.builtin.set_fact:
    plan: "{{ members | flowstead.airflow.swarm_formation(managers=groups['swarm_managers'], workers=[]) }}"
"""

RETURN = r"""
_value:
  description:
    - C(founder), C(entry), C(cluster_id), C(addresses), C(managers) and C(workers) that have to join, C(compare) with
      members whose bridge differs, C(nodes) and whether they are C(settled), C(member_addresses), C(warnings)
      and C(problems).
  type: dict
"""

import typing as t

from ansible.utils.display import Display
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.formation import plan_formation
from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.survey import Settings, known_nodes


def swarm_formation(
    members: t.Mapping[str, t.Mapping[str, t.Any]],
    managers: t.Sequence[str],
    workers: t.Sequence[str],
    check_mode: bool = False,
    settings: t.Mapping[str, t.Any] | None = None,
) -> dict[str, t.Any]:
    """See :func:`plan_formation`; shows its warnings."""
    plan = plan_formation(members, managers, workers, check_mode=check_mode, settings=Settings(**(settings or {})))
    for text in plan["warnings"]:
        Display().warning(text)
    return plan


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"swarm_formation": swarm_formation, "swarm_known_nodes": known_nodes}
