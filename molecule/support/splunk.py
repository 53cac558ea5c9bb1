"""The double of Splunk on a host of the lab, and what it has seen.

As a program it starts the double on the services host of the lab that LAB names, and makes it the place where
inventories/lab sends task logs.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import typing as t
from pathlib import Path

from airflow_api import Run
from lab_hosts import ROOT, SERVICES, Hosts, wait_for

#: Where a host has the files of task logs.
VOLUME = "/var/lib/docker/volumes/airflow-lab_logs/_data"
DOUBLES = ROOT / "molecule" / "doubles"
_PLACE, _UNIT = "/srv/splunk", "splunk-double"
_CERTIFICATE, _KEY = f"{_PLACE}/certificate.pem", f"{_PLACE}/certificate.key"
_SERVICE = f"""[Unit]
Description=A double of Splunk: HTTP Event Collector and search

[Service]
Environment=PYTHONPATH={_PLACE}
ExecStart=/usr/bin/python3 -m splunk_double --config {_PLACE}/splunk.json
Restart=always

[Install]
WantedBy=multi-user.target
"""


class Splunk:
    """A collector with TLS and a search API on a host, until :meth:`stop`; it also outlives that host's restart.

    Attributes:
        variables: the key ``splunk`` of ``airflow_logs.tasks``.
    """

    INDEXES = ("airflow", "airflow_finance", "hosts")

    def __init__(self, hosts: Hosts, host: str = SERVICES) -> None:
        self._hosts = hosts
        self._host = host
        name = f"{host}.{hosts.facts['domain']}"
        self.variables: dict[str, t.Any] = {
            "url": f"https://{name}:8088",
            "token": "token-of-the-collector",
            "ca_certificate": hosts.facts["authority"],
            "index": "airflow",
            "bundle_indexes": {"finance": "airflow_finance"},
            "search_url": f"https://{name}:8089",
            "search_token": "token-of-the-search",
        }

    def start(self) -> None:
        """Bring it there and wait for its ports."""
        packed = subprocess.run(
            ["tar", "-C", str(DOUBLES), "-c", "--exclude=__pycache__", "splunk_double"], capture_output=True, check=True
        )
        words = [*self._hosts.ssh(self._host), f"mkdir -p {_PLACE} && tar -x -C {_PLACE}"]
        subprocess.run(words, input=packed.stdout, check=True, timeout=60)
        for path, kind in ((_CERTIFICATE, "certificate"), (_KEY, "key")):
            content = Path(self._hosts.facts["certificates"][self._host][kind]).read_text()
            self._hosts.write(self._host, path, content)
        settings = {
            "address": "0.0.0.0",  # noqa: S104 - inside the lab's network
            "hec_port": 8088,
            "search_port": 8089,
            "admin_port": 8090,
            "certificate": _CERTIFICATE,
            "key": _KEY,
            "events_file": f"{_PLACE}/events.jsonl",
            "indexes": list(self.INDEXES),
            "tokens": [
                {
                    "token": self.variables["token"],
                    "name": "tasks",
                    "indexes": list(self.INDEXES),
                    "index": self.INDEXES[0],
                }
            ],
            "readers": [{"token": self.variables["search_token"], "indexes": list(self.INDEXES)}],
        }
        self._hosts.write(self._host, f"{_PLACE}/splunk.json", json.dumps(settings))
        self._hosts.write(self._host, f"/etc/systemd/system/{_UNIT}.service", _SERVICE)
        self._hosts.run(self._host, f"systemctl daemon-reload && systemctl enable {_UNIT} && systemctl restart {_UNIT}")
        wait_for("the double of Splunk", lambda: self._hosts.ask(self._host, _admin("state")).stdout, 60)

    def stop(self) -> None:
        """End it; its events stay."""
        self._hosts.run(self._host, f"systemctl disable --now {_UNIT}")

    def use(self, logs: dict[str, t.Any] | None = None) -> None:
        """Have inventories/lab send task logs there; ``logs`` is another ``airflow_logs``."""
        logs = logs or {"tasks": {"splunk": self.variables}, "sweep_seconds": 15}
        place = Path(self._hosts.facts["ssh_config"]).parent / "logs.json"
        place.touch(mode=0o600)
        place.write_text(json.dumps(logs, indent=2), encoding="utf-8")

    def mode(self, mode: str) -> None:
        """up, down, hang, slow, busy or unhealthy."""
        self._hosts.run(self._host, _admin("mode", {"mode": mode}))

    def forget(self) -> None:
        """Drop all events: :meth:`printed` and :meth:`matching` read every one of them."""
        self._hosts.run(self._host, _admin("clear", {}))

    def events(self, source: str) -> list[dict[str, t.Any]]:
        """What is indexed of one file, by its path below the log folder; a line that came twice counts once."""
        # The file is large: only this source's lines come over.
        lines = self.matching(json.dumps(source))
        unique = {
            (line["fields"]["segment"], line["fields"]["offset"]): line for line in lines if line["source"] == source
        }
        return list(unique.values())

    def printed(self, source: str, text: str) -> int:
        """How many different lines of one file have this text; counted there, since there may be many."""
        program = (
            "import json, sys\n"
            "wanted = json.dumps(sys.argv[1])\n"
            "seen = set()\n"
            f"for line in open('{_PLACE}/events.jsonl'):\n"
            "    if wanted in line and sys.argv[2] in line:\n"
            "        event = json.loads(line)\n"
            "        if event['source'] == sys.argv[1] and sys.argv[2] in event['raw']:\n"
            "            seen.add((event['fields']['segment'], event['fields']['offset']))\n"
            "print(len(seen))"
        )
        words = ("python3", "-c", shlex.quote(program), shlex.quote(source), shlex.quote(text))
        return int(self._hosts.run(self._host, *words, timeout=300))

    def lines_of(self, run: Run, index: int, attempt: int = 1) -> int:
        """How many of its own lines an attempt of ``work`` has in Splunk."""
        return self.printed(log_path(run.id, index, attempt), f"of {run.seconds}")

    def matching(self, text: str) -> list[dict[str, t.Any]]:
        """Every event whose line in the double's file has this text, also those that came twice."""
        found = self._hosts.run(self._host, f"grep -F {shlex.quote(text)} {_PLACE}/events.jsonl || true")
        return [json.loads(line) for line in found.splitlines()]


def _admin(path: str, body: dict[str, t.Any] | None = None) -> str:
    """A command that asks the double something; the host has Python, and nothing else that speaks HTTP."""
    data = "" if body is None else f", {json.dumps(body)!r}.encode()"
    program = f"import urllib.request as u; print(u.urlopen('http://localhost:8090/{path}'{data}).read().decode())"
    return f"python3 -c {shlex.quote(program)}"


def log_path(run: str, index: int, attempt: int, dag: str = "probe", task: str = "work") -> str:
    """Airflow's file of an attempt of a mapped task, below the log folder."""
    return str(
        Path(f"dag_id={dag}", f"run_id={run}", f"task_id={task}", f"map_index={index}", f"attempt={attempt}.log")
    )


if __name__ == "__main__":
    collector = Splunk(Hosts())
    collector.start()
    collector.use()
    print(f"Splunk's double answers at {collector.variables['url']}; inventories/lab sends task logs there.")
