# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local images of one Docker Engine: import a directory, try commands in it, name it, push it.

PRIVATE to the collection.

Source for paths and answers: Docker Engine API reference, "Images" and "Containers", version 1.41 and later.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import tempfile
import typing as t
from urllib.parse import quote, urlencode

from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import (
    Engine,
    EngineError,
    EngineUnreachable,
    _UnixConnection,
)
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.images import auth_header, registry_of

#: Seconds that one import or push may take between two signs of life.
STREAM_TIMEOUT = 600.0


class ImageFailed(Exception):
    """An image could not be made, does not work, or was refused by a registry; the message is for people."""


class ImageStore:
    """The images of an engine.

    Args:
        engine: the client for everything that is JSON.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, reference: str) -> dict[str, t.Any] | None:
        """The image's inspect document, None when the engine does not have it."""
        try:
            found = self._engine.get(f"/images/{reference}/json")
        except EngineError as error:
            if error.status == 404:
                return None
            raise
        return dict(found)

    def layers(self, reference: str) -> list[dict[str, t.Any]]:
        """The image's layers that hold something, the lowest first: ``bytes`` and the instruction that made them."""
        history = self._engine.get(f"/images/{reference}/history")
        return [
            {"bytes": int(entry["Size"]), "created_by": str(entry.get("CreatedBy") or "")}
            for entry in reversed(history)
            if entry["Size"]
        ]

    def import_directory(self, directory: str, changes: t.Sequence[str]) -> str:
        """Import a root file system as an image without a name; returns its ID.

        Args:
            directory: the root file system; it is streamed, no archive is written.
            changes: Dockerfile instructions such as ``ENV A=b``.

        Raises:
            ImageFailed: when tar or the engine fails.
        """
        query = urlencode([("fromSrc", "-"), *(("changes", change) for change in changes)])
        archive = ["tar", "--sort=name", "--numeric-owner", "-C", directory, "-cf", "-", "."]
        with tempfile.TemporaryFile() as complaints:
            with subprocess.Popen(archive, stdout=subprocess.PIPE, stderr=complaints) as process:
                lines = self._stream(f"/images/create?{query}", _blocks(t.cast("t.IO[bytes]", process.stdout)), {})
            complaints.seek(0)
            errors = complaints.read().decode(errors="replace").strip()
        created = [str(line["status"]) for line in lines if str(line.get("status", "")).startswith("sha256:")]
        if process.returncode:
            if created:
                self.remove(created[-1])
            raise ImageFailed(f"tar could not read {directory}: {errors}")
        if not created:
            raise ImageFailed(f"Docker imported {directory} and named no image: {lines[-1:]}")
        return created[-1]

    def attempt(self, image: str, command: t.Sequence[str], environment: t.Mapping[str, str]) -> tuple[int, str]:
        """Run a command in a throwaway container without network; returns exit code and output.

        Args:
            image: ID or reference.
            command: run through the image's own entry point.
            environment: variables to set.
        """
        created = self._engine.post(
            "/containers/create",
            {
                "Image": image,
                "Cmd": list(command),
                "Env": [f"{name}={value}" for name, value in environment.items()],
                "Tty": True,
                "HostConfig": {"NetworkMode": "none"},
            },
        )
        container = f"/containers/{created['Id']}"
        try:
            self._engine.post(f"{container}/start")
            code = int(self._engine.post(f"{container}/wait")["StatusCode"])
            output = self._engine.get_raw(f"{container}/logs", {"stdout": "1", "stderr": "1"})
        finally:
            self._engine.delete(container, {"force": "1", "v": "1"})
        return code, output.decode(errors="replace").replace("\r\n", "\n").strip()

    def tag(self, image: str, reference: str) -> None:
        """Give an image a name."""
        name, _colon, tag = reference.rpartition(":")
        self._engine.post(f"/images/{image}/tag", query={"repo": name, "tag": tag})

    def remove(self, reference: str) -> None:
        """Remove a name, and the image when it was its last; nothing happens when there is none."""
        try:
            self._engine.delete(f"/images/{reference}")
        except EngineError as error:
            if error.status != 404:
                raise

    def push(self, reference: str, username: str, password: str) -> str:
        """Push a name to its registry; returns the digest.

        Raises:
            ImageFailed: when the registry refuses.
        """
        name, _colon, tag = reference.rpartition(":")
        headers = _sign_in(reference, username, password)
        lines = self._stream(f"/images/{quote(name, safe='/:')}/push?{urlencode({'tag': tag})}", None, headers)
        for line in lines:
            if isinstance(line.get("aux"), dict) and "Digest" in line["aux"]:
                return str(line["aux"]["Digest"])
        raise ImageFailed(f"The push of {reference} ended without a digest: {lines[-1:]}")

    def in_registry(self, reference: str, username: str, password: str) -> bool:
        """Whether the registry in a name has it.

        Raises:
            EngineError: the registry cannot be reached, or refuses the login.
        """
        try:
            self._engine.get(f"/distribution/{reference}/json", headers=_sign_in(reference, username, password))
        except EngineError as error:
            # An engine passes on what the registry said, with a status of its own.
            if error.status == 404 or "manifest unknown" in error.message or "name unknown" in error.message:
                return False
            raise
        return True

    def pull(self, reference: str, username: str, password: str) -> None:
        """Pull a name, with a tag or a digest, from its registry.

        Raises:
            ImageFailed: when the registry refuses.
        """
        # Docker takes a digest in place of the tag, and ignores a tag beside a digest.
        name, at, tag = reference.partition("@")
        if at:
            name = name if ":" not in name.rpartition("/")[2] else name.rpartition(":")[0]
        else:
            name, _colon, tag = reference.rpartition(":")
        query = urlencode({"fromImage": name, "tag": tag})
        self._stream(f"/images/create?{query}", None, _sign_in(reference, username, password))

    def data_root(self) -> str:
        """The directory in which the engine keeps its images."""
        return str(self._engine.get("/info")["DockerRootDir"])

    def _stream(
        self, path: str, body: t.Iterable[bytes] | None, headers: t.Mapping[str, str]
    ) -> list[dict[str, t.Any]]:
        """POST a body of unknown length and read the engine's JSON lines.

        Raises:
            ImageFailed: when a line carries an error.
        """
        url = f"/v{self._engine.api_version}{path}"
        label = f"POST {path.partition('?')[0]}"
        sent = {"Host": "docker", **headers}
        if body is not None:
            sent.update({"Content-Type": "application/x-tar", "Transfer-Encoding": "chunked"})
        connection = _UnixConnection(self._engine.socket_path, STREAM_TIMEOUT)
        try:
            connection.request("POST", url, body=body, headers=sent, encode_chunked=body is not None)
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise EngineUnreachable(
                f"Docker on {self._engine.socket_path} broke off during {label}: {error}"
            ) from error
        finally:
            connection.close()
        if response.status >= 400:
            raise EngineError(response.status, _message(text), label)
        lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        for line in lines:
            if "error" in line:
                raise ImageFailed(f"{label}: {line['error']}")
        return lines


def _sign_in(reference: str, username: str, password: str) -> dict[str, str]:
    """The header by which an engine signs in to the registry of a name."""
    return auth_header(
        reference, {registry_of(reference): {"username": username, "password": password}} if username else {}
    )


def free_bytes(path: str) -> int:
    """Bytes that are free for root's processes where ``path`` is or would be."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    state = os.statvfs(path)
    return state.f_bavail * state.f_frsize


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip()


def _blocks(stream: t.IO[bytes]) -> t.Iterator[bytes]:
    while True:
        block = stream.read(1 << 20)
        if not block:
            return
        yield block
