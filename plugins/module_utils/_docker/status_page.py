# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``swarm_status`` found, for people: as lines of a terminal, and as a page that needs no other file.

PRIVATE to the collection.
"""

from __future__ import annotations

import html
import typing as t

from .diagnose import describe

Report = t.Mapping[str, t.Any]
Row = tuple[str, ...]

#: Hexadecimal digits of a digest that are shown: enough to tell images apart.
_DIGITS = 12
_STYLE = """
:root { color-scheme: light dark; --good: #1a7f37; --bad: #cf222e; --line: #8886; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
pre { overflow-x: auto; padding: .8rem; border: 1px solid var(--line); border-radius: .3rem; }
"""


def lines(report: Report) -> list[str]:
    """One screen of text.

    Args:
        report: what the module returned, with ``title`` (what this is), ``when`` (a text), ``drift`` (the actions of a
            planned deployment) and ``drift_unknown`` (why there is no plan, or empty).
    """
    found = [f"{report['title']}: {_verdict(report)}", *(f"  ! {problem}" for problem in report["problems"]), ""]
    for heading, columns, rows in _tables(report):
        found += [*_aligned((f"{heading}:", *columns[1:]), rows), ""]
    for failure in report["failures"]:
        found += [*describe(failure).splitlines(), ""]
    drift = drift_lines(report)
    return [*found, f"The inventory and what runs: {drift[0]}", *(f"  {line}" for line in drift[1:])]


def page(report: Report) -> str:
    """The same as a document of HTML; arguments as for :func:`lines`."""
    title, drift = html.escape(report["title"]), drift_lines(report)
    mood = "good" if report["healthy"] else "bad"
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}: {html.escape(_verdict(report))}</title><style>{_STYLE}</style></head><body>",
        f'<h1>{title}: <span class="{mood}">{html.escape(_verdict(report))}</span></h1>',
        f"<p>{html.escape(report['when'])}</p>",
        _list(report["problems"], "bad"),
    ]
    for heading, columns, rows in _tables(report):
        head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in columns)
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
        parts += [
            f"<h2>{html.escape(heading)}</h2>",
            f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>',
        ]
    if report["failures"]:
        parts += ["<h2>What failed</h2>", *(f"<pre>{html.escape(describe(one))}</pre>" for one in report["failures"])]
    parts += ["<h2>The inventory and what runs</h2>", f"<p>{html.escape(drift[0])}</p>", _list(drift[1:], "")]
    return "\n".join([*(part for part in parts if part), "</body></html>"]) + "\n"


def drift_lines(report: Report) -> list[str]:
    """What a run of the deployment would change: a sentence, then an entry for each change."""
    if report["drift_unknown"]:
        return [f"not compared: {report['drift_unknown']}"]
    if not report["drift"]:
        return ["no difference"]
    changes = [f"{one['kind']} {one['name']}: {one['action']}, {one['reason']}" for one in report["drift"]]
    return [f"a run of the deployment would make {len(changes)} change{'s' * (len(changes) > 1)}", *changes]


def _verdict(report: Report) -> str:
    if report["healthy"]:
        return "healthy"
    count = len(report["problems"])
    return f"{count} problem{'s' * (count > 1)}"


def _tables(report: Report) -> list[tuple[str, Row, list[Row]]]:
    """Heading, columns and rows of each table; the heading also names the first column."""
    nodes: list[Row] = [
        (
            node["hostname"],
            "leader" if node["leader"] else node["role"],
            node["state"],
            node["availability"],
            node["engine"],
            node["address"],
        )
        for node in report["nodes"]
    ]
    services: list[Row] = [
        (
            service["name"],
            service["text"],
            ", ".join(service["nodes"]) or "-",
            _failed(service),
            _image(service),
        )
        for service in report["services"]
    ]
    return [
        ("Nodes", ("node", "role", "state", "availability", "engine", "address"), nodes),
        ("Services", ("service", "state", "on", "failed tasks", "image"), services),
    ]


def _failed(service: Report) -> str:
    if not service["failed_tasks"]:
        return "-"
    return f"{service['failed_tasks']}, the last at {service['last_failure_at'][:19] or 'an unknown time'}"


def _image(service: Report) -> str:
    digest = str(service["digest"]).partition(":")[2][:_DIGITS]
    name = str(service["image"]).rpartition("/")[2]
    return f"{name}@{digest}" if digest else name


def _aligned(columns: Row, rows: t.Sequence[Row]) -> list[str]:
    cells = [columns, *(tuple("  " * (index == 0) + cell for index, cell in enumerate(row)) for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]


def _list(items: t.Sequence[str], kind: str) -> str:
    shown = "".join(f"<li>{html.escape(item)}</li>" for item in items)
    return f"<ul{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{shown}</ul>" if shown else ""
