# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins that components find as Airflow's connections, in a secret's file.

PRIVATE to the collection.

Source: airflow/secrets/local_filesystem.py.
"""

from __future__ import annotations

import json
import typing as t

#: File below /run/secrets. Airflow knows the format by the end of the name.
_CONNECTIONS = "connections"
_FORMAT = ".json"
_BACKEND = "airflow.secrets.local_filesystem.LocalFilesystemBackend"
#: Where a process looks for a backend depends on what it is: the server's side, or what runs tasks and DAG files. The
#: dag-processor and the triggerer are both.
_SECTIONS = {
    "api-server": (("secrets", "backend"),),
    "worker": (("workers", "secrets_backend"),),
}
_BOTH = (("secrets", "backend"), ("workers", "secrets_backend"))


def connections_secret(
    everything: t.Mapping[str, t.Any], seen: t.Mapping[str, t.Any], reader: str
) -> tuple[str, str] | None:
    """The secret with the connections of a component, or None when it needs none.

    Args:
        everything: all connections of the platform, by ID.
        seen: those of the component.
        reader: a name that no other reader with other connections has.

    Returns:
        Name of the secret, which is its file's name as well, and its content.
    """
    if not seen:
        return None
    name = _CONNECTIONS if seen == everything else f"{_CONNECTIONS}_{reader}"
    return name + _FORMAT, json.dumps(seen, sort_keys=True)


def connection_options(component: str, name: str) -> dict[tuple[str, str], str]:
    """Options by which a component finds its connections in a secret's file."""
    kwargs = json.dumps({"connections_file_path": f"/run/secrets/{name}"})
    found = {}
    for section, option in _SECTIONS.get(component, _BOTH):
        found[section, option] = _BACKEND
        found[section, f"{option}_kwargs"] = kwargs
    return found
