# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What roles ask about a preflight. Each filter is documented in the .yml file with its name."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.registry import registry
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.fleet import verdict


def preflight_verdict(
    results: t.Mapping[str, t.Any],
    *,
    now: float | None = None,
    clock_seconds: float = 0,
    same_architecture: bool = True,
    more: t.Mapping[str, t.Any] | None = None,
) -> str:
    """Every problem of every host as one text."""
    if not isinstance(results, t.Mapping):
        raise AnsibleFilterError(
            "preflight_verdict takes a dictionary of hosts and what host_preflight returned there."
        )
    return verdict(
        results,
        now=now,
        clock_seconds=float(clock_seconds),
        same_architecture=bool(same_architecture),
        more=more,
    )


class FilterModule:
    """Ansible finds the filters here."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name to filter."""
        return {"preflight_verdict": preflight_verdict, "preflight_registry": registry}
