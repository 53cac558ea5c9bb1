# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of airflow_logs: addresses, names of indexes, and what a sink needs.

PRIVATE to the collection.
"""

from __future__ import annotations

import typing as t

from .._logs.names import INDEX_FIX, URL_FIX, is_index, url_problem
from .checks_buckets import check_buckets
from .container_logs import check_container_logs
from .problems import describe, show
from .secret_texts import secret_problem
from .sizes import check_range
from .spec import SpecReader

_PEM = "-----BEGIN CERTIFICATE-----"
_SPLUNK = "airflow_logs.tasks.splunk"
#: Options by which Airflow's own handlers are set up. With a sink of airflow_logs they would write over each other.
_STOCK = (
    ("logging", "logging_config_class"),
    ("logging", "remote_logging"),
    ("logging", "remote_base_log_folder"),
    ("logging", "remote_log_conn_id"),
    ("logging", "encrypt_s3_logs"),
    ("logging", "google_key_path"),
    ("logging", "delete_local_logs"),
    ("logging", "dag_processor_child_process_log_directory"),
)

Values = t.Mapping[str, t.Any]


def check_logs(reader: SpecReader, values: Values, given: Values) -> None:
    """All checks; given is what the user wrote, without defaults."""
    logs = values["airflow_logs"] or {}
    local = logs.get("local") or {}
    check_range(reader, "airflow_logs.local.days", local.get("days"), 0, 3650)
    check_range(reader, "airflow_logs.local.mb", local.get("mb"), 64, 2**24)
    check_range(reader, "airflow_logs.sweep_seconds", logs.get("sweep_seconds"), 5, 86400)
    components = logs.get("components") or {}
    check_container_logs(reader, components)
    tasks = logs.get("tasks") or {}
    splunk = tasks.get("splunk") or {}
    written = _written(given)
    if splunk.get("url"):
        _check_splunk(reader, splunk, values)
        _check_twice(reader, components, values)
    elif written:
        fix = "Set it to the collector, for example https://splunk.example.com:8088, or remove the sink"
        reader.add(f"{_SPLUNK}.url", "not set", f"{', '.join(written)} say that Splunk is a sink", fix)
    bucket = check_buckets(reader, tasks, values)
    if not (splunk.get("url") or bucket):
        return
    for section, option in _STOCK:
        settings = (values["airflow_config"] or {}).get(section)
        value = settings.get(option) if isinstance(settings, t.Mapping) else None
        if value is not None:
            problem = "airflow_logs has a sink, which sets this itself"
            fix = "Remove it from airflow_config"
            reader.add(f"airflow_config.{section}.{option}", describe(value), problem, fix)


def _written(given: Values) -> list[str]:
    place: t.Any = given.get("airflow_logs")
    for key in ("tasks", "splunk"):
        place = place.get(key) if isinstance(place, t.Mapping) else None
    return sorted(str(key) for key, value in place.items() if value) if isinstance(place, t.Mapping) else []


def _check_splunk(reader: SpecReader, splunk: Values, values: Values) -> None:
    if not splunk.get("token"):
        fix = "Set it to a token of the collector, from a vault"
        reader.add(f"{_SPLUNK}.token", "not set", "the collector lets nobody in without one", fix)
    if bool(splunk.get("search_url")) != bool(splunk.get("search_token")):
        missing = "search_token" if splunk.get("search_url") else "search_url"
        fix = "Set both, so that users read logs from Splunk, or none"
        reader.add(f"{_SPLUNK}.{missing}", "not set", "reading needs an address and a token", fix)
    for key in ("token", "search_token"):
        wrong, _fix = secret_problem(splunk[key], None) if splunk.get(key) else ("", "")
        if wrong:
            reader.add(f"{_SPLUNK}.{key}", describe(splunk[key]), wrong, "Set it to what Splunk made, from a vault")
    for key in ("url", "search_url"):
        if splunk.get(key):
            _check_url(reader, f"{_SPLUNK}.{key}", splunk[key])
    for key in ("ca_certificate", "search_ca_certificate"):
        if splunk.get(key) and _PEM not in splunk[key]:
            fix = "Write the certificate's PEM text, for example with lookup('ansible.builtin.file', ...)"
            reader.add(f"{_SPLUNK}.{key}", describe(splunk[key]), "this is no certificate in PEM", fix)
    indexes = {f"{_SPLUNK}.index": splunk.get("index")}
    bundles = {item["name"] for item in values["airflow_bundles"] or [] if item and item.get("name")}
    for bundle, index in (splunk.get("bundle_indexes") or {}).items():
        path = f"{_SPLUNK}.bundle_indexes.{bundle}"
        indexes[path] = index
        if bundle not in bundles:
            fix = f"Name one of airflow_bundles: {', '.join(sorted(bundles)) or 'there is none'}"
            reader.add(path, show(index), "there is no such bundle", fix)
    for path, index in indexes.items():
        if index is not None and not is_index(index):
            reader.add(path, show(index), "this is no name for an index", INDEX_FIX)


def _check_twice(reader: SpecReader, components: Values, values: Values) -> None:
    """Lines of tasks that containers also say would be in Splunk twice."""
    if components.get("driver") not in ("journald", "splunk"):
        return
    for section in ("celery", "logging"):
        settings = (values["airflow_config"] or {}).get(section)
        value = settings.get("task_logs_to_stdout") if isinstance(settings, t.Mapping) else None
        if str(value).lower() in ("true", "t", "1", "yes", "on"):
            problem = "lines of tasks would reach Splunk twice, from their files and from the workers' containers"
            reader.add(f"airflow_config.{section}.task_logs_to_stdout", show(value), problem, "Remove it")


def _check_url(reader: SpecReader, path: str, url: str) -> None:
    wrong = url_problem(url)
    if wrong:
        reader.add(path, describe(url) if "@" in url or "?" in url else show(url), wrong, URL_FIX)
