"""A host with systemd, NFS and Docker that refuses what the real ones refuse."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.flowstead.airflow.plugins.module_utils._share.mark import NAME, ShareSilent, Sight
from ansible_collections.flowstead.airflow.plugins.module_utils._share.mounts import Mount
from ansible_collections.flowstead.airflow.plugins.module_utils._share.system import RECORD, Ran, System

UNITS = "/etc/systemd/system/"
_FLAGS = {"ro", "rw", "noatime", "relatime", "nodev", "nosuid", "noexec"}


class FakeHost(System):
    """Files in memory, exports as dictionaries, and every command that is run.

    Attributes:
        exports: what to mount, and the names and texts of the files in it.
        busy: users of what is mounted.
        dead: servers do not answer.
    """

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.links: set[str] = set()
        self.directories: dict[str, list[str]] = {}
        self.exports: dict[str, dict[str, str]] = {"nfs:/dags": {NAME: "dags-prod", "prod": ""}}
        self.mounted: list[Mount] = []
        self.commands: list[list[str]] = []
        self.loaded: dict[str, str] = {}
        self.helpers = {"mount.nfs"}
        self.busy: list[str] = []
        self.dead = False
        self.systemd = True
        self.closed: set[str] = set()
        self.look = self._look  # type: ignore[method-assign]
        self.create_mark = self._create  # type: ignore[method-assign]
        self.protect = self._protect  # type: ignore[method-assign]
        self.unprotect = self._unprotect  # type: ignore[method-assign]
        self.users = lambda _mount, _proc=None: self.busy  # type: ignore[method-assign, assignment]

    def has_systemd(self) -> bool:
        return self.systemd

    def mounts(self) -> list[Mount]:
        return self.mounted

    def has_command(self, name: str) -> bool:
        return name in self.helpers

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def write(self, path: str, text: str) -> None:
        self.files[path] = text

    def delete(self, path: str) -> None:
        self.files.pop(path, None)
        self.links.discard(path)

    def is_link(self, path: str) -> bool:
        return path in self.links

    def real_parent(self, path: str) -> str:
        return path.rpartition("/")[0]

    def entries(self, path: str) -> list[str]:
        return self.directories.get(path, [])

    def is_directory(self, path: str) -> bool:
        return path in self.directories

    def make_directory(self, path: str, mode: int) -> None:
        assert not mode & 0o022
        self.directories.setdefault(path, [])

    def remove_directory(self, path: str) -> None:
        del self.directories[path]

    def record(self) -> dict[str, t.Any]:
        return dict(json.loads(self.files.get(RECORD, "{}")))

    def run(self, command: t.Sequence[str], seconds: float) -> Ran:
        assert seconds > 0
        self.commands.append(list(command))
        program, *arguments = command
        return t.cast(Ran, getattr(self, f"_run_{program}")(*arguments))

    # --- commands ---

    def _run_mount(self, *arguments: str) -> Ran:
        if len(arguments) == 3:
            flag, options, path = arguments
            assert flag == "-o"
            word, *flags = options.split(",")
            assert word == "remount"
            if not set(flags) <= _FLAGS:
                return Ran(32, "mount.nfs4: multiple version options not permitted")
            (index,) = [index for index, one in enumerate(self.mounted) if one.path == path]
            kept = {one for one in self.mounted[index].options if one not in _FLAGS}
            self.mounted[index] = self.mounted[index]._replace(options=frozenset({*kept, *flags}))
            return Ran(0, "")
        kind, options, what, path = arguments[1], arguments[3], arguments[4], arguments[5]
        return self._mount(kind, options, what, path)

    def _mount(self, kind: str, options: str, what: str, path: str) -> Ran:
        assert path in self.directories
        if self.dead:
            return Ran(124, "no end within 30 s")
        if what not in self.exports:
            return Ran(32, f"mount.nfs: mounting {what} failed, reason given by server: No such file or directory")
        live = [one.replace("nfsvers=", "vers=") for one in options.split(",") if one not in ("_netdev", "retry=0")]
        self.mounted.append(Mount("0:45", path, f"{kind}4", what, frozenset(live)))
        return Ran(0, "")

    def _run_umount(self, path: str) -> Ran:
        if self.busy:
            return Ran(32, f"umount: {path}: target is busy.")
        before = len(self.mounted)
        self.mounted = [one for one in self.mounted if one.path != path]
        return Ran(0, "") if len(self.mounted) < before else Ran(32, f"umount: {path}: not mounted.")

    def _run_systemctl(self, verb: str, *units: str) -> Ran:
        if verb == "daemon-reload":
            self.loaded = {path: text for path, text in self.files.items() if path.startswith(UNITS)}
        elif verb == "enable":
            self.links.add(f"{UNITS}remote-fs.target.wants/{units[0]}")
        elif verb == "start":
            text = self.loaded[UNITS + units[0]]
            values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
            assert values["Where"] in self.closed, "the directory below is open"
            self.directories.setdefault(values["Where"], [])
            return self._mount(values["Type"], values["Options"], values["What"], values["Where"])
        elif verb == "show":
            return Ran(0, "\n\n".join(self._show(unit) for unit in units[1:]))
        else:
            assert (verb, units) == ("stop", ("flowstead-dag-share.service",)), "stopping the mount would stop Docker"
        return Ran(0, "")

    def _show(self, unit: str) -> str:
        stale = self.loaded.get(UNITS + unit) != self.files.get(UNITS + unit)
        drop_ins = " ".join(path for path in self.loaded if path.startswith(f"{UNITS}{unit}.d/"))
        return f"Id={unit}\nLoadState=loaded\nNeedDaemonReload={'yes' if stale else 'no'}\nDropInPaths={drop_ins}"

    # --- the share ---

    def _files_at(self, path: str) -> dict[str, str]:
        if self.dead:
            raise ShareSilent
        found = [one for one in self.mounted if one.path == path]
        if found:
            return self.exports[found[-1].source]
        return self.exports.setdefault(path, {})

    def _look(self, directory: str, _seconds: float) -> Sight:
        files = self._files_at(directory)
        return Sight(files.get(NAME, ""), tuple(name for name in files if name != NAME))

    def _create(self, directory: str, share_id: str, seconds: float) -> Sight:
        found = next(one for one in self.mounted if one.path == directory)
        if "ro" in found.options:
            return Sight(error="Read-only file system")
        self._files_at(directory).setdefault(NAME, share_id or "share-made-up")
        return self._look(directory, seconds)

    def _protect(self, path: str) -> bool:
        assert not any(one.path == path for one in self.mounted), "a mount is in the way"
        self.closed.add(path)
        return path not in self.directories

    def _unprotect(self, path: str, remove: bool) -> None:
        self.closed.discard(path)
        if remove:
            self.directories.pop(path, None)
