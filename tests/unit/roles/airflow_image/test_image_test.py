"""The program that tests an image from the inside, in a Python environment that the tests make."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
import types
import typing as t
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
PROGRAM = ROOT / "roles/airflow_image/files/image_test.py"
LINT_CLEAN = "echo 'No issues found in your airflow.cfg. It is ready for Airflow 3!'"


@pytest.fixture(name="program", scope="module")
def _program() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("image_test", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Image:
    """A directory of distributions and a command `airflow`, seen by a Python of its own process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.site = root / "site"
        self.bin = root / "bin"
        self.canary = root / "canary"
        self.bin.mkdir()
        self.listed: list[dict[str, str]] = []
        self.lint = LINT_CLEAN
        self.distribution("apache-airflow", "3.3.2", {"airflow/__init__.py": ""})
        self.distribution(
            "flowstead-airflow", "0.1.0", {"flowstead_airflow/__init__.py": "", "flowstead_airflow/probe.py": ""}
        )
        self.canary.mkdir()
        (self.canary / "dag.py").write_text("x = 1\n")

    def distribution(
        self, name: str, version: str, files: dict[str, str], requires: tuple[str, ...] = (), entry_points: str = ""
    ) -> None:
        """Install one."""
        info = f"{name.replace('-', '_')}-{version}.dist-info"
        lines = [f"Requires-Dist: {line}" for line in requires]
        text = "\n".join(
            ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", "License-Expression: MIT", *lines]
        )
        written = {**files, f"{info}/METADATA": text + "\n", f"{info}/entry_points.txt": entry_points}
        written[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in written)
        for path, content in written.items():
            (self.site / path).parent.mkdir(parents=True, exist_ok=True)
            (self.site / path).write_text(textwrap.dedent(content))

    def provider(self, name: str, modules: dict[str, str], requires: tuple[str, ...] = (), extra: str = "") -> None:
        """Install a provider that declares these modules as its hooks."""
        package = f"airflow/providers/{name}"
        names = [f"airflow.providers.{name}.{module}" for module in modules]
        said = {
            "package-name": f"apache-airflow-providers-{name}",
            "hooks": [{"python-modules": names}],
            "versions": ["1.0.0"],
        }
        files = {f"{package}/{module}.py": text for module, text in modules.items()}
        files[f"{package}/__init__.py"] = ""
        files[f"{package}/get_provider_info.py"] = (
            f"def get_provider_info():\n    {extra or 'pass'}\n    return {said!r}\n"
        )
        point = (
            f"[apache_airflow_provider]\nprovider_info = airflow.providers.{name}.get_provider_info:get_provider_info\n"
        )
        self.distribution(f"apache-airflow-providers-{name}", "1.0.0", files, requires, point)
        self.listed.append({"package_name": f"apache-airflow-providers-{name}", "version": "1.0.0"})

    def test(self, skip: tuple[str, ...] = (), configuration: dict[str, str] | None = None) -> dict[str, t.Any]:
        """Run the program as the role does: from an argument, without a file."""
        (self.root / "listed.json").write_text(json.dumps(self.listed))
        script = f'#!/bin/sh\ncase "$1" in\nconfig) {self.lint} ;;\nproviders) cat {self.root}/listed.json ;;\nesac\n'
        (self.bin / "airflow").write_text(script)
        (self.bin / "airflow").chmod(0o755)
        settings = {"canary": str(self.canary), "configuration": configuration or {}, "skip": list(skip)}
        # packaging is what Airflow itself brings.
        packaging = Path(importlib.util.find_spec("packaging").origin).parent  # type: ignore[union-attr,arg-type]
        if not (self.site / "packaging").exists():
            (self.site / "packaging").symlink_to(packaging)
        done = subprocess.run(
            [sys.executable, "-S", "-c", PROGRAM.read_text(), json.dumps(settings)],
            env={
                "PATH": f"{self.bin}:{os.environ['PATH']}",
                "PYTHONPATH": str(self.site),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("FLOWSTEAD-IMAGE-TEST ")]
        report: dict[str, t.Any] = json.loads(line.partition(" ")[2])
        return report


@pytest.fixture(name="image")
def _image(tmp_path: Path) -> Image:
    return Image(tmp_path)


def lines(report: dict[str, t.Any]) -> list[str]:
    return [f"{entry['kind']}: {entry['what']}: {entry['message']}" for entry in report["problems"]]


def test_a_sound_image_has_no_problem_and_tells_what_is_in_it(image: Image) -> None:
    image.provider("good", {"hook": "VALUE = 1\n"})
    report = image.test()
    assert lines(report) == []
    assert (report["airflow"], report["modules"]) == ("3.3.2", 3)
    assert report["providers"] == {"apache-airflow-providers-good": "1.0.0"}
    (package,) = [entry for entry in report["packages"]["python"] if entry["name"] == "apache-airflow-providers-good"]
    assert (package["version"], package["license"]) == ("1.0.0", "MIT")
    assert package["bytes"] > 100


def test_all_problems_come_together(image: Image) -> None:
    image.provider("broken", {"hook": "import no_such_library\n", "other": "1 / 0\n"}, requires=("apache-airflow>=4",))
    image.distribution("lonely", "2.0", {}, requires=("not-here", "gone; extra == 'more'"))
    image.lint = "echo '  - Removed deprecated `check_slas` configuration parameter'"
    (image.canary / "dag.py").unlink()
    found = lines(image.test())
    broken = "apache-airflow-providers-broken"
    wanted = (
        "requirement: apache-airflow-providers-broken 1.0.0: needs apache-airflow>=4, and the image has 3.3.2",
        "requirement: lonely 2.0: needs not-here, which the image does not have",
        f"runtime: {image.canary}: there is no canary DAG",
        f"import: airflow.providers.broken.hook of {broken}: ModuleNotFoundError: No module named",
        f"import: airflow.providers.broken.other of {broken}: ZeroDivisionError: division by zero (",
        "configuration: airflow config lint: Removed deprecated `check_slas`",
    )
    assert len(found) == len(wanted), found
    for line, beginning in zip(found, wanted):
        assert line.startswith(beginning)


def test_what_only_an_extra_or_another_provider_brings_is_told_and_no_problem(image: Image) -> None:
    image.provider(
        "some",
        {
            "extra": "import pandas\n",
            "other": "from airflow.providers.elsewhere.hooks import Hook\n",
            "both": "import bson\nfrom airflow.providers.elsewhere.hooks import Hook\n",
            "feature": "class AirflowOptionalProviderFeatureException(Exception):\n    pass\n"
            "raise AirflowOptionalProviderFeatureException('needs duckdb')\n",
        },
        requires=("pandas>=2; extra == 'pandas'",),
    )
    report = image.test()
    assert lines(report) == []
    reasons = {entry["module"].rpartition(".")[2]: entry["reason"] for entry in report["skipped"]}
    assert reasons == {
        "extra": "needs pandas, which an extra of the provider brings",
        "other": "needs airflow.providers.elsewhere, of a provider that is not installed",
        "both": "needs airflow.providers.elsewhere.hooks, of a provider that is not installed",
        "feature": "needs duckdb",
    }


def test_a_module_that_kills_the_interpreter_is_named_and_the_rest_is_still_tested(image: Image) -> None:
    image.provider(
        "deadly", {"a": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "b": "import nothing_there\n"}
    )
    image.provider("polite", {"a": "raise SystemExit(3)\n"})
    first, second, third = lines(image.test())
    assert first.startswith("import: airflow.providers.deadly.a")
    assert "ended with signal 11" in first
    assert "nothing_there" in second
    assert "SystemExit: 3" in third


def test_a_module_that_may_fail_is_left_out_by_its_pattern(image: Image) -> None:
    image.provider("broken", {"hook": "import no_such_library\n"})
    report = image.test(skip=("airflow.providers.broken.*",))
    assert lines(report) == []
    assert report["skipped"][0]["module"] == "airflow.providers.broken.hook"


def test_a_class_that_is_declared_and_missing_is_a_problem(program: types.ModuleType) -> None:
    program.load("json.JSONDecoder")
    with pytest.raises(AttributeError):
        program.load("json.NoSuchClass")


def test_descriptions_of_providers_name_code_in_many_places(program: types.ModuleType) -> None:
    said = {
        "package-name": "a.b",
        "description": "x.y",
        "hooks": [{"integration-name": "X", "python-modules": ["p.hooks.x"]}],
        "connection-types": [{"hook-class-name": "p.hooks.x.Hook", "connection-type": "x"}],
        "executors": ["p.executor.Executor"],
        "config": {"x": {"options": {"y": {"default": "a.b.c"}}}},
    }
    assert program.declared(said) == ["p.executor.Executor", "p.hooks.x", "p.hooks.x.Hook"]


def test_a_provider_that_cannot_describe_itself_is_one_problem(image: Image) -> None:
    image.provider("odd", {"hook": ""}, extra="raise RuntimeError('too old')")
    assert lines(image.test()) == [
        "provider: apache-airflow-providers-odd: cannot describe itself: RuntimeError: too old"
    ]


def test_a_provider_that_airflow_does_not_list_is_a_problem(image: Image) -> None:
    image.provider("hidden", {"hook": ""})
    image.provider("shown", {"hook": ""})
    del image.listed[0]
    (line,) = lines(image.test())
    assert line.startswith("provider: apache-airflow-providers-hidden")


def test_advice_of_the_linter_is_no_problem_and_a_linter_that_fails_is_one(image: Image) -> None:
    image.provider("good", {"hook": ""})
    image.lint = "echo '  - Changed default value of `executor` in `core`'"
    report = image.test()
    assert (lines(report), len(report["advice"])) == ([], 1)
    image.lint = "echo boom >&2; exit 4"
    (line,) = lines(image.test())
    assert line == "command: airflow config lint: ended with 4: boom"
    image.lint = "true"
    (line,) = lines(image.test())
    assert "neither issues nor none" in line


def test_the_linter_sees_the_configuration_of_the_platform(image: Image) -> None:
    image.provider("good", {"hook": ""})
    image.lint = 'echo "  - $AIRFLOW__CORE__OLD"'
    (line,) = lines(image.test(configuration={"AIRFLOW__CORE__OLD": "the value"}))
    assert line.endswith("the value")


def test_a_missing_runtime_and_a_broken_canary_are_told(image: Image) -> None:
    image.provider("good", {"hook": ""})
    for path in image.site.glob("flowstead_airflow*/*"):
        path.unlink()
    for path in image.site.glob("flowstead_airflow*"):
        path.rmdir()
    (image.canary / "dag.py").write_text("def broken(:\n")
    first, second = lines(image.test())
    assert first == "runtime: flowstead_airflow: the image does not have this package"
    assert second.startswith(f"runtime: {image.canary}/dag.py:1: ")


def test_debian_packages_are_those_that_are_installed(
    program: types.ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "dpkg-query"
    fake.write_text(
        "#!/bin/sh\nprintf 'installed\\tlibc6\\t2.41-12\\tamd64\\t9\\nconfig-files\\told\\t1\\tall\\t5\\n'\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program.system_packages() == [
        {"name": "libc6", "version": "2.41-12", "architecture": "amd64", "bytes": 9216}
    ]
    fake.unlink()
    assert program.system_packages() == []
