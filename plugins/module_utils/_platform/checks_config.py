# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of airflow_config: the shape, options that the model owns, options that hold secrets.

PRIVATE to the collection.
"""

from __future__ import annotations

import re
import typing as t

from .option_names import OPTIONS
from .options import OWNED, SENSITIVE
from .problems import describe, did_you_mean, type_name
from .spec import SpecReader

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
#: A name as close as this to a known one is a slip of the keyboard; others may belong to a plugin.
_MISSPELT = 0.85
#: Options of providers that are not marked sensitive, and yet are secrets by their name.
_SECRET_NAME = re.compile(r"(^|_)(password|passwd|secret|token|credentials|private_key|dsn)$")
_SECRET = "it holds a secret, which everybody could read in the container's environment"  # noqa: S105


def check_config(reader: SpecReader, config: t.Mapping[t.Any, t.Any]) -> None:
    """Every section and option. Values are never shown: some user may have written a secret here."""
    for section, settings in config.items():
        path = f"airflow_config.{section}"
        if not isinstance(section, str) or not _NAME.fullmatch(section):
            reader.add(path, type_name(section), "this is no name of a section", "Write one such as core")
        elif not isinstance(settings, t.Mapping):
            fix = "Write {section: {option: value}}"
            reader.add(path, describe(settings), "a section is a dictionary of options", fix)
        elif section.lower() not in OPTIONS and did_you_mean(section.lower(), OPTIONS, _MISSPELT):
            fix = did_you_mean(section.lower(), OPTIONS, _MISSPELT)
            reader.add(path, describe(settings), "Airflow has no such section", fix)
        else:
            for option, value in settings.items():
                _check_option(reader, section, option, value)


def _check_option(reader: SpecReader, section: str, option: t.Any, value: object) -> None:
    path = f"airflow_config.{section}.{option}"
    if not isinstance(option, str) or not _NAME.fullmatch(option):
        reader.add(path, type_name(option), "this is no name of an option", "Write one such as parallelism")
        return
    name = (section.lower(), re.sub(r"_(cmd|secret)$", "", option.lower()))
    plain = (section.lower(), option.lower())
    if name in OWNED or plain in OWNED:
        fix = OWNED.get(plain) or OWNED[name]
        reader.add(path, describe(value), "the model sets this option itself", fix)
    elif name in SENSITIVE or plain in SENSITIVE or _SECRET_NAME.search(plain[1]):
        fix = "Remove it; keep it in a secrets backend or in a connection"
        reader.add(path, describe(value), _SECRET, fix)
    elif plain[1] not in OPTIONS.get(plain[0], ()) and did_you_mean(plain[1], OPTIONS.get(plain[0], ()), _MISSPELT):
        fix = did_you_mean(plain[1], OPTIONS[plain[0]], _MISSPELT)
        reader.add(path, describe(value), f"Airflow has no such option in section {section}", fix)
    elif value is None or isinstance(value, t.Mapping) or not isinstance(value, (str, int, float)):
        fix = "Write a string, a number or a boolean; write lists and dictionaries as a JSON string"
        reader.add(path, describe(value), "Airflow reads one line of text here", fix)
    elif isinstance(value, str) and not value.replace("\n", "").replace("\t", "").isprintable() and value:
        reader.add(path, describe(value), "it holds control characters", "Remove them")
