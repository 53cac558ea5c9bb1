"""A bucket with S3's interface on a host of the lab, and what is in it."""

from __future__ import annotations

import json
import shlex
import subprocess
import tempfile
import typing as t
from pathlib import Path

from lab_hosts import ROOT, SERVICES, Hosts, wait_for

PINS = ROOT / "requirements" / "doubles.txt"
#: The Python of the lab's hosts, for which the server's libraries are taken.
PYTHON = "3.13"
REGION = "eu-central-1"
PORT = 9000
_PLACE, _UNIT = "/srv/s3", "s3-double"
_PROGRAM = f"env PYTHONPATH={_PLACE}/lib /usr/bin/python3 {_PLACE}/s3_double.py"
_SERVICE = f"""[Unit]
Description=A double of S3: moto's server
Wants=network-online.target
After=network-online.target

[Service]
Environment=PYTHONPATH={_PLACE}/lib
# Without it, the first part of this host's own name would be a bucket.
Environment=S3_IGNORE_SUBDOMAIN_BUCKETNAME=true
ExecStart=/usr/bin/python3 -m moto.server -H 0.0.0.0 -p {PORT} -c {_PLACE}/certificate.pem -k {_PLACE}/certificate.key
ExecStartPost=/usr/bin/python3 {_PLACE}/s3_double.py prepare {_PLACE}/settings.json
TimeoutStartSec=300
Restart=always

[Install]
WantedBy=multi-user.target
"""


class Bucket:
    """One bucket with TLS, where one user may write and read logs; :meth:`start` brings it there."""

    NAME, PREFIX = "airflow-logs", "lab"

    def __init__(self, hosts: Hosts, host: str = SERVICES) -> None:
        self._hosts, self._host = hosts, host
        self._url = f"https://{host}.{hosts.facts['domain']}:{PORT}"

    def start(self) -> None:
        """Bring the server there with its libraries, and wait until it has the bucket and its users."""
        with tempfile.TemporaryDirectory() as name:
            wanted = ["--python-version", PYTHON, "--only-binary", ":all:", "--no-compile-bytecode"]
            command = [str(ROOT / ".venv/bin/uv"), "pip", "install", "--quiet", "--target", f"{name}/lib", *wanted]
            subprocess.run([*command, "-r", str(PINS)], check=True)
            packed = subprocess.run(["tar", "-C", name, "-c", "lib"], capture_output=True, check=True).stdout
        unpack = f"rm -rf {_PLACE}/lib && mkdir -p {_PLACE} && chmod 700 {_PLACE} && tar -x -C {_PLACE}"
        subprocess.run([*self._hosts.ssh(self._host), unpack], input=packed, check=True, timeout=300)
        settings = {
            "url": self._url,
            "authority": f"{_PLACE}/authority.pem",
            "region": REGION,
            "bucket": self.NAME,
            "prefix": self.PREFIX,
            "keys": f"{_PLACE}/keys.json",
        }
        pair = self._hosts.facts["certificates"][self._host]
        for file, content in (
            ("authority.pem", self._hosts.facts["authority"]),
            ("certificate.pem", Path(pair["certificate"]).read_text()),
            ("certificate.key", Path(pair["key"]).read_text()),
            ("settings.json", json.dumps(settings)),
            ("s3_double.py", (ROOT / "molecule/doubles/s3_double.py").read_text()),
        ):
            self._hosts.write(self._host, f"{_PLACE}/{file}", content)
        self._hosts.write(self._host, f"/etc/systemd/system/{_UNIT}.service", _SERVICE)
        self._hosts.run(self._host, f"systemctl daemon-reload && systemctl enable {_UNIT}")
        self._hosts.run(self._host, f"systemctl restart {_UNIT}", timeout=400)

    def sink(self, user: str = "airflow") -> dict[str, t.Any]:
        """The key ``s3`` of ``airflow_logs.tasks`` for one of the users ``airflow`` and ``reader``."""
        key = json.loads(self._hosts.run(self._host, "cat", f"{_PLACE}/keys.json"))[user]
        return {
            "url": f"s3://{self.NAME}/{self.PREFIX}",
            "access_key_id": key["aws_access_key_id"],
            "secret_access_key": key["aws_secret_access_key"],
            "region_name": REGION,
            "endpoint_url": self._url,
            "ca_certificate": self._hosts.facts["authority"],
        }

    def lines(self, path: str, text: str) -> int:
        """How many lines of a task's log, named by its path below the log folder, have this text."""
        words = (_PROGRAM, "show", f"{_PLACE}/settings.json", shlex.quote(f"{self.PREFIX}/{path}"))
        found: dict[str, str] = json.loads(self._hosts.run(self._host, *words))
        return sum(text in line for content in found.values() for line in content.splitlines())

    def await_lines(self, path: str, text: str, count: int) -> None:
        """Wait until that many lines are there."""
        wait_for(f"{count} lines of {path} in the bucket", lambda: self.lines(path, text) == count, 300, pause=3)
