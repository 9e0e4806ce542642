"""Common layout of all tables for a terminal."""

from collections.abc import Iterable, Sequence

from rich.markup import escape
from rich.table import Table


def terminal_table(title: str, headings: Sequence[str], text: int = 1) -> Table:
    """Return a table without rows: ``text`` columns of text, then columns of numbers."""
    table = Table(title=escape(title) or None, title_justify="left", caption_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < text else "right")
    return table


def table_of_pairs(title: str, rows: Iterable[Sequence[tuple[str, str]]], text: int = 1) -> Table:
    """Return a table of one or more rows, each of (heading, cell) pairs."""
    rows = list(rows)
    table = terminal_table(title, [heading for heading, _ in rows[0]], text)
    for row in rows:
        table.add_row(*(cell for _, cell in row))
    return table
