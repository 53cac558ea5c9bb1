# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may stand in an inventory for an address of Splunk, and for an index.

PRIVATE to the collection. Pure.

Sources: Splunk's documentation of the HTTP Event Collector and of indexes.conf ("Names of indexes").
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_INDEX = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}")
#: What to write in the place of a wrong address, and of a wrong index.
URL_FIX = "Write scheme, host and port, such as https://splunk.example.com:8088"
INDEX_FIX = "Use small letters, digits, underscores and dashes, a letter or digit first"


def is_index(value: object) -> bool:
    """Whether Splunk could have an index of this name."""
    return isinstance(value, str) and bool(_INDEX.fullmatch(value))


def url_problem(url: str) -> str:
    """What is wrong with the address of a collector or of the search API; empty when nothing is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "this is no address of a server"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "it carries a login or a query, which everybody could read"
    return "it goes on to an endpoint" if "/services" in parts.path else ""
