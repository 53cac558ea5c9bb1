# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates of an inventory as files of a host. The filter is documented in certificate_texts.yml."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError


def certificate_texts(
    entries: t.Sequence[t.Mapping[str, str]], path: str, files: t.Mapping[str, str]
) -> dict[str, str]:
    """Path on the host to text; each text ends with a newline, without which bundles run lines together."""
    texts = {}
    for entry in entries:
        text = entry.get("content") or files.get(entry.get("src") or "")
        if not text:
            raise AnsibleFilterError(f"An entry has neither content nor a src that was read: {', '.join(entry)}.")
        texts[path.format(**{key: value for key, value in entry.items() if key not in ("content", "src")})] = (
            text.rstrip() + "\n"
        )
    return texts


class FilterModule:
    """Ansible finds the filter here."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """Name to filter."""
        return {"certificate_texts": certificate_texts}
