# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which exact image a service runs: tags become digests, once per image, before anything is written.

PRIVATE to the collection.

Source: Engine API, ``GET /distribution/{name}/json``; docker/cli ``--resolve-image``.
"""

from __future__ import annotations

import base64
import json
import typing as t

from .engine import Engine, EngineError, EngineUnreachable
from .objects import IMAGE_LABEL
from .schema import Problem

Auth = t.Mapping[str, t.Mapping[str, str]]


class Images(t.NamedTuple):
    """Outcome: what each service runs, what is worth saying, what is wrong."""

    chosen: dict[str, str]
    notes: list[str]
    problems: list[Problem]


def registry_of(image: str) -> str:
    """Registry of an image: ``docker.io`` unless its first part is a host name or a port."""
    first, slash, _rest = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first
    return "docker.io"


def auth_header(image: str, auth: Auth) -> dict[str, str]:
    """``X-Registry-Auth`` for an image, or nothing when no login is given for its registry."""
    registry = registry_of(image)
    names = [registry]
    if registry == "docker.io":
        names += ["index.docker.io", "https://index.docker.io/v1/", ""]
    for name in names:
        if name in auth:
            document = {**auth[name], "serveraddress": registry}
            return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(document).encode()).decode()}
    return {}


def with_digest(image: str, digest: str) -> str:
    """``name:tag@sha256:...``, as the Docker CLI writes it."""
    return f"{image}@{digest}"


def choose(
    engine: Engine,
    services: t.Mapping[str, t.Mapping[str, t.Any]],
    live: t.Mapping[str, t.Mapping[str, t.Any]],
    *,
    policy: str,
    auth: Auth,
    single_node: bool,
) -> Images:
    """Decide for each service.

    Args:
        engine: asked only for images whose digest is not known yet.
        services: name -> definition.
        live: name -> live service.
        policy: ``never``, ``changed`` or ``always``.
        auth: registry -> ``username`` and ``password``.
        single_node: whether this node is the whole swarm, so that an image built here is enough.
    """
    result = Images({}, [], [])
    users: dict[str, list[str]] = {}
    for name, service in services.items():
        image = service["image"]
        spec = live.get(name, {}).get("Spec", {})
        known = (spec.get("Labels") or {}).get(IMAGE_LABEL) == image
        if policy == "never" or "@sha256:" in image:
            result.chosen[name] = image
        elif policy == "changed" and known:
            result.chosen[name] = spec["TaskTemplate"]["ContainerSpec"]["Image"]
        else:
            users.setdefault(image, []).append(name)
    for image, names in users.items():
        try:
            resolved = _resolve(engine, image, auth, single_node, result.notes)
        except EngineError as error:
            result.problems.append(_problem(image, names, error, single_node))
            continue
        result.chosen.update(dict.fromkeys(names, resolved))
    return result


def _resolve(engine: Engine, image: str, auth: Auth, single_node: bool, notes: list[str]) -> str:
    local = _local(engine, image) if single_node else None
    if local is not None and not local.get("RepoDigests"):
        notes.append(f"{image} was built on this node and is in no registry; its tag is used as it is")
        return image
    try:
        answer = _ask_registry(engine, image, auth)
    except EngineError as error:
        if local is None:
            raise
        notes.append(f"{image} is used as it is on this node; its registry did not answer ({error.message})")
        return image
    return with_digest(image, answer["Descriptor"]["digest"])


def _ask_registry(engine: Engine, image: str, auth: Auth) -> dict[str, t.Any]:
    try:
        answer: dict[str, t.Any] = engine.get(f"/distribution/{image}/json", headers=auth_header(image, auth))
    except EngineUnreachable as error:
        # The engine has just answered other questions; it is the registry that lets it wait.
        request = f"GET /distribution/{image}/json"
        raise EngineError(504, f"no answer within {engine.timeout:g} s", request) from error
    return answer


def _local(engine: Engine, image: str) -> dict[str, t.Any] | None:
    try:
        found: dict[str, t.Any] = engine.get(f"/images/{image}/json")
    except EngineError as error:
        if error.status == 404:
            return None
        raise
    return found


def _problem(image: str, names: t.Sequence[str], error: EngineError, single_node: bool) -> Problem:
    words = error.message.lower()
    if error.status in (401, 403) or "unauthorized" in words or "denied" in words:
        fix = f"check that the image exists, and give registry_auth for {registry_of(image)}"
    elif error.status == 404 or "manifest unknown" in words or "not found" in words:
        fix = "check name and tag, or push the image first"
    else:
        fix = f"check that this node reaches the registry {registry_of(image)}"
    if single_node:
        fix += "; it is not on this node either"
    where = ", ".join(f"services.{name}.image" for name in names)
    return Problem(where, f"{image} cannot be found: {error.message}", fix)
