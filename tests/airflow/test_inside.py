from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "roles/airflow_image/files/locks/airflow-3.3.2.txt"
DOUBLES = ROOT / "requirements/doubles.txt"
GOOGLE = ROOT / "requirements/google.txt"
GCS_TESTS = "tests/airflow/inside/test_gcs_logs.py"
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


def environment(name: str, python: str, pins: Path, *options: str) -> Path:
    """The programs of an environment with these packages, made once for each state of the pins."""
    made = ROOT / ".cache" / f"{name}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:12]}"
    made.parent.mkdir(exist_ok=True)
    with (made.parent / f"{name}.lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        if not (made / "complete").exists():
            shutil.rmtree(made, ignore_errors=True)
            target = ["--quiet", "--python", str(made / "bin/python")]
            for command in (
                ["venv", "--quiet", "--python", python, str(made)],
                ["pip", "install", *target, *options, "-r", str(pins)],
                ["pip", "install", *target, f"pytest=={importlib.metadata.version('pytest')}"],
            ):
                subprocess.run([str(UV), *command], check=True)
            (made / "complete").touch()
    return made / "bin"


@pytest.fixture(name="doubles", scope="session")
def _doubles() -> Path:
    """The programs of stores, in an environment of their own: they do not agree with Airflow's libraries."""
    return environment("doubles", sys.executable, DOUBLES)


@pytest.fixture(name="database", scope="session")
def _database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first who makes Airflow's tables leaves a copy for the next; both have the same Airflow."""
    return tmp_path_factory.mktemp("database") / "airflow.db"


def run_inside(programs: Path, database: Path, doubles: Path, *which: str) -> None:
    """Run tests with the Airflow of an environment."""
    command = [str(programs / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5", *which]
    environ = {
        **os.environ,
        "FLOWSTEAD_TEST_DATABASE": str(database),
        "FLOWSTEAD_TEST_S3_SERVER": str(doubles / "moto_server"),
        "FLOWSTEAD_TEST_GCS_SERVER": str(doubles / "gcp-storage-emulator"),
    }
    ran = subprocess.run(command, cwd=ROOT, env=environ, check=False, capture_output=True, text=True)
    print(ran.stdout[-20000:])
    assert ran.returncode == 0, f"{ran.stdout[-20000:]}\n{ran.stderr[-5000:]}"


def test_everything_inside_passes_with_the_airflow_of_the_image(database: Path, doubles: Path) -> None:
    programs = environment("airflow", base_python(), LOCK, "--require-hashes")
    run_inside(programs, database, doubles, "tests/airflow/inside", f"--ignore={GCS_TESTS}")


def test_logs_in_google_cloud_pass_with_the_same_airflow_and_googles_provider(database: Path, doubles: Path) -> None:
    run_inside(environment("google", base_python(), GOOGLE), database, doubles, GCS_TESTS)


def test_googles_provider_changes_nothing_in_the_image_but_what_it_cannot_do_with() -> None:
    shipped, wanted = pins_of(LOCK), pins_of(GOOGLE)
    assert wanted["apache-airflow-providers-google"]
    differ = {name for name in shipped if wanted.get(name) != shipped[name]}
    # The provider wants an older tenacity, and opentelemetry in its libraries an older importlib-metadata.
    assert differ <= {"tenacity", "importlib-metadata", "lazy-importer"}


def pins_of(path: Path) -> dict[str, set[str]]:
    """Versions of each package in a lock, one for each marker."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([a-z0-9][a-z0-9._-]*)==([^\s;]+)", path.read_text(), re.MULTILINE):
        found.setdefault(name, set()).add(version)
    return found
