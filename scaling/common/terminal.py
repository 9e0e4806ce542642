"""Common layout of all tables for a terminal."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table


def terminal_table(title: str, headings: Sequence[str], text: int = 1) -> Table:
    """Return a table without rows: ``text`` columns of text, then columns of numbers."""
    table = Table(title=escape(title) or None, title_justify="left", caption_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < text else "right")
    return table
