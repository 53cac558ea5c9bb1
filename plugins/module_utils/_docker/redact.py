# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of swarm_stack and swarm_run without what must not be seen.

PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t

HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
#: Shorter values would turn ordinary words of the output into stars; they are hidden where they stand.
SHORTEST_MASKED = 8


def redacted_params(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A copy with the content of secrets, passwords, values of an environment and the state of the run hidden."""
    result = dict(params)
    definition = result.get("definition")
    if isinstance(definition, dict) and "secrets" in definition:
        secrets = definition["secrets"]
        if isinstance(secrets, dict):
            shown: t.Any = {
                name: {key: value if key in ("external", "name") else HIDDEN for key, value in entry.items()}
                if isinstance(entry, dict)
                else HIDDEN
                for name, entry in secrets.items()
            }
        else:
            shown = HIDDEN
        result["definition"] = {**definition, "secrets": shown}
    elif definition is not None and not isinstance(definition, dict):
        result["definition"] = HIDDEN
    auth = result.get("registry_auth")
    if isinstance(auth, dict):
        result["registry_auth"] = {
            name: {key: value if key == "username" else HIDDEN for key, value in login.items()}
            if isinstance(login, dict)
            else HIDDEN
            for name, login in auth.items()
        }
    elif auth:
        result["registry_auth"] = HIDDEN
    if result.get("object_key"):
        result["object_key"] = HIDDEN
    environment = result.get("environment")
    if environment:
        result["environment"] = dict.fromkeys(environment, HIDDEN) if isinstance(environment, dict) else HIDDEN
    if result.get("compose_variables"):
        result["compose_variables"] = HIDDEN
    for key in ("_resume", "_slice"):
        result.pop(key, None)
    return result


def secret_values(params: t.Mapping[str, t.Any]) -> set[str]:
    """Texts that must not turn up anywhere in the output."""
    definition = params.get("definition")
    secrets = definition.get("secrets") if isinstance(definition, dict) else None
    auth = params.get("registry_auth")
    found = [
        *(entry.get("data") for entry in _entries(secrets)),
        *(login.get("password") for login in _entries(auth)),
    ]
    return {value for value in found if isinstance(value, str) and len(value) >= SHORTEST_MASKED}


def _entries(mapping: t.Any) -> list[dict[str, t.Any]]:
    return [entry for entry in mapping.values() if isinstance(entry, dict)] if isinstance(mapping, dict) else []
