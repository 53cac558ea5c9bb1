#!/usr/bin/python3
# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the file system of an Airflow image from the distribution's packages and a lock; runs on the build host.

    bootstrap.py rootfs|airflow|strip SETTINGS.json

rootfs   unpacks the distribution (mmdebstrap), from where this host's own apt gets its packages
airflow  makes the virtual environment and fills it from the lock (uv), with this host's own pip settings
strip    removes what only the build needed and prints what is left, in MB

All of the host's mirrors, proxies and authorities serve the build only; nothing of them stays in the result.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

VENV = "/opt/airflow-venv"
#: What the root file system needs beyond mmdebstrap's minbase.
PACKAGES = ("python3", "python3-venv", "tini", "ca-certificates", "netbase", "tzdata")
_KEYRINGS = {
    "debian": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "ubuntu": "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
}
_UBUNTU = ("jammy", "noble", "plucky", "questing", "resolute")
_CHROOT_PATH = f"{VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class BuildError(Exception):
    """What stops the build, in one line for the person who waits for it."""


# --- where packages come from -----------------------------------------------------------------------------


def vendor(suite: str) -> str:
    """The distribution that a suite belongs to."""
    return "ubuntu" if suite in _UBUNTU else "debian"


def apt_sources(targets: str, suite: str, mirror: str = "", security_mirror: str = "") -> list[str]:
    """The source lines for ``suite``.

    Args:
        targets: what apt says it uses, lines of ``ORIGIN|REPO_URI|RELEASE``.
        suite: the suite to install, for example trixie.
        mirror: a mirror to use in place of the host's own.
        security_mirror: the same for security updates; without it, a given mirror is asked for them only on Ubuntu.

    Raises:
        BuildError: when the host itself has no source of this distribution and no mirror is given.
    """
    origin = vendor(suite)
    found: dict[str, str] = {}
    if mirror:
        found = {"": mirror, "-updates": mirror}
        if security_mirror or origin == "ubuntu":
            found["-security"] = security_mirror or mirror
    else:
        for line in targets.splitlines():
            source, _, rest = line.partition("|")
            uri, _, release = rest.rpartition("|")
            match = re.fullmatch(r"[a-z]+(|-updates|-security)", release.strip())
            if source.strip().lower() == origin and match:
                found.setdefault(match.group(1), uri.strip())
    if "" not in found:
        raise BuildError(
            f"apt on this host has no {origin.capitalize()} source with package lists to install the suite {suite} from. "
            "Set airflow_image.mirror, or airflow_image.suite to a suite of this host's own distribution."
        )
    components = "main universe" if origin == "ubuntu" else "main"
    return [
        f"deb [signed-by={_KEYRINGS[origin]}] {found[pocket]} {suite}{pocket} {components}"
        for pocket in ("", "-updates", "-security")
        if pocket in found
    ]


def apt_options(dump: str) -> list[str]:
    """From ``apt-config dump``, the lines that say how this host reaches its mirrors (proxies, authorities)."""
    wanted = re.compile(r'^Acquire::(http|https|ftp|Retries)(::\S*)? "(.+)";$', re.IGNORECASE)
    return [line for line in dump.splitlines() if wanted.match(line)]


def pip_to_uv(listing: str) -> dict[str, str]:
    """uv's environment from ``pip config list``: where this host's pip gets packages is where uv gets them.

    Later lines win, as pip lists its sources in rising priority with the environment last.
    """
    names = {
        "index-url": ("UV_DEFAULT_INDEX", " "),
        "extra-index-url": ("UV_INDEX", " "),
        "find-links": ("UV_FIND_LINKS", ","),
        "trusted-host": ("UV_INSECURE_HOST", " "),
        "cert": ("SSL_CERT_FILE", ""),
        "proxy": ("ALL_PROXY", ""),
        "default-timeout": ("UV_HTTP_TIMEOUT", ""),
        "timeout": ("UV_HTTP_TIMEOUT", ""),
    }
    found: dict[str, str] = {}
    for line in sorted(listing.splitlines(), key=lambda entry: entry.startswith(":env:")):
        match = re.fullmatch(r"(?:global|install|:env:)\.([a-z-]+)='(.*)'", line.strip())
        if match and match.group(1) in names:
            name, separator = names[match.group(1)]
            value = match.group(2).replace("\\n", " ").strip()
            found[name] = separator.join(value.split()) if separator else value
    return found


# --- steps ------------------------------------------------------------------------------------------------


