# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why did this service not come up? The cause, the evidence, and what to do.

PRIVATE to the collection. ``classify`` is pure; ``diagnose`` collects the evidence.
"""

from __future__ import annotations

import re
import typing as t
from urllib.parse import quote, unquote, urlsplit

from . import capacity
from .engine import Engine, EngineError, EngineUnreachable
from .images import auth_header
from .streams import demultiplex
from .waiting import Verdict

LOG_LINES = 15
#: Seconds that log lines may take.
LOG_SECONDS = 15.0
_FAILED = ("failed", "rejected", "orphaned")

#: What to do, for an engineer who wants to go back to bed.
ADVICE = {
    "image_pull": "Check name and tag of the image, and that every node reaches the registry; "
    "'docker pull' on the named node shows the exact error.",
    "registry_auth": "The registry refused the login. Give registry_auth for it, and check that the account may pull.",
    "unschedulable": "No node may or can run it. Compare its constraints and reservations with the nodes "
    "(docker node ls; docker node inspect), then change one of them.",
    "port_conflict": "Something else holds the port. Find it (docker service ls; ss -ltnp on the node) and stop it, or "
    "publish another port.",
    "unhealthy": "The process runs, and its health check says no. Read the check's output and the log lines; "
    "if it only needs longer to start, raise healthcheck.start_period.",
    "oom": "It needs more memory than it may use. Raise deploy.resources.limits.memory, or give it less to do.",
    "crash_loop": "The process ends by itself. The log lines say why; start with the last exception.",
    "missing_secret": "A secret or config that it refers to is gone. Run the deployment again so that it is created.",
    "missing_mount": "A directory that it mounts does not exist on that node. Create it there, or correct the path.",
    "bad_command": "The command is not in the image, or may not be executed. Check command and entrypoint.",
    "rolled_back": "Swarm went back to the old version because new tasks failed. The log lines are of the new version.",
    "address_exhaustion": "Its network has no address left. Give the network a larger subnet under another name "
    "(networks.<name>.ipam), or attach fewer services and replicas to it.",
    "timeout": "It was still on its way when the time ran out. If it only needs longer, raise timeout.",
    "moved": "Somebody else changed this service during this run. Find out who, and run again.",
    "refused": "Docker refused the request. Its message says which part of the service it does not take.",
}

_PATTERNS: tuple[tuple[str, str], ...] = (
    (r"unauthorized|access denied|no basic auth|authentication required|denied: requested", "registry_auth"),
    (
        r"no such image|manifest unknown|manifest for .* not found|pull access|pulling image|repository .* not found",
        "image_pull",
    ),
    (
        r"host-mode port already in use|port is already allocated|address already in use|port '\d+' is already in use",
        "port_conflict",
    ),
    (r"no available (ipv4 )?addresses|could not find an available.*(ip|address)", "address_exhaustion"),
    (r"no suitable node|insufficient resources|unsupported platform", "unschedulable"),
    (r"unhealthy container", "unhealthy"),
    (r"(secret|config).*(not found|no such)|unable to get (secret|config)", "missing_secret"),
    (r"bind source path does not exist|invalid mount config", "missing_mount"),
    (
        r"executable file not found|permission denied.*exec|exec format error|no such file or directory.*exec"
        r"|exec:.*no such file",
        "bad_command",
    ),
)
_EXIT = re.compile(r"non-zero exit \((\d+)\)")


def classify(error: str, exit_code: int | None, oom_killed: bool, fallback: str) -> str:
    """The class of a failure.

    Args:
        error: what Swarm says about the task.
        exit_code: of its container, when it has one.
        oom_killed: what the container says about itself, when it can be asked.
        fallback: class when nothing else fits.
    """
    lowered = error.lower()
    if oom_killed:
        return "oom"
    for pattern, cause in _PATTERNS:
        if re.search(pattern, lowered):
            return cause
    if exit_code == 137:
        return "oom"
    if exit_code in (126, 127):
        return "bad_command"
    if exit_code:
        return "rolled_back" if fallback == "rolled_back" else "crash_loop"
    return fallback


class Mask:
    """Hides secrets in texts that come from elsewhere, such as log lines."""

    def __init__(self, secrets: t.Iterable[str]) -> None:
        words: set[str] = set()
        for secret in secrets:
            words.update(_spellings(secret))
        self.words = sorted((word for word in words if len(word) >= 4), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for word in self.words:
            text = text.replace(word, "********")
        return text


def _spellings(secret: str) -> set[str]:
    """A secret as it may turn up: whole, by lines, and the password inside a URL, quoted or not."""
    stripped = secret.strip()
    words = {stripped, quote(stripped, safe=""), *(line.strip() for line in stripped.splitlines())}
    if "://" in stripped:
        try:
            password = urlsplit(stripped).password
        except ValueError:
            password = None
        if password:
            words |= {password, unquote(password)}
    return words


def diagnose(
    engine: Engine,
    service: t.Mapping[str, t.Any],
    verdict: Verdict,
    *,
    name: str,
    nodes: t.Sequence[t.Mapping[str, t.Any]],
    mask: t.Callable[[str], str],
    old_failures: t.Collection[str] = (),
    log: bool = True,
    auth: t.Mapping[str, t.Mapping[str, str]] | None = None,
) -> dict[str, t.Any]:
    """Everything that can be found out about a service that failed, as one entry of ``failures``.

    Args:
        log: whether the last log lines are part of it.
        auth: registry -> login, with which an image that no node could pull is asked for again; None asks nobody.
    """
    hosts = {node["ID"]: (node.get("Description") or {}).get("Hostname", node["ID"]) for node in nodes}
    tasks = _ask(lambda: engine.get("/tasks", {"filters": {"service": [service["ID"]]}})) or []
    tasks.sort(key=lambda task: task.get("CreatedAt", ""), reverse=True)
    fresh = [task for task in tasks if task["ID"] not in old_failures] or tasks
    task = next((task for task in fresh if task["Status"]["State"] in _FAILED), None) or (fresh[0] if fresh else None)
    status = (task or {}).get("Status", {})
    container = status.get("ContainerStatus") or {}
    exit_code = container.get("ExitCode") if status.get("State") in _FAILED else None
    match = _EXIT.search(status.get("Err", ""))
    if match:
        exit_code = int(match.group(1))
    error = status.get("Err") or ""
    state = _container_state(engine, container.get("ContainerID", ""))
    cause = verdict.cause
    if cause != "moved":
        cause = classify(
            error or verdict.text, exit_code or None, bool(state.get("OOMKilled")), verdict.cause or "timeout"
        )
    answer = _refusal(engine, service, auth) if cause == "image_pull" and auth is not None else ""
    if answer:
        cause = "registry_auth"
    message = "; ".join(dict.fromkeys(part for part in (error, verdict.text, answer) if part))
    probe = _probe(state)
    if probe and cause in ("unhealthy", "timeout"):
        message += f"; the health check says: {probe}"
    node = hosts.get((task or {}).get("NodeID", ""), "")
    return {
        "service": name,
        "cause": cause,
        "node": node,
        "exit_code": exit_code,
        "message": mask(message),
        "log": [mask(line) for line in _log(engine, service, task)] if log else [],
        "sums": _sums(engine, service, nodes, cause),
        "advice": ADVICE.get(cause, ""),
    }


def refused(name: str, message: str) -> dict[str, t.Any]:
    """The entry for a service that Docker would not even write."""
    return _without_task(name, classify(message, None, False, "refused"), message)


def missing(name: str, verdict: Verdict) -> dict[str, t.Any]:
    """The entry for a service that is not there."""
    return _without_task(name, verdict.cause or "timeout", verdict.text)


def _without_task(name: str, cause: str, message: str) -> dict[str, t.Any]:
    return {
        "service": name,
        "cause": cause,
        "node": "",
        "exit_code": None,
        "message": message,
        "log": [],
        "sums": [],
        "advice": ADVICE.get(cause, ""),
    }


def headline(failure: t.Mapping[str, t.Any]) -> str:
    """One failure in one line."""
    where = f" on {failure['node']}" if failure["node"] else ""
    return f"{failure['service']} failed: {failure['cause']}{where}: {failure['message']}"


def describe(failure: t.Mapping[str, t.Any]) -> str:
    """One failure in a few lines of text."""
    where = f" on {failure['node']}" if failure["node"] else ""
    exit_code = str(failure["exit_code"] or "")
    code = f" (exit code {exit_code})" if exit_code and exit_code not in failure["message"] else ""
    lines = [f"{failure['service']}: {failure['cause']}{where}: {failure['message']}{code}"]
    lines += [f"  - {line}" for line in failure.get("sums", [])]
    lines += [f"  | {line}" for line in failure["log"]]
    if failure["advice"]:
        lines.append(f"  What to do: {failure['advice']}")
    return "\n".join(lines)


def _ask(question: t.Callable[[], t.Any]) -> t.Any:
    """Evidence is welcome, never required."""
    try:
        return question()
    except (EngineError, EngineUnreachable):
        return None


def _sums(
    engine: Engine, service: t.Mapping[str, t.Any], nodes: t.Sequence[t.Mapping[str, t.Any]], cause: str
) -> list[str]:
    if cause not in ("unschedulable", "address_exhaustion"):
        return []
    tasks = _ask(lambda: engine.get("/tasks")) or []
    if cause == "unschedulable":
        return capacity.scheduling(service, nodes, tasks)
    services = _ask(lambda: engine.get("/services")) or []
    networks = _ask(lambda: engine.get("/networks")) or []
    return capacity.addresses(service, services, networks, tasks)


def _refusal(engine: Engine, service: t.Mapping[str, t.Any], auth: t.Mapping[str, t.Mapping[str, str]]) -> str:
    """What the registry says to this login, when it refuses it: a node tells only that it has no such image."""
    image = service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].partition("@")[0]
    asking = Engine(engine.socket_path, LOG_SECONDS)
    try:
        asking.get(f"/distribution/{image}/json", headers=auth_header(image, auth))
    except EngineError as error:
        refused_login = error.status in (401, 403) or classify(error.message, None, False, "") == "registry_auth"
        return f"the registry says: {error.message}" if refused_login else ""
    except EngineUnreachable:
        return ""
    finally:
        asking.close()
    return ""


def _container_state(engine: Engine, container: str) -> dict[str, t.Any]:
    found = _ask(lambda: engine.get(f"/containers/{container}/json")) if container else None
    return (found or {}).get("State") or {}


def _probe(state: t.Mapping[str, t.Any]) -> str:
    entries = (state.get("Health") or {}).get("Log") or []
    return str(entries[-1].get("Output", "")).strip()[-300:] if entries else ""


def _log(engine: Engine, service: t.Mapping[str, t.Any], task: t.Mapping[str, t.Any] | None) -> list[str]:
    query = {"stdout": "1", "stderr": "1", "tail": str(LOG_LINES)}
    paths = [f"/tasks/{task['ID']}/logs"] if task else []
    for path in [*paths, f"/services/{service['ID']}/logs"]:
        # A node that is gone can let this wait: it gets a connection of its own with little patience.
        asking = Engine(engine.socket_path, LOG_SECONDS)
        stream = _ask(lambda path=path, asking=asking: asking.get_raw(path, query))  # type: ignore[misc]
        asking.close()
        if stream:
            return demultiplex(stream)[-LOG_LINES:]
    return []
