# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where containers find files that are no secrets.

PRIVATE to the collection.
"""

from __future__ import annotations

#: Where containers find the certificates of an authority; the file is called after the config.
CA_DIRECTORY = "/opt/flowstead/ca"


def ca_path(name: str) -> str:
    """The file of a CA config in a container."""
    return f"{CA_DIRECTORY}/{name}.pem"
