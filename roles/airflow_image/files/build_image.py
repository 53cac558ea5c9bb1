# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps of an image build; runs on the build host with nothing but its Python.

    build_image.py unpack|rootfs|airflow|strip SETTINGS.json

unpack   writes the files that the settings carry, and this host's authorities, beside the settings
rootfs   unpack, then the distribution (mmdebstrap) from where this host's own apt gets its packages
airflow  makes the virtual environment and fills it from the lock (uv), with this host's own pip settings
strip    removes what only the build needed and prints what is left, in MB

All of the host's mirrors, proxies and authorities serve the build only; nothing of them stays in the image.
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
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
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
            source, _bar, rest = line.partition("|")
            uri, _bar, release = rest.rpartition("|")
            match = re.fullmatch(r"[a-z]+(|-updates|-security)", release.strip())
            if source.strip().lower() == origin and match:
                found.setdefault(match.group(1), uri.strip())
    if "" not in found:
        raise BuildError(
            f"apt on this host has no {origin.capitalize()} source with package lists to install {suite} from. "
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
    if "UV_INDEX" in found:
        # As pip does it; the lock's hashes, not the order of indexes, decide what is installed.
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return found


# --- steps ------------------------------------------------------------------------------------------------


def unpack(settings: t.Mapping[str, t.Any]) -> None:
    """Write ``settings["files"]`` (path below the directory -> text) and this host's authorities."""
    directory = Path(settings["directory"])
    for name, content in settings["files"].items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    authorities = Path(settings["environment"].get("SSL_CERT_FILE", _AUTHORITIES))
    (directory / "authorities.pem").write_bytes(authorities.read_bytes() if authorities.is_file() else b"")


def make_rootfs(settings: t.Mapping[str, t.Any]) -> None:
    """Unpack the distribution into ``rootfs`` below the directory."""
    unpack(settings)
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
    command += ["--dpkgopt=force-unsafe-io", '--aptopt=APT::Sandbox::User "root"']
    for name in ("auth.conf", "auth.conf.d"):
        if Path("/etc/apt", name).exists():
            command.append(f"--setup-hook=copy-in /etc/apt/{name} /etc/apt")
    _run([*command, settings["suite"], str(_rootfs(settings)), str(sources)], {**os.environ, **settings["environment"]})


def install_airflow(settings: t.Mapping[str, t.Any]) -> None:
    """Create the user and the directories, and fill the virtual environment."""
    root = _rootfs(settings)
    directory = Path(settings["directory"])
    environment = build_environment(settings)

    def inside(*command: str) -> None:
        _run(["chroot", str(root), *command], {"PATH": _CHROOT_PATH, "LC_ALL": "C.UTF-8"})

    def install(*arguments: str) -> None:
        _run(_in_image_python(root, settings["uv"], "pip", "install", *arguments), environment)

    inside("useradd", "--uid", "50000", "--gid", "0", "--create-home", "--shell", "/bin/bash", "airflow")
    inside("chmod", "0770", "/home/airflow")
    inside(
        "install",
        "-d",
        "-o",
        "50000",
        "-g",
        "0",
        "-m",
        "2775",
        *(f"/opt/airflow{name}" for name in ("", "/bundles", "/logs")),
    )
    inside("install", "-d", "-m", "0755", "/opt/flowstead", "/opt/flowstead/ca", VENV)
    point = Path(VENV)
    ours = not point.exists()
    point.mkdir(parents=True, exist_ok=True)
    try:
        _run(_in_image_python(root, "python3", "-m", "venv", VENV), environment)
        install("--require-hashes", "--compile-bytecode", "--requirements", str(directory / "lock"))
        if settings["files"]["requirements"].strip():
            frozen = _output(_in_image_python(root, settings["uv"], "pip", "freeze"), environment)
            (directory / "constraints").write_text(frozen, encoding="utf-8")
            wanted = [f"--requirements={directory}/requirements", f"--constraints={directory}/constraints"]
            install("--compile-bytecode", *wanted)
        wheel = f"import build_wheel; build_wheel.build_wheel({str(directory)!r})"
        _run(_in_image_python(root, "env", "-C", str(directory / "runtime"), "python3", "-c", wheel), environment)
        # By name and not by path, so that no path of this host is recorded in the image.
        install("--compile-bytecode", "--no-index", f"--find-links={directory}", "--no-deps", "flowstead-airflow")
        _run(_in_image_python(root, settings["uv"], "pip", "check"), environment)
    finally:
        if ours:
            point.rmdir()
    (canary,) = root.glob(f"{VENV[1:]}/lib/python3*/site-packages/flowstead_airflow/canary")
    bake(directory / "dags", root / "opt/airflow/dags")
    (root / "opt/flowstead/canary").symlink_to(f"/{canary.relative_to(root)}")


def bake(source: Path, target: Path) -> None:
    """Copy the bundles that are part of the image, readable by all and writable by nobody but root."""
    if not source.exists():
        return
    for place, directories, files in os.walk(source):
        below = target / Path(place).relative_to(source)
        below.mkdir(mode=0o755, parents=True, exist_ok=True)
        directories.sort()
        for name in sorted(files):
            (below / name).write_bytes((Path(place) / name).read_bytes())
            (below / name).chmod(0o644)


def _in_image_python(root: Path, *command: str) -> list[str]:
    """Run a command with the image's Python and libraries, and everything else of this host.

    In a mount namespace of its own the image's /usr and virtual environment lie over this host's, so that name
    resolution, authorities, proxies and local indexes are this host's without a copy of them in the image.
    """
    script = 'mount --bind "$1$2" "$2" && mount --bind "$1/usr" /usr && shift 2 && exec "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", str(root), VENV, *command]


def strip(settings: t.Mapping[str, t.Any]) -> None:
    """Remove mirrors, caches, documentation and translations; print the size."""
    root = _rootfs(settings)
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


def install_tool(settings: t.Mapping[str, t.Any]) -> None:
    """Put uv, in its pinned version, into a virtual environment of the build host."""
    home = Path(settings["uv"]).parent.parent
    environment = {**os.environ, **settings["environment"]}
    if not (home / "bin/python").exists():
        _run(["/usr/bin/python3", "-m", "venv", str(home)])
    wanted = f"uv=={settings['uv_version']}"
    _run([str(home / "bin/python"), "-m", "pip", "install", "--disable-pip-version-check", wanted], environment)


def build_environment(settings: t.Mapping[str, t.Any]) -> dict[str, str]:
    """Where packages are fetched from: this host's pip settings, then its variables, then the inventory's."""
    pip = [str(Path(settings["uv"]).parent / "python"), "-m", "pip"]
    found = pip_to_uv(_output([*pip, "config", "list"], check=False))
    taken = re.compile(r"(https?|all|no)_proxy|UV_.+|SSL_CERT_FILE|NETRC", re.IGNORECASE)
    found.update({name: value for name, value in os.environ.items() if taken.fullmatch(name)})
    if Path(_AUTHORITIES).is_file():
        found.setdefault("SSL_CERT_FILE", _AUTHORITIES)
    found.update({"VIRTUAL_ENV": VENV, "UV_LINK_MODE": "copy", "UV_NO_PROGRESS": "1", "HOME": "/root"})
    found.update({"PATH": _CHROOT_PATH, "LC_ALL": "C.UTF-8", "UV_CACHE_DIR": settings["cache"]})
    found.update(settings["environment"])
    return found


def _rootfs(settings: t.Mapping[str, t.Any]) -> Path:
    return Path(settings["directory"], "rootfs")


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    result = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace", check=False
    )
    if result.returncode:
        own = command[command.index(VENV) + 1 :] if command[0] == "unshare" else command
        shown = " ".join(shlex.quote(part) for part in own[:6])
        tail = "\n".join(result.stdout.splitlines()[-25:])
        raise BuildError(_without_passwords(f"{shown} ... ended with {result.returncode}. Its last lines:\n{tail}"))


def _output(command: list[str], environment: dict[str, str] | None = None, check: bool = True) -> str:
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if check and result.returncode:
        raise BuildError(f"{' '.join(command[:4])} ended with {result.returncode}: {result.stderr.strip()}")
    return result.stdout if result.returncode == 0 else ""


def _without_passwords(text: str) -> str:
    return re.sub(r"(://)[^/@\s]+@", r"\1***@", text)


def main(arguments: t.Sequence[str]) -> int:
    """Run one step; prints its result or why it failed."""
    steps = {"tool": install_tool, "unpack": unpack, "rootfs": make_rootfs, "airflow": install_airflow, "strip": strip}
    if len(arguments) != 2 or arguments[0] not in steps:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        steps[arguments[0]](json.loads(Path(arguments[1]).read_text(encoding="utf-8")))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
