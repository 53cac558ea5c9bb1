# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket as a sink of task logs: in Airflow's own S3 and GCS classes, alone or as the archive beside Splunk.

PRIVATE to the collection. Pure.

Sources: airflow/providers/amazon/aws/log/s3_task_handler.py, .../google/cloud/log/gcs_task_handler.py, and the pages
"Amazon Web Services Connection" and "Google Cloud Connection" of these providers.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field

from .places import ca_path

#: The connection that the platform makes for it.
CONNECTION = "flowstead_logs"
#: Name of the config with the authority of an S3-compatible store.
CA = "logs_bucket_ca"
#: Kinds of buckets, by the name of the sink.
SCHEMES = {"s3": "s3", "gcs": "gs"}


@dataclass(frozen=True)
class Bucket:
    """Where log files go as a whole.

    Attributes:
        url: ``s3://bucket/prefix`` or ``gs://bucket/prefix``, without a slash at its end.
        connection_id: Airflow's connection for it; empty means the host's own role or workload identity.
        connection: what that connection holds; None when it is not the platform's.
        encrypt: whether S3 is asked to encrypt with its own key (SSE-S3).
        ca_certificate: PEM of the authority of an S3-compatible store, or None.
    """

    url: str
    connection_id: str = ""
    connection: t.Mapping[str, t.Any] | None = field(default=None, repr=False)
    encrypt: bool = False
    ca_certificate: str | None = None


def build_bucket(s3: t.Mapping[str, t.Any], gcs: t.Mapping[str, t.Any]) -> Bucket | None:
    """From checked values; at most one of them has an address."""
    if s3["url"]:
        extra = {key: s3[key] for key in ("region_name", "endpoint_url") if s3[key]}
        if s3["ca_certificate"]:
            extra["verify"] = ca_path(CA)
        made: dict[str, t.Any] = {"extra": extra} if extra else {}
        if s3["secret_access_key"]:
            made.update(login=s3["access_key_id"], password=s3["secret_access_key"])
        return _bucket(s3, "aws", made, encrypt=s3["encrypt"], ca_certificate=s3["ca_certificate"])
    if gcs["url"]:
        extra = {}
        if gcs["key"]:
            extra["keyfile_dict"] = json.dumps(key_document(gcs["key"]), sort_keys=True)
        if gcs["project"]:
            extra["project"] = gcs["project"]
        return _bucket(gcs, "google_cloud_platform", {"extra": extra} if extra else {})
    return None


def key_document(key: t.Any) -> t.Any:
    """A service account's key: the document, or its JSON text.

    Raises:
        ValueError: this is no JSON.
    """
    return json.loads(key) if isinstance(key, str) else key


def _bucket(given: t.Mapping[str, t.Any], kind: str, made: dict[str, t.Any], **more: t.Any) -> Bucket:
    url = given["url"].rstrip("/")
    if made:
        return Bucket(url, CONNECTION, {"conn_type": kind, **made}, **more)
    return Bucket(url, given["connection_id"] or "", **more)


def options(bucket: Bucket, alone: bool) -> dict[tuple[str, str], str]:
    """Airflow's options.

    Args:
        alone: whether Airflow itself uses its classes; beside Splunk, the runtime calls them.
    """
    found = {("logging", "encrypt_s3_logs"): str(bucket.encrypt)} if bucket.url.startswith("s3:") else {}
    if bucket.connection_id:
        found["logging", "remote_log_conn_id"] = bucket.connection_id
    if alone:
        found["logging", "remote_logging"] = "True"
        found["logging", "remote_base_log_folder"] = bucket.url
        found["logging", "delete_local_logs"] = "False"
    return found
