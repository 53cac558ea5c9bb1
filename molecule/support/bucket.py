"""Buckets with the interfaces of S3 and of Google Cloud Storage on a host of the lab, and what is in them."""

from __future__ import annotations

import json
import shlex
import subprocess
import tempfile
import typing as t
from pathlib import Path

from lab_hosts import ROOT, SERVICES, Hosts, wait_for

PINS = ROOT / "requirements" / "doubles.txt"
#: The Python of the lab's hosts, for which the servers' libraries are taken.
PYTHON = "3.13"
REGION = "eu-central-1"
_UNIT = """[Unit]
Description=A double of a cloud's store: {program}
Wants=network-online.target
After=network-online.target

[Service]
Environment=PYTHONPATH={place}/lib
{service}
TimeoutStartSec=300
Restart=always

[Install]
WantedBy=multi-user.target
"""


class Store(t.Protocol):
    """A bucket for tests that do not care whose it is."""

    def lines(self, path: str, text: str) -> int:
        """How many lines of a task's log, named by its path below the log folder, have this text."""


def await_lines(store: Store, path: str, text: str, count: int) -> None:
    """Wait until that many lines are there."""
    wait_for(f"{count} lines of {path} in the bucket", lambda: store.lines(path, text) == count, 300, pause=3)


class _Double:
    """A program of molecule/doubles on a host, with settings and libraries of its own.

    Args:
        hosts, host: where.
        program: its file.
        name: of its unit, and of its directory below /srv.
        url: by which others reach it.
    """

    NAME, PREFIX = "airflow-logs", "lab"

    def __init__(self, hosts: Hosts, host: str, program: str, name: str, url: str) -> None:
        self._hosts, self._host = hosts, host
        self._program, self._name = program, name
        self._place, self._url = f"/srv/{name}", url

    def _start(self, service: str, settings: t.Mapping[str, t.Any], files: t.Mapping[str, str]) -> None:
        """Bring the server there with its libraries, and wait until it has the bucket and its users."""
        with tempfile.TemporaryDirectory() as name:
            wanted = ["--python-version", PYTHON, "--only-binary", ":all:", "--no-compile-bytecode"]
            command = [str(ROOT / ".venv/bin/uv"), "pip", "install", "--quiet", "--target", f"{name}/lib", *wanted]
            subprocess.run([*command, "-r", str(PINS)], check=True)
            packed = subprocess.run(["tar", "-C", name, "-c", "lib"], capture_output=True, check=True).stdout
        place = self._place
        unpack = f"rm -rf {place}/lib && mkdir -p {place} && chmod 700 {place} && tar -x -C {place}"
        subprocess.run([*self._hosts.ssh(self._host), unpack], input=packed, check=True, timeout=300)
        known = {"url": self._url, "bucket": self.NAME, "prefix": self.PREFIX, "keys": f"{place}/keys.json"}
        program = (ROOT / "molecule/doubles" / self._program).read_text()
        for file, content in {
            **files,
            "settings.json": json.dumps({**known, **settings}),
            self._program: program,
        }.items():
            self._hosts.write(self._host, f"{place}/{file}", content)
        unit = _UNIT.format(program=self._program, place=place, service=service)
        self._hosts.write(self._host, f"/etc/systemd/system/{self._name}.service", unit)
        self._hosts.run(self._host, f"systemctl daemon-reload && systemctl enable {self._name}")
        self._hosts.run(self._host, f"systemctl restart {self._name}", timeout=400)

    def _key(self, user: str) -> dict[str, str]:
        found: dict[str, dict[str, str]] = json.loads(self._hosts.run(self._host, "cat", f"{self._place}/keys.json"))
        return found[user]

    def lines(self, path: str, text: str) -> int:
        """How many lines of a task's log, named by its path below the log folder, have this text."""
        program = f"env PYTHONPATH={self._place}/lib /usr/bin/python3 {self._place}/{self._program}"
        words = (program, "show", f"{self._place}/settings.json", shlex.quote(f"{self.PREFIX}/{path}"))
        found: dict[str, str] = json.loads(self._hosts.run(self._host, *words))
        return sum(text in line for content in found.values() for line in content.splitlines())


class S3Bucket(_Double):
    """One bucket with TLS, where one user may write and read logs; :meth:`start` brings it there."""

    PORT = 9000

    def __init__(self, hosts: Hosts, host: str = SERVICES) -> None:
        url = f"https://{host}.{hosts.facts['domain']}:{self.PORT}"
        super().__init__(hosts, host, "s3_double.py", "s3-double", url)

    def start(self) -> None:
        """Bring the server there, and wait until it has the bucket and its users."""
        pair = self._hosts.facts["certificates"][self._host]
        place = self._place
        certificate = f"-c {place}/certificate.pem -k {place}/certificate.key"
        service = f"""# Without it, the first part of this host's own name would be a bucket.
Environment=S3_IGNORE_SUBDOMAIN_BUCKETNAME=true
ExecStart=/usr/bin/python3 -m moto.server -H 0.0.0.0 -p {self.PORT} {certificate}
ExecStartPost=/usr/bin/python3 {place}/s3_double.py prepare {place}/settings.json"""
        files = {
            "authority.pem": self._hosts.facts["authority"],
            "certificate.pem": Path(pair["certificate"]).read_text(),
            "certificate.key": Path(pair["key"]).read_text(),
        }
        self._start(service, {"authority": f"{place}/authority.pem", "region": REGION}, files)

    def sink(self, user: str = "airflow") -> dict[str, t.Any]:
        """The key ``s3`` of ``airflow_logs.tasks`` for one of the users ``airflow`` and ``reader``."""
        key = self._key(user)
        return {
            "url": f"s3://{self.NAME}/{self.PREFIX}",
            "access_key_id": key["aws_access_key_id"],
            "secret_access_key": key["aws_secret_access_key"],
            "region_name": REGION,
            "endpoint_url": self._url,
            "ca_certificate": self._hosts.facts["authority"],
        }


class GcsBucket(_Double):
    """One bucket of Google Cloud Storage, with service accounts; :meth:`start` brings it there."""

    PORT, BEHIND = 9001, 9002

    def __init__(self, hosts: Hosts, host: str = SERVICES) -> None:
        url = f"http://{host}.{hosts.facts['domain']}:{self.PORT}"
        super().__init__(hosts, host, "gcs_double.py", "gcs-double", url)

    def start(self) -> None:
        """Bring the server there, and wait until it has the bucket and its service accounts."""
        service = f"""Type=notify
ExecStart=/usr/bin/python3 {self._place}/gcs_double.py serve {self._place}/settings.json"""
        self._start(service, {"behind": self.BEHIND}, {})

    @property
    def environment(self) -> dict[str, str]:
        """``airflow_extra_environment``, by which Google's library goes to this server and no further."""
        return {"STORAGE_EMULATOR_HOST": self._url, "NO_GCE_CHECK": "true"}

    def sink(self, user: str = "airflow") -> dict[str, t.Any]:
        """The key ``gcs`` of ``airflow_logs.tasks`` for one of the accounts ``airflow`` and ``stranger``."""
        return {"url": f"gs://{self.NAME}/{self.PREFIX}", "key": json.dumps(self._key(user))}
