# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where task logs go, and what each component is told of it.

PRIVATE to the collection. Pure.

The settings' file is read by ``flowstead_airflow.task_logs.settings`` of the runtime, which documents it.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field

from . import buckets
from .buckets import Bucket, build_bucket
from .places import ca_path

#: Where containers find the settings, and the variables that name them and the node.
SETTINGS_PATH = "/etc/flowstead/task_logs.json"
SETTINGS_VARIABLE = "FLOWSTEAD_TASK_LOGS"
NODE_VARIABLE = "FLOWSTEAD_NODE"
#: Names of the config with the settings, and of the secrets with the tokens.
SETTINGS = "task_logs"
HEC_TOKEN, SEARCH_TOKEN = "splunk_hec_token", "splunk_search_token"
_CLASS = "flowstead_airflow.task_logs.logging_config.LOGGING_CONFIG"

#: They write files of task logs, or files like these.
WRITERS = frozenset({"worker", "triggerer", "dag-processor"})
#: It shows them.
READERS = frozenset({"api-server"})
#: Delivers what dead containers left.
SWEEPER = "log-sweeper"
#: Tries the bucket once, before anything uses it.
TRIER = "logs-bucket"
#: All that load Airflow's logging; the scheduler writes no task log, but a command in its container may read one.
_USERS = WRITERS | READERS | {"scheduler"}
#: What the argument spec says when an inventory says nothing.
DEFAULT_COMPONENTS: t.Mapping[str, t.Any] = {"driver": "json-file", "options": {}}


@dataclass(frozen=True)
class Splunk:
    """Splunk as a sink of task logs.

    Attributes:
        url: of the HTTP Event Collector; search_url: of the search API, empty when the UI does not read there.
        index: for bundles that bundle_indexes does not name.
        ca_certificate, search_ca_certificate: PEM, or None for authorities that the image trusts.
    """

    url: str
    token: str = field(repr=False)
    index: str
    bundle_indexes: t.Mapping[str, str]
    sourcetype: str
    ca_certificate: str | None
    search_url: str
    search_token: str = field(repr=False)
    search_ca_certificate: str | None


@dataclass(frozen=True)
class Logs:
    """Sinks of task logs, for how long delivered files stay on the nodes, and where containers write.

    Attributes:
        bucket: alone, in Airflow's own hands; beside Splunk the archive, which the runtime fills.
        components: where containers write: what an inventory says of it, for the target to carry out.
    """

    splunk: Splunk | None = None
    bucket: Bucket | None = None
    components: t.Mapping[str, t.Any] = field(default_factory=lambda: DEFAULT_COMPONENTS)
    local_days: float = 14
    local_mb: int = 10240
    sweep_seconds: int = 60


def build_logs(values: t.Mapping[str, t.Any]) -> Logs:
    """From checked values of airflow_logs."""
    tasks, local = values["tasks"], values["local"]
    splunk = dict(tasks["splunk"])
    kept = {
        "bucket": build_bucket(tasks["s3"], tasks["gcs"]),
        "components": values["components"],
        "local_days": local["days"],
        "local_mb": local["mb"],
        "sweep_seconds": values["sweep_seconds"],
    }
    if not splunk["url"]:
        return Logs(**kept)
    splunk["search_ca_certificate"] = splunk["search_ca_certificate"] or splunk["ca_certificate"]
    for name in ("search_url", "search_token"):
        splunk[name] = splunk[name] or ""
    splunk["bundle_indexes"] = splunk["bundle_indexes"] or {}
    return Logs(splunk=Splunk(**splunk), **kept)


def config_users(logs: Logs) -> dict[str, frozenset[str]]:
    """Who sees which file."""
    return {
        SETTINGS: _told(logs),
        "splunk_hec_ca": WRITERS | {SWEEPER},
        "splunk_search_ca": READERS,
        buckets.CA: WRITERS | READERS | {SWEEPER, TRIER},
    }


