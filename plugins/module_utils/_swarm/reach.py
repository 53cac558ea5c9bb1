# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether members can be reached from this host, and what to say when they cannot.

PRIVATE to the collection.
"""

from __future__ import annotations

import socket
import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._swarm.host import GOSSIP_PORT, host_of, port_of

#: Host and port -> why no TCP connection comes about, or "".
Probe = t.Callable[[str, int], str]
Wait = t.Callable[[t.Callable[[], bool], float], bool]

#: Seconds until an address that does not answer counts as closed.
PATIENCE = 3.0
#: A manager that was founded a moment ago opens its gossip port a little later.
GOSSIP_PATIENCE = 15.0

_UDP = (
    "UDP cannot be tried from here; it has to be open among all members as well: 7946/udp, and 4789/udp "
    "(swarm_data_path_port) for the traffic of containers."
)


def connect(host: str, port: int) -> str:
    """Try a TCP connection; returns why there is none, or an empty text."""
    try:
        with socket.create_connection((host, port), timeout=PATIENCE):
            return ""
    except socket.timeout:
        return f"no answer within {PATIENCE:g} s, as behind a firewall that drops"
    except OSError as error:
        return (error.strerror or str(error)).lower()


def explain_unreachable(addresses: t.Sequence[str], *, probe: Probe, wait: Wait) -> str:
    """Why this host cannot join through any of these managers; empty when it can.

    Args:
        addresses: managers as ``address:port``.
        wait: called with a condition and seconds.
    """
    closed = {}
    for address in addresses:
        failure = probe(host_of(address), port_of(address))
        if not failure:
            return _explain_gossip(host_of(address), probe, wait)
        closed[f"{host_of(address)}:{port_of(address)}"] = failure
    return (
        f"{socket.gethostname()} reaches no manager of the swarm: {_listed(closed)}. "
        "Open that port (TCP) on the managers for this host, in host firewalls (swarm_firewall) and in those between; "
        "and check that the managers' engines run."
    )


def explain_hanging(addresses: t.Sequence[str], own: str, *, probe: Probe) -> str:
    """What to look at when a host was let in and did not become active."""
    closed = {}
    for address in addresses:
        for port in (port_of(address), GOSSIP_PORT):
            failure = probe(host_of(address), port)
            if failure:
                closed[f"{host_of(address)}:{port}"] = failure
    if closed:
        return f"From {socket.gethostname()} there is no TCP connection to {_listed(closed)}. Open it. {_UDP}"
    if not addresses:
        return f"Check that {own} (swarm_advertise_address) is an address of this host, and read its engine's log."
    return (
        f"From {socket.gethostname()} every TCP port of {', '.join(addresses)} is open. Check the way back: the "
        f"managers have to reach {own} on 7946/tcp, and on 2377/tcp when this host is to be a manager. {_UDP}"
    )


def _explain_gossip(host: str, probe: Probe, wait: Wait) -> str:
    failure = ""

    def answers() -> bool:
        nonlocal failure
        failure = probe(host, GOSSIP_PORT)
        return not failure

    if wait(answers, GOSSIP_PATIENCE):
        return ""
    return (
        f"{socket.gethostname()} reaches the manager {host}, and not its port {GOSSIP_PORT}/tcp ({failure}), by which "
        "members tell each other about overlay networks: containers on different hosts would not find each other. "
        f"Open it among all members (swarm_firewall). {_UDP}"
    )


def _listed(closed: t.Mapping[str, str]) -> str:
    return "; ".join(f"{address} ({failure})" for address, failure in closed.items())
