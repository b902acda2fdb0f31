"""Tables on standard output."""

from rich.console import Console
from rich.table import Table

__all__ = ["print_table"]

_FILE_WIDTH = 400


def print_table(*columns: str, rows: list[list[str]]) -> None:
    """Print a table; nothing is cut off, as people copy ids and scripts read them.

    Parameters
    ----------
    columns
        The headings.
    rows
        The cells.
    """
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, width=_FILE_WIDTH)
    console.print(table)
