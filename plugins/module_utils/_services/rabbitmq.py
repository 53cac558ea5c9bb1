# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to change in a RabbitMQ server so that one user works in one virtual host.

PRIVATE to the collection. Pure: no I/O, no Ansible.

Source: RabbitMQ documentation, "Schema Definition Export and Import" and "Passwords" (base64 of a salt of four bytes
and the SHA-256 of salt and password).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import typing as t

_ALGORITHM = "rabbit_password_hashing_sha256"
_SALT_BYTES = 4
_EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}
#: The user with a known password that every new server has.
_DEFAULT_USER = "guest"

Definitions = t.Mapping[str, t.Any]


def plan(live: Definitions, *, vhost: str, user: str, password: str) -> dict[str, t.Any]:
    """Compare with what ``rabbitmqctl export_definitions`` says.

    Args:
        live: the exported definitions.

    Returns:
        ``definitions``, to be imported, empty when nothing is missing (holds a salted hash, never the password);
        ``delete_users``, names; ``changes``, what will be different, in words without secrets.
    """
    missing: dict[str, list[t.Any]] = {}
    changes: list[str] = []
    if vhost not in [item["name"] for item in live.get("vhosts", [])]:
        missing["vhosts"] = [{"name": vhost}]
        changes.append(f"create virtual host {vhost}")
    found = next((item for item in live.get("users", []) if item["name"] == user), None)
    if found is None or not _is_password(found, password) or _tags(found):
        algorithm = {"hashing_algorithm": _ALGORITHM, "password_hash": hash_password(password)}
        missing["users"] = [{"name": user, "tags": [], **algorithm}]
        changes.append(f"create user {user}" if found is None else f"set password and tags of user {user}")
    rights = {"user": user, "vhost": vhost, **_EVERYTHING}
    if rights not in [dict(item) for item in live.get("permissions", [])]:
        missing["permissions"] = [rights]
        changes.append(f"let user {user} into virtual host {vhost}")
    names = [item["name"] for item in live.get("users", [])]
    unwanted = [_DEFAULT_USER] if _DEFAULT_USER in names and user != _DEFAULT_USER else []
    return {
        "definitions": missing,
        "delete_users": unwanted,
        "changes": [f"delete user {name}" for name in unwanted] + changes,
    }


def hash_password(password: str, salt: bytes | None = None) -> str:
    """The hash of a password as definitions carry it; salt is of four bytes, random when not given."""
    salt = os.urandom(_SALT_BYTES) if salt is None else salt
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _is_password(user: t.Mapping[str, t.Any], password: str) -> bool:
    """Whether the user logs in with this password; an algorithm other than ours counts as another password."""
    if user.get("hashing_algorithm") != _ALGORITHM:
        return False
    given = str(user.get("password_hash", ""))
    try:
        salt = base64.b64decode(given, validate=True)[:_SALT_BYTES]
    except ValueError:
        return False
    return hmac.compare_digest(given, hash_password(password, salt))


def _tags(user: t.Mapping[str, t.Any]) -> list[str]:
    """Tags make administrators; before version 3.9 they are one text with commas."""
    tags = user.get("tags") or []
    return [tag for tag in tags.split(",") if tag] if isinstance(tags, str) else list(tags)
