# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a role, from its argument specification, its defaults and its meta data."""

from __future__ import annotations

import typing as t

from _docs import markup, specs


def _with_computed_defaults(options: specs.Options, defaults: dict[str, t.Any]) -> specs.Options:
    """Options whose default is a template show that template: the specification cannot name a value."""
    shown: specs.Options = {}
    for name, option in options.items():
        computed = "default" not in option and not option.get("required") and defaults.get(name) is not None
        shown[name] = {**option, "default": defaults[name]} if computed else option
    return shown


def _platforms(galaxy: dict[str, t.Any]) -> list[str]:
    rows = [
        f"{platform['name']} {', '.join(str(version) for version in platform.get('versions', []))}".strip()
        for platform in galaxy.get("platforms") or []
    ]
    return ["", f"Runs on: {'; '.join(rows)}."] if rows else []


def _use(fqcn: str, point: str, options: specs.Options) -> list[str]:
    required = [name for name, option in options.items() if option.get("required")]
    lines = [
        "```yaml",
        f"- name: Use {fqcn}" + ("" if point == "main" else f" ({point})"),
        "  ansible.builtin.import_role:",
        f"    name: {fqcn}",
    ]
    lines += [] if point == "main" else [f"    tasks_from: {point}"]
    lines.append("```")
    if required:
        names = ", ".join(markup.code(name) for name in required)
        lines += ["", f"It needs {names} to be set, best in `group_vars`."]
    return lines


def _entry_point(role: specs.Role, point: str, fqcn: str) -> list[str]:
    content = role.entry_points[point]
    options: specs.Options = content.get("options") or {}
    lines = [f"## Entry point {markup.code(point)}"]
    if point != "main":  # main's opens the page
        lines += ["", markup.sentence(content.get("short_description"))]
    for paragraph in markup.paragraphs(content.get("description")):
        lines += ["", paragraph]
    lines += ["", *_use(fqcn, point, options)]
    main: specs.Options = {} if point == "main" else role.entry_points.get("main", {}).get("options") or {}
    shared = [name for name, option in options.items() if main.get(name) == option]
    own = {name: option for name, option in options.items() if name not in shared}
    if own:
        shown = _with_computed_defaults(own, role.defaults)
        lines += ["", "### Variables", "", *markup.options_section(shown, "Variable", level=4)]
    if shared:
        names = "these variables of `main`: " + ", ".join(markup.code(name) for name in shared)
        which = "all variables of `main`" if len(shared) == len(main) else names
        lines += ["", f"It {'also ' if own else ''}takes {which}."]
    if not options:
        lines += ["", "It has no variables of its own."]
    return lines


def page(role: specs.Role, collection: str) -> str:
    """The text of ``roles/<role>/README.md`` below its header.

    Args:
        role: the role as :func:`specs.read_role` reads it.
        collection: namespace and name, for example ``flowstead.airflow``.
    """
    fqcn = f"{collection}.{role.name}"
    lines = [f"# {fqcn}", "", markup.sentence(role.short_description)]
    lines += _platforms(role.galaxy)
    lines += ["", f"The same text on a terminal: `ansible-doc --type role {fqcn}`."]
    if len(role.entry_points) > 1:
        rows = [
            (f"[{markup.code(point)}](#entry-point-{point})", markup.sentence(content.get("short_description")))
            for point, content in role.entry_points.items()
        ]
        lines += ["", *markup.table(("Entry point", "What it does"), rows)]
    for point in role.entry_points:
        lines += ["", *_entry_point(role, point, fqcn)]
    return "\n".join(lines) + "\n"
