# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's documentation markup (C(), O(), V(), L(), ...) as plain Markdown, and Markdown tables.

The parsing is antsibull-docs-parser's; only the writing is ours, because its own Markdown is made for
HTML viewers and hard to read as text.
"""

from __future__ import annotations

import json
import typing as t

from antsibull_docs_parser import dom
from antsibull_docs_parser.parser import Context, Whitespace, parse

#: A default longer than this is not shown in a table.
LONGEST_DEFAULT = 60


def code(text: str) -> str:
    """``text`` as inline code, also when it holds backticks."""
    return f"`{text}`" if "`" not in text else f"`` {text} ``"


def _plain(text: str) -> str:
    return text.replace("<", "\\<")


def _named(part: dom.OptionNamePart | dom.ReturnValuePart) -> str:
    return code(part.name if part.value is None else f"{part.name}={part.value}")


_WRITERS: dict[dom.PartType, t.Callable[[t.Any], str]] = {
    dom.PartType.TEXT: lambda part: _plain(part.text),
    dom.PartType.ITALIC: lambda part: f"*{part.text}*",
    dom.PartType.BOLD: lambda part: f"**{part.text}**",
    dom.PartType.CODE: lambda part: code(part.text),
    dom.PartType.URL: lambda part: f"<{part.url}>",
    dom.PartType.LINK: lambda part: f"[{part.text}]({part.url})",
    dom.PartType.RST_REF: lambda part: part.text,
    dom.PartType.MODULE: lambda part: code(part.fqcn),
    dom.PartType.PLUGIN: lambda part: code(part.plugin.fqcn),
    dom.PartType.OPTION_NAME: _named,
    dom.PartType.RETURN_VALUE: _named,
    dom.PartType.OPTION_VALUE: lambda part: code(part.value),
    dom.PartType.ENV_VARIABLE: lambda part: code(part.name),
    dom.PartType.HORIZONTAL_LINE: lambda _: "\n\n---\n\n",
}


def paragraphs(text: str | list[str] | None) -> list[str]:
    """A description (a string or a list of paragraphs) as Markdown paragraphs, each on one line.

    Raises:
        ValueError: the markup is broken; the message quotes it.
    """
    if not text:
        return []
    sources = [text] if isinstance(text, str) else [str(entry) for entry in text]
    parsed = parse(sources, Context(), errors="exception", whitespace=Whitespace.STRIP)
    return ["".join(_WRITERS[part.type](part) for part in paragraph).strip() for paragraph in parsed]


def sentence(text: str | list[str] | None) -> str:
    """A short description as one Markdown line with a full stop."""
    line = " ".join(paragraphs(text))
    return line if not line or line[-1] in ".!?" else line + "."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def table(header: t.Sequence[str], rows: t.Sequence[t.Sequence[str]]) -> list[str]:
    """A Markdown table; line breaks and bars inside of cells are taken care of."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return lines + ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]


def value(of: t.Any) -> str:
    """A YAML value as its author would write it in flow style, or nothing for null."""
    if of is None:
        return ""
    if isinstance(of, str):
        return of if of else '""'
    return json.dumps(of, ensure_ascii=False, sort_keys=False)


def _type(option: dict[str, t.Any]) -> str:
    kind = option.get("type", "str")
    return f"list of {option['elements']}" if kind == "list" and "elements" in option else str(kind)


def _default(option: dict[str, t.Any]) -> str:
    if option.get("required"):
        return "**required**"
    shown = value(option.get("default"))
    if not shown:
        return ""
    return code(shown) if len(shown) <= LONGEST_DEFAULT and "\n" not in shown else "*see below*"


def _meaning(option: dict[str, t.Any]) -> str:
    parts = paragraphs(option.get("description"))
    if option.get("choices"):
        parts.append("One of " + ", ".join(code(value(choice)) for choice in option["choices"]) + ".")
    if option.get("aliases"):
        parts.append("Also called " + ", ".join(code(alias) for alias in option["aliases"]) + ".")
    if option.get("version_added"):
        parts.append(f"Added in {option['version_added']}.")
    return " ".join(parts)


def _flat(options: dict[str, t.Any], prefix: str = "") -> t.Iterator[tuple[str, dict[str, t.Any]]]:
    """Every option below ``options`` with its dotted name; ``[]`` stands for the entries of a list."""
    for name, option in options.items():
        yield prefix + name, option
        below = option.get("options") or option.get("suboptions") or {}
        yield from _flat(below, f"{prefix}{name}{'[]' if option.get('type') == 'list' else ''}.")


def options_section(options: dict[str, t.Any], first_column: str, level: int) -> list[str]:
    """A table of all options, then one section for each option that has keys of its own or a long default.

    Args:
        options: name to option, as argument specifications and module documentation have it.
        first_column: what the reader calls an option, for example ``Variable``.
        level: depth of the headings of those sections.
    """
    rows = [(code(name), _type(opt), _default(opt), _meaning(opt)) for name, opt in options.items()]
    lines = table((first_column, "Type", "Default", "Meaning"), rows)
    for name, option in options.items():
        below = option.get("options") or option.get("suboptions") or {}
        long_default = _default(option) == "*see below*"
        if not below and not long_default:
            continue
        lines += ["", f"{'#' * level} {code(name)}", ""]
        if long_default:
            default = option["default"]
            shown = default if isinstance(default, str) else json.dumps(default, indent=2, ensure_ascii=False)
            lines += ["Default:", "", "```yaml", *shown.rstrip("\n").splitlines(), "```"]
        if below:
            inner = [(code(key), _type(opt), _default(opt), _meaning(opt)) for key, opt in _flat(below)]
            lines += ([""] if long_default else []) + table(("Key", "Type", "Default", "Meaning"), inner)
    return lines
