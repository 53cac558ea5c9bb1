from __future__ import annotations

import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._services.checks import Host, Pem, problems

SECRET = "s3cr3t-never-shown"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"
HOST = Host("services1", "Debian", "trixie", "17", True, ["192.0.2.5"])
PEM = Pem(CERTIFICATE, KEY, CERTIFICATE)
GOOD: dict[str, t.Any] = {
    "enabled": ["postgresql", "redis", "rabbitmq", "registry", "nfs"],
    "listen_addresses": ["127.0.0.1", "192.0.2.5"],
    "client_networks": ["192.0.2.0/24"],
    "tls_certificate": {"content": CERTIFICATE},
    "tls_key": {"content": KEY},
    "tls_ca_certificate": {"src": "ca.pem"},
    "postgresql_databases": [{"name": "airflow", "password": SECRET}],
    "redis_password": SECRET,
    "rabbitmq_user": "airflow",
    "rabbitmq_password": SECRET,
    "rabbitmq_vhost": "/",
    "rabbitmq_listeners": ["tls", "plain"],
    "rabbitmq_port": 5672,
    "rabbitmq_tls_port": 5671,
    "rabbitmq_consumer_timeout_seconds": 43200,
    "registry_users": [{"name": "push", "password": SECRET}],
    "registry_directory": "/var/lib/docker-registry",
    "registry_address": "",
    "nfs_exports": [{"path": "/srv/dags", "clients": ["192.0.2.0/24"]}],
    "nfs_grace_seconds": 90,
    "nfs_lease_seconds": 90,
}


def found(host: Host = HOST, pem: Pem = PEM, **changes: t.Any) -> list[t.Any]:
    given = {f"local_services_{name}": value for name, value in {**GOOD, **changes}.items()}
    return problems(given, host, pem)


def test_variables_that_are_fine_have_no_problems() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("changes", "variable", "words"),
    [
        ({"listen_addresses": []}, "listen_addresses", "no server would listen"),
        ({"listen_addresses": ["127.0.0.1", "0.0.0.0"]}, "listen_addresses[1]", "every address"),
        ({"listen_addresses": ["::"]}, "listen_addresses[0]", "every address"),
        ({"client_networks": ["0.0.0.0/0"]}, "client_networks[0]", "everybody"),
        ({"client_networks": ["10.0.0.0/8", "::/0"]}, "client_networks[1]", "everybody"),
        ({"tls_key": {}, "registry_users": GOOD["registry_users"]}, "tls_key", "a certificate is given"),
        ({"tls_certificate": {"content": "x", "src": "y"}}, "tls_certificate", "both content and src"),
        ({"tls_ca_certificate": {"content": ""}}, "tls_ca_certificate", "both content and src, or neither"),
        ({"postgresql_databases": [{"name": "a", "password": SECRET}] * 2}, "postgresql_databases", "two databases"),
        ({"postgresql_databases": [{"name": "a", "password": "short"}]}, "postgresql_databases[0].password", "least 8"),
        ({"redis_password": ""}, "redis_password", "missing"),
        ({"redis_password": "1234567"}, "redis_password", "least 8"),
        ({"rabbitmq_user": ""}, "rabbitmq_user", "needs a user"),
        ({"rabbitmq_user": "guest"}, "rabbitmq_user", "everybody knows"),
        ({"rabbitmq_user": "--node"}, "rabbitmq_user", "cannot take it"),
        ({"rabbitmq_password": ""}, "rabbitmq_password", "missing"),
        ({"rabbitmq_password": "1234567"}, "rabbitmq_password", "least 8"),
        ({"rabbitmq_password": "with a line\nbreak"}, "rabbitmq_password", "line break"),
        ({"rabbitmq_vhost": ""}, "rabbitmq_vhost", "has a name"),
        ({"rabbitmq_consumer_timeout_seconds": 0}, "rabbitmq_consumer_timeout_seconds", "longest task"),
        ({"rabbitmq_tls_port": 5672}, "rabbitmq_tls_port", "both listeners"),
        ({"registry_users": []}, "registry_users", "everybody"),
        ({"registry_users": [{"name": "a:b", "password": SECRET}]}, "registry_users[0].name", "cannot hold"),
        ({"registry_users": [{"name": "a", "password": SECRET}] * 2}, "registry_users[1].name", "two users"),
        ({"registry_users": [{"name": "a", "password": "x"}]}, "registry_users[0].password", "least 8"),
        ({"registry_users": [{"name": "a", "password": "x" * 73}]}, "registry_users[0].password", "bcrypt"),
        ({"registry_directory": "images"}, "registry_directory", "from / on"),
        ({"registry_directory": "/"}, "registry_directory", "from / on"),
        ({"registry_address": "192.0.2.6"}, "registry_address", "192.0.2.5"),
        ({"nfs_exports": []}, "nfs_exports", "nothing to export"),
        ({"nfs_grace_seconds": 5, "nfs_lease_seconds": 90}, "nfs_grace_seconds", "kernel"),
        ({"nfs_lease_seconds": 91}, "nfs_grace_seconds", "at least 91"),
    ],
)
def test_a_bad_value_is_named_with_what_to_do(changes: dict[str, t.Any], variable: str, words: str) -> None:
    problem = found(**changes)[0]

    assert problem.variable == f"local_services_{variable}"
    assert words in problem.line()
    assert SECRET not in problem.line()


def test_servers_that_are_not_enabled_are_not_looked_at() -> None:
    changes = {"registry_users": [], "nfs_exports": [], "rabbitmq_user": "", "redis_password": ""}

    assert found(enabled=["postgresql"], **changes) == []


def test_without_a_certificate_only_servers_that_need_one_complain() -> None:
    without = {"tls_certificate": {}, "tls_key": {}, "tls_ca_certificate": {}}

    assert found(enabled=["postgresql", "rabbitmq"], rabbitmq_listeners=[], **without) == []
    (registry,) = found(enabled=["registry"], **without)
    assert registry.variable == "local_services_tls_certificate"
    (rabbitmq,) = found(enabled=["rabbitmq"], rabbitmq_listeners=["tls"], **without)
    assert rabbitmq.variable == "local_services_rabbitmq_listeners"


def test_a_file_that_the_controller_does_not_have_is_named() -> None:
    (problem,) = found(pem=PEM._replace(ca_certificate=""))

    assert problem.variable == "local_services_tls_ca_certificate.src"
    assert "ca.pem" in problem.line()


def test_a_key_in_place_of_a_certificate_is_refused_without_being_shown() -> None:
    (problem,) = found(pem=PEM._replace(certificate=KEY))

    assert problem.variable == "local_services_tls_certificate"
    assert "PRIVATE" not in problem.line()


def test_servers_that_need_systemd_are_refused_together_without_it() -> None:
    (problem,) = found(host=HOST._replace(systemd=False))

    assert "rabbitmq, registry, nfs" in problem.line()
    assert found(host=HOST._replace(systemd=False), enabled=["postgresql", "redis"]) == []


@pytest.mark.parametrize("host", [HOST._replace(os_family="RedHat"), HOST._replace(postgresql_version="")])
def test_a_distribution_without_known_packages_is_refused(host: Host) -> None:
    (problem,) = found(host=host)

    assert problem.variable == "services1"


def test_all_problems_come_at_once() -> None:
    bad = {"registry_users": [], "rabbitmq_user": "", "redis_password": "x", "nfs_exports": [], "listen_addresses": []}

    assert len(found(**bad)) == 5
