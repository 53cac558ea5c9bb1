"""What the platform looks like when a test of it fails: for whoever reads the log and has no such platform."""

from __future__ import annotations

from cluster import STACK, Cluster
from lab_hosts import MANAGERS, SERVICES

#: Transactions of the platform that are open for long, and who holds them up.
_TRANSACTIONS = (
    "SELECT pid, client_addr, state, now() - xact_start AS open_for, wait_event_type, wait_event, "
    "pg_blocking_pids(pid) AS blocked_by, left(regexp_replace(query, '[[:space:]]+', ' ', 'g'), 120) AS query "
    "FROM pg_stat_activity WHERE xact_start < now() - interval '5 seconds' AND backend_type = 'client backend' "
    "ORDER BY xact_start LIMIT 12"
)
#: Services whose words tell why tasks do not go on.
_TALKERS = ("scheduler", "worker", "api-server")
_LINES = 12


def witness(cluster: Cluster) -> str:
    """Nodes, services, queues, long transactions, and the last words of what runs tasks; never an exception."""
    parts = [
        ("the swarm", cluster.trouble() or "at full strength"),
        ("queues", _ask(cluster, SERVICES, _quiet_rabbit("messages_ready", "messages_unacknowledged", "consumers"))),
        ("transactions open for long", _ask(cluster, SERVICES, f'runuser -u postgres -- psql -xtc "{_TRANSACTIONS}"')),
        ("tasks of the stack", _ask(cluster, _manager(cluster), _tasks())),
    ]
    for name in _TALKERS:
        command = f"docker ps -q --filter name=_{name} | xargs -r -n1 docker logs --tail {_LINES} 2>&1 | cut -c1-300"
        parts += [(f"{name} on {host}", _ask(cluster, host, command)) for host in MANAGERS]
    return "\n".join(f"-- {title}\n{text.strip() or 'nothing'}" for title, text in parts)


def _manager(cluster: Cluster) -> str:
    return next(
        (host for host in MANAGERS if cluster.hosts.ask(host, "docker", "node", "ls").returncode == 0), "swarm1"
    )


def _tasks() -> str:
    shown = "'{{.Name}} {{.Node}} {{.CurrentState}} {{.Error}}'"
    return f"docker stack ps {STACK} --no-trunc --format {shown} | head -40"


def _quiet_rabbit(*columns: str) -> str:
    return f"rabbitmqctl -q --vhost airflow list_queues name {' '.join(columns)}"


def _ask(cluster: Cluster, host: str, command: str) -> str:
    done = cluster.hosts.ask(host, command)
    return done.stdout if done.returncode == 0 else f"no answer ({done.returncode}): {done.stderr[-500:]}"
