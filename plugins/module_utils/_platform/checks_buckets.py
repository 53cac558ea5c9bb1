# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the buckets in airflow_logs: addresses, logins, and that there is one of them.

PRIVATE to the collection.

Sources: "Bucket naming rules" of Amazon S3 and "About Cloud Storage buckets" (names) of Google Cloud.
"""

from __future__ import annotations

import re
import typing as t
from urllib.parse import urlsplit

from .buckets import SCHEMES, key_document
from .problems import describe, show
from .spec import SpecReader

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_REGION = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+|auto")
_PEM = "-----BEGIN CERTIFICATE-----"
_PLACE = "airflow_logs.tasks"

Values = t.Mapping[str, t.Any]


def check_buckets(reader: SpecReader, tasks: Values, values: Values) -> bool:
    """All checks; whether there is a bucket.

    Args:
        tasks: the sinks.
        values: all variables.
    """
    given = {sink: tasks.get(sink) or {} for sink in SCHEMES}
    named = [sink for sink, bucket in given.items() if bucket.get("url")]
    for sink, bucket in given.items():
        path = f"{_PLACE}.{sink}"
        if bucket.get("url"):
            _check_url(reader, f"{path}.url", bucket["url"], SCHEMES[sink])
        else:
            written = sorted(key for key, value in bucket.items() if value)
            if written:
                fix = f"Set it, for example to {SCHEMES[sink]}://logs.example.com/airflow, or remove the sink"
                reader.add(f"{path}.url", "not set", f"{', '.join(written)} say that a bucket is a sink", fix)
    if len(named) > 1:
        problem = "Airflow keeps logs in one bucket; each of two would lack what the other has"
        reader.add(_PLACE, " and ".join(named), problem, "Keep one of them. Splunk may stand beside it")
    _check_s3(reader, f"{_PLACE}.s3", given["s3"])
    _check_gcs(reader, f"{_PLACE}.gcs", given["gcs"])
    _check_backends(reader, given, values)
    return bool(named)


def _check_url(reader: SpecReader, path: str, url: str, scheme: str) -> None:
    parts = urlsplit(url)
    wrong = ""
    if parts.scheme != scheme or not _NAME.fullmatch(parts.netloc):
        wrong = "this is no address of a bucket"
    elif parts.query or parts.fragment or "//" in parts.path or ".." in parts.path.split("/"):
        wrong = "the part after the bucket is no prefix of keys"
    if wrong:
        fix = f"Write {scheme}://BUCKET/PREFIX; the name is of small letters, digits, dots and dashes"
        reader.add(path, describe(url) if "@" in url or "?" in url else show(url), wrong, fix)


def _check_s3(reader: SpecReader, path: str, s3: Values) -> None:
    key, secret = s3.get("access_key_id"), s3.get("secret_access_key")
    if bool(key) != bool(secret):
        missing = "secret_access_key" if key else "access_key_id"
        reader.add(f"{path}.{missing}", "not set", "an access key has two parts", "Set both, or none")
    if s3.get("region_name") and not _REGION.fullmatch(s3["region_name"]):
        fix = "Write a region such as eu-central-1; a store that has none takes us-east-1 or auto"
        reader.add(f"{path}.region_name", show(s3["region_name"]), "this is no name of a region", fix)
    endpoint = urlsplit(s3.get("endpoint_url") or "")
    if s3.get("endpoint_url") and (endpoint.scheme not in ("http", "https") or not endpoint.hostname or endpoint.query):
        fix = "Write scheme, host and port, such as https://s3.example.com:9000"
        reader.add(f"{path}.endpoint_url", describe(s3["endpoint_url"]), "this is no address of a server", fix)
    if s3.get("ca_certificate") and _PEM not in s3["ca_certificate"]:
        fix = "Write the certificate's PEM text, for example with lookup('ansible.builtin.file', ...)"
        reader.add(f"{path}.ca_certificate", describe(s3["ca_certificate"]), "this is no certificate in PEM", fix)
    made = ("secret_access_key", "region_name", "endpoint_url", "ca_certificate")
    _check_connection(reader, path, s3, made)


def _check_gcs(reader: SpecReader, path: str, gcs: Values) -> None:
    if gcs.get("key"):
        try:
            document = key_document(gcs["key"])
        except ValueError:
            document = None
        if not isinstance(document, dict) or not {"client_email", "private_key"} <= document.keys():
            fix = "Give the text of the service account's JSON key file, from a vault"
            reader.add(f"{path}.key", describe(str(gcs["key"])), "this is no key of a service account", fix)
    _check_connection(reader, path, gcs, ("key", "project"))


def _check_connection(reader: SpecReader, path: str, bucket: Values, made: t.Sequence[str]) -> None:
    for name in made:
        if bucket.get(name) and bucket.get("connection_id"):
            fix = "Set it in that connection, or remove connection_id"
            reader.add(f"{path}.{name}", "set", "connection_id names a connection that says this", fix)


def _check_backends(reader: SpecReader, given: t.Mapping[str, Values], values: Values) -> None:
    """The platform's own connection comes through a backend, of which Airflow has one."""
    made = ("secret_access_key", "region_name", "endpoint_url", "ca_certificate", "key", "project")
    if not any(bucket.get(name) for bucket in given.values() for name in made):
        return
    for section, option in (("secrets", "backend"), ("workers", "secrets_backend")):
        settings = (values["airflow_config"] or {}).get(section)
        value = settings.get(option) if isinstance(settings, t.Mapping) else None
        if value:
            problem = "the login for logs comes through a secrets backend of its own"
            fix = f"Keep it as a connection in your backend, and name it with connection_id in {_PLACE}"
            reader.add(f"airflow_config.{section}.{option}", show(value), problem, fix)
