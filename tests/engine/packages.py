"""The distribution's engine, for as long as it is needed, on a machine that has none."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("docker.io", "containerd", "runc", "iptables", "busybox-static")
#: Debian 13 has the docker program in a package of its own; before, docker.io holds it.
CLI = "docker-cli"
SETTINGS = Path("/etc/docker")


class NotInstallable(Exception):
    """The packages could not be installed; the text says what apt said."""


@contextlib.contextmanager
def engine_packages() -> Iterator[None]:
    """Install what is missing of ``PACKAGES`` when there is no dockerd, and remove it again at the end.

    Raises:
        NotInstallable: apt did not install them.
    """
    if shutil.which("dockerd"):
        yield
        return
    had_settings = SETTINGS.exists()
    _apt("update", "--quiet")
    wanted = [*PACKAGES, *([CLI] if _known(CLI) else [])]
    missing = [name for name in wanted if not _installed(name)]
    print(f"Installing for these tests: {', '.join(missing)}", flush=True)
    _apt("install", "--yes", "--no-install-recommends", *missing)
    try:
        yield
    finally:
        _apt("purge", "--yes", *missing)
        if not had_settings:
            shutil.rmtree(SETTINGS, ignore_errors=True)  # a dockerd leaves its key there


def _installed(package: str) -> bool:
    asked = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status}", package], capture_output=True, text=True, check=False
    )
    return asked.stdout == "installed"


def _known(package: str) -> bool:
    asked = subprocess.run(["apt-cache", "show", package], capture_output=True, check=False)
    return asked.returncode == 0


def _apt(*arguments: str) -> None:
    done = subprocess.run(
        ["apt-get", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise NotInstallable(f"apt-get {' '.join(arguments)}: {done.stderr[-2000:]}")
