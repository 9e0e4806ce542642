"""Tables of documents."""


def markdown(table, nodes=None):
    """Return a terminal table as Markdown, for these numbers of nodes."""
    headings = [str(column.header) for column in table.columns]
    rows = zip(*(column._cells for column in table.columns), strict=True)
    kept = [row for row in rows if nodes is None or row[0] in nodes]
    lines = [headings, ["---"] * len(headings), *kept]
    return "".join(f"| {' | '.join(cells)} |\n".replace("|  |", "| |") for cells in lines)
