"""What a store with S3's interface needs before somebody comes: a bucket, and users that may do some things there.

Runs on the host of the store, which is moto's server, with moto's own libraries. moto keeps all in memory; the store's
unit runs ``prepare`` after each start, which makes the same bucket and the same keys again, and from then on every
request has to be signed by somebody who may do that.

    s3_double.py prepare SETTINGS     bucket, users and their keys, which go into the settings' file of keys
    s3_double.py show SETTINGS PREFIX objects below a prefix, as JSON: key -> content
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import time
import typing as t
import urllib.request
from pathlib import Path

import boto3

#: Seconds until the server has to listen, on a slow host that imports all of it.
START_SECONDS = 240
#: What moto's random keys come from, so that a restart makes the same ones.
SEED = 20261


class Store:
    """The server, as its administrator sees it.

    Args:
        settings: ``url``, ``authority`` (path), ``region``, ``bucket``, ``prefix``, and ``keys`` (path of a file).
    """

    def __init__(self, settings: dict[str, str]) -> None:
        self._settings = settings
        self._keys = Path(settings["keys"])

    def prepare(self) -> None:
        """Make the bucket, and users of whom one may write and read logs, one nothing there, and one everything."""
        self._await()
        self._post(f"/moto-api/seed?a={SEED}")
        bucket, prefix = self._settings["bucket"], self._settings["prefix"]
        anybody = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
        place = {"LocationConstraint": self._settings["region"]}
        self._client("s3", **anybody).create_bucket(Bucket=bucket, CreateBucketConfiguration=place)
        iam = self._client("iam", **anybody)
        objects = f"arn:aws:s3:::{bucket}/{prefix}/*"
        made = {
            "airflow": self._user(iam, "airflow", ["s3:GetObject", "s3:PutObject"], objects),
            "reader": self._user(iam, "reader", ["s3:GetObject"], objects),
            "administrator": self._user(iam, "administrator", ["s3:*"], "*"),
        }
        if self._keys.exists() and json.loads(self._keys.read_text()) != made:
            sys.exit(f"{self._keys} has other keys: the store is not the one that users know.")
        descriptor = os.open(self._keys, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump(made, stream)
        self._post("/moto-api/reset-auth", b"0")

    def show(self, prefix: str) -> dict[str, str]:
        """Objects below a prefix of the bucket."""
        s3 = self._client("s3", **json.loads(self._keys.read_text())["administrator"])
        bucket, found = self._settings["bucket"], {}
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for entry in page.get("Contents", []):
                found[entry["Key"]] = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read().decode()
        return found

    def _user(self, iam: t.Any, name: str, actions: list[str], resource: str) -> dict[str, str]:
        iam.create_user(UserName=name)
        allowed = [
            {"Effect": "Allow", "Action": actions, "Resource": resource},
            {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{self._settings['bucket']}"},
        ]
        policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return {"aws_access_key_id": made["AccessKeyId"], "aws_secret_access_key": made["SecretAccessKey"]}

    def _client(self, service: str, **login: str) -> t.Any:
        url, authority = self._settings["url"], self._settings["authority"]
        return boto3.client(service, endpoint_url=url, region_name=self._settings["region"], verify=authority, **login)

    def _post(self, path: str, body: bytes = b"") -> None:
        context = ssl.create_default_context(cafile=self._settings["authority"])
        headers = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self._settings['url']}{path}", body, headers, method="POST")  # noqa: S310 - https, by the settings
        with urllib.request.urlopen(request, context=context, timeout=60) as answer:  # noqa: S310
            if answer.status != 200:
                sys.exit(f"{path}: {answer.status}")

    def _await(self) -> None:
        host, _colon, port = self._settings["url"].removeprefix("https://").partition(":")
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection((host, int(port)), 5).close()
            except OSError as error:
                if time.monotonic() >= deadline:
                    sys.exit(f"{host}:{port} does not listen after {START_SECONDS} s: {error}")
                time.sleep(0.5)
            else:
                return


def main(words: t.Sequence[str]) -> int:
    """One of the commands above."""
    if words[:1] == ["prepare"] and len(words) == 2:
        Store(json.loads(Path(words[1]).read_text())).prepare()
    elif words[:1] == ["show"] and len(words) == 3:
        print(json.dumps(Store(json.loads(Path(words[1]).read_text())).show(words[2])))
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
