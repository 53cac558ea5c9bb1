# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the share to a host: look, compare, and change only what differs, or nothing at all.

PRIVATE to the collection.

The order is what makes it safe. Everything that can be refused is refused before anything is written. What is to be
mounted is first mounted aside and has to carry the right mark there; then files are written, and the mount itself comes
last. Docker is never restarted and never stopped: a running mount is taken away with umount(8), because stopping its
unit would stop Docker with it.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field

from . import mark
from .explain import explain_mount, explain_sight, explain_silence
from .mounts import Mount, mount_at
from .options import compare, flags_of
from .planning import Plan, Record, ShareError, make_plan, refuse_conflicts, refuse_content, refuse_users, some
from .settings import Share
from .system import RECORD, System
from .units import DIRECTORY, RETRY, drop_in, is_ours, unit_name, unit_path, wanted_link

_ASIDE = "/run/flowstead-dag-share"
_LOOK_SECONDS = 15.0


@dataclass
class Outcome:
    """What was done, or would be."""

    actions: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    share_id: str = ""
    missing_package: str = ""


class Keeper:
    """Keeps one share on one host.

    Args:
        share: as it is to be.
        system: the host.
        check_mode: say what would be done.
    """

    def __init__(self, share: Share, system: System, check_mode: bool = False) -> None:
        self._share = share
        self._system = system
        self._check_mode = check_mode
        self._unit = unit_name(share.path)
        self.outcome = Outcome()

    def present(self) -> Outcome:
        """The share is there and marked, and what needs it waits for it.

        Raises:
            ShareError: with the reason; nothing was changed unless the text says so.
        """
        share, system = self._share, self._system
        record = system.record()
        live = mount_at(share.path, system.mounts())
        if share.remote:
            refuse_conflicts(share, system, record)
        else:
            self._refuse_local(record, live)
        plan = make_plan(share, system, record, live)
        if plan.mount == "mount":
            refuse_content(share, system)
        self._describe(plan)
        if plan.mount != "none" and not self._has_helper():
            return self.outcome
        if plan.mount == "replace":
            refuse_users(share, system, t.cast(Mount, live), plan.reasons)
        anew = plan.mount in ("mount", "replace")
        if anew and self._check_mode:
            return self.outcome
        if anew:
            self._look_aside(record)
        else:
            self._make_local()
            self._verify(share.path, record)
        self._apply(plan, record)
        return self.outcome

    def absent(self) -> Outcome:
        """The host has no part in the share any more; what lies on the share stays.

        Raises:
            ShareError: somebody uses it.
        """
        system, record = self._system, self._system.record()
        path = record.get("path") or self._share.path
        unit = unit_path(path)
        mine = is_ours(system.read(unit))
        mounted = mount_at(path, system.mounts()) if mine else None
        used = system.users(mounted) if mounted else []
        if used:
            raise ShareError(
                f"{path} is in use by {some(used)}, so it stays. End what uses it (for the platform's containers: the "
                "playbook teardown), then run this again."
            )
        helpers = [*(drop_in(one) for one in sorted({*self._share.units, *record.get("units", [])}))]
        helpers = [file for file in (*helpers, f"{DIRECTORY}/{RETRY}") if is_ours(system.read(file))]
        if not helpers and not mine and not record:
            return self.outcome
        self._act(f"take {path} off this host")
        for file in [*helpers, *([unit] if mine else [])]:
            self._show(file, system.read(file) or "", "")
        if not self._check_mode:
            self._take_away(path, helpers, record, mine, mounted is not None)
        return self.outcome

    def _take_away(self, path: str, helpers: t.Sequence[str], record: Record, mine: bool, mounted: bool) -> None:
        system = self._system
        if f"{DIRECTORY}/{RETRY}" in helpers:
            system.run(["systemctl", "stop", RETRY], 60)
        for file in helpers:
            system.delete(file)
        self._reload()
        if mounted:
            self._must(
                ["umount", path], 60, f"its server may be away; when nothing uses it: umount --force --lazy {path}"
            )
        if mine:
            system.delete(wanted_link(path))
            system.delete(unit_path(path))
            self._reload()
        if record.get("protected"):
            system.unprotect(path, remove=bool(record.get("made")))
        system.delete(RECORD)

    # --- look ---

    def _refuse_local(self, record: Record, live: Mount | None) -> None:
        share = self._share
        if record.get("kind", "local") != "local":
            raise ShareError(
                f"this host mounts the share at {record.get('path')}, and dag_share_type is local now. Take the mount "
                "away first: run the role's entry point remove."
            )
        if share.must_be_mounted and live is None:
            raise ShareError(
                f"nothing is mounted on {share.path}, and dag_share_local.mounted says that something mounts it. "
                "Mount it, or set it to false."
            )

    def _describe(self, plan: Plan) -> None:
        for path, text in plan.write.items():
            self._act(f"write {path}")
            self._show(path, self._system.read(path) or "", text)
        for path in plan.delete:
            self._act(f"delete {path}")
            self._show(path, self._system.read(path) or "", "")
        if plan.enable:
            self._act(f"mount {self._share.path} at boot")
        if plan.reload:
            self._act("let systemd read its units again")
        if plan.mount != "none":
            because = f" ({'; '.join(plan.reasons)})" if plan.reasons else ""
            verb = {"mount": "mount", "remount": "remount", "replace": "unmount and mount"}[plan.mount]
            self._act(f"{verb} {self._share.what} on {self._share.path}{because}")

    def _has_helper(self) -> bool:
        helper = f"mount.{self._share.kind}"
        if self._system.has_command(helper):
            return True
        if self._share.kind == "efs":
            text = (
                f"{helper} is not on this host. Debian has no package amazon-efs-utils: build 2.0 or newer into the "
                "machine image as its README says, or set dag_share_type to nfs for a plain mount without TLS and IAM."
            )
            raise ShareError(text)
        if not self._check_mode:
            raise ShareError(f"{helper} is not on this host. Install the package nfs-common.", package="nfs-common")
        self.outcome.missing_package = "nfs-common"
        return False

    def _look_aside(self, record: Record) -> None:
        """Mount the share where nobody sees it, and check its mark there."""
        share, system = self._share, self._system
        system.make_directory(_ASIDE, 0o700)
        options = [one for one in share.options if one != "_netdev"] + (["retry=0"] if share.kind == "nfs" else [])
        try:
            command = ["mount", "-t", share.kind, "-o", ",".join(options), share.what, _ASIDE]
            ran = system.run(command, share.mount_seconds)
            if ran.code:
                raise ShareError(explain_mount(share, ran.code, ran.output))
            try:
                self._verify(_ASIDE, record)
            finally:
                if system.run(["umount", _ASIDE], 30).code:
                    system.run(["umount", "--lazy", _ASIDE], 30)
        finally:
            if mount_at(_ASIDE, system.mounts()) is None:
                system.remove_directory(_ASIDE)

    def _make_local(self) -> None:
        share, system = self._share, self._system
        if not share.remote and share.writable and not system.is_directory(share.path):
            self._act(f"make {share.path}")
            if not self._check_mode:
                system.make_directory(share.path, 0o755)

    def _verify(self, directory: str, record: Record) -> None:
        """The share carries the mark; a host that may write gives an empty one its mark."""
        share, system = self._share, self._system
        wanted = share.share_id or record.get("share_id", "")
        if self._check_mode and f"make {share.path}" in self.outcome.actions:
            return
        try:
            sight = system.look(directory, _LOOK_SECONDS)
            if not sight.error and not sight.mark and not sight.names and share.writable and share.create_mark:
                self._act(f"write {mark.NAME} on the share")
                if self._check_mode:
                    return
                sight = system.create_mark(directory, wanted, _LOOK_SECONDS)
        except mark.ShareSilent as error:
            raise ShareError(explain_silence(share)) from error
        problem = explain_sight(share, sight, wanted)
        if problem:
            raise ShareError(problem)
        self.outcome.share_id = sight.mark

    # --- change ---

    def _apply(self, plan: Plan, record: Record) -> None:
        share, system = self._share, self._system
        kept = dict(record)
        if self._check_mode:
            self._remember(kept)
            return
        if plan.mount == "replace":
            self._must(["umount", share.path], 60, f"nothing was changed; see who uses it: fuser -vm {share.path}")
        elif plan.mount == "remount":
            # The kernel keeps the other options, and mount.nfs refuses to be told them a second time.
            flags = ",".join(flags_of(share.options))
            self._must(["mount", "-o", f"remount,{flags}", share.path], 60, "nothing was changed; see dmesg")
        for path, text in plan.write.items():
            system.write(path, text)
        for path in plan.delete:
            system.delete(path)
        if plan.write or plan.delete or plan.reload:
            self._reload()
        if plan.enable:
            self._must(["systemctl", "enable", self._unit], 60, f"see: systemctl status {self._unit}")
        if plan.mount in ("mount", "replace"):
            kept["made"] = system.protect(share.path) or kept.get("made", False)
            kept["protected"] = True
            self._remember(kept)
            advice = f"{RETRY} keeps trying; see: journalctl -u '{self._unit}' -n 20"
            self._must(["systemctl", "start", self._unit], share.mount_seconds + 30, advice)
        self._remember(kept)
        if share.remote:
            self._settle(bool(kept.get("protected")))

    def _settle(self, protected: bool) -> None:
        """What is mounted is what was asked for."""
        share = self._share
        live = mount_at(share.path, self._system.mounts())
        if live is None:
            raise ShareError(f"{share.path} is not mounted, although systemd says so. See: findmnt {share.path}")
        left = [one for one in compare(share.options, live.options) if share.kind == "nfs" or one.remount]
        if left:
            found = "; ".join(f"{one.live} is in force, {one.wanted} was asked for" for one in left)
            raise ShareError(
                f"{share.what} is mounted on {share.path}, but not as asked for: {found}. The server, or another mount "
                "of it on this host, decides otherwise. Ask for what is in force, or unmount the other one."
            )
        if not protected:
            self.outcome.warnings.append(
                f"{share.path} was mounted before this role came, so the directory below could not be closed. That "
                "happens when the role mounts it: unmount it on a drained node, then run this again."
            )

    def _remember(self, record: dict[str, t.Any]) -> None:
        share = self._share
        record.setdefault("made", False)
        record.setdefault("protected", False)
        record.update(path=share.path, kind=share.kind, what=share.what, units=list(share.units))
        record["share_id"] = self.outcome.share_id or record.get("share_id", "")
        if record == self._system.record():
            return
        if not self.outcome.actions:
            self._act(f"write {RECORD}")
        if not self._check_mode:
            self._system.write(RECORD, json.dumps(record, indent=2, sort_keys=True) + "\n")

    def _reload(self) -> None:
        if self._system.has_systemd():
            self._must(["systemctl", "daemon-reload"], 60, "see: journalctl -b -u init.scope -n 20")

    def _must(self, command: t.Sequence[str], seconds: float, advice: str) -> None:
        ran = self._system.run(command, seconds)
        if ran.code:
            raise ShareError(f"`{' '.join(command)}` failed ({ran.output or ran.code}): {advice}.")

    def _act(self, action: str) -> None:
        self.outcome.actions.append(action)

    def _show(self, path: str, before: str, after: str) -> None:
        self.outcome.diff.append({"before_header": path, "after_header": path, "before": before, "after": after})
