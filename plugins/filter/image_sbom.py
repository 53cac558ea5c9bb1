# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages of a core image as a document. The filter is documented in image_sbom.yml."""

from __future__ import annotations

import datetime
import importlib
import types
import typing as t
import uuid

from ansible.errors import AnsibleFilterError

if t.TYPE_CHECKING:
    from cyclonedx.model.component import Component
    from packageurl import PackageURL

_LIBRARY = "cyclonedx-python-lib"
#: Serial numbers of SBOMs are made in this namespace, so that the same image has the same one.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/flowstead/flowstead.airflow")


def image_sbom(report: t.Mapping[str, t.Any]) -> str:
    """The packages of a report as a CycloneDX 1.6 document in JSON; the same for the same image, byte for byte.

    Source: https://cyclonedx.org/docs/1.6/json/, and the package URL types pypi and deb of
    https://github.com/package-url/purl-spec.
    """
    model, part = _load("cyclonedx.model"), _load("cyclonedx.model.component")
    make_purl = _load("packageurl").PackageURL
    image, system = report["image"], report["system"]
    repository, tag = _split(image["name"])
    licenses = _load("cyclonedx.contrib.license.factories").LicenseFactory()

    def component(kind: str, entry: t.Mapping[str, t.Any], purl: PackageURL) -> Component:
        declared = entry.get("license")
        made = part.Component(
            type=part.ComponentType.LIBRARY,
            bom_ref=str(purl),
            name=entry["name"],
            version=entry["version"],
            purl=purl,
            licenses=[licenses.make_from_string(declared)] if declared else None,
        )
        made.properties.add(model.Property(name="flowstead:kind", value=kind))
        return made

    root = part.Component(type=part.ComponentType.CONTAINER, bom_ref=image["id"], name=repository, version=tag)
    root.properties.add(model.Property(name="flowstead:image-id", value=image["id"]))
    python = {
        entry["name"]: component("python", entry, make_purl("pypi", None, entry["name"], entry["version"]))
        for entry in report["packages"]["python"]
    }
    debian = []
    for entry in report["packages"]["system"]:
        qualifiers = {"arch": entry["architecture"], "distro": f"{system['id']}-{system['version']}".strip("-")}
        purl = make_purl("deb", system["id"] or "debian", entry["name"], entry["version"], qualifiers)
        debian.append(component("system", entry, purl))
    bom = _load("cyclonedx.model.bom").Bom(components=[*python.values(), *debian])
    bom.metadata.component = root
    bom.serial_number = uuid.uuid5(_NAMESPACE, image["id"])
    bom.metadata.timestamp = _time(image["created"])
    bom.register_dependency(root, [*python.values(), *debian])
    for entry in report["packages"]["python"]:
        bom.register_dependency(python[entry["name"]], [python[name] for name in entry["requires"]])
    text: str = _load("cyclonedx.output.json").JsonV1Dot6(bom).output_as_string(indent=2)
    return f"{text}\n"


def _load(name: str) -> types.ModuleType:
    """A module of the library, which takes a quarter of a second: Ansible imports every filter in every process.

    Raises:
        AnsibleFilterError: the library is missing.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise AnsibleFilterError(
            f"An SBOM needs the Python package {_LIBRARY} on the controller, beside Ansible ({error}): "
            f"pip install {_LIBRARY}. Or leave airflow_image_test_sbom empty."
        ) from error


def _split(name: str) -> tuple[str, str]:
    repository, at, digest = name.partition("@")
    if at:
        return repository, digest
    head, _colon, tag = name.rpartition(":")
    return head, tag


def _time(created: str) -> datetime.datetime:
    """When an image was made, to the second; the engine writes nanoseconds."""
    try:
        return datetime.datetime.fromisoformat(created[:19]).replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        return datetime.datetime.fromtimestamp(0, datetime.timezone.utc)


class FilterModule:
    """Ansible finds the filter here."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name to filter."""
        return {"image_sbom": image_sbom}
