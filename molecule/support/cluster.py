"""The swarm and the managed services as an operator sees them: by their own tools, not through the collection."""

from __future__ import annotations

import json
import re
import shlex
import typing as t

from lab_hosts import MANAGERS, SERVICES, Hosts, Waiting, await_leader, wait_for

STACK = "airflow-lab"
JOBS = ("migrate", "init", "logs-bucket")
#: What rabbitmqctl would ask the broker, after six seconds of the processor to start itself.
_CONSUMERS = (
    'Name = rabbit_misc:r(<<"airflow">>, queue, <<"default">>), {ok, Queue} = rabbit_amqqueue:lookup(Name), '
    "[{consumers, Count}] = rabbit_amqqueue:info(Queue, [consumers]), Count."
)


class Cluster:
    """The swarm, asked through whichever manager answers."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self._answered = MANAGERS[0]

    def docker(self, *words: str) -> str:
        """Output of a docker command on the first manager that has an answer; who had the last one is asked first."""
        said = []
        for host in sorted(MANAGERS, key=lambda host: host != self._answered):
            done = self.hosts.ask(host, "docker", *words)
            if done.returncode == 0:
                self._answered = host
                return done.stdout
            said.append(f"{host}: {done.stderr.strip()[-300:]}")
        raise AssertionError(f"docker {' '.join(words)} failed everywhere: {'; '.join(said)}")

    def nodes(self) -> list[dict[str, t.Any]]:
        """The swarm's nodes, in the words of ``docker node ls``."""
        return [json.loads(line) for line in self.docker("node", "ls", "--format", "'{{json .}}'").splitlines()]

    def leader(self) -> str:
        """Host name of the leader."""
        return await_leader(lambda: {node["Hostname"]: node["ManagerStatus"] for node in self.nodes()})

    def services(self) -> dict[str, str]:
        """Replicas of each service, as in ``3/3``, by short name."""
        listed = self.docker("service", "ls", "--format", "'{{.Name}} {{.Replicas}}'")
        rows = dict(line.split(maxsplit=1) for line in listed.splitlines())
        return {name.removeprefix(f"{STACK}_"): replicas for name, replicas in rows.items()}

    def workers(self) -> dict[str, str]:
        """Address of each running worker's container, and the host that it is on."""
        found = {}
        command = (
            "docker ps -q --filter name=worker --filter health=healthy | xargs -r docker inspect -f "
            "'{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}'"
        )
        for host in MANAGERS:
            for address in self.hosts.ask(host, command).stdout.split():
                found[address] = host
        return found

    def end_tasks(self, run: str) -> None:
        """Let tasks of a run end, by its ID, that look for this file of their container and would go on for long."""
        each = f"docker exec $container touch '/tmp/end-{run}'"
        for host in MANAGERS:
            self.hosts.run(host, f"for container in $(docker ps -q --filter name=worker); do {each}; done")

    def process(self, host: str, address: str) -> int:
        """Process ID, on its host, of the container that has an address."""
        listed = json.loads(self.hosts.run(host, "docker inspect $(docker ps -q)"))
        (found,) = (
            one["State"]["Pid"]
            for one in listed
            if address in [network["IPAddress"] for network in one["NetworkSettings"]["Networks"].values()]
        )
        return int(found)

    def trouble(self) -> str:
        """Why the platform is not at its full strength, or nothing."""
        try:
            nodes, services = self.nodes(), self.services()
        except AssertionError as error:
            return str(error)
        down = [node["Hostname"] for node in nodes if node["Status"] != "Ready"]
        unreachable = [node["Hostname"] for node in nodes if node["ManagerStatus"] not in ("Leader", "Reachable")]
        weak = [f"{name} {count}" for name, count in services.items() if name not in JOBS and not _full(count)]
        found = [f"down: {down}"] * bool(down) + [f"unreachable: {unreachable}"] * bool(unreachable) + weak
        return "; ".join(found)

    def consumers(self) -> int:
        """Connections that consume the queue `default`, as the broker counts them; 0 while it does not answer."""
        ask = "runuser -u rabbitmq -- env HOME=/var/lib/rabbitmq erl_call -sname rabbit@localhost -e"
        told = self.hosts.ask(SERVICES, f"echo {shlex.quote(_CONSUMERS)} | {ask}")
        found = re.search(r"\{ok, (\d+)\}", told.stdout)
        return int(found[1]) if found else 0

    def await_strength(self, consumers: int = 3, seconds: float = 600) -> None:
        """Wait until all nodes are ready, all services have their replicas, and all workers consume."""

        def strong() -> t.Any:
            trouble = self.trouble()
            if trouble:
                return Waiting(trouble)
            live = self.consumers()
            return True if live >= consumers else Waiting(f"{live} of {consumers} workers consume")

        wait_for("the platform at full strength", strong, seconds, pause=3)


def _full(count: str) -> bool:
    running, _slash, wanted = count.split(maxsplit=1)[0].partition("/")
    return running == wanted
