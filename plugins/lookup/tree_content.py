# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of all files of a directory on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: tree_content
short_description: The text of all files below directories on the controller
version_added: 0.1.0
author:
  - flowstead.airflow contributors (@flowstead)
description:
  - Lets one task carry a small tree to a target, where copying it file by file takes a connection each.
  - Leaves out C(__pycache__) and names that begin with a dot, but for C(.airflowignore).
options:
  _terms:
    description: Directories, absolute.
    required: true
    type: list
    elements: path
  prefix:
    description: Put in front of every path.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show the files of a tree
  ansible.builtin.debug:
    msg: "{{ lookup('flowstead.airflow.tree_content', role_path ~ '/files/runtime', prefix='runtime/').keys() }}"
"""

RETURN = r"""
_raw:
  description: One dictionary per term, from path below the term to text.
  type: list
  elements: dict
"""

import typing as t
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.flowstead.airflow.plugins.plugin_utils.tree import files_below


class LookupModule(LookupBase):
    """The lookup plugin."""

    def run(self, terms: t.Sequence[str], variables: t.Any = None, **kwargs: t.Any) -> list[dict[str, str]]:
        """Read every term."""
        self.set_options(var_options=variables, direct=kwargs)
        return [content(term, self.get_option("prefix")) for term in terms]


def content(term: str, prefix: str = "") -> dict[str, str]:
    """Path below the term -> text.

    Raises:
        AnsibleError: when the term does not exist or a file is no UTF-8 text.
    """
    found = {}
    for relative, path in files_below(Path(term)):
        try:
            found[prefix + relative] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise AnsibleError(f"tree_content: {path} cannot be read as text: {error}") from error
    return found
