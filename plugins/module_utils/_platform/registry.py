# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image registry that hosts have to reach, as the inventory describes it to the image and to the engine.

PRIVATE to the collection. Pure.

Source: distribution's reference grammar, for where a registry's host ends in an image's name.
"""

from __future__ import annotations

import ipaddress
import typing as t

_DOCKER_HUB = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}


def registry(
    image: t.Mapping[str, t.Any],
    *,
    login: t.Mapping[str, str] | None = None,
    authorities: t.Sequence[t.Mapping[str, str]] = (),
    host_authorities: t.Sequence[t.Mapping[str, str]] = (),
    files: t.Mapping[str, str] | None = None,
    daemon: t.Sequence[t.Mapping[str, t.Any]] = (),
    proxy: t.Mapping[str, t.Any] | None = None,
) -> list[dict[str, t.Any]]:
    """One endpoint for ``host_preflight``, or none for an image that never leaves its host. Handle as a secret.

    Args:
        image: ``airflow_image``.
        login: ``airflow_image_registry``.
        authorities: ``docker_engine_registry_cas``.
        host_authorities: ``docker_engine_ca_certificates``, which the host may not trust yet.
        files: path to text, of each ``src`` in both.
        daemon: the layers of ``daemon.json``; a registry in ``insecure-registries`` is asked without TLS.
        proxy: ``docker_engine_proxy``.
    """
    variable, name = _name(image)
    if not name:
        return []
    if name in _DOCKER_HUB and any(isinstance(layer, t.Mapping) and layer.get("registry-mirrors") for layer in daemon):
        return []  # engines ask the mirror, which may be all that the hosts can reach
    secure = not _is_insecure(name, daemon)
    host, port = _split(_DOCKER_HUB.get(name, name), 443 if secure else 80)
    given = proxy or {}
    trusted = [entry for entry in authorities if entry.get("registry") == name] + list(host_authorities)
    scheme = "https" if secure else "http"
    return [
        {
            "name": "image registry",
            "variable": "airflow_image_registry",
            "protocol": "registry",
            "host": host,
            "port": port,
            "user": (login or {}).get("username") or "",
            "password": (login or {}).get("password") or "",
            "tls": secure,
            "ca_certificate": "\n".join(_pem(entry, files or {}) for entry in trusted),
            "proxy": given.get(scheme) or "",
            "no_proxy": list(given.get("no_proxy") or []),
            "variables": {
                "host": variable,
                "port": variable,
                "user": "airflow_image_registry.username",
                "tls": "docker_engine_daemon.insecure-registries",
                "ca_certificate": "docker_engine_registry_cas",
                "proxy": f"docker_engine_proxy.{scheme}",
            },
        }
    ]


def _name(image: t.Mapping[str, t.Any]) -> tuple[str, str]:
    """The variable that names the registry, and the registry; empty when no host asks one for this image."""
    if image.get("source") == "existing":
        first, slash, _rest = str(image.get("reference") or "").partition("/")
        named = bool(slash) and ("." in first or ":" in first or first == "localhost")
        return "airflow_image.reference", first if named else "docker.io"
    return "airflow_image.registry", str(image.get("registry") or "") if image.get("push") else ""


def _is_insecure(name: str, daemon: t.Sequence[t.Mapping[str, t.Any]]) -> bool:
    """Whether the last layer that speaks of insecure registries lists this one."""
    listed: t.Sequence[str] = ()
    for layer in daemon:
        if isinstance(layer, t.Mapping) and "insecure-registries" in layer:
            listed = layer["insecure-registries"] or ()
    address = _address(_split(name, 0)[0])
    return any(entry == name or (address is not None and _holds(entry, address)) for entry in listed)


def _holds(entry: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return "/" in entry and address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _split(name: str, default: int) -> tuple[str, int]:
    host, colon, port = name.rpartition(":")
    if colon and port.isdigit() and not host.endswith(":"):
        return host.strip("[]"), int(port)
    return name.strip("[]"), default


def _pem(entry: t.Mapping[str, str], files: t.Mapping[str, str]) -> str:
    return entry.get("content") or files.get(entry.get("src") or "", "")