def options(logs: Logs, component: str, folder: str) -> dict[tuple[str, str], str]:
    """Airflow's options of a component; folder is where log files are."""
    if component not in _USERS:
        return {}
    found = buckets.options(logs.bucket, alone=not logs.splunk) if logs.bucket else {}
    if not logs.splunk:
        return found
    found.update({("logging", "logging_config_class"): _CLASS, ("logging", "remote_logging"): "False"})
    if component == "dag-processor":
        # An option of its own; files elsewhere are not followed.
        found["logging", "dag_processor_child_process_log_directory"] = f"{folder}/dag_processor"
    return found


def variables(logs: Logs, component: str) -> dict[str, str]:
    """Variables for the runtime. The node's name is the target's to add, see ``Service.node_variable``."""
    return {SETTINGS_VARIABLE: SETTINGS_PATH} if component in _told(logs) else {}


def _told(logs: Logs) -> frozenset[str]:
    """Who reads the settings' file."""
    sweeper = {SWEEPER} if sweeps(logs) else frozenset()
    return _USERS | sweeper if logs.splunk else frozenset(sweeper)


def sweeps(logs: Logs) -> bool:
    """Whether a sweeper can deliver what dead containers left.

    Where a bucket is alone it needs the host's own role or the platform's connection: one of the user's own may be in
    the database, which it does not see.
    """
    bucket = logs.bucket
    return bool(logs.splunk or (bucket and (bucket.connection or not bucket.connection_id)))


def secrets(logs: Logs, component: str) -> tuple[str, ...]:
    """Names of the tokens that a component gets: those who write may not read, and the reverse."""
    if not logs.splunk:
        return ()
    names = (HEC_TOKEN,) if component in WRITERS | {SWEEPER} else ()
    return (*names, SEARCH_TOKEN) if component in READERS and logs.splunk.search_url else names


def connections(logs: Logs, component: str) -> dict[str, t.Any]:
    """Airflow's connections that a component needs for logs, by ID."""
    bucket = logs.bucket
    if not bucket or not bucket.connection:
        return {}
    # Airflow's own classes upload where tasks and triggers run; the runtime also does what the dag-processor writes.
    users = WRITERS | READERS if logs.splunk else (WRITERS | READERS) - {"dag-processor"}
    return {bucket.connection_id: dict(bucket.connection)} if component in users | {SWEEPER, TRIER} else {}


def secret_data(logs: Logs) -> dict[str, str]:
    """What the tokens are."""
    if not logs.splunk:
        return {}
    found = {HEC_TOKEN: logs.splunk.token}
    return {**found, SEARCH_TOKEN: logs.splunk.search_token} if logs.splunk.search_url else found


def certificates(logs: Logs) -> dict[str, str | None]:
    """Authorities of Splunk's two doors and of the bucket, by name of the config."""
    splunk = logs.splunk
    found = {buckets.CA: logs.bucket.ca_certificate} if logs.bucket else {}
    if not splunk:
        return found
    return {
        **found,
        "splunk_hec_ca": splunk.ca_certificate,
        "splunk_search_ca": splunk.search_ca_certificate if splunk.search_url else None,
    }


def settings(logs: Logs, environment: str) -> str:
    """The settings' file, the same on all nodes; no secret."""
    splunk, bucket = logs.splunk, logs.bucket
    document: dict[str, t.Any] = {"local": {"days": logs.local_days, "mb": logs.local_mb}}
    if bucket:
        archive = {"url": bucket.url, "connection": bucket.connection_id}
        document["archive"] = {name: value for name, value in archive.items() if value}
    if not splunk:
        return json.dumps(document, indent=1, sort_keys=True) + "\n" if sweeps(logs) else ""
    given = certificates(logs)
    hec = {"url": splunk.url, "token_file": f"/run/secrets/{HEC_TOKEN}", "sourcetype": splunk.sourcetype}
    document.update(
        environment=environment,
        hec={**hec, **({"ca_file": ca_path("splunk_hec_ca")} if given["splunk_hec_ca"] else {})},
        indexes={"default": splunk.index, "by_bundle": dict(splunk.bundle_indexes)},
    )
    if splunk.search_url:
        document["search"] = {
            "url": splunk.search_url,
            "token_file": f"/run/secrets/{SEARCH_TOKEN}",
            **({"ca_file": ca_path("splunk_search_ca")} if given["splunk_search_ca"] else {}),
        }
    return json.dumps(document, indent=1, sort_keys=True) + "\n"
