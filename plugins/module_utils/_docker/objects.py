# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets and configs under names that follow their content.

PRIVATE to the collection. Swarm's secrets and configs cannot be changed, so new content gets a new name:
``<stack>_<logical name>_<12 hex digits>``. The digits come from HMAC-SHA256 with a key that only the inventory
knows, because names and labels are readable by everybody who may talk to the API.
"""

from __future__ import annotations

import hashlib
import hmac
import typing as t

STACK_LABEL = "com.docker.stack.namespace"
IMAGE_LABEL = "com.docker.stack.image"
MANAGED_LABEL = "flowstead.airflow.managed-by"
LOGICAL_LABEL = "flowstead.airflow.logical-name"
JOB_LABEL = "flowstead.airflow.job-spec"
MANAGED_BY = "swarm_stack"

#: API path of each kind, and where a service refers to it: (list in ContainerSpec, id field, name field).
PATHS = {"secret": "/secrets", "config": "/configs"}
REFERENCES = {"secret": ("Secrets", "SecretID", "SecretName"), "config": ("Configs", "ConfigID", "ConfigName")}


class StackObject(t.NamedTuple):
    """One secret or config as it has to exist. ``data`` is its content, or None when it is external."""

    kind: str
    logical: str
    name: str
    data: str | None

    def __repr__(self) -> str:
        return f"StackObject({self.kind} {self.name})"


def object_name(key: str, stack: str, kind: str, logical: str, data: str) -> str:
    """The name under which this content is stored."""
    message = "\0".join((kind, stack, logical, data)).encode()
    digest = hmac.new(key.encode(), message, hashlib.sha256).hexdigest()
    return f"{stack}_{logical}_{digest[:12]}"


def labels_of(stack: str, logical: str) -> dict[str, str]:
    """Labels that mark an object as this stack's and as made by this collection."""
    return {STACK_LABEL: stack, MANAGED_LABEL: MANAGED_BY, LOGICAL_LABEL: logical}


def references(spec: t.Mapping[str, t.Any] | None, kind: str) -> set[str]:
    """IDs of the secrets or configs that a service's or task's spec refers to."""
    template = (spec or {}).get("TaskTemplate") or spec or {}
    field, identifier, _name = REFERENCES[kind]
    entries = (template.get("ContainerSpec") or {}).get(field) or []
    return {entry[identifier] for entry in entries if entry.get(identifier)}


#: States after which a task holds nothing any more.
TERMINAL = frozenset({"complete", "shutdown", "failed", "rejected", "remove", "orphaned"})


def collectable(
    kind: str,
    stack: str,
    objects: t.Iterable[t.Mapping[str, t.Any]],
    services: t.Iterable[t.Mapping[str, t.Any]],
    tasks: t.Iterable[t.Mapping[str, t.Any]],
    *,
    wanted: t.Collection[str],
    logicals: t.Collection[str],
    keep: int,
) -> list[dict[str, str]]:
    """Secrets or configs of this stack that nothing needs any more, oldest first.

    Args:
        kind: ``secret`` or ``config``.
        stack: name of the stack.
        objects: all live objects of this kind.
        services: all live services of the swarm, of every stack.
        tasks: all live tasks of the swarm that are known.
        wanted: names that the definition asks for.
        logicals: logical names that the definition declares; of these, ``keep`` newest stay.
        keep: how many versions of a declared object stay, the current one included.

    Returns:
        ``{"id": ..., "name": ...}`` for each.
    """
    used: set[str] = set()
    for service in services:
        used |= references(service.get("Spec"), kind) | references(service.get("PreviousSpec"), kind)
    for task in tasks:
        if task["Status"]["State"] not in TERMINAL:
            used |= references(task.get("Spec"), kind)
    ours: dict[str, list[t.Mapping[str, t.Any]]] = {}
    for item in objects:
        labels = item["Spec"].get("Labels") or {}
        if labels.get(STACK_LABEL) == stack and labels.get(MANAGED_LABEL) == MANAGED_BY:
            ours.setdefault(labels.get(LOGICAL_LABEL, ""), []).append(item)
    result: list[t.Mapping[str, t.Any]] = []
    for logical, versions in ours.items():
        versions.sort(key=lambda item: (item["Spec"]["Name"] in wanted, item.get("CreatedAt", "")), reverse=True)
        spared = versions[: max(keep, 1)] if logical in logicals else []
        result += [item for item in versions if item not in spared and item["ID"] not in used]
    result.sort(key=lambda item: item.get("CreatedAt", ""))
    return [{"id": item["ID"], "name": item["Spec"]["Name"]} for item in result]
