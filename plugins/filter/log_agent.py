# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Doors to the log agent's model for its role. Each filter is documented in the .yml file with its name."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError
from ansible_collections.flowstead.airflow.plugins.module_utils._logs import agent as agents
from ansible_collections.flowstead.airflow.plugins.module_utils._logs.agent_configs import render

Settings = t.Mapping[str, t.Any]


def log_agent_problems(settings: Settings, prefix: str = "log_agent_") -> list[str]:
    """Every problem of the settings, each on a line with its fix."""
    return [problem.line() for problem in agents.find_problems(settings, prefix)]


def log_agent_config(settings: Settings, ca_file: str = "") -> str:
    """The agent's configuration file; holds the token."""
    return render(agents.read_settings(_sound(settings), ca_file))


def log_agent_collectors(settings: Settings) -> list[dict[str, t.Any]]:
    """What the module hec_check has to ask: one collector for each index; holds the token."""
    return agents.collectors(_sound(settings))


def _sound(settings: Settings) -> Settings:
    problems = log_agent_problems(settings)
    if problems:
        raise AnsibleFilterError(" ".join(problems))
    return settings


class FilterModule:
    """Ansible finds the filters here."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name to filter."""
        return {
            "log_agent_problems": log_agent_problems,
            "log_agent_config": log_agent_config,
            "log_agent_collectors": log_agent_collectors,
        }
