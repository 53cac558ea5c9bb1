# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs docker_host_info like any module; it is among the first tasks, so it brings the filters for all of them."""

from __future__ import annotations

from ansible.plugins.action.normal import ActionModule as _AnyModule
from ansible_collections.flowstead.airflow.plugins.plugin_utils import inherited as _inherited  # noqa: F401


class ActionModule(_AnyModule):
    """M(flowstead.airflow.docker_host_info) and nothing else."""
