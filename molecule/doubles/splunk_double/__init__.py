"""A strict double of Splunk for tests: HTTP Event Collector and search export. See README.md beside it.

Python 3.9 and its standard library are all it needs, so that it also runs on a host of the lab.
"""

from __future__ import annotations

from .double import SplunkDouble
from .settings import Reader, Settings, SettingsError, Token, from_dict, from_file
from .store import read_events

__all__ = ["Reader", "Settings", "SettingsError", "SplunkDouble", "Token", "from_dict", "from_file", "read_events"]
