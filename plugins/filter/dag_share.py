# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Doors to the share's model for roles. Each filter is documented in the .yml file with its name."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.flowstead.airflow.plugins.module_utils._share.settings import find_problems, read_settings
from ansible_collections.flowstead.airflow.plugins.module_utils._share.units import render


def dag_share_problems(settings: t.Mapping[str, t.Any], prefix: str = "dag_share_") -> list[str]:
    """Every problem of the settings, each on a line with its fix."""
    return [problem.line() for problem in find_problems(settings, prefix)]


def dag_share_files(settings: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The files that the module dag_share writes for the settings, path to text."""
    problems = dag_share_problems(settings)
    if problems:
        raise AnsibleFilterError(" ".join(problems))
    return render(read_settings(settings))


class FilterModule:
    """Ansible finds the filters here."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name to filter."""
        return {"dag_share_problems": dag_share_problems, "dag_share_files": dag_share_files}
