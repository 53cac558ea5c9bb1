from __future__ import annotations

import base64
import json
import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._services.rabbitmq import hash_password, plan

PASSWORD = "correct horse battery"
RIGHTS = {"user": "airflow", "vhost": "jobs", "configure": ".*", "write": ".*", "read": ".*"}


def user(name: str = "airflow", password: str = PASSWORD, **more: t.Any) -> dict[str, t.Any]:
    algorithm = {"hashing_algorithm": "rabbit_password_hashing_sha256", "password_hash": hash_password(password)}
    return {"name": name, "tags": [], "limits": {}, **algorithm, **more}


def server(**more: t.Any) -> dict[str, t.Any]:
    return {"vhosts": [{"name": "/"}, {"name": "jobs"}], "users": [user()], "permissions": [RIGHTS], **more}


def planned(live: dict[str, t.Any]) -> dict[str, t.Any]:
    return plan(live, vhost="jobs", user="airflow", password=PASSWORD)


def test_the_hash_is_the_one_of_rabbitmqs_documentation() -> None:
    # "Computing Password Hash" there: salt 908DC60A, password test12
    hashed = hash_password("test12", bytes.fromhex("908DC60A"))

    assert hashed == "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"


def test_a_new_server_gets_all_and_loses_guest() -> None:
    guest = user("guest", "guest", tags=["administrator"])
    new = {"vhosts": [{"name": "/"}], "users": [guest], "permissions": [{**RIGHTS, "user": "guest", "vhost": "/"}]}

    found = planned(new)

    assert found["definitions"]["vhosts"] == [{"name": "jobs"}]
    assert found["definitions"]["permissions"] == [RIGHTS]
    assert found["delete_users"] == ["guest"]
    assert [change.split()[0] for change in found["changes"]] == ["delete", "create", "create", "let"]


def test_a_plan_that_was_carried_out_leaves_nothing_to_do() -> None:
    first = planned({"vhosts": [], "users": [], "permissions": []})["definitions"]

    assert planned(first) == {"definitions": {}, "delete_users": [], "changes": []}
    assert planned(server()) == {"definitions": {}, "delete_users": [], "changes": []}


@pytest.mark.parametrize(
    "changed",
    [
        user(password="another one"),
        user(tags=["administrator"]),
        user(tags="administrator"),
        user(hashing_algorithm="rabbit_password_hashing_md5"),
        user(password_hash="not base64!"),
        user(password_hash=""),
    ],
)
def test_a_user_that_differs_is_set_again_and_nothing_else(changed: dict[str, t.Any]) -> None:
    found = planned(server(users=[changed]))

    assert list(found["definitions"]) == ["users"]
    assert found["changes"] == ["set password and tags of user airflow"]


def test_fewer_rights_are_completed() -> None:
    found = planned(server(permissions=[{**RIGHTS, "read": "^$"}]))

    assert found["definitions"] == {"permissions": [RIGHTS]}


def test_other_users_virtual_hosts_and_permissions_are_left_alone() -> None:
    others = server(users=[user(), user("monitoring")], permissions=[RIGHTS, {**RIGHTS, "user": "monitoring"}])

    assert planned(others)["changes"] == []


def test_the_password_is_nowhere_in_a_plan() -> None:
    text = json.dumps(planned({"vhosts": [], "users": [], "permissions": []}))

    assert PASSWORD not in text
    assert base64.b64encode(PASSWORD.encode()).decode() not in text
