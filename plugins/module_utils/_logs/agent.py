# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory says about a node's log agent: checked completely, then as one value.

PRIVATE to the collection. Pure: no I/O, no Ansible.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from .._platform.problems import Problem, describe, show
from .._platform.secret_texts import secret_problem
from .names import INDEX_FIX, URL_FIX, is_index, url_problem

Settings = t.Mapping[str, t.Any]

KINDS = ("syslog_ng", "fluent_bit", "otel")
#: Where the agent keeps its place in the journal, and its buffer; systemd makes it.
STATE = "/var/lib/flowstead-log-agent"
#: What the role writes once, when the agent comes.
SINCE_FILE = "/etc/flowstead-log-agent/since.conf"
#: Names go into configuration files of three languages; these characters mean themselves in all of them.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
_URL = re.compile(r"[A-Za-z0-9.:/_~%\[\]-]+")
_TOKEN = re.compile(r"[A-Za-z0-9_.-]{1,256}")
_PEM = "-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True)
class Agent:
    """A node's log agent.

    Attributes:
        kind: ``syslog_ng``, ``fluent_bit`` or ``otel``.
        node, environment: what its events say of themselves.
        url: of the HTTP Event Collector, without a slash at its end.
        index, sourcetype: of lines of containers.
        host_index, host_sourcetype: of the other lines of the journal.
        host_lines: whether those are sent.
        ca_file: path of the authority's certificate; empty for those that the host trusts.
        history: also send what the journal held before the agent began.
        buffer_mb: MiB on the disk for what Splunk does not take yet.
        state: directory of its state.
        since_file: for syslog_ng, path of a file that defines ``since``, when the agent came in seconds since 1970.
    """

    kind: str
    node: str
    environment: str
    url: str
    token: str = field(repr=False)
    index: str
    sourcetype: str
    host_index: str
    host_sourcetype: str
    host_lines: bool
    ca_file: str
    history: bool
    buffer_mb: int
    state: str = STATE
    since_file: str = SINCE_FILE


def find_problems(settings: Settings, prefix: str = "log_agent_") -> list[Problem]:
    """Everything that is wrong with the settings.

    Args:
        settings: type, splunk, node, environment, buffer_mb, journal_mb and drivers, of the types that the argument
            spec asks for. ``drivers`` are Docker's log drivers that are in use, where that is known.
        prefix: what the names of the variables begin with.
    """
    problems: list[Problem] = []

    def add(name: str, value: str, problem: str, fix: str) -> None:
        problems.append(Problem(f"{prefix}{name}", value, problem, fix))

    kind = settings.get("type")
    if kind not in KINDS:
        add("type", show(kind), "there is no such agent", f"Use one of none, {', '.join(KINDS)}")
    for name in ("node", "environment"):
        if not _NAME.fullmatch(settings.get(name) or ""):
            fix = "Use letters, digits, dots, dashes, colons and underscores"
            add(name, show(settings.get(name)), "events would carry no name, or one that breaks them", fix)
    for name, least in (("buffer_mb", 16), ("journal_mb", 64)):
        if not least <= settings[name] <= 2**20:
            add(name, show(settings[name]), "this is out of bounds", f"Use {least} to {2**20}")
    _check_splunk(add, settings.get("splunk") or {}, kind)
    for driver in settings.get("drivers") or ():
        if driver != "journald":
            problem = "the agent reads the journal, and with this driver containers do not write there"
            problems.append(Problem("airflow_logs.components.driver", show(driver), problem, "Set it to journald"))
    return problems


def _check_splunk(add: t.Callable[[str, str, str, str], None], splunk: Settings, kind: object) -> None:
    url, token = splunk.get("url") or "", splunk.get("token") or ""
    wrong = url_problem(url) if url else "the agent has nowhere to send lines to"
    if not wrong and not _URL.fullmatch(url):
        wrong = "it has characters that no configuration file can carry"
    if wrong:
        add("splunk.url", describe(url) if "@" in url or "?" in url else show(url or None), wrong, URL_FIX)
    elif kind == "fluent_bit" and urlsplit(url).path.strip("/"):
        problem = "Fluent Bit always asks for /services/collector"
        add("splunk.url", show(url), problem, "Use a collector without a path before that, or another agent")
    problem = secret_problem(token, None)[0] if token else "the collector lets nobody in without one"
    if not problem and not _TOKEN.fullmatch(token):
        problem = "no token of a collector looks like this"
    if problem:
        add("splunk.token", describe(token or None), problem, "Set it to a token of the collector, from a vault")
    certificate = splunk.get("ca_certificate")
    if certificate and _PEM not in certificate:
        fix = "Write the certificate's PEM text, for example with lookup('ansible.builtin.file', ...)"
        add("splunk.ca_certificate", describe(certificate), "this is no certificate in PEM", fix)
    for name in ("index", "host_index"):
        if splunk.get(name) and not is_index(splunk[name]):
            add(f"splunk.{name}", show(splunk[name]), "this is no name for an index", INDEX_FIX)
    for name in ("sourcetype", "host_sourcetype"):
        if splunk.get(name) and not _NAME.fullmatch(splunk[name]):
            fix = "Use letters, digits, dots, dashes, colons and underscores"
            add(f"splunk.{name}", show(splunk[name]), "this is no name for a source type", fix)


def read_settings(settings: Settings, ca_file: str = "", state: str = STATE) -> Agent:
    """The agent; the settings have no problems.

    Args:
        ca_file: where the role writes ``splunk.ca_certificate``.
        state: where the agent keeps its state.
    """
    splunk = settings["splunk"]
    index = splunk.get("index") or "main"
    return Agent(
        kind=settings["type"],
        node=settings["node"],
        environment=settings["environment"],
        url=splunk["url"].rstrip("/"),
        token=splunk["token"],
        index=index,
        sourcetype=splunk.get("sourcetype") or "airflow:component",
        host_index=splunk.get("host_index") or index,
        host_sourcetype=splunk.get("host_sourcetype") or "journald",
        host_lines=bool(settings.get("host_lines", True)),
        ca_file=ca_file if splunk.get("ca_certificate") else "",
        history=bool(settings.get("history")),
        buffer_mb=settings["buffer_mb"],
        state=state,
    )


def collectors(settings: Settings) -> list[dict[str, t.Any]]:
    """What the module hec_check is to ask, one collector for each index; the settings have no problems."""
    agent = read_settings(settings)
    indexes = {"index": agent.index}
    if agent.host_lines and agent.host_index != agent.index:
        indexes["host_index"] = agent.host_index
    return [
        {
            "name": "Splunk for lines of containers" if name == "index" else "Splunk for lines of hosts",
            "variable": "log_agent_splunk",
            "variables": {"index": f"log_agent_splunk.{name}"},
            "url": agent.url,
            "token": agent.token,
            "index": index,
            "ca_certificate": settings["splunk"].get("ca_certificate") or "",
        }
        for name, index in indexes.items()
    ]
