# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Try a bucket for task logs as Airflow's own classes will use it, with their hooks: look, write, replace, read.

Airflow's classes swallow what goes wrong and say it in a log that few people read; here it is told before anything
runs.

Sources: S3RemoteLogIO of apache-airflow-providers-amazon 9.39.0, GCSRemoteLogIO of -google 22.8.0, Amazon's "Error
responses" of S3, botocore/exceptions.py, and "IAM permissions for JSON methods" of Google Cloud Storage.
"""

from __future__ import annotations

import typing as t
import uuid
from urllib.parse import urlsplit

_BODY = b"flowstead.airflow tries whether task logs can be kept here. This can be deleted.\n"
#: For how long one step at Google is tried again, and waits for an answer.
_GCS_SECONDS = 10.0
_S3, _GCS = "airflow_logs.tasks.s3", "airflow_logs.tasks.gcs"

#: What each step needs, in the words of a policy.
_NEEDS = {
    "s3": {
        "look": "s3:ListBucket on the bucket (without it, S3 answers 403 for a log that is not there yet, and Airflow "
        "then uploads none)",
        "write": "s3:PutObject below the prefix",
        "replace": "s3:PutObject below the prefix",
        "read": "s3:GetObject below the prefix",
    },
    "gs": {
        "look": "storage.objects.list on the bucket (without it, Airflow shows no log, and Google answers 403 for one "
        "that is not there yet)",
        "write": "storage.objects.create",
        "replace": "storage.objects.delete (Google wants it from whoever replaces an object, and Airflow appends to a "
        "log by replacing it); a retention policy on the bucket forbids it to everybody",
        "read": "storage.objects.get",
    },
}


class BucketProblem(Exception):
    """The bucket will not do; the text says what, where and what to do."""


class Store(t.Protocol):
    """A bucket, in four operations on one key."""

    def look(self) -> bool:
        """Whether there is something."""

    def write(self, body: bytes) -> None:
        """Write it."""

    def read(self) -> bytes:
        """Read it."""

    def delete(self) -> None:
        """Delete it."""


def try_bucket(url: str, store: Store) -> list[str]:
    """Try it; returns what a person should know all the same.

    Raises:
        BucketProblem: something that Airflow needs does not work.
    """
    scheme = urlsplit(url).scheme
    step = "look"
    try:
        store.look()
        step = "write"
        store.write(_BODY)
        step = "replace"
        store.write(_BODY)
        step = "read"
        found = store.read()
    except Exception as error:  # whatever the cloud's library raises
        raise BucketProblem(f"{url}: could not {step}: {explain(scheme, step, error)}") from error
    if found != _BODY:
        raise BucketProblem(f"{url}: what was written is not what came back. Something between changes objects.")
    try:
        store.delete()
    except Exception as error:  # Airflow deletes nothing there, so this is no reason to stop
        return [
            f"{url}: the test object could not be deleted and stays there ({type(error).__name__}); it does no harm"
        ]
    return []


def explain(scheme: str, step: str, error: Exception) -> str:
    """What an error of the cloud's library means, and what to do."""
    code, text = _code(error), str(error)
    for codes, meaning in _MEANINGS[scheme]:
        if code in codes:
            return f"{meaning.format(needs=_NEEDS[scheme][step])} [{code}: {text}]"
    return f"{code}: {text}"


