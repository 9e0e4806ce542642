"""What all tables for a terminal have in common."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table


def terminal_table(title: str, headings: Sequence[str], text: int = 1) -> Table:
    """A table of figures but for its first ``text`` columns; none of its rows yet."""
    table = Table(title=escape(title) or None, title_justify="left", caption_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < text else "right")
    return table