def make_rootfs(settings: t.Mapping[str, t.Any]) -> None:
    """Unpack the distribution into ``settings["rootfs"]``."""
    targets = _output(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(REPO_URI)|$(RELEASE)", "Created-By: Packages"]
    )
    sources = Path(settings["directory"], "sources.list")
    sources.write_text(
        "\n".join(apt_sources(targets, settings["suite"], settings["mirror"], settings["security_mirror"])) + "\n",
        encoding="utf-8",
    )
    sources.chmod(0o600)
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"]
    command += [f"--include={package}" for package in (*PACKAGES, *settings["packages"])]
    command += [f"--aptopt={line}" for line in apt_options(_output(["apt-config", "dump"]))]
    command += ["--dpkgopt=force-unsafe-io", "--aptopt=APT::Sandbox::User \"root\""]
    for name in ("auth.conf", "auth.conf.d"):
        if Path("/etc/apt", name).exists():
            command.append(f"--setup-hook=copy-in /etc/apt/{name} /etc/apt")
    _run([*command, settings["suite"], settings["rootfs"], str(sources)])


def install_airflow(settings: t.Mapping[str, t.Any]) -> None:
    """Create the user and the directories, fill the virtual environment; in a mount namespace of its own."""
    root = Path(settings["rootfs"])
    environment = build_environment(settings)
    with _Mounts(root) as mounts:
        mounts.bind("/proc")
        mounts.bind("/dev")
        mounts.tmpfs("/run")
        mounts.tmpfs("/tmp")
        mounts.bind_file("/etc/resolv.conf")
        mounts.bind_file("/etc/hosts")
        for path in local_paths(environment):
            mounts.bind(path)
        stage = root / "run/build"
        stage.mkdir()
        for name in ("uv", "lock", "requirements"):
            shutil.copy(settings[name], stage / name)
        shutil.copytree(settings["runtime"], stage / "runtime", ignore=shutil.ignore_patterns("__pycache__"))
        authorities = environment.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
        if Path(authorities).is_file():
            shutil.copy(authorities, stage / "authorities.pem")
            environment["SSL_CERT_FILE"] = "/run/build/authorities.pem"
        if settings["cache"]:
            Path(settings["cache"]).mkdir(parents=True, exist_ok=True)
            mounts.bind(settings["cache"], "/run/cache")
        environment.update({"UV_CACHE_DIR": "/run/cache", "UV_LINK_MODE": "copy", "UV_NO_PROGRESS": "1"})
        environment.update({"VIRTUAL_ENV": VENV, "PATH": _CHROOT_PATH, "HOME": "/tmp", "LC_ALL": "C.UTF-8"})

        def inside(*command: str) -> None:
            _run(["chroot", str(root), *command], environment)

        def install(*arguments: str) -> None:
            inside("/run/build/uv", "pip", "install", *arguments)

        inside("useradd", "--uid", "50000", "--gid", "0", "--create-home", "--shell", "/bin/bash", "airflow")
        inside("install", "-d", "-o", "50000", "-g", "0", "-m", "2775", "/opt/airflow", "/opt/airflow/bundles")
        inside("install", "-d", "-m", "0755", "/opt/flowstead", "/opt/flowstead/ca")
        inside("python3", "-m", "venv", VENV)
        install("--require-hashes", "--compile-bytecode", "--requirements", "/run/build/lock")
        if Path(settings["requirements"]).read_text(encoding="utf-8").strip():
            frozen = _output(["chroot", str(root), "/run/build/uv", "pip", "freeze"], environment)
            (stage / "constraints").write_text(frozen, encoding="utf-8")
            install(
                "--compile-bytecode",
                "--requirements=/run/build/requirements",
                "--constraints=/run/build/constraints",
            )
        install("--compile-bytecode", "--offline", "--no-deps", "/run/build/runtime")
        inside("/run/build/uv", "pip", "check")
    (canary,) = root.glob(f"{VENV[1:]}/lib/python3*/site-packages/flowstead_airflow/canary")
    (root / "opt/flowstead/canary").symlink_to(f"/{canary.relative_to(root)}")


def strip(settings: t.Mapping[str, t.Any]) -> None:
    """Remove mirrors, caches, documentation and translations; print the size."""
    root = Path(settings["rootfs"])
    for pattern in (
        "etc/apt/sources.list",
        "etc/apt/sources.list.d/*",
        "etc/apt/auth.conf*",
        "etc/apt/apt.conf.d/*mmdebstrap",
        "etc/dpkg/dpkg.cfg.d/*mmdebstrap",
        "etc/hostname",
        "etc/machine-id",
        "var/lib/apt/lists/*",
        "var/cache/apt/*",
        "var/cache/debconf/*-old",
        "var/lib/dpkg/*-old",
        "var/log/*",
        "tmp/*",
        "run/*",
        "usr/share/man/*",
        "usr/share/info/*",
        "usr/share/locale/*",
        "usr/share/doc/*/[!c]*",
        "usr/share/doc/*/changelog*",
    ):
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for name, empty in (("etc/resolv.conf", b""), ("etc/hosts", b"127.0.0.1 localhost\n")):
        (root / name).unlink(missing_ok=True)
        (root / name).write_bytes(empty)
    size = int(_output(["du", "-s", "--block-size=1M", str(root)]).split()[0])
    airflow = int(_output(["du", "-s", "--block-size=1M", f"{root}{VENV}"]).split()[0])
    print(f"{size} MB, of which Airflow and its libraries {airflow} MB")


