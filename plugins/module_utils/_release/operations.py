# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions of dag_release on the host, each from options to a result.

PRIVATE to the collection.
"""

from __future__ import annotations

import base64
import contextlib
import io
import time
import typing as t

from .._share.mark import ShareSilent, look
from . import manifest as manifests
from .errors import ReleaseError, ReleaseProblems
from .files import Files
from .layout import LOCK, Root
from .lock import locked
from .planning import make_plan, refuse_full
from .preparing import Preparer, read_access
from .staging import Stager
from .switching import clear, flip, flip_back, keepers, refuse_other, remove_release, require_complete
from .verifying import verify

_LOOK_SECONDS = 15.0

Params = t.Mapping[str, t.Any]
Result = dict[str, t.Any]


class Operations:
    """What the module can do.

    Args:
        params: the module's options.
        check_mode: say what would be done, and do nothing.
    """

    def __init__(self, params: Params, check_mode: bool, files: Files | None = None) -> None:
        self._params = params
        self._check_mode = check_mode
        self._files = files or Files()
        self._root = Root(params["path"].rstrip("/"), params["bundle"], params["environment"])

    def run(self) -> Result:
        """Do what ``action`` says.

        Raises:
            ReleaseError, OSError: it could not be done.
        """
        action = self._params["action"]
        self._refuse_silent()
        if action == "prepare":
            return self._prepare()
        self._root.require()
        if action in ("status", "verify") or self._check_mode:
            return t.cast("Result", getattr(self, f"_{action}")())
        if action == "stage" and self._params["_content"] is None and self._params["_upload"] is None:
            return self._stage()  # only a look: the controller asks what it has to send
        with self._locked(action):
            return t.cast("Result", getattr(self, f"_{action}")())

    # --- actions ---

    def _prepare(self) -> Result:
        params, root = self._params, self._root
        access = read_access(params["owner"], params["group"], params["mode"])
        preparer = Preparer(self._files, root, access, self._check_mode)
        preparer.prepare(params["lock_timeout"])
        current = root.current() if not self._check_mode or root.sentinel() else ""
        return self._result(
            bool(preparer.actions), current, preparer.actions, release=current, actions=preparer.actions
        )

    def _stage(self) -> Result:
        params, root = self._params, self._root
        wanted = manifests.unpack(params["_manifest"])
        if wanted.bundle != root.bundle:
            raise ReleaseError(f"the source is of the bundle {wanted.bundle!r}, not of {root.bundle!r}.")
        current = self._current_or_nothing()
        plan = make_plan(root, wanted, current)
        differences = manifests.compare(plan.kept[current].files if current in plan.kept else {}, wanted.files)
        lines = _lines(differences)
        common = {"hash": wanted.hash, "files": len(wanted.files), "differences": differences}
        if plan.release:
            return self._result(
                False, current, [], release=plan.release, warnings=plan.warnings, transferred=_none(),
                stored=len(root.releases()), **common,
            )  # fmt: skip
        refuse_full(root, wanted, plan.missing)
        with self._uploaded() as upload:
            if upload is None:
                return self._result(
                    True, current, lines, warnings=plan.warnings, release="", missing=plan.missing,
                    stored=len(root.releases()) + 1, **common,
                )  # fmt: skip
            done = Stager(self._files, root, wanted, upload).stage(plan)
        transferred = {
            "files": done.written, "bytes": done.bytes, "linked": done.linked, "copied": done.copied
        }  # fmt: skip
        return self._result(
            True,
            current,
            lines,
            release=done.release,
            warnings=plan.warnings + done.warnings,
            missing=done.missing,
            transferred=transferred,
            stored=len(root.releases()),
            **common,
        )

    def _activate(self) -> Result:
        result = self._switch(self._params["release"], flip)
        if result["changed"]:
            result["previous"] = result["replaced"]  # also where check mode has not made it so
        return result

    def _rollback(self) -> Result:
        current = self._current_or_nothing()
        release = self._params["release"] or self._root.previous(current)
        if not release:
            refuse_other(self._root, current, self._params["expected"] or "")
            raise ReleaseError(
                f"no release of {self._root.bundle} was current before {current or 'this'}, or it is gone. Name the "
                f"release to go back to; there are: {', '.join(self._root.releases())}."
            )
        return self._switch(release, flip_back if current else flip)

    def _switch(self, release: str, how: t.Callable[[Files, Root, str, str], None]) -> Result:
        params, root = self._params, self._root
        found = require_complete(root, release)
        if params["hash"] and not found.hash.startswith(params["hash"]):
            raise ReleaseError(f"release {release} has the hash {found.hash}, not {params['hash']}.")
        current = self._current_or_nothing()
        if current == release:
            return self._result(False, current, [], release=release, hash=found.hash, differences=_no_files())
        refuse_other(root, current, params["expected"] or "")
        differences = manifests.compare(self._files_of(current), found.files)
        lines = [f"current: {current or 'nothing'} -> {release}", *_lines(differences)]
        if not self._check_mode:
            how(self._files, root, release, current)
        return self._result(
            True, release, lines, release=release, hash=found.hash, differences=differences, replaced=current
        )

    def _discard(self) -> Result:
        root, release = self._root, self._params["release"]
        current = self._current_or_nothing()
        if release not in root.releases():
            return self._result(False, current, [], release=release)
        if release == current:
            raise ReleaseError(f"release {release} is the current one of {root.bundle}, so it stays.")
        if root.history().was_current(release):
            raise ReleaseError(
                f"release {release} of {root.bundle} was current before, and runs may still use it, so it stays. "
                "action: prune removes it when nothing needs it."
            )
        if not self._check_mode:
            remove_release(self._files, root, release)
        return self._result(True, current, [f"- {release}"], release=release, removed=[release])

    def _prune(self) -> Result:
        params, root = self._params, self._root
        current = root.current()
        in_use = {name for name in params["in_use"] if name}
        stay = keepers(
            root, current, previous=root.previous(current), keep=params["keep"], in_use=in_use, now=time.time()
        )
        removed = [name for name in root.releases() if name not in stay]
        if not self._check_mode:
            for name in removed:
                remove_release(self._files, root, name)
        kept = [{"release": name, "reason": reason} for name, reason in stay.items()]
        return self._result(
            bool(removed), current, [f"- {name}" for name in removed], release=current, removed=removed, kept=kept
        )

    def _status(self) -> Result:
        root = self._root
        current = self._current_or_nothing()
        found, problems = root.manifests()
        releases = [
            {
                "release": name, "hash": one.hash, "created": one.created, "files": len(one.files),
                "bytes": one.bytes, "source": dict(one.source),
            }
            for name, one in found.items()
        ]  # fmt: skip
        history = root.history()
        if not history.known:
            problems.append("the history is damaged, so what was current before is not known")
        if not current:
            problems.append(f"{root.at('current')} does not lead to a release. Run action: activate")
        return self._result(
            False,
            current,
            [],
            release=current,
            hash=found[current].hash if current in found else "",
            releases=releases,
            incoming=root.incoming(),
            history=history.events[-10:],
            problems=problems,
        )

    def _verify(self) -> Result:
        root = self._root
        release = self._params["release"] or root.current()
        found = root.manifest(release)
        problems = verify(root.release(release), found)
        if self._params["hash"] and not found.hash.startswith(self._params["hash"]):
            problems.append(f"MANIFEST.json: has the hash {found.hash}, not {self._params['hash']}")
        if problems:
            raise ReleaseProblems(
                f"Release {release} of {root.bundle} is not what it was when it was published. Publish it anew.",
                problems,
            )
        return self._result(
            False, self._current_or_nothing(), [], release=release, hash=found.hash, problems=[],
            verified={"files": len(found.files), "bytes": found.bytes},
        )  # fmt: skip

    # --- helpers ---

    def _refuse_silent(self) -> None:
        """A server that is away is told, although whatever touches a hard mount would wait for it forever."""
        try:
            look(self._root.path, _LOOK_SECONDS)
        except ShareSilent as error:
            raise ReleaseError(
                f"{self._root.path}: the share does not answer ({error}); its server is away, or the network to it. "
                "Bring it back, then run this again. Nothing was changed."
            ) from None

    @contextlib.contextmanager
    def _locked(self, action: str) -> t.Iterator[None]:
        root = self._root
        with locked(self._files, root.at(LOCK), action, self._params["lock_timeout"]):
            root.refresh()
            clear(self._files, root)
            yield

    @contextlib.contextmanager
    def _uploaded(self) -> t.Iterator[t.BinaryIO | None]:
        params = self._params
        if self._check_mode or (params["_content"] is None and params["_upload"] is None):
            yield None
        elif params["_upload"] is not None:
            with open(params["_upload"], "rb") as stream:
                yield stream
        else:
            yield io.BytesIO(base64.b64decode(params["_content"]))

    def _current_or_nothing(self) -> str:
        """The current release; empty when it is damaged: then it can still be repaired by activating one."""
        try:
            return self._root.current()
        except ReleaseError:
            return ""

    def _files_of(self, release: str) -> manifests.Files:
        try:
            return self._root.manifest(release).files if release else {}
        except ReleaseError:
            return {}  # only for the list of differences; a damaged release is left this way

    def _result(self, changed: bool, current: str, lines: t.Sequence[str], **more: t.Any) -> Result:
        previous = self._root.previous(current) if current else ""
        prepared = "".join(f"{line}\n" for line in lines)
        return {
            "changed": changed, "current": current, "previous": previous, "warnings": [],
            "diff": {"prepared": prepared} if prepared else {}, **more,
        }  # fmt: skip


def _lines(files: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    signs = {"added": "+", "changed": "~", "removed": "-"}
    return [f"{sign} {path}" for key, sign in signs.items() for path in files[key]]


def _none() -> dict[str, int]:
    return {"files": 0, "bytes": 0, "linked": 0, "copied": 0}


def _no_files() -> dict[str, list[str]]:
    return {"added": [], "changed": [], "removed": []}
