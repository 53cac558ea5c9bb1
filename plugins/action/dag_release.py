# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's part of dag_release: read and check the source, build artifacts, send what the share lacks."""

from __future__ import annotations

import base64
import filecmp
import io
import os
import tempfile
import typing as t

from ansible import constants
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible_collections.flowstead.airflow.plugins.module_utils._release import artifact, git, manifest, syntax
from ansible_collections.flowstead.airflow.plugins.module_utils._release.errors import ReleaseError, ReleaseProblems
from ansible_collections.flowstead.airflow.plugins.module_utils._release.source import Limits, Source, read_directory
from ansible_collections.flowstead.airflow.plugins.module_utils._release.spec import (
    ARGUMENT_SPEC,
    REQUIRED_IF,
    WITH_SOURCE,
    refuse_bad,
)
from ansible_collections.flowstead.airflow.plugins.plugin_utils import inherited as _inherited  # noqa: F401

Result = dict[str, t.Any]

#: Content up to this size goes with the module's arguments; more goes as a file, which takes further round trips.
INLINE_BYTES = 256 << 10
#: Content that was there in one look may be gone in the next, when somebody prunes meanwhile.
ATTEMPTS = 4


class ActionModule(ActionBase):
    """The same options as the module."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        """Do what C(action) says, here, there, or both."""
        result: Result = super().run(tmp, task_vars)
        arguments = {name: value for name, value in self._task.args.items() if not name.startswith("_")}
        validated = ArgumentSpecValidator(ARGUMENT_SPEC, required_if=REQUIRED_IF).validate(arguments)
        if validated.error_messages:
            return {**result, "failed": True, "msg": "; ".join(validated.error_messages)}
        params: dict[str, t.Any] = validated.validated_parameters
        try:
            refuse_bad(params)
            if params["action"] not in WITH_SOURCE:
                result.update(self._module(arguments, task_vars))
                return result
            with tempfile.TemporaryDirectory(dir=constants.DEFAULT_LOCAL_TMP, prefix="dag_release") as work:
                source = self._read(params, work)
                if params["action"] == "build":
                    result.update(self._build(params, source))
                else:
                    result.update(self._stage(params, arguments, source, work, task_vars))
        except ReleaseError as error:
            result.update(failed=True, msg=str(error), problems=getattr(error, "problems", [str(error)]))
        except OSError as error:
            result.update(failed=True, msg=f"The source cannot be read or packed on the controller: {error}")
        return result

    # --- the source ---

    def _read(self, params: dict[str, t.Any], work: str) -> Source:
        """Read the source; all of its problems together.

        Raises:
            ReleaseError: it cannot be released.
        """
        given, bundle, limits = params["source"], params["bundle"], Limits(**params["limits"])
        extracted = os.path.join(work, "source")
        os.mkdir(extracted)
        name = next(given[kind] for kind in ("directory", "repository", "artifact") if given[kind])
        place = self._find(name)
        building = params["action"] == "build"
        if given["artifact"]:
            source = artifact.read_artifact(place, bundle, limits, extracted)
        elif given["repository"]:
            origin, problems = git.export(place, given["ref"] or "HEAD", given["subdirectory"] or "", extracted)
            source = read_directory(extracted, bundle, limits, origin)
            source.problems += problems
        else:
            if not os.path.isdir(place):
                raise ReleaseError(f"source.directory: {place} is no directory on the controller. Correct it.")
            # An artifact is the same wherever the directory lies.
            source = read_directory(place, bundle, limits, {} if building else {"path": place})
        found = source.manifest.hash
        if params["hash"] and not found.startswith(params["hash"]) and not source.problems:
            source.problems.append(
                f"hash: it is {found}, not {params['hash']}: this is other content. Give the right one."
            )
        if source.problems or building:
            source.problems += self._syntax(params, source, None)
        _refuse(name, source.problems)
        return source

    def _find(self, name: str) -> str:
        """A path on the controller; a relative one is looked up beside the playbook, then where Ansible was started."""
        beside: str = self._loader.path_dwim(name)
        return beside if os.path.exists(beside) or os.path.isabs(name) else os.path.abspath(name)

    @staticmethod
    def _syntax(params: dict[str, t.Any], source: Source, only: t.Collection[str] | None) -> list[str]:
        """Syntax errors; ``only`` holds hashes: content that the share has was looked at before."""
        if not params["check_syntax"]:
            return []
        files = source.manifest.files
        return syntax.find_errors(
            {path: place for path, place in source.paths.items() if only is None or files[path].sha256 in only}
        )

    # --- actions ---

    def _build(self, params: dict[str, t.Any], source: Source) -> Result:
        dest = os.path.abspath(os.path.expanduser(params["dest"]))
        digest = source.manifest.hash
        path = os.path.join(dest, f"{params['bundle']}-{digest[:12]}.tar.gz")
        answer: Result = {"artifact": path, "hash": digest, "files": len(source.manifest.files)}
        if self._task.check_mode:
            return {**answer, "changed": not os.path.exists(path), **_diff(self, [f"+ {path}"], os.path.exists(path))}
        os.makedirs(dest, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=dest, prefix=".dag_release")
        try:
            with os.fdopen(handle, "wb") as stream:
                artifact.write_artifact(stream, source)
                os.fchmod(stream.fileno(), 0o644)
            same = os.path.exists(path) and filecmp.cmp(draft, path, shallow=False)
            if not same:
                os.rename(draft, path)
        finally:
            if os.path.exists(draft):
                os.unlink(draft)
        return {**answer, "changed": not same, **_diff(self, [f"+ {path}"], same)}

    def _stage(
        self,
        params: dict[str, t.Any],
        arguments: dict[str, t.Any],
        source: Source,
        work: str,
        task_vars: dict[str, t.Any] | None,
    ) -> Result:
        asking = {**arguments, "_manifest": manifest.pack(source.manifest)}
        answer = self._module(asking, task_vars)
        if answer.get("failed") or answer.get("release"):
            return answer
        wanted: set[str] = set()
        warnings: list[t.Any] = []
        for _attempt in range(ATTEMPTS):
            warnings += [warning for warning in answer.pop("warnings", []) if warning not in warnings]
            wanted |= set(answer.pop("missing", []))
            _refuse(str(arguments["source"]), self._syntax(params, source, wanted))
            if not self._task.check_mode:
                answer, sent = self._send(asking, source, wanted, work, task_vars)
                answer.get("transferred", {})["sent"] = sent
            if self._task.check_mode or answer.get("failed") or answer.get("release"):
                warnings += [warning for warning in answer.get("warnings", []) if warning not in warnings]
                return {**answer, "warnings": warnings} if warnings else answer
        raise ReleaseError(
            f"{params['path']}: releases disappear there faster than a new one can be staged. Is somebody deleting "
            "them? End that, then run this again."
        )

    def _send(
        self,
        asking: dict[str, t.Any],
        source: Source,
        wanted: t.Collection[str],
        work: str,
        task_vars: dict[str, t.Any] | None,
    ) -> tuple[Result, int]:
        """Stage, with the content that the share lacks; the result, and how many bytes went out."""
        packed = io.BytesIO()
        artifact.write_upload(packed, source, wanted)
        size = packed.tell()
        if size <= INLINE_BYTES:
            content = base64.b64encode(packed.getvalue()).decode()
            return self._module({**asking, "_content": content}, task_vars), size
        local = os.path.join(work, "upload.tar.gz")
        with open(local, "wb") as stream:
            stream.write(packed.getbuffer())
        directory = self._make_tmp_path()
        try:
            remote = self._connection._shell.join_path(directory, "dag_release.tar.gz")
            self._transfer_file(local, remote)
            self._fixup_perms2((directory, remote))
            return self._module({**asking, "_upload": remote}, task_vars), size
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def _module(self, arguments: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> Result:
        answer: Result = self._execute_module(
            module_name="flowstead.airflow.dag_release", module_args=arguments, task_vars=task_vars
        )
        answer.pop("invocation", None)  # the manifest in it is long, and the task has its arguments already
        return answer


def _refuse(name: str, problems: t.Sequence[str]) -> None:
    if problems:
        raise ReleaseProblems(f"{name} cannot be released, and nothing was changed.", problems)


def _diff(plugin: ActionModule, lines: t.Sequence[str], same: bool) -> Result:
    return {"diff": {"prepared": "\n".join(lines) + "\n"}} if plugin._task.diff and not same else {}