def build_environment(settings: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The environment in which packages are fetched: this host's pip settings, its own variables, the inventory's."""
    found = pip_to_uv(_output([str(Path(settings["uv"]).parent / "python"), "-m", "pip", "config", "list"], check=False))
    taken = re.compile(r"(https?|all|no)_proxy|UV_.+|SSL_CERT_FILE|SSL_CERT_DIR|NETRC", re.IGNORECASE)
    found.update({name: value for name, value in os.environ.items() if taken.fullmatch(name)})
    found.update(settings["environment"])
    found.pop("SSL_CERT_DIR", None)
    return found


def local_paths(environment: t.Mapping[str, str]) -> list[str]:
    """Directories of this host that indexes and link pages name; they are made visible to the build."""
    found = []
    for name, separator in (("UV_DEFAULT_INDEX", " "), ("UV_INDEX", " "), ("UV_FIND_LINKS", ",")):
        for entry in environment.get(name, "").split(separator):
            url = entry.strip().rpartition("=")[2]
            path = url[len("file://") :] if url.startswith("file://") else url
            if path.startswith("/") and Path(path).is_dir():
                found.append(path)
    return list(dict.fromkeys(found))


class _Mounts:
    """Mounts below a root that are gone afterwards, with the mount points made for them.

    The process runs in a mount namespace of its own, so that a crash leaves nothing mounted on the host.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._undo: list[t.Callable[[], t.Any]] = []

    def __enter__(self) -> _Mounts:
        return self

    def __exit__(self, *_error: t.Any) -> None:
        while self._undo:
            self._undo.pop()()

    def tmpfs(self, target: str) -> None:
        """An empty file system in memory."""
        self._mount(["-t", "tmpfs", "tmpfs"], self._directory(target))

    def bind(self, source: str, target: str = "") -> None:
        """A directory of the host, with what is mounted below it."""
        self._mount(["--rbind", source], self._directory(target or source))

    def bind_file(self, path: str) -> None:
        """A file of the host over the same file of the root."""
        if not Path(path).is_file():
            return
        point = self._root / path.lstrip("/")
        if point.is_symlink():
            point.unlink()
        point.touch()
        self._mount(["--bind", path], point)

    def _mount(self, arguments: list[str], point: Path) -> None:
        subprocess.run(["mount", *arguments, str(point)], check=True)
        self._undo.append(lambda: subprocess.run(["umount", "--recursive", "--lazy", str(point)], check=True))

    def _directory(self, target: str) -> Path:
        point = self._root
        for part in Path(target).parts[1:]:
            point = point / part
            if not point.exists():
                point.mkdir()
                self._undo.append(point.rmdir)
        return point


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    result = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False
    )
    if result.returncode:
        shown = " ".join(shlex.quote(part) for part in command[:6])
        tail = "\n".join(_without_passwords(result.stdout).splitlines()[-25:])
        raise BuildError(f"{shown} ... ended with {result.returncode}. Its last lines:\n{tail}")


def _output(command: list[str], environment: dict[str, str] | None = None, check: bool = True) -> str:
    result = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False
    )
    if check and result.returncode:
        raise BuildError(f"{' '.join(command[:4])} ended with {result.returncode}: {result.stderr.strip()}")
    return result.stdout if result.returncode == 0 else ""


def _without_passwords(text: str) -> str:
    return re.sub(r"(://)[^/@\s]+@", r"\1***@", text)


def main(arguments: t.Sequence[str]) -> int:
    """Run one step; prints its result or why it failed."""
    steps = {"rootfs": make_rootfs, "airflow": install_airflow, "strip": strip}
    if len(arguments) != 2 or arguments[0] not in steps:
        print(__doc__, file=sys.stderr)
        return 2
    if arguments[0] == "airflow" and "FLOWSTEAD_NAMESPACE" not in os.environ:
        os.environ["FLOWSTEAD_NAMESPACE"] = "1"
        again = [sys.executable, __file__, *arguments]
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", *again])
    try:
        steps[arguments[0]](json.loads(Path(arguments[1]).read_text(encoding="utf-8")))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
