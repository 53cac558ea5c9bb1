# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create or update the administrator of the FAB auth manager: ``python -m flowstead_airflow.admin``.

The user comes from FLOWSTEAD_ADMIN_USERNAME, _EMAIL, _FIRST_NAME and _LAST_NAME, the password from the secret
admin_password. A second run changes nothing. Prints one line; exit code 1 says that the user is not as asked.
"""

from __future__ import annotations

import dataclasses
import sys
import typing as t

from flowstead_airflow import settings

ROLE = "Admin"


@dataclasses.dataclass(frozen=True)
class Admin:
    """The administrator as the inventory asks for it."""

    username: str
    email: str
    first_name: str
    last_name: str
    password: str = dataclasses.field(repr=False)


class AdminFailed(Exception):
    """FAB refused; its own log lines above say why."""


def wanted() -> Admin:
    """The administrator from environment and secret.

    Raises:
        settings.SettingMissing: when one of them is missing.
    """
    return Admin(
        username=settings.text("FLOWSTEAD_ADMIN_USERNAME"),
        email=settings.text("FLOWSTEAD_ADMIN_EMAIL"),
        first_name=settings.text("FLOWSTEAD_ADMIN_FIRST_NAME"),
        last_name=settings.text("FLOWSTEAD_ADMIN_LAST_NAME"),
        password=settings.secret("admin_password"),
    )


def ensure(manager: t.Any, admin: Admin, matches: t.Callable[[str, str], bool]) -> list[str]:
    """Bring FAB's user to what is wanted.

    Args:
        manager: FAB's security manager.
        admin: what is wanted.
        matches: whether a stored hash belongs to a password.

    Returns:
        What was changed; empty when nothing was.

    Raises:
        AdminFailed: when the role is missing or FAB refuses the change.
    """
    role = manager.find_role(ROLE)
    if role is None:
        raise AdminFailed(f"the role {ROLE} does not exist: was the database migrated with the FAB auth manager?")
    user = manager.find_user(username=admin.username)
    if user is None:
        added = manager.add_user(
            admin.username, admin.first_name, admin.last_name, admin.email, role, password=admin.password
        )
        if not added:
            raise AdminFailed(f"FAB did not create {admin.username}; is {admin.email} the address of another user?")
        return ["created"]
    changed = []
    for name in ("email", "first_name", "last_name"):
        if getattr(user, name) != getattr(admin, name):
            setattr(user, name, getattr(admin, name))
            changed.append(name)
    if not user.active:
        user.active = True
        changed.append("active")
    if role not in user.roles:
        user.roles = [*user.roles, role]
        changed.append("role")
    if changed and not manager.update_user(user):
        raise AdminFailed(f"FAB did not update {', '.join(changed)} of {admin.username}; is the email another user's?")
    if not user.password or not matches(user.password, admin.password):
        # Also ends the sessions that were opened with the old password.
        if not manager.reset_password(user.id, admin.password):
            raise AdminFailed(f"FAB did not change the password of {admin.username}")
        changed.append("password")
    return changed


def main() -> int:
    """Read the settings, change what differs, print one line; returns the exit code."""
    try:
        admin = wanted()
        changed = _apply(admin)
    except (settings.SettingMissing, AdminFailed) as error:
        print(f"admin failed: {error}", file=sys.stderr)
        return 1
    print(f"admin {admin.username}: {', '.join(changed) or 'unchanged'}")
    return 0


def _apply(admin: Admin) -> list[str]:
    from airflow.providers.fab.auth_manager.cli_commands.utils import (  # noqa: PLC0415 - present in the image only
        get_application_builder,
    )
    from airflow.utils.providers_configuration_loader import (  # noqa: PLC0415
        providers_configuration_loaded,
    )
    from werkzeug.security import check_password_hash  # noqa: PLC0415

    @providers_configuration_loaded
    def apply() -> list[str]:
        with get_application_builder() as builder:
            return ensure(builder.sm, admin, check_password_hash)

    return t.cast("list[str]", apply())


if __name__ == "__main__":
    sys.exit(main())
