"""How people and programs get at the guests: keys, ssh's configuration, certificates, and facts for inventories."""

from __future__ import annotations

import array
import json
import re
import shlex
import socket
import sys
from pathlib import Path

from . import network
from .run import run
from .settings import HERE, Host, Lab

_AUTHORITY_DAYS, _SERVER_DAYS = "3650", "825"


def prepare(lab: Lab) -> str:
    """Make the lab's key, certificates and files for ssh and inventories; returns the public key."""
    lab.state.mkdir(parents=True, exist_ok=True)
    key = lab.state / "key"
    if not key.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {lab.name}", "-f", key)
    authority = _authority(lab)
    for host in lab.hosts:
        if host.certificate:
            _certificate(lab, host, authority)
    (lab.state / "ssh_config").write_text(ssh_config(lab), encoding="utf-8")
    (lab.state / "facts.json").write_text(json.dumps(facts(lab), indent=2) + "\n", encoding="utf-8")
    return key.with_suffix(".pub").read_text(encoding="ascii").strip()


def ssh_config(lab: Lab) -> str:
    """ssh's configuration: `ssh -F FILE HOST` works from outside of the lab's network."""
    inside = shlex.join(network.inside(lab))
    lines = []
    for host in lab.hosts:
        lines += [f"Host {host.name} {lab.address(host)}", f"  HostName {lab.address(host)}"]
    lines += [
        "Host *",
        "  User root",
        f'  IdentityFile "{lab.state / "key"}"',
        "  IdentitiesOnly yes",
        # The command hands a connected socket over and ends: no process stands between the two.
        f"  ProxyCommand {inside} {shlex.quote(sys.executable)} {shlex.quote(str(HERE / 'lab'))} connect %h %p",
        "  ProxyUseFdpass yes",
        f'  UserKnownHostsFile "{lab.state / "known_hosts"}"',
        "  StrictHostKeyChecking accept-new",
        "  ConnectTimeout 20",
        "  ServerAliveInterval 10",
        "  ServerAliveCountMax 6",
        "  LogLevel ERROR",
    ]
    return "\n".join(lines) + "\n"


def connect(address: str, port: int) -> None:
    """Connect from here, and hand the socket to the ssh that waits at standard output (ProxyUseFdpass)."""
    with socket.create_connection((address, port), timeout=20) as connection:
        connection.setblocking(True)
        with socket.socket(fileno=sys.stdout.fileno()) as receiver:
            descriptors = array.array("i", [connection.fileno()])
            receiver.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
            receiver.detach()


def forget_host_key(lab: Lab, host: Host) -> None:
    """A host that starts from nothing has a new key."""
    known = lab.state / "known_hosts"
    if known.exists():
        run("ssh-keygen", "-q", "-R", lab.address(host), "-f", known)


def facts(lab: Lab) -> dict:
    """What inventories and tests need to know about this lab."""
    return {
        "name": lab.name,
        "domain": lab.domain,
        "namespace": lab.namespace,
        "gateway": lab.gateway,
        "network": f"{lab.prefix}.0/24",
        "proxy": lab.proxy,
        "ssh_config": str(lab.state / "ssh_config"),
        "addresses": {host.name: lab.address(host) for host in lab.hosts},
        "authority": (lab.state / "pki" / "authority.pem").read_text(encoding="ascii"),
        "certificates": {
            host.name: {
                "certificate": str(lab.state / "pki" / f"{host.name}.pem"),
                "key": str(lab.state / "pki" / f"{host.name}.key"),
            }
            for host in lab.hosts
            if host.certificate
        },
        "machine_authorities": machine_authorities(),
    }


def machine_authorities() -> dict[str, str]:
    """Certificates of authorities that this machine's administrator added; the guests' packages need them too."""
    folder = Path("/usr/local/share/ca-certificates")
    found = {}
    for path in sorted(folder.rglob("*.crt")):
        text = path.read_text(encoding="ascii", errors="replace")
        blocks = re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", text, re.DOTALL)
        found.update({f"machine-{path.stem}-{number}": block for number, block in enumerate(blocks)})
    return found


def inventory(lab: Lab, hosts: list[Host]) -> dict:
    """The hosts as a dynamic inventory of Ansible."""
    groups: dict[str, dict] = {}
    for host in hosts:
        for group in host.groups:
            groups.setdefault(group, {"hosts": []})["hosts"].append(host.name)
    hostvars = {
        host.name: {
            "ansible_host": lab.address(host),
            "ansible_user": "root",
            "ansible_become": False,
            "ansible_ssh_common_args": f"-F {shlex.quote(str(lab.state / 'ssh_config'))}",
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        for host in hosts
    }
    return {**groups, "_meta": {"hostvars": hostvars}}


def _authority(lab: Lab) -> Path:
    pki = lab.state / "pki"
    pki.mkdir(mode=0o700, exist_ok=True)
    certificate, key = pki / "authority.pem", pki / "authority.key"
    if not certificate.exists():
        run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", key, "-out", certificate, "-days", _AUTHORITY_DAYS, "-subj", f"/CN=Authority of {lab.name}"),
            *("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )
    return certificate


def _certificate(lab: Lab, host: Host, authority: Path) -> None:
    certificate, key = authority.with_name(f"{host.name}.pem"), authority.with_name(f"{host.name}.key")
    if certificate.exists():
        return
    names = f"DNS:{host.name}.{lab.domain},DNS:{host.name},IP:{lab.address(host)}"
    request = certificate.with_suffix(".csr")
    run(
        *("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-keyout", key, "-out", request, "-subj", f"/CN={host.name}.{lab.domain}"),
        *("-addext", f"subjectAltName={names}", "-addext", "extendedKeyUsage=serverAuth"),
    )
    run(
        *("openssl", "x509", "-req", "-in", request, "-CA", authority, "-CAkey", authority.with_suffix(".key")),
        *("-CAcreateserial", "-copy_extensions", "copy", "-days", _SERVER_DAYS, "-out", certificate),
    )
    request.unlink()
