# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of airflow_proxy and airflow_extra_environment.

PRIVATE to the collection.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t
from urllib.parse import urlsplit

from .problems import describe, show, type_name
from .spec import SpecReader

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: A name or a domain, with or without a port. Other forms mean something to some libraries only, and some make the
#: client of the execution API fail (httpx 0.28: "Invalid port", "Invalid IDNA hostname").
_HOST = re.compile(r"\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?(:[0-9]{1,5})?")
_PROXIES = frozenset({"http_proxy", "https_proxy", "no_proxy", "all_proxy"})
#: What the image and the model set themselves; another value would break the container.
_OWNED = frozenset(
    {
        "AIRFLOW_CONFIG",
        "AIRFLOW_HOME",
        "CONNECTION_CHECK_MAX_COUNT",
        "DUMB_INIT_SETSID",
        "FORWARDED_ALLOW_IPS",
        "HOME",
        "HOSTNAME",
        "PATH",
        "PYTHONHOME",
        "USER",
    }
)
#: Also what the official image's entrypoint would do at each start: install packages, migrate, make users.
_OWNED_PREFIXES = ("FLOWSTEAD_", "_AIRFLOW_", "_PIP_")
_SECRET_NAME = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|CONNECTION_STRING|(^|_)(CONN|DSN|PWD|API_?KEY|KEY)$",
    re.IGNORECASE,
)
_URL_PASSWORD = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
_READABLE = "everybody could read it who may inspect a container"

Values = t.Mapping[str, t.Any]


def check_surroundings(reader: SpecReader, values: Values) -> None:
    """All checks; ``values`` are those of all variables."""
    proxy = values["airflow_proxy"] or {}
    for scheme in ("http", "https"):
        if proxy.get(scheme):
            _check_proxy(reader, f"airflow_proxy.{scheme}", proxy[scheme])
    for index, entry in enumerate(proxy.get("no_proxy") or ()):
        if entry is not None:
            _check_exception(reader, f"airflow_proxy.no_proxy[{index}]", entry)
    if proxy.get("no_proxy") and not proxy.get("http") and not proxy.get("https"):
        problem = "there is no proxy that these hosts could be reached without"
        fix = "Set airflow_proxy.https, or remove it"
        reader.add("airflow_proxy.no_proxy", show(proxy["no_proxy"]), problem, fix)
    for name, value in (values["airflow_extra_environment"] or {}).items():
        _check_variable(reader, name, value)


def _check_exception(reader: SpecReader, path: str, entry: str) -> None:
    if entry == "*":
        problem = "with this, some libraries take no proxy at all, and others take it always"
        reader.add(path, show(entry), problem, "Name the hosts, or remove the proxy")
    elif entry.startswith("*."):
        reader.add(path, show(entry), "not every library knows this form", f"Write {entry[1:]}")
    elif not _HOST.fullmatch(entry) and not _is_address(entry):
        fix = "Write one name, .domain, address or network (IPv4) for each entry of the list; a name may have :port"
        reader.add(path, show(entry), "not every library understands this, and some fail on it", fix)


def _is_address(entry: str) -> bool:
    """Whether it is an address, or a network of IPv4."""
    try:
        if "/" in entry:
            ipaddress.IPv4Network(entry)
        else:
            ipaddress.ip_address(entry)
    except ValueError:
        return False
    return True


def _check_proxy(reader: SpecReader, path: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "http" and parts.hostname and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or any(character.isspace() for character in url):
        reader.add(path, describe(url), "this is no address of a proxy", "Write it as http://proxy.example.com:3128")
    elif "@" in parts.netloc:
        problem = "it has a login in it, which everybody could read who may inspect a container"
        fix = "Take the login out, and let the proxy admit the hosts by their addresses"
        reader.add(path, describe(url), problem, fix)
    elif parts.path not in ("", "/") or parts.query or parts.fragment:
        reader.add(path, show(url), "a proxy's address ends with its port", "Remove what follows the port")


def _check_variable(reader: SpecReader, name: t.Any, value: t.Any) -> None:
    path = f"airflow_extra_environment.{name}"
    problem = fix = ""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        problem, fix = "this is no name of a variable", "Use letters, digits and _, no digit first"
    elif name.upper().startswith("AIRFLOW__"):
        problem, fix = "this is an option of Airflow", "Write it in airflow_config, where it is checked"
    elif name.upper().startswith(("AIRFLOW_CONN_", "AIRFLOW_VAR_")):
        problem = _READABLE
        fix = "Keep connections and variables in Airflow's database or in a secrets backend"
    elif name.lower() in _PROXIES:
        problem = "a proxy needs more than this: without exceptions, tasks would ask it for the api-server"
        fix = "Write it in airflow_proxy, which adds them"
    elif name in _OWNED or name.upper().startswith(_OWNED_PREFIXES):
        problem, fix = "the image or the model sets this variable itself", "Remove it"
    elif not isinstance(value, str):
        # A number has lost its form: 0022 arrives as 18, and 3.10 as 3.1.
        problem, fix = f"a variable is text, and this is {type_name(value)}", "Write it in quotes"
    elif value and not value.isprintable():
        problem, fix = "it holds line ends or control characters", "Write one line of text"
    elif "{{" in value:
        problem, fix = "Swarm takes {{ for a template of its own", "Write the value without it"
    elif _URL_PASSWORD.search(value) or (_SECRET_NAME.search(name) and not value.startswith("/")):
        problem = f"it holds a secret, and {_READABLE}"
        fix = "Remove it; keep it in a connection or in a secrets backend. The path of a file may stand here"
    if problem:
        reader.add(path, describe(value), problem, fix)
