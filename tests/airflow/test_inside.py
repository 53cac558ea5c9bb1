from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "roles/airflow_image/files/locks/airflow-3.3.2.txt"
DOUBLES = ROOT / "requirements/doubles.txt"
UV = ROOT / ".venv/bin/uv"
#: What the lock is made for. Source: its header and scripts/lock_image.
MINORS = (13, 12, 14)


def base_python() -> str:
    """A Python that the lock serves: $PYTHON, one on the path or of pyenv; else uv may fetch one.

    uv's own search ends at the first shim of pyenv that leads nowhere.
    """
    named = [os.environ.get("PYTHON", ""), *(f"python3.{minor}" for minor in MINORS), "python3", "/usr/bin/python3"]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    kept = [str(path) for minor in MINORS for path in sorted(pyenv.glob(f"3.{minor}.*/bin/python"))]
    show = "import sys; sys.exit(0 if sys.version_info[0] == 3 and sys.version_info[1] in " + repr(MINORS) + " else 1)"
    for candidate in filter(None, map(shutil.which, filter(None, [*named, *kept]))):
        if subprocess.run([candidate, "-c", show], check=False, capture_output=True).returncode == 0:
            return candidate
    return f"3.{MINORS[0]}"


@pytest.fixture(name="python", scope="session")
def _python() -> Path:
    """The interpreter of an environment with exactly the packages of the lock, and pytest."""
    made = ROOT / ".cache" / f"airflow-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    made.parent.mkdir(exist_ok=True)
    with (made.parent / "airflow.lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        if not (made / "complete").exists():
            shutil.rmtree(made, ignore_errors=True)
            target = ["--quiet", "--python", str(made / "bin/python")]
            for command in (
                ["venv", "--quiet", "--python", base_python(), str(made)],
                ["pip", "install", *target, "--require-hashes", "-r", str(LOCK)],
                ["pip", "install", *target, f"pytest=={importlib.metadata.version('pytest')}"],
            ):
                subprocess.run([str(UV), *command], check=True)
            (made / "complete").touch()
    return made / "bin/python"


@pytest.fixture(name="s3_server", scope="session")
def _s3_server() -> Path:
    """The program of an S3 server, in an environment of its own: it does not agree with Airflow's libraries."""
    made = ROOT / ".cache" / f"doubles-{hashlib.sha256(DOUBLES.read_bytes()).hexdigest()[:12]}"
    with (made.parent / "doubles.lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        if not (made / "complete").exists():
            shutil.rmtree(made, ignore_errors=True)
            for command in (
                ["venv", "--quiet", "--python", sys.executable, str(made)],
                ["pip", "install", "--quiet", "--python", str(made / "bin/python"), "-r", str(DOUBLES)],
            ):
                subprocess.run([str(UV), *command], check=True)
            (made / "complete").touch()
    return made / "bin/moto_server"


def test_everything_inside_passes_with_the_airflow_of_the_image(python: Path, s3_server: Path) -> None:
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5", "tests/airflow/inside"]
    environ = {**os.environ, "FLOWSTEAD_TEST_S3_SERVER": str(s3_server)}
    ran = subprocess.run(command, cwd=ROOT, env=environ, check=False, capture_output=True, text=True)
    print(ran.stdout[-20000:])
    assert ran.returncode == 0, f"{ran.stdout[-20000:]}\n{ran.stderr[-5000:]}"
