"""A Docker Engine that is only a memory, behind a real unix socket. It refuses what the real one refuses.

Rules are those of moby and swarmkit (manager/controlapi): a write needs the current version, every update
overwrites PreviousSpec and clears UpdateStatus, an update of a job starts a new iteration, the mode of a service
never changes, and a secret in use cannot be deleted.
"""

from __future__ import annotations

import json
import re
import socketserver
import threading
import typing as t
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

NAMESPACE = "com.docker.stack.namespace"
SPEC_FIELDS = {"Name", "Labels", "TaskTemplate", "Mode", "UpdateConfig", "RollbackConfig", "EndpointSpec"}
TEMPLATE_FIELDS = {
    "ContainerSpec", "RestartPolicy", "Networks", "Resources", "Placement", "LogDriver", "ForceUpdate", "Runtime",
}  # fmt: skip
CONTAINER_FIELDS = {
    "Image", "Labels", "Command", "Args", "CapabilityAdd", "CapabilityDrop", "Hostname", "User", "Dir", "StopSignal",
    "Init", "TTY", "ReadOnly", "Env", "StopGracePeriod", "Healthcheck", "Hosts", "DNSConfig", "Sysctls", "Ulimits",
    "Mounts", "Secrets", "Configs", "Isolation",
}  # fmt: skip

#: What a service does: the states of its task, one after the other, then how its container ends.
BEHAVIOURS: dict[str, list[str]] = {
    "runs": ["starting", "running"],
    "stays starting": ["starting"],
    "completes": ["running", "complete"],
    "fails": ["failed"],
    "rejects": ["rejected"],
    "finds no node": ["pending"],
    "waits for the old task": ["ready"],
}
ERRORS = {
    "failed": "task: non-zero exit (1)",
    "rejected": "No such image: tiny:nosuch",
    "pending": "no suitable node (insufficient resources on 1 node)",
}
ENDED = {"complete", "failed", "rejected", "shutdown"}


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        """A client that hangs up is no error; what the memory finds wrong is kept in ``broken``."""


