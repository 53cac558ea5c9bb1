# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A build backend for this one pure Python package, so that building it needs no network.

Source: PEP 517 (backend hooks), PEP 427 and the binary distribution format (wheel layout).
The wheel is reproducible: same files, same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import typing as t
import zipfile
from pathlib import Path

NAME = "flowstead_airflow"
VERSION = "0.1.0"
HERE = Path(__file__).resolve().parent
#: The oldest time that a zip file can hold.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def get_requires_for_build_wheel(config_settings: t.Any = None) -> list[str]:  # noqa: ARG001 - PEP 517 names it
    """Nothing but Python is needed."""
    return []


def build_wheel(
    wheel_directory: str,
    config_settings: t.Any = None,  # noqa: ARG001 - PEP 517 names it
    metadata_directory: t.Any = None,  # noqa: ARG001 - PEP 517 names it
) -> str:
    """Write the wheel into ``wheel_directory`` and return its file name."""
    info = f"{NAME}-{VERSION}.dist-info"
    files = {
        path.relative_to(HERE).as_posix(): path.read_bytes()
        for path in sorted((HERE / NAME).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: flowstead-airflow\nVersion: {VERSION}\nRequires-Python: >=3.10\n"
    ).encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: flowstead\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD")
    name = f"{NAME}-{VERSION}-py3-none-any.whl"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, content in files.items():
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, content)
    (Path(wheel_directory) / name).write_bytes(buffer.getvalue())
    return name


def _record(files: t.Mapping[str, bytes], own: str) -> bytes:
    lines = []
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(content)}")
    return ("\n".join([*lines, f"{own},,"]) + "\n").encode()
