# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A collector as an inventory describes it, and what is wrong with the description itself.

PRIVATE to the collection. Pure.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from .._preflight.problems import CheckFailed, Problem
from .http import Door
from .splunk_search import index_problem

#: Fields whose values nobody gets to see.
_SECRET = frozenset(("token", "search_token", "search_password", "proxy"))


@dataclass(frozen=True)
class Collector:
    """A collector as an inventory describes it; see the module's options.

    Attributes:
        name: how a person calls it.
        variable: the inventory variable that describes it.
        index: where the event goes; empty means the token's default index.
        ack_timeout: seconds until an event has to be acknowledged, where the token has that on.
        search_timeout: seconds until an event has to be found.
        variables: field to the variable that sets it, where that is not ``<variable>.<field>``.
    """

    name: str
    variable: str
    url: str
    token: str = field(repr=False)
    index: str = ""
    ca_certificate: str = ""
    validate_certs: bool = True
    proxy: str = field(default="", repr=False)
    no_proxy: t.Sequence[str] = ()
    search_url: str = ""
    search_token: str = field(default="", repr=False)
    search_user: str = ""
    search_password: str = field(default="", repr=False)
    search_ca_certificate: str = ""
    variables: t.Mapping[str, str] = field(default_factory=dict)
    timeout: float = 10.0
    ack_timeout: float = 60.0
    search_timeout: float = 60.0

    def door(self, search: bool = False) -> Door:
        """Of the collector, or of the search side."""
        own_ca = bool(search and self.search_ca_certificate)
        return Door(
            url=self.search_url if search else self.url,
            protocol="splunk" if search else "hec",
            option="search_url" if search else "url",
            ca_option="search_ca_certificate" if search else "ca_certificate",
            ca_certificate=self.search_ca_certificate if own_ca else self.ca_certificate,
            verify=self.validate_certs,
            timeout=self.timeout,
            proxy=self.proxy,
            no_proxy=self.no_proxy,
        )

    def problem(self, error: CheckFailed) -> Problem:
        """What failed, with the variable to change."""
        value = str(getattr(self, error.field, ""))
        if error.field in _SECRET:
            value = "a secret" if value else ""
        elif error.field.endswith("ca_certificate"):
            value = "given" if value else ""
        elif error.field.endswith("url"):
            # People write logins into addresses.
            value = "an address with a login in it" if "@" in value else value.partition("?")[0]
        return Problem(
            check="hec",
            variable=self.variables.get(error.field) or f"{self.variable}.{error.field}",
            value=value or "empty",
            problem=f"{self.name}: {error.problem}",
            fix=error.fix,
        )


def mistakes(collector: Collector) -> list[CheckFailed]:
    """What is wrong with a description, without asking anybody."""
    wrong = []
    for door in [collector.door()] + ([collector.door(search=True)] if collector.search_url else []):
        try:
            door.check()
        except CheckFailed as error:
            wrong.append(error)
    secrets = [("token", collector.token, "Splunk "), ("search_token", collector.search_token, "Bearer ")]
    for name, value, word in secrets:
        if not value and name == "token":
            wrong.append(CheckFailed(name, "there is no token", "give the token of a HTTP Event Collector"))
        elif value.startswith(word):
            wrong.append(CheckFailed(name, f"it begins with {word.strip()!r}", "give the token's value alone"))
        elif not all("!" <= letter <= "~" for letter in value):
            wrong.append(
                CheckFailed(
                    name,
                    "it has blanks, line ends or letters that no token has",
                    "give the token's value alone; a file is read without its last line end by | trim",
                )
            )
    wrong += _login_mistakes(collector)
    problem = index_problem(collector.index)
    if problem:
        wrong.append(CheckFailed("index", problem, "give the name of an index, without quotes and wildcards"))
    return wrong


def _login_mistakes(collector: Collector) -> list[CheckFailed]:
    logins = bool(collector.search_token), bool(collector.search_user or collector.search_password)
    if not collector.search_url:
        if any(logins):
            return [CheckFailed("search_url", "there is a login to search and no address", "set search_url")]
        return []
    if all(logins):
        return [CheckFailed("search_token", "there are two logins", "give search_token, or user and password")]
    if not any(logins):
        return [CheckFailed("search_token", "there is no login to search", "give search_token, or user and password")]
    if logins[1] and not (collector.search_user and collector.search_password):
        name = "search_password" if collector.search_user else "search_user"
        return [CheckFailed(name, "half of the login is missing", "give search_user and search_password")]
    return []
