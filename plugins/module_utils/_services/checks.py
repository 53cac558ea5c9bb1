# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the variables of local_services, all at once and before anything is changed.

PRIVATE to the collection. Pure: no I/O, no Ansible.
"""

from __future__ import annotations

import collections
import re
import typing as t

from .._platform.problems import Problem, describe, show
from .exports import export_problems, is_everything

Given = t.Mapping[str, t.Any]

_PREFIX = "local_services_"
_SHORTEST_PASSWORD = 8
#: bcrypt reads no further, see crypt(5).
_LONGEST_BCRYPT_PASSWORD = 72
#: What nfsd takes, see nfsd4_lease and nfsd4_grace in the kernel's fs/nfsd/nfsctl.c.
_NFS_SECONDS = range(10, 3601)
_NEED_SYSTEMD = ("rabbitmq", "registry", "nfs")
_WILDCARDS = ("0.0.0.0", "*", "::", "[::]")  # noqa: S104 - refused, not bound
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Host(t.NamedTuple):
    """What the checks have to know about the host.

    Attributes:
        name: inventory name.
        os_family: ``Debian``, or anything else.
        release: code name of the distribution.
        postgresql_version: major version to install; empty when nobody knows it.
        systemd: whether systemd is process 1.
        addresses: what the host has now.
    """

    name: str
    os_family: str
    release: str
    postgresql_version: str
    systemd: bool
    addresses: t.Sequence[str]


class Pem(t.NamedTuple):
    """The texts of the shared certificate and its company; empty where nothing is given or was found."""

    certificate: str = ""
    key: str = ""
    ca_certificate: str = ""


def problems(given: Given, host: Host, pem: Pem) -> list[Problem]:
    """Every problem; given holds the values of the role's variables by their names."""
    enabled = given[f"{_PREFIX}enabled"]
    found = _host(enabled, host) + _networks(given) + _tls(given, pem)
    checks: dict[str, t.Callable[[], list[Problem]]] = {
        "postgresql": lambda: _postgresql(given),
        "redis": lambda: _redis(given),
        "rabbitmq": lambda: _rabbitmq(given),
        "registry": lambda: _registry(given, host),
        "nfs": lambda: _nfs(given),
    }
    for server, check in checks.items():
        if server in enabled:
            found += check()
    return found


def _host(enabled: t.Sequence[str], host: Host) -> list[Problem]:
    found: list[Problem] = []
    if host.os_family != "Debian" or not host.postgresql_version:
        found.append(
            Problem(
                host.name,
                host.release or "unknown",
                "local_services installs servers from Debian 12/13 and Ubuntu 22.04/24.04",
                f"Take another host, or set {_PREFIX}postgresql_version to the major version its archive carries",
            )
        )
    needy = [server for server in _NEED_SYSTEMD if server in enabled]
    if needy and not host.systemd:
        fix = (
            f"Put the host into the group local_services only if it boots with systemd, "
            f"or take {' and '.join(needy)} out of {_PREFIX}enabled"
        )
        found.append(
            Problem(
                f"{_PREFIX}enabled", ", ".join(needy), f"process 1 of {host.name} is not systemd, which runs them", fix
            )
        )
    return found


def _networks(given: Given) -> list[Problem]:
    addresses, clients = f"{_PREFIX}listen_addresses", f"{_PREFIX}client_networks"
    found: list[Problem] = []
    if not given[addresses]:
        found.append(Problem(addresses, "empty", "no server would listen", "Name the addresses that clients use"))
    for index, address in enumerate(given[addresses]):
        if address in _WILDCARDS:
            fix = "Name the addresses that are needed"
            found.append(
                Problem(f"{addresses}[{index}]", show(address), "this is every address, also the public ones", fix)
            )
    for index, network in enumerate(given[clients]):
        if is_everything(network):
            fix = "Name the networks that are needed"
            found.append(Problem(f"{clients}[{index}]", show(network), "this lets everybody try passwords", fix))
    return found


