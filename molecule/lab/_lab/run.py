"""Commands of the machine, run so that a failure says what was run and what it answered."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from .settings import LabError

#: What the lab calls, and the Debian package that has it.
TOOLS = {
    "ip": "iproute2",
    "ethtool": "ethtool",
    "nsenter": "util-linux",
    "taskset": "util-linux",
    "mkfs.ext4": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "openssl": "openssl",
    "xz": "xz-utils",
}


def say(text: str) -> None:
    """Tell the person who waits what goes on."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


def run(*command: str | Path, text: str | None = None, cwd: Path | None = None, timeout: float = 600) -> str:
    """The output of a command that has to succeed.

    Raises:
        LabError: it failed or took longer than ``timeout`` seconds; with the end of what it said.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, input=text, cwd=cwd, capture_output=True, text=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(words)} did not end within {timeout:g} s") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise LabError(f"{' '.join(words)} ended with {done.returncode}: {said[-2000:] or 'without a word'}")
    return done.stdout


def missing_tools(tools: t.Iterable[str]) -> list[str]:
    """Those of ``tools`` that this machine lacks."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return [tool for tool in tools if shutil.which(tool) is None and shutil.which(tool, path=path) is None]


def wait_for(condition: t.Callable[[], bool], seconds: float, pause: float = 0.2) -> bool:
    """Whether ``condition`` came true within ``seconds``; it is looked at least once."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
    return True
