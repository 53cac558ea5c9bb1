# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of a core image say. The filter is documented in image_test_report.yml."""

from __future__ import annotations

import json
import typing as t

from ansible.errors import AnsibleFilterError

#: The line of roles/airflow_image/files/image_test.py begins with this.
MARK = "FLOWSTEAD-IMAGE-TEST "
LARGEST = 10


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


def _mb(size: int) -> float:
    return round(size / (1 << 20), 1)


class FilterModule:
    """Ansible finds the filter here."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name to filter."""
        return {"image_test_report": image_test_report}
