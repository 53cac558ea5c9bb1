"""A strict double of one host's Docker Engine: it knows the swarm paths, and refuses what the real one refuses."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    EngineError,
    EngineUnreachable,
)


def make_node(node_id: str, hostname: str, role: str = "worker", **given: t.Any) -> dict[str, t.Any]:
    """One entry of GET /nodes."""
    node: dict[str, t.Any] = {
        "ID": node_id,
        "Version": {"Index": given.get("version", 10)},
        "Spec": {
            "Role": role,
            "Availability": given.get("availability", "active"),
            "Labels": given.get("labels", {}),
        },
        "Description": {"Hostname": hostname, "Engine": {"EngineVersion": "20.10.24"}},
        "Status": {"State": given.get("state", "ready"), "Addr": given.get("address", "192.0.2.1")},
    }
    if role == "manager":
        node["ManagerStatus"] = {
            "Leader": given.get("leader", False),
            "Reachability": given.get("reachability", "reachable"),
            "Addr": f"{given.get('address', '192.0.2.1')}:2377",
        }
    return node


def make_service(service_id: str, name: str, **given: t.Any) -> dict[str, t.Any]:
    """One entry of GET /services; ``grace`` in seconds, ``running`` of ``wanted`` tasks."""
    container: dict[str, t.Any] = {"Image": "busybox"}
    if "grace" in given:
        container["StopGracePeriod"] = int(given["grace"] * 1_000_000_000)
    return {
        "ID": service_id,
        "Spec": {
            "Name": name,
            "Mode": given.get("mode", {"Replicated": {"Replicas": given.get("wanted", 1)}}),
            "TaskTemplate": {"ContainerSpec": container},
        },
        "ServiceStatus": {"RunningTasks": given.get("running", 1), "DesiredTasks": given.get("wanted", 1)},
    }


def make_task(task_id: str, service_id: str, node_id: str, state: str = "running", slot: int = 1) -> dict[str, t.Any]:
    """One entry of GET /tasks; a task of a global service has no slot."""
    task = {"ID": task_id, "ServiceID": service_id, "NodeID": node_id, "Status": {"State": state}}
    return {**task, "Slot": slot} if slot else task


class FakeEngine:
    """Starts outside of any swarm; see the keyword arguments for other beginnings."""

    socket_path = "/fake/docker.sock"

    def __init__(
        self,
        *,
        state: str = "inactive",
        manager: bool = False,
        nodes: t.Sequence[dict[str, t.Any]] = (),
        node_id: str = "me",
        cluster_id: str = "cluster-1",
        networks: t.Sequence[dict[str, t.Any]] = (),
        services: t.Sequence[dict[str, t.Any]] = (),
        tasks: t.Sequence[dict[str, t.Any]] = (),
        reachable: bool = True,
        **cluster: t.Any,
    ) -> None:
        self.state = state
        self.manager = manager
        self.nodes = {node["ID"]: copy.deepcopy(node) for node in nodes}
        self.node_id = node_id
        self.cluster_id = cluster_id
        self.networks = [copy.deepcopy(network) for network in networks]
        self.services = [copy.deepcopy(service) for service in services]
        self.tasks = [copy.deepcopy(task) for task in tasks]
        self.reachable = reachable
        self.cluster = cluster
        self.posts: list[tuple[str, t.Any]] = []
        self.deleted: list[str] = []
        self.fail: dict[str, EngineError] = {}
        #: True while the swarm accepts a change of role and does not carry it out yet.
        self.slow = False
        self.before_update: t.Callable[[], None] = lambda: None

    @property
    def api_version(self) -> str:
        if not self.reachable:
            raise EngineUnreachable("Docker does not answer on /fake/docker.sock")
        return "1.41"

    def get(self, path: str, query: t.Mapping[str, t.Any] | None = None) -> t.Any:
        if not self.reachable:
            raise EngineUnreachable("Docker does not answer on /fake/docker.sock")
        if path in self.fail:
            raise self.fail[path]
        if path == "/info":
            return {"ServerVersion": "20.10.24", "Swarm": self._swarm()}
        if path == "/nodes" and self.manager:
            return copy.deepcopy(list(self.nodes.values()))
        if path.startswith("/nodes/") and self.manager:
            return copy.deepcopy(self._node(path.split("/")[2], "GET " + path))
        if path in ("/services", "/tasks") and self.manager:
            return copy.deepcopy(self._services(query) if path == "/services" else self._tasks(query or {}))
        if path == "/swarm" and self.manager:
            return {"JoinTokens": {"Manager": "SWMTKN-m", "Worker": "SWMTKN-w"}}
        if path == "/networks":
            names = (query or {"filters": {"name": [""]}})["filters"]["name"]
            return [network for network in self.networks if any(name in network["Name"] for name in names)]
        raise EngineError(503, "This node is not a swarm manager.", f"GET {path}")

    def _services(self, query: t.Mapping[str, t.Any] | None) -> list[dict[str, t.Any]]:
        assert query in (None, {"status": "true"}), query
        hidden = set() if query else {"ServiceStatus"}
        return [{key: value for key, value in entry.items() if key not in hidden} for entry in self.services]

    def _tasks(self, query: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
        assert query.keys() == {"filters"}, query
        assert query["filters"].keys() == {"node"}, query
        return [task for task in self.tasks if task["NodeID"] in query["filters"]["node"]]

    def post(self, path: str, body: t.Any = None, query: t.Mapping[str, t.Any] | None = None) -> t.Any:
        self.posts.append((path, copy.deepcopy(body)))
        if path in self.fail:
            raise self.fail[path]
        if path in ("/swarm/init", "/swarm/join"):
            if self.state != "inactive":
                raise EngineError(503, "This node is already part of a swarm.", f"POST {path}")
            known = {"ListenAddr", "AdvertiseAddr", "DataPathAddr", "Availability"}
            known |= (
                {"ForceNewCluster", "Spec", "DefaultAddrPool", "SubnetSize", "DataPathPort"}
                if path == "/swarm/init"
                else {"RemoteAddrs", "JoinToken"}
            )
            assert set(body) <= known, f"unknown keys: {set(body) - known}"
            assert not body.get("DefaultAddrPool") or body.get("SubnetSize"), "invalid pools size: 0"
            self.state = "active"
            self.manager = path == "/swarm/init" or body["JoinToken"] == "SWMTKN-m"
            self.nodes[self.node_id] = make_node(
                self.node_id, "here", "manager" if self.manager else "worker", leader=True
            )
            return self.node_id
        if path == "/swarm/leave":
            if self.state == "inactive":
                raise EngineError(503, "This node is not part of a swarm", f"POST {path}")
            if self.manager and not (query or {}).get("force"):
                raise EngineError(503, "You are attempting to leave the swarm on a manager.", f"POST {path}")
            self.state, self.manager = "inactive", False
            return None
        if path == "/networks/create":
            known = {"Name", "Driver", "Scope", "Attachable", "Internal", "Options", "Labels", "IPAM"}
            assert set(body) <= known, f"unknown keys: {set(body) - known}"
            if any(network["Name"] == body["Name"] for network in self.networks):
                raise EngineError(409, f"network with name {body['Name']} already exists", f"POST {path}")
            self.networks.append(copy.deepcopy(body))
            return {"Id": "n1"}
        if path.startswith("/nodes/") and path.endswith("/update") and self.manager:
            return self._update(path, body, (query or {})["version"])
        raise EngineError(404, "page not found", f"POST {path}")

    def delete(self, path: str, query: t.Mapping[str, t.Any] | None = None) -> None:
        assert query in (None, {"force": "true"}), query
        if path in self.fail:
            raise self.fail[path]
        kind, name = path.strip("/").split("/")
        if kind == "networks":
            self.networks = [network for network in self.networks if network["Name"] != name]
        elif kind == "nodes" and self.manager:
            node = self._node(name, f"DELETE {path}")
            ready = node["Status"]["State"] != "down" and not query
            if ready or node.get("ManagerStatus"):
                raise EngineError(400, f"node {name} is not down or is a manager", f"DELETE {path}")
            del self.nodes[name]
        else:
            raise EngineError(404, "page not found", f"DELETE {path}")
        self.deleted.append(path)

    def _update(self, path: str, body: dict[str, t.Any], version: int) -> None:
        self.before_update()
        node = self._node(path.split("/")[2], f"POST {path}")
        if version != node["Version"]["Index"]:
            raise EngineError(500, "rpc error: code = Unknown desc = update out of sequence", f"POST {path}")
        managers = [peer for peer in self.nodes.values() if peer["Spec"]["Role"] == "manager"]
        if node["Spec"]["Role"] == "manager" and body["Role"] == "worker" and len(managers) == 1:
            raise EngineError(400, "attempting to demote the last manager of the swarm", f"POST {path}")
        demoted = node["Spec"]["Role"] == "manager" and body["Role"] == "worker"
        if demoted and not node.get("ManagerStatus"):
            raise EngineError(404, "can't find manager in raft memberlist", f"POST {path}")
        left = [peer for peer in managers if peer is not node]
        alive = sum((peer.get("ManagerStatus") or {}).get("Reachability") == "reachable" for peer in left)
        if demoted and alive < len(left) // 2 + 1:
            raise EngineError(500, "can't remove member from the raft: loss of quorum", f"POST {path}")
        node["Spec"] = copy.deepcopy(body)
        if not self.slow:
            node["ManagerStatus"] = {"Reachability": "reachable"} if body["Role"] == "manager" else None
        node["Version"]["Index"] += 1
        if node["ID"] == self.node_id and body["Role"] == "worker":
            self.manager = False

    def _node(self, node_id: str, request: str) -> dict[str, t.Any]:
        if node_id not in self.nodes:
            raise EngineError(404, f"node {node_id} not found", request)
        return self.nodes[node_id]

    def _swarm(self) -> dict[str, t.Any]:
        swarm: dict[str, t.Any] = {
            "LocalNodeState": self.state,
            "ControlAvailable": self.manager,
            "NodeID": self.node_id if self.state != "inactive" else "",
            "NodeAddr": "192.0.2.1" if self.state == "active" else "",
            "Error": "",
            "RemoteManagers": None,
        }
        if self.manager:
            swarm["Cluster"] = {
                "ID": self.cluster_id,
                "Spec": {"EncryptionConfig": {"AutoLockManagers": False}},
                "DefaultAddrPool": self.cluster.get("address_pools", ["10.0.0.0/8"]),
                "SubnetSize": self.cluster.get("subnet_size", 24),
                "DataPathPort": self.cluster.get("data_path_port", 4789),
            }
        return swarm
