from __future__ import annotations

import dataclasses
import typing as t
from pathlib import Path

import pytest
from flowstead_airflow import admin, settings

WANTED = admin.Admin("admin", "admin@example.com", "Ada", "Min", "new-password")


@dataclasses.dataclass
class User:
    id: int
    username: str
    email: str
    first_name: str
    last_name: str
    password: str
    roles: list[str]
    active: bool = True


class Manager:
    """FAB's security manager with one unique e-mail address per user, as its table demands."""

    def __init__(self, *users: User, roles: tuple[str, ...] = ("Admin", "Viewer")) -> None:
        self.users = list(users)
        self.roles = roles
        self.writes = 0

    def find_role(self, name: str) -> str | None:
        return name if name in self.roles else None

    def find_user(self, username: str) -> User | None:
        return next((user for user in self.users if user.username.lower() == username.lower()), None)

    def add_user(  # noqa: PLR0917 - FAB's own signature
        self, username: str, first_name: str, last_name: str, email: str, role: str, password: str
    ) -> t.Any:
        if any(user.email == email for user in self.users):
            return None
        self.writes += 1
        self.users.append(User(7, username, email, first_name, last_name, f"hash:{password}", [role]))
        return self.users[-1]

    def update_user(self, user: User) -> bool:
        assert user in self.users
        if any(other is not user and other.email == user.email for other in self.users):
            return False
        self.writes += 1
        return True

    def reset_password(self, userid: int, password: str) -> bool:
        self.writes += 1
        next(user for user in self.users if user.id == userid).password = f"hash:{password}"
        return True


def matches(stored: str, password: str) -> bool:
    assert stored.startswith("hash:"), "a real hash function refuses what is not a hash"
    return stored == f"hash:{password}"


def user(**changes: t.Any) -> User:
    made = User(7, "admin", "admin@example.com", "Ada", "Min", "hash:new-password", ["Admin"])
    return dataclasses.replace(made, **changes)


def test_a_missing_administrator_is_created() -> None:
    manager = Manager()
    assert admin.ensure(manager, WANTED, matches) == ["created"]
    assert manager.users == [user()]


def test_a_second_run_writes_nothing() -> None:
    manager = Manager(user())
    assert admin.ensure(manager, WANTED, matches) == []
    assert manager.writes == 0


def test_a_new_password_is_set() -> None:
    manager = Manager(user(password="hash:old"))
    assert admin.ensure(manager, WANTED, matches) == ["password"]
    assert manager.users == [user()]


def test_a_user_without_password_gets_one() -> None:
    assert admin.ensure(Manager(user(password="")), WANTED, matches) == ["password"]


def test_what_differs_is_changed_and_named() -> None:
    manager = Manager(user(email="old@example.com", first_name="A", last_name="B", active=False, roles=["Viewer"]))
    assert admin.ensure(manager, WANTED, matches) == ["email", "first_name", "last_name", "active", "role"]
    assert manager.users == [user(roles=["Viewer", "Admin"])]


def test_a_database_without_the_role_is_explained() -> None:
    with pytest.raises(admin.AdminFailed, match="role Admin does not exist: was the database migrated"):
        admin.ensure(Manager(roles=()), WANTED, matches)


def test_an_address_that_another_user_has_is_explained() -> None:
    other = user(id=8, username="other")
    with pytest.raises(admin.AdminFailed, match=r"did not create admin; is admin@example.com"):
        admin.ensure(Manager(other), WANTED, matches)
    with pytest.raises(admin.AdminFailed, match="did not update email of admin"):
        admin.ensure(Manager(other, user(email="old@example.com")), WANTED, matches)


@pytest.fixture(name="environment")
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {"USERNAME": "admin", "EMAIL": "e@example.com", "FIRST_NAME": "A", "LAST_NAME": "B"}.items():
        monkeypatch.setenv(f"FLOWSTEAD_ADMIN_{name}", value)
    (tmp_path / "admin_password").write_text("hidden-password", encoding="utf-8")
    monkeypatch.setattr(settings, "SECRETS", tmp_path)


@pytest.mark.usefixtures("environment")
def test_the_password_comes_from_the_secret_and_is_never_shown() -> None:
    wanted = admin.wanted()
    assert wanted.password == "hidden-password"
    assert "hidden-password" not in repr(wanted)


@pytest.mark.usefixtures("environment")
def test_a_missing_setting_is_exit_code_1_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("FLOWSTEAD_ADMIN_EMAIL")
    assert admin.main() == 1
    assert capsys.readouterr().err == "admin failed: the environment variable FLOWSTEAD_ADMIN_EMAIL is not set\n"


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("changed", "line"), [([], "unchanged"), (["email", "password"], "email, password")])
def test_one_line_says_what_was_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], changed: list[str], line: str
) -> None:
    monkeypatch.setattr(admin, "_apply", lambda _: changed)
    assert admin.main() == 0
    assert capsys.readouterr().out == f"admin admin: {line}\n"
