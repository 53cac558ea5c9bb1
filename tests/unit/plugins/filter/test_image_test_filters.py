"""What the tests of an image said becomes one report and one SBOM."""

from __future__ import annotations

import copy
import json
import sys
import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flowstead.airflow.plugins.filter.image_sbom import image_sbom
from ansible_collections.flowstead.airflow.plugins.filter.image_test_report import MARK, image_test_report
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

NAME = "registry.example.com/flowstead/airflow:3.3.2-0123456789ab"
FOUND: dict[str, t.Any] = {
    "problems": [],
    "skipped": [],
    "advice": [],
    "airflow": "3.3.2",
    "python": "3.12.11",
    "machine": "x86_64",
    "system": {"id": "debian", "version": "13"},
    "providers": {"apache-airflow-providers-celery": "3.26.0"},
    "modules": 3,
    "packages": {
        "python": [
            {
                "name": "apache-airflow",
                "version": "3.3.2",
                "license": "Apache-2.0",
                "bytes": 9 << 20,
                "requires": ["idna"],
            },
            {"name": "idna", "version": "3.20", "license": "BSD License", "bytes": 1 << 20, "requires": []},
            {"name": "nameless", "version": "1+local", "license": "", "bytes": 5, "requires": []},
        ],
        "system": [
            {"name": "libc6", "version": "2.41-12", "architecture": "amd64", "bytes": 12 << 20},
            {"name": "libstdc++6", "version": "1:14.2", "architecture": "amd64", "bytes": 2 << 20},
        ],
    },
    "seconds": {"imports": 30.5},
}


def tried(found: dict[str, t.Any] | None = None, code: int = 0, noise: str = "a warning\n") -> dict[str, t.Any]:
    """What engine_image returns."""
    text = noise + (MARK + json.dumps(found or FOUND) if code == 0 else "Traceback\nMemoryError")
    return {
        "checks": [{"command": ["python"], "code": code, "output": text}],
        "image": {"id": "sha256:" + "0f" * 32, "size_mb": 700, "created": "2026-11-26T14:23:01.123456789Z"},
        "layers": [{"bytes": 3 << 20, "created_by": "COPY"}, {"bytes": 697 << 20, "created_by": "import"}],
    }


def test_the_report_names_layers_and_the_largest_packages_of_both_kinds():
    image = image_test_report(tried(), NAME)["image"]

    assert [layer["mb"] for layer in image["layers"]] == [3.0, 697.0]
    assert [entry["name"] for entry in image["largest"][:3]] == ["libc6", "apache-airflow", "libstdc++6"]


def test_an_image_above_the_limit_is_a_problem_that_names_what_is_largest():
    (problem,) = image_test_report(tried(), NAME, max_mb=699)["problems"]

    assert problem["kind"] == "size"
    assert "700 MB" in problem["message"]
    assert "libc6 12.0 MB" in problem["fix"]
    assert image_test_report(tried(), NAME, max_mb=700)["problems"] == []


def test_tests_that_could_not_run_fail_with_their_last_lines():
    with pytest.raises(AnsibleFilterError, match=r"could not run, they ended with 137(.|\n)*MemoryError"):
        image_test_report(tried(code=137), NAME)
    with pytest.raises(AnsibleFilterError, match="could not run"):
        image_test_report({**tried(), "checks": [{"command": [], "code": 0, "output": "nothing"}]}, NAME)


def test_the_result_of_another_state_is_refused():
    with pytest.raises(AnsibleFilterError, match="state tried"):
        image_test_report({"changed": False}, NAME)


def test_the_sbom_follows_the_cyclonedx_schema():
    text = image_sbom(image_test_report(tried(), NAME))

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_the_sbom_holds_every_package_with_its_purl_licence_and_requirements():

    document = json.loads(image_sbom(image_test_report(tried(), NAME)))

    purls = {component["name"]: component["purl"] for component in document["components"]}
    assert purls == {
        "apache-airflow": "pkg:pypi/apache-airflow@3.3.2",
        "idna": "pkg:pypi/idna@3.20",
        "libc6": "pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-13",
        "libstdc++6": "pkg:deb/debian/libstdc%2B%2B6@1:14.2?arch=amd64&distro=debian-13",
        "nameless": "pkg:pypi/nameless@1%2Blocal",
    }
    licences = {component["name"]: component.get("licenses") for component in document["components"]}
    assert licences["apache-airflow"] == [{"license": {"id": "Apache-2.0"}}]
    assert licences["idna"] == [{"license": {"name": "BSD License"}}]
    assert licences["nameless"] is None
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in document["dependencies"]}
    assert needs["pkg:pypi/apache-airflow@3.3.2"] == ["pkg:pypi/idna@3.20"]
    assert len(needs["sha256:" + "0f" * 32]) == 5
    assert document["metadata"]["component"]["version"] == "3.3.2-0123456789ab"


def test_the_same_image_has_the_same_sbom_byte_for_byte():
    shuffled = copy.deepcopy(FOUND)
    for entries in shuffled["packages"].values():
        entries.reverse()

    first, second = image_sbom(image_test_report(tried(), NAME)), image_sbom(image_test_report(tried(shuffled), NAME))

    assert first == second
    assert json.loads(first)["metadata"]["timestamp"] == "2026-11-26T14:23:01+00:00"


def test_a_controller_without_the_library_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cyclonedx.model.component", None)

    with pytest.raises(AnsibleFilterError, match=r"pip install cyclonedx-python-lib"):
        image_sbom(image_test_report(tried(), NAME))