class FakeEngine:
    """The memory. ``writes`` lists what was posted and deleted; ``behaviour`` says what each service does."""

    def __init__(self, directory: Path) -> None:
        self.socket = str(directory / "docker.sock")
        self.index = 10
        self.services: dict[str, dict[str, t.Any]] = {}
        self.tasks: list[dict[str, t.Any]] = []
        self.networks: list[dict[str, t.Any]] = [
            {"Id": "net-ingress", "Name": "ingress", "Driver": "overlay", "Scope": "swarm", "Labels": {}}
        ]
        self.objects: dict[str, list[dict[str, t.Any]]] = {"secrets": [], "configs": []}
        self.nodes = [node("node1", "alpha")]
        self.images: dict[str, dict[str, t.Any]] = {"tiny:1": {"RepoDigests": []}, "tiny:2": {"RepoDigests": []}}
        self.registry: dict[str, str] = {}
        self.swarm: dict[str, t.Any] = {"LocalNodeState": "active", "ControlAvailable": True}
        self.behaviour: dict[str, str] = {}
        self.busy: set[str] = set()  # services whose tasks go on when they are told to end
        self.log = b""
        #: How many reads of a log find nothing yet.
        self.log_delay = 0
        #: Containers of this node as ``/containers/json`` lists them, and the process of each.
        self.containers: list[dict[str, t.Any]] = []
        self.pids: dict[str, int] = {}
        self.writes: list[str] = []
        self.auth: list[str] = []
        self.before_write: t.Callable[[str], None] = lambda _request: None
        self.broken: list[str] = []
        self._server: _Server | None = None

    def __enter__(self) -> FakeEngine:
        self._server = _Server(self.socket, _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        assert self.broken == []

    # What tests ask and do

    def by_name(self, name: str) -> dict[str, t.Any]:
        return next(item for item in self.services.values() if item["Spec"]["Name"] == name)

    def names(self, kind: str) -> list[str]:
        if kind == "services":
            return sorted(item["Spec"]["Name"] for item in self.services.values())
        if kind == "networks":
            return sorted(item["Name"] for item in self.networks)
        return sorted(item["Spec"]["Name"] for item in self.objects[kind])

    def meddle(self, name: str, **container: t.Any) -> None:
        """Somebody else changes a service."""
        item = self.by_name(name)
        spec = json.loads(json.dumps(item["Spec"]))
        spec["TaskTemplate"]["ContainerSpec"].update(container)
        self._store(item, spec)

    # Reading

    def get(self, path: str, query: dict[str, str]) -> t.Any:
        filters = json.loads(query.get("filters", "{}"))
        answers: dict[str, t.Callable[[], t.Any]] = {
            "/version": lambda: {"ApiVersion": "1.41", "MinAPIVersion": "1.12"},
            "/info": lambda: {"Swarm": self.swarm, "Name": "alpha"},
            "/services": lambda: self._services(filters),
            "/networks": lambda: self._labelled(self.networks, filters, lambda item: item["Labels"]),
            "/secrets": lambda: self._stored("secrets", filters),
            "/configs": lambda: self._stored("configs", filters),
            "/nodes": lambda: self.nodes,
            "/tasks": lambda: self._tasks(filters),
            "/containers/json": lambda: self._containers(filters),
        }
        if path.endswith("/logs"):
            return self._log(query)
        return answers[path]() if path in answers else self._get_one(path)

    def _log(self, query: dict[str, str]) -> bytes:
        """``log`` as it is, or of a log in pieces those of the streams that are asked for."""
        wanted = {number for number, name in ((1, "stdout"), (2, "stderr")) if query.get(name) in ("1", "true")}
        if not wanted:
            raise Refused(400, "Bad parameters: you must choose at least one stream")
        if self.log_delay:
            self.log_delay -= 1
            return b""
        rest, chosen = self.log, b""
        while rest[:1] in (b"\1", b"\2"):
            length = 8 + int.from_bytes(rest[4:8], "big")
            chosen += rest[:length] if rest[0] in wanted else b""
            rest = rest[length:]
        return chosen + rest

    def _services(self, filters: dict[str, t.Any]) -> list[dict[str, t.Any]]:
        self.tick()
        found = [dict(item, ServiceStatus=self._status(item)) for item in self.services.values()]
        return self._labelled(found, filters, lambda item: item["Spec"]["Labels"])

    def _stored(self, kind: str, filters: dict[str, t.Any]) -> list[dict[str, t.Any]]:
        return self._labelled(self.objects[kind], filters, lambda item: item["Spec"]["Labels"])

    def _containers(self, filters: dict[str, t.Any]) -> list[dict[str, t.Any]]:
        unknown = set(filters) - {"label", "status"}
        if unknown:
            raise Refused(400, f"Invalid filter {unknown}")
        found = [item for item in self.containers if item["State"] in filters.get("status", [item["State"]])]
        return self._labelled(found, {"label": filters.get("label", [])}, lambda item: item["Labels"])

    def _get_one(self, path: str) -> t.Any:
        container = re.fullmatch(r"/containers/([^/]+)/json", path)
        if container and container.group(1) in self.pids:
            return {"Id": container.group(1), "State": {"Pid": self.pids[container.group(1)]}}
        image = re.fullmatch(r"/(images|distribution)/(.+)/json", path)
        if image and image.group(1) == "images":
            if image.group(2) not in self.images:
                raise Refused(404, f"No such image: {image.group(2)}")
            return self.images[image.group(2)]
        if image:
            if image.group(2) not in self.registry:
                raise Refused(404, "manifest unknown")
            return {"Descriptor": {"digest": self.registry[image.group(2)]}}
        if path.startswith("/services/") and path.split("/")[2] in self.services:
            return self.services[path.split("/")[2]]
        raise Refused(404, f"not found: {path}")

    @staticmethod
    def _labelled(
        items: t.Iterable[dict[str, t.Any]], filters: dict[str, t.Any], labels: t.Callable[[t.Any], t.Any]
    ) -> list[dict[str, t.Any]]:
        unknown = set(filters) - {"label"}
        if unknown:
            raise Refused(400, f"Invalid filter {unknown}")
        wanted = [entry.partition("=")[::2] for entry in filters.get("label", [])]
        return [item for item in items if all((labels(item) or {}).get(key) == value for key, value in wanted)]

    def _tasks(self, filters: dict[str, t.Any]) -> list[dict[str, t.Any]]:
        unknown = set(filters) - {"label", "service", "_up-to-date", "desired-state"}
        if unknown:
            raise Refused(400, f"Invalid filter {unknown}")
        if not {"running", "shutdown", "accepted"} >= set(filters.get("desired-state", [])):
            raise Refused(400, "Invalid filter 'desired-state'")
        found = []
        for task in self.tasks:
            service = self.services.get(task["ServiceID"])
            current = service is not None and task["Spec"] == service["Spec"]["TaskTemplate"]
            if "_up-to-date" in filters and not current:
                continue
            if "service" in filters and task["ServiceID"] not in filters["service"]:
                continue
            if task["DesiredState"] not in filters.get("desired-state", [task["DesiredState"]]):
                continue
            if all(f"{NAMESPACE}={task['Stack']}" == label for label in filters.get("label", [])):
                found.append(task)
        return found

    def _status(self, item: dict[str, t.Any]) -> dict[str, int]:
        own = [task for task in self.tasks if task["ServiceID"] == item["ID"]]
        if "JobStatus" in item:
            own = [task for task in own if task["JobIteration"] == item["JobStatus"]["JobIteration"]]
        states = [task["Status"]["State"] for task in own]
        return {
            "RunningTasks": len([task for task in own if task["DesiredState"] == task["Status"]["State"] == "running"]),
            "DesiredTasks": len([task for task in own if task["DesiredState"] == "running"]),
            "CompletedTasks": states.count("complete") if "JobStatus" in item else 0,
        }

    # Time

    def tick(self) -> None:
        """Every task does its next step; a rollout whose tasks run is over."""
        self.finish_updates()
        self._forget_removed()
        for item in list(self.services.values()):
            for task in [task for task in self.tasks if task["ServiceID"] == item["ID"]]:
                if task["DesiredState"] != "running" or task["Status"]["State"] in ENDED:
                    continue
                steps = BEHAVIOURS[task["Behaviour"]]
                self._set(task, steps[min(task["Age"], len(steps) - 1)])
                task["Age"] += 1
                if task["Status"]["State"] in ENDED:
                    task["DesiredState"] = "shutdown"
                    self._replace(item, task)

    def _forget_removed(self) -> None:
        """Tasks of removed services need a moment to stop, and hold their networks meanwhile."""
        for task in self.tasks:
            task["Age"] += task["DesiredState"] == "remove"
        self.tasks = [task for task in self.tasks if task["DesiredState"] != "remove" or task["Age"] < 3]

    @staticmethod
    def _set(task: dict[str, t.Any], state: str) -> None:
        task["Status"] = {"State": state, "Err": ERRORS.get(state, ""), "ContainerStatus": {"ContainerID": ""}}

    def _replace(self, item: dict[str, t.Any], task: dict[str, t.Any]) -> None:
        if "JobStatus" in item:
            return
        if item.get("UpdateStatus", {}).get("State") == "updating":
            action = item["Spec"]["UpdateConfig"]["FailureAction"]
            if action == "pause":
                item["UpdateStatus"] = {"State": "paused"}
            if action == "rollback":
                item["Spec"], item["PreviousSpec"] = item["PreviousSpec"], None
                self._start(item)
                item["UpdateStatus"] = {"State": "rollback_completed"}
                return
        self._task(item, task["Slot"])

    def _start(self, item: dict[str, t.Any]) -> None:
        for task in self.tasks:
            if task["ServiceID"] == item["ID"] and task["DesiredState"] == "running":
                task["DesiredState"] = "remove" if "JobStatus" in item else "shutdown"
                if item["Spec"]["Name"].partition("_")[2] not in self.busy:
                    self._set(task, "shutdown")
        mode = item["Spec"]["Mode"]
        if "ReplicatedJob" in mode and mode["ReplicatedJob"].get("TotalCompletions") == 0:
            return
        wanted = item["Spec"]["TaskTemplate"].get("Placement", {}).get("Constraints") or []
        if "GlobalJob" in mode and "node.id==none" in wanted:
            return
        count = mode.get("Replicated", {}).get("Replicas", 1) if "Replicated" in mode else 1
        for slot in range(1, count + 1):
            self._task(item, slot)

    def _task(self, item: dict[str, t.Any], slot: int) -> None:
        self.index += 1
        name = item["Spec"]["Name"].partition("_")[2]
        usual = "completes" if "JobStatus" in item else "runs"
        task = {
            "ID": f"task{self.index}",
            "ServiceID": item["ID"],
            "Stack": item["Spec"]["Labels"].get(NAMESPACE),
            "NodeID": "node1",
            "Slot": slot,
            "Spec": item["Spec"]["TaskTemplate"],
            "DesiredState": "running",
            "CreatedAt": f"{self.index:09d}",
            "JobIteration": item.get("JobStatus", {}).get("JobIteration"),
            "NetworksAttachments": [
                {"Network": {"ID": network["Target"]}} for network in item["Spec"]["TaskTemplate"]["Networks"]
            ],
            "Behaviour": self.behaviour.get(name, usual),
            "Age": 0,
        }
        self._set(task, "new")
        if task["Behaviour"] == "waits for the old task":
            task["DesiredState"] = "ready"
            self._set(task, "ready")
        self.tasks.append(task)

    # Writing

    def post(self, path: str, query: dict[str, str], body: dict[str, t.Any]) -> t.Any:
        self.writes.append(f"POST {path}")
        self.before_write(path)
        if path in ("/secrets/create", "/configs/create"):
            return self._create_object(path.split("/")[1], body)
        if path == "/networks/create":
            if body["Name"] in self.names("networks"):
                raise Refused(409, f"network with name {body['Name']} already exists")
            self.index += 1
            made = {**body, "Id": f"net{self.index}", "Scope": "swarm"}
            self.networks.append(made)
            return {"Id": made["Id"]}
        if path == "/services/create":
            return self._create_service(body)
        match = re.fullmatch(r"/services/([^/]+)/update", path)
        if match and match.group(1) in self.services:
            item = self.services[match.group(1)]
            if int(query["version"]) != item["Version"]["Index"]:
                raise Refused(500, "rpc error: code = Unknown desc = update out of sequence")
            self._check(body)
            if list(body["Mode"]) != list(item["Spec"]["Mode"]):
                raise Refused(400, "rpc error: code = Unimplemented desc = service mode change is not allowed")
            self._store(item, body)
            return {"Warnings": None}
        raise Refused(404, f"not found: {path}")

    def _store(self, item: dict[str, t.Any], spec: dict[str, t.Any]) -> None:
        self.index += 1
        same = spec["TaskTemplate"] == item["Spec"]["TaskTemplate"]
        item.update(PreviousSpec=item["Spec"], Spec=spec, Version={"Index": self.index})
        item.pop("UpdateStatus", None)
        if "JobStatus" in item:
            item["JobStatus"] = {"JobIteration": {"Index": self.index}}
            self._start(item)
        elif not same:
            self._start(item)
            item["UpdateStatus"] = {"State": "updating"}

    def finish_updates(self) -> None:
        for item in self.services.values():
            if item.get("UpdateStatus", {}).get("State") == "updating":
                tasks = [task for task in self.tasks if task["ServiceID"] == item["ID"]]
                if all(task["Status"]["State"] in {"running", *ENDED} for task in tasks):
                    item["UpdateStatus"] = {"State": "completed"}

    def _create_service(self, spec: dict[str, t.Any]) -> dict[str, t.Any]:
        self._check(spec)
        if spec["Name"] in self.names("services"):
            raise Refused(409, f"rpc error: code = AlreadyExists desc = name conflicts: {spec['Name']}")
        self.index += 1
        item = {"ID": f"svc{self.index}", "Version": {"Index": self.index}, "Spec": spec}
        if "ReplicatedJob" in spec["Mode"] or "GlobalJob" in spec["Mode"]:
            item["JobStatus"] = {"JobIteration": {}}
        self.services[item["ID"]] = item  # type: ignore[index]
        self._start(item)
        return {"ID": item["ID"]}

    def _check(self, spec: dict[str, t.Any]) -> None:
        template, container = spec["TaskTemplate"], spec["TaskTemplate"]["ContainerSpec"]
        for given, known in (
            (spec, SPEC_FIELDS), (template, TEMPLATE_FIELDS), (container, CONTAINER_FIELDS),
        ):  # fmt: skip
            if set(given) - known:
                raise Refused(400, f"unknown fields {sorted(set(given) - known)}")
        job = "ReplicatedJob" in spec["Mode"] or "GlobalJob" in spec["Mode"]
        if job and ("UpdateConfig" in spec or "RollbackConfig" in spec):
            raise Refused(400, "job-mode services cannot have update options")
        if job and template["RestartPolicy"].get("Condition") == "any":
            raise Refused(400, "restart condition must be 'none' or 'on-failure' for jobs")
        if job and spec["EndpointSpec"].get("Ports") and spec["EndpointSpec"]["Mode"] == "dnsrr":
            raise Refused(400, "EndpointSpec: ports can't be used with dnsrr mode")
        ids = {item["Id"] for item in self.networks}
        for network in template.get("Networks", []):
            if network["Target"] not in ids:
                raise Refused(404, f"network {network['Target']} not found")
        for kind, field, identifier, name in (
            ("secrets", "Secrets", "SecretID", "SecretName"), ("configs", "Configs", "ConfigID", "ConfigName"),
        ):  # fmt: skip
            known_objects = {(item["ID"], item["Spec"]["Name"]) for item in self.objects[kind]}
            for entry in container.get(field, []):
                if (entry.get(identifier), entry[name]) not in known_objects:
                    raise Refused(400, f"rpc error: code = InvalidArgument desc = {kind[:-1]} not found: {entry[name]}")

    def _create_object(self, kind: str, body: dict[str, t.Any]) -> dict[str, t.Any]:
        if body["Name"] in self.names(kind):
            raise Refused(409, f"rpc error: code = AlreadyExists desc = {kind[:-1]} {body['Name']} already exists")
        if not 0 < len(body["Name"]) <= 64 or not body["Data"]:
            raise Refused(400, "invalid name or data")
        self.index += 1
        made = {
            "ID": f"{kind}{self.index}",
            "CreatedAt": f"{self.index:09d}",
            "Spec": {"Name": body["Name"], "Labels": body["Labels"]},
        }
        self.objects[kind].append(made)
        return {"ID": made["ID"]}

    def delete(self, path: str) -> None:
        self.writes.append(f"DELETE {path}")
        self.before_write(path)
        _, kind, identifier = path.split("/")
        if kind == "services":
            if identifier not in self.services:
                raise Refused(404, "service not found")
            job = "JobStatus" in self.services.pop(identifier)
            for task in self.tasks:
                # Older engines let the command of a removed job go on (moby/moby#44312).
                if task["ServiceID"] == identifier and not (job and task["Status"]["State"] not in ENDED):
                    task["DesiredState"], task["Age"] = "remove", 0
            return
        uses = json.dumps([item["Spec"] for item in self.services.values()])
        if kind == "networks" and identifier in json.dumps([task["NetworksAttachments"] for task in self.tasks]):
            # The real engine forgets the network and leaves the node's part of it behind; a client has to wait.
            raise AssertionError(f"network {identifier} was deleted while tasks hold it")
        if f'"{identifier}"' in uses:
            raise Refused(400, f"rpc error: code = InvalidArgument desc = {kind[:-1]} is in use by a service")
        if kind == "networks":
            self.networks = [item for item in self.networks if item["Id"] != identifier]
        else:
            self.objects[kind] = [item for item in self.objects[kind] if item["ID"] != identifier]


def node(identifier: str, hostname: str, **labels: str) -> dict[str, t.Any]:
    return {
        "ID": identifier,
        "Spec": {"Role": "manager", "Availability": "active", "Labels": labels},
        "Status": {"State": "ready"},
        "Description": {
            "Hostname": hostname,
            "Platform": {"OS": "linux", "Architecture": "x86_64"},
            "Resources": {"NanoCPUs": 2 * 10**9, "MemoryBytes": 4 * 2**30},
        },
    }


def _handler(engine: FakeEngine) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self, work: t.Callable[[str, dict[str, str], t.Any], t.Any]) -> None:
            url = urlsplit(self.path)
            path = re.sub(r"^/v1\.\d+", "", unquote(url.path))
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            if "X-Registry-Auth" in self.headers:
                engine.auth.append(f"{self.command} {path}")
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            try:
                status, answer = 200, work(path, query, body)
            except Refused as refused:
                status, answer = refused.status, {"message": str(refused)}
            except Exception as error:
                engine.broken.append(repr(error))
                raise
            payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def do_GET(self) -> None:
            self._answer(lambda path, query, _body: engine.get(path, query))

        def do_POST(self) -> None:
            self._answer(engine.post)

        def do_DELETE(self) -> None:
            self._answer(lambda path, _query, _body: engine.delete(path))

        def log_message(self, format: str, *args: t.Any) -> None:
            pass

    return Handler
