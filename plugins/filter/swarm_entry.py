# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that choose the manager that is asked about its swarm."""

from __future__ import annotations

import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.answers import choose_entry, collect_answers


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name to filter."""
        return {"swarm_answers": collect_answers, "swarm_entry": choose_entry}
