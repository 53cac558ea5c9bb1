"""A signed repository of Docker's packages on a host of the lab, by ``molecule/repository/repository``."""

from __future__ import annotations

import re

from lab_hosts import ROOT, Hosts, wait_for

PROGRAM = ROOT / "molecule" / "repository" / "repository"
_PORT = 8095
_HOME = "/srv/repository"


class Repository:
    """What the host ``host`` serves, from the first use on; other hosts reach it without the proxy.

    Attributes:
        url: where apt finds it; ``url``/gpg is the key that signs it, ``url``/wrong.gpg one that does not.
        versions: those of docker-ce, the oldest first.
    """

    def __init__(self, hosts: Hosts, host: str) -> None:
        self.url = f"http://{host}.{hosts.facts['domain']}:{_PORT}"
        if not _answers(hosts, host):
            _prepare(hosts, host)
            hosts.run(host, f"python3 {_HOME}.py build {_HOME}", timeout=600)
            hosts.run(host, f"systemd-run --quiet --unit=repository python3 {_HOME}.py serve {_HOME} --port {_PORT}")
            wait_for(f"{self.url} to answer", lambda: _answers(hosts, host), 60, pause=0.5)
        index = hosts.run(host, f"cat {_HOME}/dists/*/stable/binary-*/Packages")
        self.versions = re.findall(r"^Package: docker-ce\nVersion: (\S+)$", index, re.MULTILINE)


def _prepare(hosts: Hosts, host: str) -> None:
    """Give the host what the program needs. It is a new one, behind the proxy of the lab."""
    for name, text in hosts.facts["machine_authorities"].items():
        hosts.write(host, f"/usr/local/share/ca-certificates/{name}.crt", text)
    proxy = hosts.facts["proxy"]
    hosts.write(
        host, "/etc/apt/apt.conf.d/proxy", f'Acquire::http::Proxy "{proxy}";\nAcquire::https::Proxy "{proxy}";\n'
    )
    hosts.write(host, f"{_HOME}.py", PROGRAM.read_text(encoding="utf-8"))
    hosts.run(
        host,
        "update-ca-certificates >/dev/null && apt-get -qq update"
        " && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends gpg gpg-agent >/dev/null",
        timeout=600,
    )


def _answers(hosts: Hosts, host: str) -> bool:
    try:
        hosts.connect(host, _PORT).close()
    except OSError:
        return False
    return True
