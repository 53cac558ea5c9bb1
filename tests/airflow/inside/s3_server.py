"""An S3 server with TLS by an authority of its own, which asks who comes and what they may do: moto's, as a process."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
import typing as t
import urllib.request
from pathlib import Path

import boto3

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "unit"))

from certificates import Certificates

REGION = "eu-central-1"
#: The program, in an environment of its own: test_inside.py says where.
PROGRAM = "FLOWSTEAD_TEST_S3_SERVER"


class S3Server:
    """The server, with one bucket and one user that may read and write below a prefix and nothing else."""

    def __init__(self, root: Path, bucket: str, prefix: str) -> None:
        root.mkdir()
        certificates = Certificates(root)
        pair = certificates.pem("127.0.0.1")
        self.authority = root / "ca.pem"
        self.authority.write_text(certificates.ca_pem)
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port = found.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self.bucket, self._prefix = bucket, prefix
        self._log = (root / "log").open("w+")
        command = [os.environ[PROGRAM], "-H", "127.0.0.1", "-p", str(self.port), "-c", str(pair), "-k", str(pair)]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)
        try:
            self._prepare(bucket, prefix)
        except BaseException:
            self.close()
            raise

    def _prepare(self, bucket: str, prefix: str) -> None:
        self._await()
        anybody = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
        self._client("s3", **anybody).create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        iam = self._client("iam", **anybody)
        self.key = self._user(iam, "airflow", ["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{bucket}/{prefix}/*")
        self.stranger = self._user(iam, "stranger", ["s3:GetObject"], "arn:aws:s3:::another/*")
        self._test = self._user(iam, "test", ["s3:*"], "*")
        # From now on every request has to be signed by somebody who may do that.
        self._post("/moto-api/reset-auth", b"0")

    def sink(self, key: dict[str, str]) -> dict[str, t.Any]:
        """The bucket as a sink in the platform's variables."""
        bucket = {
            "url": f"s3://{self.bucket}/{self._prefix}",
            "access_key_id": key["aws_access_key_id"],
            "secret_access_key": key["aws_secret_access_key"],
            "region_name": REGION,
            "endpoint_url": self.url,
            "ca_certificate": self.authority.read_text(),
            "encrypt": True,
        }
        return {"s3": bucket}

    def objects(self) -> dict[str, str]:
        """Every object, by key."""
        s3 = self._client("s3", **self._test)
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])]
        return {key: s3.get_object(Bucket=self.bucket, Key=key)["Body"].read().decode() for key in keys}

    def encryption(self, key: str) -> str | None:
        """How an object is encrypted."""
        return self._client("s3", **self._test).head_object(Bucket=self.bucket, Key=key).get("ServerSideEncryption")

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)
        self._log.close()

    def _user(self, iam: t.Any, name: str, actions: list[str], resource: str) -> dict[str, str]:
        iam.create_user(UserName=name)
        allowed = [
            {"Effect": "Allow", "Action": actions, "Resource": resource},
            {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{self.bucket}"},
        ]
        policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}

    def _client(self, service: str, **login: str) -> t.Any:
        return boto3.client(service, endpoint_url=self.url, region_name=REGION, verify=str(self.authority), **login)

    def _post(self, path: str, body: bytes) -> None:
        context = ssl.create_default_context(cafile=str(self.authority))
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.url}{path}", body, headers, method="POST")
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            assert answer.status == 200

    def _await(self) -> None:
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self._process.poll() is None, Path(self._log.name).read_text()
                assert time.monotonic() < deadline, "the S3 server does not listen"
                time.sleep(0.1)
            else:
                return
