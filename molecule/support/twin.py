"""Workers like those of a group, but for their queue and for where their logs go; they live beside the stack."""

from __future__ import annotations

import json
import shlex
import typing as t

from cluster import STACK, Cluster
from lab_hosts import wait_for

#: What the platform gives a worker that sends its tasks' lines to Splunk.
SINK = ("AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS=", "FLOWSTEAD_TASK_LOGS=")
_CREATE = """
import http.client, socket, sys
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect("/var/run/docker.sock")
connection.request("POST", "/services/create", sys.argv[1], {"Content-Type": "application/json"})
answer = connection.getresponse()
sys.exit(0 if answer.status == 201 else answer.read().decode())
"""


class Twin:
    """One worker on one host, for one queue.

    Args:
        sink: whether lines go where those of the platform go; without it, into local files alone.
        plain: nothing said about how it is updated and how long it may take to end, so that Docker's defaults hold.
    """

    def __init__(
        self,
        cluster: Cluster,
        host: str,
        queue: str,
        *,
        sink: bool,
        plain: bool = False,
        group: str = "worker-default",
    ) -> None:
        self._cluster, self._hosts, self._host = cluster, cluster.hosts, host
        self.name, self._queue = f"twin-{queue}", queue
        (service,) = json.loads(cluster.docker("service", "inspect", f"{STACK}_{group}"))
        self._spec = twin_spec(service["Spec"], self.name, queue, host, sink=sink)
        if plain:
            self._spec["TaskTemplate"]["ContainerSpec"].pop("StopGracePeriod")
            self._spec.pop("UpdateConfig")
            self._spec.pop("RollbackConfig")

    def __enter__(self) -> Twin:
        self._remove()  # what an earlier run left that was killed
        text = shlex.quote(json.dumps(self._spec))
        self._hosts.run(self._host, "python3", "-c", shlex.quote(_CREATE), text)
        try:
            wait_for(f"a worker of {self._queue}", self.container, 300, pause=2)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._remove()

    def _remove(self) -> None:
        """The service, and the files that it alone has; a volume goes when its container has gone."""
        volume = f"{self.name}-logs"
        self._hosts.ask(self._host, "docker", "service", "rm", self.name)

        def gone() -> bool:
            listed = self._hosts.run(self._host, "docker", "volume", "ls", "-q", "--filter", f"name={volume}")
            return not listed or self._hosts.ask(self._host, "docker", "volume", "rm", volume).returncode == 0

        wait_for(f"{self.name} to go", gone, 120)

    def memory(self) -> float:
        """The most memory that the worker and its tasks had at once, files that the kernel caches included, in MB."""
        peak = self._hosts.run(self._host, "docker", "exec", self.container(), "cat", "/sys/fs/cgroup/memory.peak")
        return int(peak) / 1e6

    def container(self) -> str:
        """ID of the worker's container, once it is healthy; else nothing."""
        words = ("docker", "ps", "-q", "--filter", f"name={self.name}", "--filter", "health=healthy")
        return self._hosts.ask(self._host, *words).stdout.strip()


def twin_spec(spec: dict[str, t.Any], name: str, queue: str, host: str, *, sink: bool) -> dict[str, t.Any]:
    """The specification of a service like another one: no part of its stack, one replica on one host, another queue."""
    spec = json.loads(json.dumps(spec))
    container = spec["TaskTemplate"]["ContainerSpec"]
    words = container["Args"] if "--queues" in container.get("Args", []) else container["Command"]
    words[words.index("--queues") + 1] = queue
    kept = [entry for entry in container["Env"] if not entry.startswith("FLOWSTEAD_QUEUES=")]
    container["Env"] = [*kept, f"FLOWSTEAD_QUEUES={queue}"]
    if not sink:
        lacking = [variable for variable in SINK if not any(entry.startswith(variable) for entry in kept)]
        assert not lacking, f"the worker has no {lacking}: there is nothing to leave out"
        container["Env"] = [entry for entry in container["Env"] if not entry.startswith(SINK)]
        # The sweeper would deliver what nobody else does.
        for mount in container["Mounts"]:
            if mount["Type"] == "volume":
                mount["Source"] = f"{name}-logs"
    container.pop("Labels", None)
    spec |= {"Name": name, "Labels": {}, "Mode": {"Replicated": {"Replicas": 1}}}
    spec["TaskTemplate"]["Placement"] = {"Constraints": [f"node.hostname=={host}"]}
    return spec
