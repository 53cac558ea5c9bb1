# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of bundles: names, directories that overlap, and what each delivery needs.

PRIVATE to the collection.
"""

from __future__ import annotations

import re
import typing as t
from urllib.parse import urlsplit

from .bundles import KEYS, MOUNTED
from .problems import describe, show
from .sizes import check_range
from .spec import SpecReader

#: The bundle with the canary DAGs; every worker has it.
CANARY_BUNDLE = "flowstead-canary"
#: Names that Airflow and the model keep for themselves. Source: dag_processing/bundles/manager.py 3.3.2.
RESERVED_BUNDLES = (CANARY_BUNDLE, "example_dags")

_BUNDLE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62})?")
_MODE = re.compile(r"[0-7]{3,4}")
_DELIVERY_KEYS = tuple(dict.fromkeys(key for keys in KEYS.values() for key in keys))
#: Others have to be able to enter and list: containers read with user 50000 and group 0.
_READ_AND_ENTER = 0o5

Values = t.Mapping[str, t.Any]


def check_bundles(reader: SpecReader, values: Values, given: Values) -> None:
    """All checks; given is what the user wrote, without defaults."""
    names: dict[str, str] = {}
    directories: list[tuple[str, str]] = []
    written = given.get("airflow_bundles") or []
    for index, bundle in enumerate(values["airflow_bundles"] or []):
        path = f"airflow_bundles[{index}]"
        if (bundle or {}).get("name") is None:
            continue
        _check_name(reader, path, bundle["name"], names)
        delivery = bundle["delivery"]
        if delivery is None:
            continue
        check_range(reader, f"{path}.refresh_seconds", bundle["refresh_seconds"], 1, 86400)
        _check_keys(reader, path, delivery, written[index])
        if delivery in MOUNTED:
            _check_directory(reader, path, bundle, directories)
        elif delivery == "git":
            _check_git(reader, f"{path}.git", bundle["git"] or {})
        elif delivery == "s3":
            _check_s3(reader, f"{path}.s3", bundle["s3"] or {})
        elif not bundle["source"]:
            fix = "Set it to the directory on the controller that becomes part of the image"
            reader.add(f"{path}.source", "not set", "delivery image needs it", fix)
    _check_backends(reader, values)


def _check_name(reader: SpecReader, path: str, name: str, names: dict[str, str]) -> None:
    if name in RESERVED_BUNDLES:
        reader.add(f"{path}.name", show(name), "this name is reserved", "Choose another name")
    elif not _BUNDLE.fullmatch(name):
        fix = "Use letters, digits, dashes, dots and underscores, at most 63 characters"
        reader.add(f"{path}.name", show(name), "this is no name for a bundle", fix)
    elif name in names:
        reader.add(f"{path}.name", show(name), f"{names[name]} has the same name", "Choose another name")
    names.setdefault(name, path)


def _check_keys(reader: SpecReader, path: str, delivery: str, written: t.Any) -> None:
    for key in _DELIVERY_KEYS:
        if isinstance(written, t.Mapping) and written.get(key) is not None and key not in KEYS[delivery]:
            others = " or ".join(name for name, keys in KEYS.items() if key in keys)
            fix = f"Remove it, or set delivery to {others}"
            reader.add(f"{path}.{key}", describe(written[key]), f"this means nothing with delivery {delivery}", fix)


def _check_directory(reader: SpecReader, path: str, bundle: Values, directories: list[tuple[str, str]]) -> None:
    mode = bundle["mode"]
    if mode is not None and not _MODE.fullmatch(mode):
        reader.add(
            f"{path}.mode", show(mode), "these are no permissions", 'Write octal digits in quotes, such as "0755"'
        )
    elif mode is not None and int(mode, 8) & _READ_AND_ENTER != _READ_AND_ENTER and bundle["owner"] != "50000":
        fix = 'Let others read and enter, as "0755" and "2775" do, or set owner to "50000"'
        problem = "Airflow could not read the DAGs, which it does as user 50000"
        reader.add(f"{path}.mode", show(mode), problem, fix)
    directory = (bundle["directory"] or bundle["name"]).rstrip("/")
    parts = directory.split("/")
    if directory.startswith("/") or any(part in ("", ".", "..") for part in parts):
        fix = "Write a path below <airflow_dags_path>/<airflow_environment>, without . and .."
        reader.add(f"{path}.directory", show(directory), "this does not lie below the share", fix)
        return
    for other, other_path in directories:
        if f"{directory}/".startswith(f"{other}/") or f"{other}/".startswith(f"{directory}/"):
            problem = f"it holds the same DAGs as {other_path} ({other})"
            reader.add(f"{path}.directory", show(directory), problem, "Give each bundle a directory of its own")
            break
    directories.append((directory, path))


def _check_git(reader: SpecReader, path: str, git: Values) -> None:
    _required(reader, path, git, {"repository": "the URL of the repository", "ref": "a branch or a tag"})
    repository = git.get("repository")
    if repository and urlsplit(repository).password is not None:
        fix = "Take it out of the URL, which users of Airflow may see, and set username and password"
        reader.add(f"{path}.repository", describe(repository), "it carries a password", fix)
    logins = [key for key in ("password", "private_key", "connection_id") if git.get(key)]
    _one_login(reader, path, logins)
    if git.get("username") and not git.get("password"):
        reader.add(f"{path}.username", show(git["username"]), "it comes without a password", "Set password")


def _check_s3(reader: SpecReader, path: str, s3: Values) -> None:
    _required(reader, path, s3, {"bucket": "the name of the bucket"})
    key, secret = s3.get("access_key_id"), s3.get("secret_access_key")
    if bool(key) != bool(secret):
        missing = "secret_access_key" if key else "access_key_id"
        reader.add(f"{path}.{missing}", "not set", "an access key has two parts", "Set both, or none")
    _one_login(reader, path, [name for name in ("secret_access_key", "connection_id") if s3.get(name)])
    for name in ("region_name", "endpoint_url"):
        if s3.get(name) and s3.get("connection_id"):
            fix = "Set it in that connection"
            reader.add(f"{path}.{name}", show(s3[name]), "connection_id names a connection that says this", fix)


def _required(reader: SpecReader, path: str, values: Values, keys: t.Mapping[str, str]) -> None:
    for key, meaning in keys.items():
        if not values.get(key):
            reader.add(f"{path}.{key}", "not set", "the delivery needs it", f"Set it to {meaning}")


def _one_login(reader: SpecReader, path: str, keys: list[str]) -> None:
    if len(keys) > 1:
        reader.add(path, " and ".join(keys), "these are two logins", f"Keep one of {', '.join(keys)}")


def _check_backends(reader: SpecReader, values: Values) -> None:
    logins = [
        item["name"]
        for item in values["airflow_bundles"] or []
        if item and any((item.get(kind) or {}).get(key) for kind, key in _LOGINS) and item.get("name")
    ]
    if not logins:
        return
    for section, option in (("secrets", "backend"), ("workers", "secrets_backend")):
        settings = (values["airflow_config"] or {}).get(section)
        value = settings.get(option) if isinstance(settings, t.Mapping) else None
        if value:
            problem = f"logins of bundles ({', '.join(logins)}) come through a secrets backend of their own"
            fix = (
                "Keep these logins as connections in your backend, and name them with connection_id in airflow_bundles"
            )
            reader.add(f"airflow_config.{section}.{option}", show(value), problem, fix)


#: Keys of a bundle for which the platform makes a connection.
_LOGINS = (
    ("git", "password"),
    ("git", "private_key"),
    ("s3", "secret_access_key"),
    ("s3", "region_name"),
    ("s3", "endpoint_url"),
)
