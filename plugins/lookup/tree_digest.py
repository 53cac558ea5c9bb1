# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One digest for files and directories on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: tree_digest
short_description: SHA-256 over the content of files and directories on the controller
version_added: 0.1.0
author:
  - flowstead.airflow contributors (@flowstead)
description:
  - Names what is made from files by their content, so that an unchanged input is found again.
  - Hashes each file's path below the term and its bytes. Owners, modes, times, C(__pycache__) and names that
    begin with a dot, but for C(.airflowignore), do not count.
options:
  _terms:
    description: Files and directories, absolute.
    required: true
    type: list
    elements: path
  data:
    description: A value that is hashed along, in its canonical JSON form.
    type: raw
"""

EXAMPLES = r"""
- name: Show a name that changes when the files or the packages change
  ansible.builtin.debug:
    msg: "{{ lookup('flowstead.airflow.tree_digest', role_path ~ '/files', data=['tini'])[:12] }}"
"""

RETURN = r"""
_raw:
  description: One string of 64 hexadecimal digits.
  type: list
  elements: str
"""

import hashlib
import json
import typing as t
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.flowstead.airflow.plugins.plugin_utils.tree import files_below


class LookupModule(LookupBase):
    """The lookup plugin."""

    def run(self, terms: t.Sequence[str], variables: t.Any = None, **kwargs: t.Any) -> list[str]:
        """Hash all terms into one digest."""
        self.set_options(var_options=variables, direct=kwargs)
        return [digest(terms, self.get_option("data"))]


def digest(terms: t.Sequence[str], data: t.Any = None) -> str:
    """SHA-256 in hexadecimal over the terms in their order and the data.

    Raises:
        AnsibleError: when a term does not exist or a file cannot be read.
    """
    total = hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode())
    for term in terms:
        for relative, path in files_below(Path(term)):
            try:
                content = path.read_bytes()
            except OSError as error:
                raise AnsibleError(f"tree_digest: {path} cannot be read: {error.strerror}") from error
            total.update(f"{relative}\0{len(content)}\0".encode())
            total.update(content)
    return total.hexdigest()
