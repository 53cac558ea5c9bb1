"""Which hosts are reached without a proxy; the table follows golang.org/x/net/http/httpproxy."""

from __future__ import annotations

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.proxy import bypasses


@pytest.mark.parametrize(
    ("host", "entry", "direct"),
    [
        ("registry.example.com", "registry.example.com", True),
        ("registry.example.com", "example.com", True),
        ("registry.example.com", "EXAMPLE.com ", True),
        ("registry.example.com", ".example.com", True),
        ("registry.example.com", "*.example.com", True),
        ("example.com", ".example.com", False),
        ("notexample.com", "example.com", False),
        ("registry.example.com", "registry.example.com:5000", True),
        ("registry.example.com", "registry.example.com:443", False),
        ("192.0.2.7", "192.0.2.0/24", True),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.7:443", False),
        ("198.51.100.1", "192.0.2.0/24", False),
        ("registry.example.com", "192.0.2.0/24", False),
        ("2001:db8::1", "2001:db8::/32", True),
        ("registry.example.com", "*", True),
        ("registry.example.com", "", False),
        ("localhost", "", True),
        ("127.0.0.1", "", True),
    ],
)
def test_a_host_is_reached_directly_when_an_entry_covers_it(host: str, entry: str, direct: bool) -> None:
    assert bypasses(host, 5000, [entry]) is direct
