from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "roles/airflow_image/files/locks/airflow-3.3.2.txt"
UV = ROOT / ".venv/bin/uv"
PYTHON = ">=3.12,<3.15"


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
                ["venv", "--quiet", "--python", PYTHON, str(made)],
                ["pip", "install", *target, "--require-hashes", "-r", str(LOCK)],
                ["pip", "install", *target, f"pytest=={importlib.metadata.version('pytest')}"],
            ):
                subprocess.run([str(UV), *command], check=True)
            (made / "complete").touch()
    return made / "bin/python"


def test_everything_inside_passes_with_the_airflow_of_the_image(python: Path) -> None:
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5", "tests/airflow/inside"]
    ran = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    print(ran.stdout[-20000:])
    assert ran.returncode == 0, f"{ran.stdout[-20000:]}\n{ran.stderr[-5000:]}"
