"""Tables for the terminal as Markdown, for the pages of docs/ that include them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table


def markdown(table: Table) -> str:
    """Write a table as Markdown, its title above it."""
    headings = [str(column.header) for column in table.columns]
    rules = ["---:" if column.justify == "right" else "---" for column in table.columns]
    rows = zip(*(column.cells for column in table.columns), strict=True)
    lines = [f"{table.title}\n"] if table.title else []
    lines += [f"| {' | '.join(map(str, cells))} |" for cells in (headings, rules, *rows)]
    return "\n".join(lines) + "\n"


def write_markdown(path: Path, tables: Sequence[Table]) -> None:
    """Write tables one below the other."""
    path.write_text("\n".join(map(markdown, tables)))
