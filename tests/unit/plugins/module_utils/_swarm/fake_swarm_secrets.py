"""A strict double of a manager whose swarm has tokens, an authority and an unlock key."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import EngineError
from fake_swarm_engine import FakeEngine, make_node

PARAMETERS = {"version", "rotateWorkerToken", "rotateManagerToken", "rotateManagerUnlockKey"}


class FakeManager(FakeEngine):
    """``followers`` are IDs of nodes that take a new authority; all when None."""

    def __init__(
        self,
        *,
        autolock: bool = False,
        nodes: t.Sequence[dict[str, t.Any]] = (),
        followers: t.Collection[str] | None = None,
        **given: t.Any,
    ) -> None:
        own = nodes or [make_node("me", "here", "manager", leader=True)]
        super().__init__(**{"state": "active", "manager": True, "nodes": own, **given})
        for node in self.nodes.values():
            node["Description"]["TLSInfo"] = self.issuer(1)
        self.generation = {"Worker": 1, "Manager": 1, "key": 1, "ca": 1}
        self.index = 10
        self.followers = followers
        self.key = "SWMKEY-1-right"
        self.root_rotation = False
        self.spec: dict[str, t.Any] = {
            "Name": "default",
            "CAConfig": {"NodeCertExpiry": 7776000000000000},
            "EncryptionConfig": {"AutoLockManagers": autolock},
        }

    @staticmethod
    def issuer(generation: int) -> dict[str, str]:
        return {
            "TrustRoot": f"root-{generation}",
            "CertIssuerSubject": "c3dhcm0tY2E=",
            "CertIssuerPublicKey": f"key-{generation}",
        }

    def token(self, role: str) -> str:
        return f"SWMTKN-1-digest{self.generation['ca']}-{role.lower()}secret{self.generation[role]}"

    def get(self, path: str, query: t.Mapping[str, t.Any] | None = None) -> t.Any:
        if path in ("/swarm", "/swarm/unlockkey") and self.manager and path not in self.fail:
            if path == "/swarm/unlockkey":
                locks = self.spec["EncryptionConfig"]["AutoLockManagers"]
                return {"UnlockKey": f"SWMKEY-1-{self.generation['key']}" if locks else ""}
            issuer = self.issuer(self.generation["ca"])
            if self.root_rotation:
                issuer["TrustRoot"] = self.issuer(self.generation["ca"] - 1)["TrustRoot"]
            return {
                "Version": {"Index": self.index},
                "Spec": copy.deepcopy(self.spec),
                "JoinTokens": {"Worker": self.token("Worker"), "Manager": self.token("Manager")},
                "RootRotationInProgress": self.root_rotation,
                "TLSInfo": issuer,
            }
        return super().get(path, query)

    def post(self, path: str, body: t.Any = None, query: t.Mapping[str, t.Any] | None = None) -> t.Any:
        if path == "/swarm/update" and self.manager and path not in self.fail:
            self.posts.append((path, copy.deepcopy(body)))
            return self._update_swarm(body, dict(query or {}))
        if path == "/swarm/unlock" and path not in self.fail:
            self.posts.append((path, "hidden"))
            assert body.keys() == {"UnlockKey"}, body.keys()
            if self.state != "locked":
                raise EngineError(409, "swarm is not locked", "POST /swarm/unlock")
            if body["UnlockKey"] != self.key:
                raise EngineError(400, "swarm could not be unlocked: invalid key provided", "POST /swarm/unlock")
            self.state, self.manager = "active", True
            return None
        return super().post(path, body, query)

    def _update_swarm(self, body: dict[str, t.Any], query: dict[str, t.Any]) -> None:
        self.before_update()
        assert set(query) <= PARAMETERS, f"unknown parameters: {set(query) - PARAMETERS}"
        if query["version"] != self.index:
            raise EngineError(500, "rpc error: code = Unknown desc = update out of sequence", "POST /swarm/update")
        assert set(body) >= set(self.spec), f"settings that are left out are lost: {set(self.spec) - set(body)}"
        before = self.spec["CAConfig"].get("ForceRotate", 0)
        self.spec = copy.deepcopy(body)
        self.index += 1
        self.generation["Worker"] += query.get("rotateWorkerToken", False)
        self.generation["Manager"] += query.get("rotateManagerToken", False)
        self.generation["key"] += query.get("rotateManagerUnlockKey", False)
        if self.spec["CAConfig"].get("ForceRotate", 0) > before:
            self.generation["ca"] += 1
            self.root_rotation = True
            self.follow(self.nodes if self.followers is None else self.followers)

    def follow(self, ids: t.Collection[str]) -> None:
        """Give these nodes certificates of the newest authority; with the last one the rotation ends."""
        for node_id in ids:
            self.nodes[node_id]["Description"]["TLSInfo"] = self.issuer(self.generation["ca"])
        newest = self.issuer(self.generation["ca"])
        self.root_rotation = any(node["Description"]["TLSInfo"] != newest for node in self.nodes.values())
