# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the libraries in a component learn from its environment: the way out, and whatever else the user says.

PRIVATE to the collection. Pure.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from urllib.parse import urlsplit

#: Reached without a proxy, whatever the user says: the component itself, the api-server that tasks talk to, and where
#: hosts of a cloud ask for their own identity, which a proxy would answer with its own.
#: Sources: "IAM roles for Amazon EC2", "IAM roles for Amazon ECS", "EKS Pod Identities"; "Metadata server" of Google.
_NAMES = (
    "localhost",
    "127.0.0.1",
    "::1",
    "api-server",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "metadata.google.internal",
    "metadata",
)
#: Containers know each other's log servers by address alone: networks of the target. Source: RFC 1918.
#: ``requests``, with which Airflow reads there, takes networks; libraries that do not know them skip these entries.
_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")


@dataclass(frozen=True)
class Surroundings:
    """Variables for every component, and a forward proxy.

    Attributes:
        http, https: URL of the proxy for each scheme, or empty.
        no_proxy: what else is reached without it: names, domains, addresses, networks.
        variables: name to text.
    """

    http: str = ""
    https: str = ""
    no_proxy: tuple[str, ...] = ()
    variables: t.Mapping[str, str] = field(default_factory=dict)

    @property
    def direct(self) -> tuple[str, ...]:
        """All that is reached without the proxy."""
        return tuple(dict.fromkeys((*_NAMES, *_NETWORKS, *self.no_proxy)))

    def proxy_for(self, url: str) -> str:
        """The proxy for addresses of this one's scheme, or empty."""
        return self.https if urlsplit(url).scheme == "https" else self.http


def build_surroundings(proxy: t.Mapping[str, t.Any], variables: t.Mapping[str, t.Any]) -> Surroundings:
    """From checked values of airflow_proxy and airflow_extra_environment."""
    return Surroundings(
        http=proxy["http"] or "",
        https=proxy["https"] or "",
        no_proxy=tuple(proxy["no_proxy"] or ()),
        variables=dict(variables),
    )


def environment(surroundings: Surroundings, outside: bool = True) -> dict[str, str]:
    """The variables of one component; of proxies in both spellings, because libraries know the one or the other.

    Args:
        outside: whether it reaches for anything that a proxy could stand before.
    """
    found = dict(surroundings.variables)
    proxies = {"http_proxy": surroundings.http, "https_proxy": surroundings.https}
    proxies = {name: url for name, url in proxies.items() if url and outside}
    if proxies:
        proxies["no_proxy"] = ",".join(surroundings.direct)
    for name, value in proxies.items():
        found[name] = found[name.upper()] = value
    return found
