from __future__ import annotations

import json

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flowstead.airflow.plugins.filter.local_services import FilterModule

FILTERS = FilterModule().filters()


def test_problems_are_lines() -> None:
    variables = {
        "local_services_enabled": ["redis"],
        "local_services_listen_addresses": ["127.0.0.1"],
        "local_services_client_networks": [],
        "local_services_tls_certificate": {},
        "local_services_tls_key": {},
        "local_services_tls_ca_certificate": {},
        "local_services_redis_password": "",
    }
    host = {
        "name": "a",
        "os_family": "Debian",
        "release": "trixie",
        "postgresql_version": "17",
        "systemd": True,
        "addresses": [],
    }

    (line,) = FILTERS["local_services_problems"](variables, host=host, pem={})

    assert line.startswith("local_services_redis_password (not set): ")


def test_exports_are_lines_and_directories() -> None:
    found = FILTERS["local_services_exports"]([{"path": "/srv/a", "clients": ["192.0.2.1"]}])

    assert found["lines"][0].startswith("/srv/a 192.0.2.1(ro,")
    assert found["directories"] == [{"path": "/srv/a"}]


def test_exports_that_were_not_checked_fail_with_the_variable() -> None:
    with pytest.raises(AnsibleFilterError, match="local_services_nfs_exports: x is no network"):
        FILTERS["local_services_exports"]([{"path": "/srv/a", "clients": ["x"]}])


def test_a_plan_is_made_from_what_rabbitmqctl_writes() -> None:
    exported = json.dumps({"users": [], "vhosts": [{"name": "/"}], "permissions": []})

    found = FILTERS["local_services_rabbitmq"](exported, vhost="/", user="airflow", password="12345678")

    assert found["changes"] == ["create user airflow", "let user airflow into virtual host /"]


def test_an_export_that_is_no_json_is_explained() -> None:
    with pytest.raises(AnsibleFilterError, match="no JSON"):
        FILTERS["local_services_rabbitmq"]("Error:", vhost="/", user="a", password="12345678")
