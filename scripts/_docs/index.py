# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The index of all pages: guides, playbooks, roles, modules, filters."""

from __future__ import annotations

import pathlib

from _docs import markup, specs
from _docs.plugins import Document


def _heading(page: pathlib.Path) -> str:
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            return line[2:].strip()
    return page.stem


def _opening_comment(playbook: pathlib.Path) -> str:
    """The first comment of a playbook up to its first indented line, which is an example."""
    words: list[str] = []
    for line in playbook.read_text(encoding="utf-8").splitlines():
        if line == "---" and not words:
            continue
        if not line.startswith("# ") or line.startswith("#  "):
            break
        words.append(line[2:].strip())
    return " ".join(words)


def page(root: pathlib.Path, roles: list[specs.Role], plugins: dict[str, dict[str, Document]]) -> str:
    """The text of ``docs/README.md`` below its header."""
    lines = ["# Documentation", "", "Start with the [README](../README.md) of the collection."]
    generated = ("README.md", "filters.md", "lookups.md")
    guides = [path for path in sorted((root / "docs").glob("*.md")) if path.name not in generated]
    if guides:
        lines += ["", "## Guides", "", *(f"- [{_heading(path)}]({path.name})" for path in guides)]
    playbooks = sorted((root / "playbooks").glob("*.yml"))
    if playbooks:
        rows = [(f"[{path.stem}](../playbooks/{path.name})", _opening_comment(path)) for path in playbooks]
        lines += ["", "## Playbooks", "", *markup.table(("Playbook", "What it does"), rows)]
    if roles:
        rows = [
            (
                f"[{role.name}](../roles/{role.name}/README.md)",
                markup.sentence(role.short_description),
            )
            for role in roles
        ]
        lines += ["", "## Roles", "", *markup.table(("Role", "What it does"), rows)]
    for kind, title, link in (
        ("module", "Modules", "modules/{name}.md"),
        ("filter", "Filters", "filters.md#{name}"),
        ("lookup", "Lookups", "lookups.md#{name}"),
    ):
        if plugins.get(kind):
            rows = [
                (f"[{name}]({link.format(name=name)})", markup.sentence(document["doc"].get("short_description")))
                for name, document in plugins[kind].items()
            ]
            lines += ["", f"## {title}", "", *markup.table((title[:-1], "What it does"), rows)]
    return "\n".join(lines) + "\n"
