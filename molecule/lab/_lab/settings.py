"""What a lab consists of: its hosts, which are data, and the places where it keeps things."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import tomllib

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
DEFAULT_HOSTS = HERE / "hosts.toml"
DEFAULT_NAME = "lab"

_NAME = re.compile(r"[a-z][a-z0-9-]{0,14}")
_KEYS = {"name", "address", "groups", "memory", "disk", "default", "certificate"}


class LabError(Exception):
    """What went wrong, where, and what to do, for the person who waits for the lab."""


@dataclass(frozen=True)
class Host:
    """One guest.

    Attributes:
        name: its host name.
        number: last octet of its address.
        groups: inventory groups.
        memory: MiB; only pages that the guest touches cost anything.
        disk: GiB, sparse.
        default: started by ``up`` without names.
        certificate: gets a server certificate of the lab's authority.
    """

    name: str
    number: int
    groups: tuple[str, ...] = ()
    memory: int = 1024
    disk: int = 16
    default: bool = False
    certificate: bool = False


@dataclass(frozen=True)
class Lab:
    """A lab by its name: hosts, network, and paths. Reads nothing from the running system."""

    name: str
    hosts: tuple[Host, ...]
    prefix: str
    domain: str
    cache: Path
    state: Path
    source: Path

    @property
    def namespace(self) -> str:
        return f"flowstead-{self.name}"

    @property
    def gateway(self) -> str:
        return f"{self.prefix}.1"

    @property
    def proxy_port(self) -> int:
        return 3128

    @property
    def proxy(self) -> str:
        return f"http://{self.gateway}:{self.proxy_port}"

    def address(self, host: Host) -> str:
        return f"{self.prefix}.{host.number}"

    def umid(self, host: Host) -> str:
        """The guest's name among all guests of this machine: kernels carry it in their command line."""
        return f"{self.namespace}-{host.name}"

    def directory(self, host: Host) -> Path:
        return self.state / "hosts" / host.name

    def select(self, names: list[str]) -> list[Host]:
        """The named hosts, or the default ones.

        Raises:
            LabError: a name is unknown.
        """
        known = {host.name: host for host in self.hosts}
        unknown = [name for name in names if name not in known]
        if unknown:
            raise LabError(f"no host is called {', '.join(unknown)}; this lab knows {', '.join(known)}")
        return [known[name] for name in names] if names else [host for host in self.hosts if host.default]


def cache_directory() -> Path:
    """Where kernels and base images are kept for every lab of this user."""
    given = os.environ.get("FLOWSTEAD_LAB_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "flowstead-lab"


def load(name: str, path: Path = DEFAULT_HOSTS) -> Lab:
    """Read the hosts of a lab.

    Args:
        name: the lab's name; labs of different names do not touch each other.
        path: a TOML file with ``[network]`` and ``[[host]]``, see ``hosts.toml``.

    Raises:
        LabError: with every problem of the file at once.
    """
    problems: list[str] = []
    if not _NAME.fullmatch(name):
        problems.append(f"the lab's name {name!r} has to be 1 to 15 small letters, digits and dashes")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise LabError(f"{path}: {error}") from error
    network = document.get("network", {})
    hosts = [_host(entry, problems) for entry in document.get("host", [])]
    for what, values in (("name", [host.name for host in hosts]), ("address", [str(host.number) for host in hosts])):
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            problems.append(f"{what} {', '.join(twice)} is given to more than one host")
    prefix = str(network.get("prefix", "10.77.0"))
    if not re.fullmatch(r"\d{1,3}(\.\d{1,3}){2}", prefix):
        problems.append(f"network.prefix is {prefix!r}; write the first three parts of an address, as in 10.77.0")
    if problems:
        raise LabError(f"{path}: " + "; ".join(problems))
    state = Path(os.environ.get("FLOWSTEAD_LAB_STATE", ROOT / ".cache" / "lab")) / name
    return Lab(name, tuple(hosts), prefix, str(network.get("domain", "lab.test")), cache_directory(), state, path)


def _host(entry: dict, problems: list[str]) -> Host:
    name = str(entry.get("name", ""))
    unknown = sorted(set(entry) - _KEYS)
    if unknown:
        problems.append(f"host {name or '?'}: unknown key {', '.join(unknown)}; known are {', '.join(sorted(_KEYS))}")
    if not _NAME.fullmatch(name):
        problems.append(f"host name {name!r} has to be 1 to 15 small letters, digits and dashes")
    number, memory, disk = (entry.get(key, value) for key, value in (("address", 0), ("memory", 1024), ("disk", 16)))
    if not isinstance(number, int) or not 2 <= number <= 254:
        problems.append(f"host {name}: address is {number!r}; it is the last part of an address, 2 to 254")
        number = 0
    if not isinstance(memory, int) or memory < 256:
        problems.append(f"host {name}: memory is {memory!r}; it is a number of MiB, at least 256")
        memory = 0
    if not isinstance(disk, int) or disk < 2:
        problems.append(f"host {name}: disk is {disk!r}; it is a number of GiB, at least 2")
        disk = 0
    return Host(
        name=name,
        number=number,
        groups=tuple(entry.get("groups", ())),
        memory=memory,
        disk=disk,
        default=bool(entry.get("default", False)),
        certificate=bool(entry.get("certificate", False)),
    )
