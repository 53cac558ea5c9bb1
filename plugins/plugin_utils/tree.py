# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a tree on the controller, always in the same order."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible.errors import AnsibleError


def files_below(top: Path) -> t.Iterator[tuple[str, Path]]:
    """Yield (path below ``top`` with slashes, file); a file itself yields its own name.

    ``__pycache__`` and names that begin with a dot are left out, but for ``.airflowignore``.

    Raises:
        AnsibleError: when ``top`` does not exist.
    """
    if not top.exists():
        raise AnsibleError(f"{top} does not exist on the controller")
    if top.is_file():
        yield top.name, top
        return
    for path in sorted(top.rglob("*")):
        parts = path.relative_to(top).parts
        hidden = any(part.startswith(".") and part != ".airflowignore" for part in parts)
        if path.is_file() and "__pycache__" not in parts and not hidden:
            yield "/".join(parts), path