def _tls(given: Given, pem: Pem) -> list[Problem]:
    found: list[Problem] = []
    for name, header in (
        ("certificate", "-----BEGIN CERTIFICATE-----"),
        ("key", "PRIVATE KEY-----"),
        ("ca_certificate", "-----BEGIN CERTIFICATE-----"),
    ):
        variable, text = f"{_PREFIX}tls_{name}", getattr(pem, name)
        if not given[variable]:
            continue
        content, src = given[variable].get("content"), given[variable].get("src")
        if bool(content) == bool(src):
            fix = "Give either `content` (PEM) or `src` (a file on the controller)"
            found.append(Problem(variable, describe(given[variable]), "it has both content and src, or neither", fix))
        elif not text:
            fix = "Correct the path; a relative one begins at the playbook's directory"
            found.append(Problem(f"{variable}.src", show(src), "the controller has no such file, or it is empty", fix))
        elif header not in text:
            fix = f"Give the whole text, which has a line with {header}"
            found.append(Problem(variable, describe(text), "this is no PEM text of its kind", fix))
    certificate, key = given[f"{_PREFIX}tls_certificate"], given[f"{_PREFIX}tls_key"]
    if bool(certificate) != bool(key):
        alone, missing = ("certificate", "key") if certificate else ("key", "certificate")
        fix = f"Set {_PREFIX}tls_{missing} too, or none of the two"
        found.append(
            Problem(f"{_PREFIX}tls_{missing}", "not set", f"a {alone} is given, and they belong together", fix)
        )
    return found


def _postgresql(given: Given) -> list[Problem]:
    variable = f"{_PREFIX}postgresql_databases"
    databases = given[variable]
    found = [
        Problem(variable, show(name), "two databases have this name", "Give every database a name of its own")
        for name, times in collections.Counter(database["name"] for database in databases).items()
        if times > 1
    ]
    for index, database in enumerate(databases):
        found += _password(f"{variable}[{index}].password", database["password"])
    return found


def _redis(given: Given) -> list[Problem]:
    why = "; Redis answers thousands of guesses a second"
    return _password(f"{_PREFIX}redis_password", given[f"{_PREFIX}redis_password"], why)


def _rabbitmq(given: Given) -> list[Problem]:
    name = f"{_PREFIX}rabbitmq_"
    user, timeout = given[f"{name}user"], given[f"{name}consumer_timeout_seconds"]
    found: list[Problem] = []
    if not user:
        found.append(
            Problem(f"{name}user", "not set", "RabbitMQ needs a user", "Set the name that clients log in with")
        )
    elif user == "guest":
        fix = "Choose another name; guest is the user that the role deletes"
        found.append(Problem(f"{name}user", show(user), "everybody knows this user", fix))
    found += _password(f"{name}password", given[f"{name}password"])
    for what in ("user", "vhost"):
        if _CONTROL.search(given[f"{name}{what}"] or "") or given[f"{name}{what}"].startswith("-"):
            fix = "Write plain characters, and no dash at the beginning"
            found.append(Problem(f"{name}{what}", show(given[f"{name}{what}"]), "RabbitMQ's tools cannot take it", fix))
    if not given[f"{name}vhost"]:
        found.append(Problem(f"{name}vhost", "empty", "a virtual host has a name", "Name it, or write / for the first"))
    if timeout < 1:
        fix = "Set it to at least the seconds of the longest task"
        found.append(Problem(f"{name}consumer_timeout_seconds", show(timeout), "no task could ever end", fix))
    listeners = given[f"{name}listeners"]
    if "tls" in listeners and not given[f"{_PREFIX}tls_certificate"]:
        fix = f"Set {_PREFIX}tls_certificate and {_PREFIX}tls_key, or take tls out"
        found.append(Problem(f"{name}listeners", show(listeners), "there is no certificate for TLS", fix))
    if set(listeners) >= {"tls", "plain"} and given[f"{name}port"] == given[f"{name}tls_port"]:
        fix = f"Give {name}port and {name}tls_port two numbers"
        found.append(Problem(f"{name}tls_port", show(given[f"{name}tls_port"]), "both listeners have this port", fix))
    return found