def _code(error: Exception) -> str:
    """S3's own code, else the HTTP status, else the name of the exception."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        found = str(response.get("Error", {}).get("Code", ""))
        if "kms" in str(error).lower():
            return "KMS"
        return found or str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    return type(error).__name__


_DENIED = "it is not allowed. The policy of the user, of the role or of the bucket has to allow {needs}"
_NOBODY = "there are no credentials. Give the hosts a role"
_MEANINGS: dict[str, tuple[tuple[frozenset[str], str], ...]] = {
    "s3": (
        (frozenset({"NoSuchBucket"}), f"there is no such bucket. Create it, or correct {_S3}.url"),
        (
            frozenset({"InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"}),
            f"nobody knows this access key. Correct {_S3}.access_key_id",
        ),
        (
            frozenset({"SignatureDoesNotMatch", "AuthFailure"}),
            f"the secret does not belong to the access key. Correct {_S3}.secret_access_key",
        ),
        (frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"}), "the login has ended. Renew it"),
        (
            frozenset({"KMS"}),
            "the key that the bucket encrypts with may not be used. Allow kms:GenerateDataKey and kms:Decrypt on it",
        ),
        (frozenset({"AccessDenied", "403", "Forbidden", "AllAccessDisabled"}), _DENIED),
        (
            frozenset(
                {
                    "301",
                    "PermanentRedirect",
                    "TemporaryRedirect",
                    "AuthorizationHeaderMalformed",
                    "IllegalLocationConstraintException",
                    "InvalidRegionError",
                }
            ),
            f"the bucket is in another region. Set {_S3}.region_name to the bucket's",
        ),
        (
            frozenset({"InvalidEncryptionAlgorithmError", "InvalidArgument", "NotImplemented"}),
            f"the store does not take the request. A store that is not Amazon's may not know SSE-S3: set {_S3}.encrypt "
            "to false",
        ),
        (frozenset({"RequestTimeTooSkewed"}), "this host's clock is wrong. Correct it (chrony, systemd-timesyncd)"),
        (
            frozenset({"NoCredentialsError", "PartialCredentialsError", "NoAuthHandlerFound"}),
            f"{_NOBODY}, or set {_S3}.access_key_id and secret_access_key. On EC2, containers reach a role only with "
            "a hop limit of 2",
        ),
        (
            frozenset({"SSLError"}),
            f"the store's certificate is not trusted. Set {_S3}.ca_certificate to its authority's",
        ),
        (
            frozenset({"EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ProxyConnectionError"}),
            f"nobody answers there. Check {_S3}.endpoint_url, firewalls and the proxy from this host",
        ),
        (
            frozenset({"AirflowNotFoundException"}),
            f"there is no such connection. Correct {_S3}.connection_id, or make the connection",
        ),
    ),
    "gs": (
        (frozenset({"NotFound"}), f"there is no such bucket. Create it, or correct {_GCS}.url"),
        (frozenset({"Forbidden"}), _DENIED),
        (
            frozenset({"Unauthorized", "RefreshError", "MalformedError", "ValueError"}),
            f"the key is not accepted. Correct {_GCS}.key; a key can be disabled",
        ),
        (frozenset({"DefaultCredentialsError"}), f"{_NOBODY} (workload identity), or set {_GCS}.key"),
        (
            frozenset({"ServiceUnavailable", "RetryError", "ConnectionError", "TransportError"}),
            f"nobody answers there. Check firewalls and the proxy from this host, and token_uri in {_GCS}.key",
        ),
        (
            frozenset({"AirflowNotFoundException"}),
            f"there is no such connection. Correct {_GCS}.connection_id, or make the connection",
        ),
    ),
}


def open_store(url: str, connection_id: str, encrypt: bool) -> Store:
    """The bucket by Airflow's own hook.

    Raises:
        BucketProblem: the image lacks the provider, or there is no way to sign in.
    """
    parts = urlsplit(url)
    key = "/".join(filter(None, (parts.path.strip("/"), f".flowstead-try-{uuid.uuid4().hex}")))
    kind, provider = (_S3Store, "amazon") if parts.scheme == "s3" else (_GcsStore, "google")
    try:
        return kind(parts.netloc, key, connection_id, encrypt)
    except ImportError as error:
        needed = f"apache-airflow-providers-{provider}"
        raise BucketProblem(f"{url}: the image lacks {needed} ({error}). Add it to the image") from error
    except Exception as error:  # whatever signs in
        raise BucketProblem(f"{url}: could not sign in: {explain(parts.scheme, 'look', error)}") from error


class _S3Store:
    def __init__(self, bucket: str, key: str, connection_id: str, encrypt: bool) -> None:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook  # noqa: PLC0415

        self._client = S3Hook(aws_conn_id=connection_id).get_conn()
        self._place = {"Bucket": bucket, "Key": key}
        self._more = {"ServerSideEncryption": "AES256"} if encrypt else {}

    def look(self) -> bool:
        # Not by HEAD, as Airflow does: the answer to that says nothing but a status.
        found = self._client.list_objects_v2(Bucket=self._place["Bucket"], Prefix=self._place["Key"], MaxKeys=1)
        return bool(found.get("KeyCount"))

    def write(self, body: bytes) -> None:
        self._client.put_object(**self._place, Body=body, **self._more)

    def read(self) -> bytes:
        return t.cast("bytes", self._client.get_object(**self._place)["Body"].read())

    def delete(self) -> None:
        self._client.delete_object(**self._place)


class _GcsStore:
    def __init__(self, bucket: str, key: str, connection_id: str, encrypt: bool) -> None:
        from airflow.providers.google.cloud.hooks.gcs import GCSHook  # noqa: PLC0415
        from airflow.providers.google.cloud.utils.credentials_provider import (  # noqa: PLC0415
            get_credentials_and_project_id,
        )
        from google.cloud import storage  # noqa: PLC0415
        from google.cloud.storage.retry import DEFAULT_RETRY  # noqa: PLC0415

        del encrypt  # Google encrypts in any case
        found = GCSHook(gcp_conn_id=connection_id).get_credentials_and_project_id if connection_id else None
        credentials, project = found() if found else get_credentials_and_project_id()
        self._client = storage.Client(credentials=credentials, project=project)
        self._blob = self._client.bucket(bucket).blob(key)
        # Google's library would try each step for two minutes.
        self._how = {"retry": DEFAULT_RETRY.with_timeout(_GCS_SECONDS), "timeout": _GCS_SECONDS}

    def look(self) -> bool:
        # By a list, because Airflow reads logs so, and because a bucket that is not there then says so.
        found = self._client.list_blobs(self._blob.bucket, prefix=self._blob.name, max_results=1, **self._how)
        return bool(list(found))

    def write(self, body: bytes) -> None:
        self._blob.upload_from_string(body, **self._how)

    def read(self) -> bytes:
        return t.cast("bytes", self._blob.download_as_bytes(**self._how))

    def delete(self) -> None:
        self._blob.delete(**self._how)
