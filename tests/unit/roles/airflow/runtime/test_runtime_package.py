from __future__ import annotations

import base64
import hashlib
import importlib.util
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest

RUNTIME = Path(__file__).resolve().parents[5] / "roles/airflow/files/runtime"


@pytest.fixture(name="backend", scope="module")
def _backend() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("build_wheel", RUNTIME / "build_wheel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_wheel_holds_the_package_with_the_canary_and_true_checksums(
    backend: types.ModuleType, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / backend.build_wheel(str(tmp_path))) as wheel:
        names = wheel.namelist()
        assert "flowstead_airflow/canary/flowstead_canary.py" in names
        assert not [name for name in names if "__pycache__" in name]
        record = wheel.read("flowstead_airflow-0.1.0.dist-info/RECORD").decode()
        for line in record.splitlines():
            name, checksum, size = line.split(",")
            if name.endswith("RECORD"):
                continue
            content = wheel.read(name)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            assert (checksum, size) == (f"sha256={digest}", str(len(content)))
        assert sorted(line.split(",")[0] for line in record.splitlines()) == sorted(names)


def test_the_same_files_give_the_same_wheel(backend: types.ModuleType, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        backend.build_wheel(str(tmp_path / name))
    one, two = (next((tmp_path / name).iterdir()).read_bytes() for name in ("one", "two"))
    assert one == two


def test_version_and_name_are_the_same_everywhere(backend: types.ModuleType) -> None:
    project = (RUNTIME / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{backend.VERSION}"' in project
    package = (RUNTIME / "flowstead_airflow/__init__.py").read_text(encoding="utf-8")
    assert f'__version__ = "{backend.VERSION}"' in package


TASK_LOGS = [
    f"task_logs.{path.stem}"
    for path in sorted((RUNTIME / "flowstead_airflow/task_logs").glob("[a-z]*.py"))
    if path.stem != "logging_config"
]


@pytest.mark.parametrize(
    "module", ["probe", "broker", "hosts", "settings", "admin", "release_check", "release_parse", *TASK_LOGS]
)
def test_a_module_imports_without_airflow_or_any_library(module: str) -> None:
    script = f"import sys; sys.path.insert(0, {str(RUNTIME)!r}); import flowstead_airflow.{module}"
    # -S and -I: no site packages, so that only the standard library can be imported.
    subprocess.run([sys.executable, "-I", "-S", "-c", script], check=True)
