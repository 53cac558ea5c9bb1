"""Tables of what tests measured, printed at their end and kept for the end of `make test`."""

from __future__ import annotations

import fcntl
import json
import typing as t
from pathlib import Path

OUTPUT = Path(__file__).resolve().parents[2] / "tests" / "output"


class Table:
    """Rows of texts under a heading."""

    def __init__(self, name: str, title: str, columns: t.Sequence[str]) -> None:
        self.name, self.title, self.columns = name, title, tuple(columns)
        self.rows: list[tuple[str, ...]] = []

    def add(self, *cells: object) -> None:
        """One more row; floats are seconds."""
        row = tuple(f"{cell:.0f} s" if isinstance(cell, float) else str(cell) for cell in cells)
        if len(row) != len(self.columns):
            raise ValueError(f"{self.name}: {len(row)} cells for {len(self.columns)} columns")
        self.rows.append(row)

    def text(self) -> str:
        """The table, aligned."""
        lines = [self.columns, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.columns))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)

    def save(self) -> None:
        """Add the rows, if there are any, to those of earlier runs below ``tests/output``."""
        if not self.rows:
            return
        OUTPUT.mkdir(parents=True, exist_ok=True)
        rows = OUTPUT / f"{self.name}.json"
        whole = Table(self.name, self.title, self.columns)
        with (OUTPUT / f"{self.name}.lock").open("w") as lock:  # scenarios run side by side
            fcntl.lockf(lock, fcntl.LOCK_EX)
            whole.rows = [tuple(row) for row in json.loads(rows.read_text())] if rows.exists() else []
            whole.rows += self.rows
            rows.write_text(json.dumps(whole.rows), encoding="utf-8")
            (OUTPUT / f"{self.name}.txt").write_text(f"{self.title}\n{whole.text()}\n", encoding="utf-8")


TABLES = {
    "faults": Table(
        "faults",
        "faults, what was lost, and how long recovery took",
        (
            "fault",
            "runs lost",
            "tasks lost",
            "log lines lost",
            "... of interrupted tries",
            "work done after",
            "full strength after",
        ),
    ),
    "logs": Table(
        "logs",
        "lines of task logs, and what Splunk has of them",
        ("what happened", "printed", "lost at once", "lost in the end"),
    ),
    "figures": Table("figures", "figures of the lab", ("what", "figure")),
    "findings": Table(
        "findings",
        "what deploys get wrong: swarm_stack beside its peers, on the same engine",
        ("no", "what happens", "swarm_stack", "its peer"),
    ),
    "diagnosis": Table(
        "diagnosis",
        "failures provoked on a real engine, and what swarm_stack says",
        ("cause", "node", "exit code", "evidence"),
    ),
}
