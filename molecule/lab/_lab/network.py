"""The lab's network: one namespace with a bridge, a virtual cable to each guest, and no way out.

Every lab has a namespace of its own, and all interfaces live in it: labs side by side can use the same
addresses, and deleting the namespace takes everything away.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from .run import run, wait_for
from .settings import Host, Lab, LabError

BRIDGE = "lab"
#: With any of these on, segments larger than the cable's MTU reach a guest's raw socket, and TCP stalls.
_OFFLOADS = ("tx", "rx", "gro", "gso", "tso")


def exists(lab: Lab) -> bool:
    """Whether the lab's namespace exists."""
    return Path("/run/netns", lab.namespace).exists()


def inside(lab: Lab) -> list[str]:
    """Words before a command that make it run in the lab's network and leave everything else as it is."""
    return ["nsenter", f"--net=/run/netns/{lab.namespace}"]


def create(lab: Lab) -> None:
    """Make the namespace and its bridge, if they are not there."""
    if not exists(lab):
        run("ip", "netns", "add", lab.namespace)
    if not _has(lab, BRIDGE):
        _ip(lab, "link", "set", "lo", "up")
        _ip(lab, "link", "add", BRIDGE, "type", "bridge", "forward_delay", "0")
        _ip(lab, "address", "add", f"{lab.gateway}/24", "dev", BRIDGE)
        _ip(lab, "link", "set", BRIDGE, "up")
        _no_offloads(lab, BRIDGE)


def plug(lab: Lab, host: Host) -> str:
    """Connect a guest; returns the interface that its kernel takes."""
    near, far = _near(host), _far(host)
    if not _has(lab, near):
        _ip(lab, "link", "add", near, "type", "veth", "peer", "name", far)
        _ip(lab, "link", "set", near, "master", BRIDGE)
        for interface in (near, far):
            _no_offloads(lab, interface)
            _ip(lab, "link", "set", interface, "up")
    return far


def cut(lab: Lab, host: Host) -> None:
    """Pull the host's cable."""
    _ip(lab, "link", "set", _near(host), "down")


def heal(lab: Lab, host: Host) -> None:
    """Put the host's cable back."""
    _ip(lab, "link", "set", _near(host), "up")


def is_cut(lab: Lab, host: Host) -> bool:
    """Whether :func:`cut` pulled the cable."""
    flags = run(*inside(lab), "ip", "-o", "link", "show", "dev", _near(host)).partition("<")[2].partition(">")[0]
    return "UP" not in flags.split(",")


def remove(lab: Lab) -> None:
    """End every process in the namespace, and delete it with all its interfaces."""
    if not exists(lab):
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in _pids(lab):
            _end(pid, number)
        if wait_for(lambda: not _pids(lab), 5):
            break
    left = _pids(lab)
    if left:
        raise LabError(f"processes {left} of namespace {lab.namespace} cannot be ended; it was not deleted")
    run("ip", "netns", "delete", lab.namespace)


def _pids(lab: Lab) -> list[int]:
    return [int(pid) for pid in run("ip", "netns", "pids", lab.namespace).split() if int(pid) != os.getpid()]


def _end(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _near(host: Host) -> str:
    """The bridge's end of the cable; interface names have at most 15 characters."""
    return f"bridge{host.number}"


def _far(host: Host) -> str:
    return f"guest{host.number}"


def _has(lab: Lab, interface: str) -> bool:
    shown = run(*inside(lab), "ip", "-o", "link", "show")
    return interface in {line.split()[1].rstrip(":").partition("@")[0] for line in shown.splitlines()}


def _ip(lab: Lab, *words: str) -> None:
    run(*inside(lab), "ip", *words)


def _no_offloads(lab: Lab, interface: str) -> None:
    run(*inside(lab), "ethtool", "-K", interface, *(word for name in _OFFLOADS for word in (name, "off")))
