"""What is told of a bucket that will not do. The real S3 class against a server: tests/airflow."""

from __future__ import annotations

import typing as t

import pytest
from flowstead_airflow.task_logs.bucket import BucketProblem, explain, open_store, try_bucket

URL = "s3://logs/airflow"


class S3Error(Exception):
    """As botocore's ClientError."""

    def __init__(self, code: str, text: str = "refused") -> None:
        super().__init__(f"An error occurred ({code}): {text}")
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}


class Store:
    """A bucket that refuses one step."""

    def __init__(self, refused: str = "", error: Exception | None = None, changed: bytes = b"") -> None:
        self.refused, self.error, self.changed = refused, error or S3Error("AccessDenied"), changed
        self.content: bytes | None = None
        self.steps: list[str] = []

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if name == self.refused:
            raise self.error

    def look(self) -> bool:
        self._step("look")
        return self.content is not None

    def write(self, body: bytes) -> None:
        self._step("write" if self.content is None else "replace")
        self.content = body

    def read(self) -> bytes:
        self._step("read")
        assert self.content is not None
        return self.content + self.changed

    def delete(self) -> None:
        self._step("delete")
        self.content = None


def test_a_good_bucket_is_left_as_it_was():
    store = Store()

    assert try_bucket(URL, store) == []
    assert store.steps == ["look", "write", "replace", "read", "delete"]
    assert store.content is None


@pytest.mark.parametrize(
    ("step", "words"), [("look", "s3:ListBucket"), ("write", "s3:PutObject"), ("read", "s3:GetObject")]
)
def test_what_is_not_allowed_is_named_with_the_permission(step: str, words: str):
    with pytest.raises(BucketProblem, match=f"could not {step}: it is not allowed.*{words}"):
        try_bucket(URL, Store(step))


def test_a_bucket_whose_objects_may_not_be_replaced_is_refused_because_airflow_appends_so():
    with pytest.raises(BucketProblem, match=r"could not replace: it is not allowed.*storage\.objects\.delete"):
        try_bucket("gs://logs/airflow", Store("replace", named("Forbidden")))


def test_a_bucket_that_may_not_be_cleaned_is_good_enough():
    (warning,) = try_bucket(URL, Store("delete"))

    assert "could not be deleted" in warning


def test_a_store_that_changes_objects_is_refused():
    with pytest.raises(BucketProblem, match="not what came back"):
        try_bucket(URL, Store(changed=b"!"))


def named(name: str) -> Exception:
    return t.cast("Exception", type(name, (Exception,), {})("told by the library"))


@pytest.mark.parametrize(
    ("scheme", "error", "words"),
    [
        ("s3", S3Error("NoSuchBucket"), "airflow_logs.tasks.s3.url"),
        ("s3", S3Error("InvalidAccessKeyId"), "s3.access_key_id"),
        ("s3", S3Error("SignatureDoesNotMatch"), "s3.secret_access_key"),
        ("s3", S3Error("PermanentRedirect"), "s3.region_name"),
        ("s3", S3Error("301"), "s3.region_name"),
        ("s3", S3Error("NotImplemented"), "s3.encrypt"),
        ("s3", S3Error("AccessDenied", "not authorized to perform: kms:GenerateDataKey"), "kms:Decrypt"),
        ("s3", S3Error("RequestTimeTooSkewed"), "clock"),
        ("s3", named("NoCredentialsError"), "hop limit"),
        ("s3", named("SSLError"), "s3.ca_certificate"),
        ("s3", named("EndpointConnectionError"), "s3.endpoint_url"),
        ("gs", named("NotFound"), "airflow_logs.tasks.gcs.url"),
        ("gs", named("Forbidden"), "storage.objects.create"),
        ("gs", named("RefreshError"), "gcs.key"),
        ("gs", named("ValueError"), "gcs.key"),
        ("gs", named("RetryError"), "firewalls"),
        ("gs", named("DefaultCredentialsError"), "workload identity"),
        ("s3", S3Error("Unheard"), "Unheard"),
    ],
)
def test_each_error_is_told_with_what_to_do(scheme: str, error: Exception, words: str):
    assert words in explain(scheme, "write", error)


@pytest.mark.parametrize(("url", "provider"), [(URL, "amazon"), ("gs://logs/airflow", "google")])
def test_an_image_without_the_provider_is_told_which(url: str, provider: str):
    with pytest.raises(BucketProblem, match=f"apache-airflow-providers-{provider}"):
        open_store(url, "", encrypt=False)
