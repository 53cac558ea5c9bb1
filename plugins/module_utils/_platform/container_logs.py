# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where what containers say goes: Docker's log driver of every service, with options that do no harm.

PRIVATE to the collection. Pure.

Sources: Docker's documentation of the drivers; for ``splunk``, moby's daemon/logger/splunk/splunk.go. In its own
settings that driver keeps containers from starting while Splunk is away, and stops what they write while it hangs.
"""

from __future__ import annotations

import typing as t

from .._logs.agent_configs import LABELS
from .problems import describe, show
from .spec import SpecReader

Values = t.Mapping[str, t.Any]

_VARIABLE = "airflow_logs.components"
_ROTATED = {"max-size": "10m", "max-file": "3"}
_IDENTITY = {"labels": ",".join(LABELS)}
#: Options of each driver; those of the user stand over them.
_OPTIONS: dict[str, dict[str, str]] = {
    "json-file": _ROTATED,
    "local": _ROTATED,
    "journald": _IDENTITY,
    "splunk": {
        **_IDENTITY,
        "mode": "non-blocking",
        "max-buffer-size": "16m",
        "splunk-verify-connection": "false",
        "splunk-format": "json",
        "splunk-gzip": "true",
        "cache-max-size": "20m",
    },
}
#: Options of Docker's driver splunk that hold up containers with any other value than the one above.
_HARMLESS = ("mode", "splunk-verify-connection")


def logging(components: Values) -> dict[str, t.Any]:
    """Driver and options, as a service of a Compose file has them.

    Args:
        components: ``airflow_logs.components``, checked.
    """
    driver = components["driver"]
    given = {str(name): _text(value) for name, value in (components["options"] or {}).items()}
    return {"driver": driver, "options": {**_OPTIONS[driver], **given}}


def check_container_logs(reader: SpecReader, components: Values) -> None:
    """Dangers of a driver, which its options do not tell."""
    driver, given = components.get("driver"), components.get("options") or {}
    if driver == "splunk":
        _check_splunk(reader, given, bool(components.get("token_in_inspect")))
    elif driver in ("json-file", "local"):
        for name in ("max-size", "max-file"):
            if name in given and _text(given[name]) in ("", "-1", "0"):
                path = f"{_VARIABLE}.options.{name}"
                fix = "Write a bound, or leave the option away: max-size is then 10m and max-file 3"
                reader.add(path, show(given[name]), "files of logs would fill the disk", fix)


def _check_splunk(reader: SpecReader, given: Values, accepted: bool) -> None:
    for name in ("splunk-url", "splunk-token"):
        if not given.get(name):
            problem = "Docker's driver splunk does not start a container without it"
            reader.add(f"{_VARIABLE}.options.{name}", describe(given.get(name)), problem, "Set it, or use journald")
    if not accepted:
        problem = (
            "Docker shows the options of this driver, the token among them, to everybody who may inspect a service"
        )
        fix = (
            "Use the driver journald with the role log_agent, which keeps the token in a file of root's, "
            "or set this to true for a token that may be known"
        )
        reader.add(f"{_VARIABLE}.token_in_inspect", "false", problem, fix)
    for name in _HARMLESS:
        value = _OPTIONS["splunk"][name]
        if name in given and _text(given[name]) != value:
            problem = "a Splunk that is away or hangs would then hold up the containers themselves"
            reader.add(f"{_VARIABLE}.options.{name}", show(given[name]), problem, f"Leave it at {value}")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
