# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that show people what swarm_status found."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.status_page import lines, page


def swarm_status_text(
    found: t.Mapping[str, t.Any], title: str, when: str, drift: t.Sequence[t.Any] = (), drift_unknown: str = ""
) -> list[str]:
    """See swarm_status_text.yml."""
    return lines(_report(found, title, when, drift, drift_unknown))


def swarm_status_html(
    found: t.Mapping[str, t.Any], title: str, when: str, drift: t.Sequence[t.Any] = (), drift_unknown: str = ""
) -> str:
    """See swarm_status_html.yml."""
    return page(_report(found, title, when, drift, drift_unknown))


def _report(
    found: t.Mapping[str, t.Any], title: str, when: str, drift: t.Sequence[t.Any], drift_unknown: str
) -> dict[str, t.Any]:
    missing = {"healthy", "problems", "nodes", "services", "failures"} - set(found)
    if missing:
        raise AnsibleFilterError(
            f"swarm_status_* needs what the module swarm_status returned; {', '.join(sorted(missing))} is not in it."
        )
    return {**found, "title": title, "when": when, "drift": list(drift), "drift_unknown": drift_unknown}


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name to filter."""
        return {"swarm_status_text": swarm_status_text, "swarm_status_html": swarm_status_html}
