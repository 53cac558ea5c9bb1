"""Which registry the hosts have to reach, and how."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._platform.registry import registry

PUSHED = {"source": "bootstrap", "registry": "registry.example.com:5000", "push": True}


def only(image: dict[str, t.Any], **given: t.Any) -> dict[str, t.Any]:
    (found,) = registry(image, **given)
    return found


@pytest.mark.parametrize(
    ("image", "variable", "host", "port"),
    [
        (PUSHED, "airflow_image.registry", "registry.example.com", 5000),
        ({**PUSHED, "registry": "registry.example.com"}, "airflow_image.registry", "registry.example.com", 443),
        ({**PUSHED, "registry": "[2001:db8::1]:5000"}, "airflow_image.registry", "2001:db8::1", 5000),
        ({"source": "existing", "reference": "r.example.com/a/b:1"}, "airflow_image.reference", "r.example.com", 443),
        ({"source": "existing", "reference": "localhost/a:1"}, "airflow_image.reference", "localhost", 443),
        (
            {"source": "existing", "reference": "apache/airflow:3"},
            "airflow_image.reference",
            "registry-1.docker.io",
            443,
        ),
        ({"source": "existing", "reference": "docker.io/a/b"}, "airflow_image.reference", "registry-1.docker.io", 443),
    ],
)
def test_the_registry_is_the_one_in_the_image_s_name(
    image: dict[str, t.Any], variable: str, host: str, port: int
) -> None:
    found = only(image)

    assert (found["host"], found["port"], found["tls"]) == (host, port, True)
    assert found["variables"]["host"] == variable


@pytest.mark.parametrize("image", [{}, {"source": "official"}, {**PUSHED, "push": False}])
def test_an_image_that_stays_on_its_host_needs_no_registry(image: dict[str, t.Any]) -> None:
    assert registry(image) == []


def test_docker_hub_is_not_asked_where_engines_have_a_mirror_of_it() -> None:
    layers = [{"registry-mirrors": ["https://mirror.example.com"]}]

    assert registry({"source": "existing", "reference": "apache/airflow:3"}, daemon=layers) == []
    assert registry({"source": "existing", "reference": "r.example.com/airflow:3"}, daemon=layers) != []


def test_login_proxy_and_authorities_come_along() -> None:
    found = only(
        PUSHED,
        login={"username": "deploy", "password": "secret"},
        authorities=[
            {"registry": "registry.example.com:5000", "src": "ca.pem"},
            {"registry": "other.example.com", "content": "OTHER"},
        ],
        host_authorities=[{"name": "corporate", "content": "CORPORATE"}],
        files={"ca.pem": "OURS"},
        proxy={"http": "http://proxy:1", "https": "http://proxy:2", "no_proxy": ["example.com"]},
    )

    assert (found["user"], found["password"]) == ("deploy", "secret")
    assert found["ca_certificate"] == "OURS\nCORPORATE"
    assert (found["proxy"], found["no_proxy"]) == ("http://proxy:2", ["example.com"])


@pytest.mark.parametrize(
    ("name", "layers", "tls", "port"),
    [
        ("registry.example.com", [{"insecure-registries": ["registry.example.com"]}], False, 80),
        ("192.0.2.7:5000", [{"insecure-registries": ["192.0.2.0/24"]}], False, 5000),
        ("192.0.2.7:5000", [{"insecure-registries": ["192.0.2.0/24"]}, {"insecure-registries": []}], True, 5000),
        ("192.0.2.7:5000", [{"insecure-registries": ["192.0.2.7"]}], True, 5000),
    ],
)
def test_a_registry_without_tls_is_one_that_the_engine_was_told_of(
    name: str, layers: list[dict[str, t.Any]], tls: bool, port: int
) -> None:
    found = only({**PUSHED, "registry": name}, daemon=layers)

    assert (found["tls"], found["port"]) == (tls, port)
