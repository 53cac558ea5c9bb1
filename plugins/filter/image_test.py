# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of a core image say. Each filter is documented in the .yml file with its name."""

from __future__ import annotations

import datetime
import json
import typing as t
import uuid

from ansible.errors import AnsibleFilterError

#: The line of roles/airflow_image/files/image_test.py begins with this.
MARK = "FLOWSTEAD-IMAGE-TEST "
LARGEST = 10
_LIBRARY = "cyclonedx-python-lib"
#: Serial numbers of SBOMs are made in this namespace, so that the same image has the same one.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/flowstead/flowstead.airflow")


def image_test_report(
    result: t.Mapping[str, t.Any], name: str, *, max_mb: int = 0, packages: bool = True
) -> dict[str, t.Any]:
    """One document from what engine_image returned with the state ``tried``.

    Args:
        result: what the module returned; its first check is image_test.py.
        name: the image's name.
        max_mb: size in MB of 1024 x 1024 bytes from where on the image is too large; 0 for no limit.
        packages: whether the list of all packages stays in the document.
    """
    try:
        (check, *_others) = result["checks"]
        image, layers = result["image"], result["layers"]
    except (KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(
            "image_test_report takes what engine_image returned with the state tried and one check."
        ) from error
    lines = [line for line in check["output"].splitlines() if line.startswith(MARK)]
    if check["code"] or len(lines) != 1:
        tail = "\n".join(check["output"].splitlines()[-20:])
        raise AnsibleFilterError(
            f"{name}: its tests could not run, they ended with {check['code']}. Their last lines:\n{tail}"
        )
    found: dict[str, t.Any] = json.loads(lines[0][len(MARK) :])
    both = [(kind, entry) for kind in ("python", "system") for entry in found["packages"][kind]]
    both.sort(key=lambda pair: (-pair[1]["bytes"], pair[1]["name"]))
    report: dict[str, t.Any] = {
        "image": {
            "name": name,
            "id": image["id"],
            "created": image.get("created", ""),
            "size_mb": image["size_mb"],
            "layers": [{"mb": _mb(layer["bytes"]), "created_by": layer["created_by"]} for layer in layers],
            "largest": [
                {"kind": kind, "name": entry["name"], "version": entry["version"], "mb": _mb(entry["bytes"])}
                for kind, entry in both[:LARGEST]
            ],
        },
        **found,
    }
    if max_mb and image["size_mb"] > max_mb:
        biggest = ", ".join(f"{entry['name']} {entry['mb']} MB" for entry in report["image"]["largest"][:3])
        report["problems"] = [
            *found["problems"],
            {
                "kind": "size",
                "what": name,
                "message": f"{image['size_mb']} MB are more than airflow_image_test_max_mb ({max_mb})",
                "fix": f"look at what is largest ({biggest}), or raise the limit",
            },
        ]
    if not packages:
        del report["packages"]
    return report


def image_sbom(report: t.Mapping[str, t.Any]) -> str:
    """The packages of a report as a CycloneDX 1.6 document in JSON; the same for the same image, byte for byte.

    Source: https://cyclonedx.org/docs/1.6/json/, and the package URL types pypi and deb of
    https://github.com/package-url/purl-spec.
    """
    try:
        from cyclonedx.contrib.license.factories import LicenseFactory
        from cyclonedx.model import Property
        from cyclonedx.model.bom import Bom
        from cyclonedx.model.component import Component, ComponentType
        from cyclonedx.output.json import JsonV1Dot6
        from packageurl import PackageURL
    except ImportError as error:
        raise AnsibleFilterError(
            f"An SBOM needs the Python package {_LIBRARY} on the controller, beside Ansible ({error}): "
            f"pip install {_LIBRARY}. Or leave airflow_image_test_sbom empty."
        ) from error
    image, system = report["image"], report["system"]
    repository, tag = _split(image["name"])
    licenses = LicenseFactory()

    def component(kind: str, entry: t.Mapping[str, t.Any], purl: PackageURL) -> Component:
        declared = entry.get("license")
        made = Component(
            type=ComponentType.LIBRARY,
            bom_ref=str(purl),
            name=entry["name"],
            version=entry["version"],
            purl=purl,
            licenses=[licenses.make_from_string(declared)] if declared else None,
        )
        made.properties.add(Property(name="flowstead:kind", value=kind))
        return made

    root = Component(type=ComponentType.CONTAINER, bom_ref=image["id"], name=repository, version=tag)
    root.properties.add(Property(name="flowstead:image-id", value=image["id"]))
    python = {
        entry["name"]: component("python", entry, PackageURL("pypi", None, entry["name"], entry["version"]))
        for entry in report["packages"]["python"]
    }
    debian = []
    for entry in report["packages"]["system"]:
        qualifiers = {"arch": entry["architecture"], "distro": f"{system['id']}-{system['version']}".strip("-")}
        purl = PackageURL("deb", system["id"] or "debian", entry["name"], entry["version"], qualifiers)
        debian.append(component("system", entry, purl))
    bom = Bom(components=[*python.values(), *debian])
    bom.metadata.component = root
    bom.serial_number = uuid.uuid5(_NAMESPACE, image["id"])
    bom.metadata.timestamp = _time(image["created"])
    bom.register_dependency(root, [*python.values(), *debian])
    for entry in report["packages"]["python"]:
        bom.register_dependency(python[entry["name"]], [python[name] for name in entry["requires"]])
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _mb(size: int) -> float:
    return round(size / (1 << 20), 1)


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
    """Ansible finds the filters here."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name to filter."""
        return {"image_test_report": image_test_report, "image_sbom": image_sbom}