def _registry(given: Given, host: Host) -> list[Problem]:
    name = f"{_PREFIX}registry_"
    users, directory, address = given[f"{name}users"], given[f"{name}directory"], given[f"{name}address"]
    found: list[Problem] = []
    if not given[f"{_PREFIX}tls_certificate"]:
        fix = f"Set it and {_PREFIX}tls_key"
        found.append(
            Problem(
                f"{_PREFIX}tls_certificate", "not set", "a registry without TLS shows passwords to the network", fix
            )
        )
    if not users:
        fix = "Add at least one {name: ..., password: ...}"
        found.append(Problem(f"{name}users", "empty", "everybody could push images, or nobody could", fix))
    for index, user in enumerate(users):
        found += _registry_user(f"{name}users[{index}]", user, [other["name"] for other in users[:index]])
    if not directory.startswith("/") or not directory.strip("/"):
        fix = "Name a directory of its own, from / on"
        found.append(Problem(f"{name}directory", show(directory), "images cannot be kept there", fix))
    if address and address not in host.addresses and not address.startswith("127."):
        fix = f"Name one of {', '.join(host.addresses)}, or leave it empty"
        found.append(Problem(f"{name}address", show(address), f"{host.name} does not have this address", fix))
    return found


def _registry_user(where: str, user: t.Mapping[str, str], earlier: t.Sequence[str]) -> list[Problem]:
    found: list[Problem] = []
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*", user["name"]):
        fix = "Use letters, digits and _ . @ + -"
        found.append(Problem(f"{where}.name", show(user["name"]), "the password file cannot hold this name", fix))
    if user["name"] in earlier:
        found.append(Problem(f"{where}.name", show(user["name"]), "two users have this name", "Name each user once"))
    found += _password(f"{where}.password", user["password"])
    if len(user["password"].encode()) > _LONGEST_BCRYPT_PASSWORD:
        fix = f"Take one of at most {_LONGEST_BCRYPT_PASSWORD} bytes"
        found.append(Problem(f"{where}.password", describe(user["password"]), "bcrypt reads only its beginning", fix))
    return found


def _nfs(given: Given) -> list[Problem]:
    name = f"{_PREFIX}nfs_"
    found = export_problems(given[f"{name}exports"])
    grace, lease = given[f"{name}grace_seconds"], given[f"{name}lease_seconds"]
    for variable, seconds in ((f"{name}grace_seconds", grace), (f"{name}lease_seconds", lease)):
        if seconds not in _NFS_SECONDS:
            fix = f"Choose {_NFS_SECONDS.start} to {_NFS_SECONDS.stop - 1} seconds"
            found.append(Problem(variable, show(seconds), "the kernel does not take it", fix))
    if grace < lease:
        fix = f"Set it to at least {lease}, or {name}lease_seconds lower"
        problem = "clients notice a restart only within the lease, and could not reclaim their locks any more"
        found.append(Problem(f"{name}grace_seconds", show(grace), problem, fix))
    return found


def _password(variable: str, password: str | None, why: str = "") -> list[Problem]:
    if not password:
        return [Problem(variable, "not set", f"a password is missing{why}", "Set a long random one")]
    if len(password) < _SHORTEST_PASSWORD:
        problem = f"a password has at least {_SHORTEST_PASSWORD} characters here{why}"
        return [Problem(variable, describe(password), problem, "Set a long random one")]
    if _CONTROL.search(password):
        return [
            Problem(variable, describe(password), "it holds a line break or another control character", "Remove it")
        ]
    return []
