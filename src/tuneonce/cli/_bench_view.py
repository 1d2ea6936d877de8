"""Prints a benchmark's document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..bench.result import Restart, Serve
from ..bench.table import Grid, error_lines, footnotes, headline, run_grids, serve_grid

if TYPE_CHECKING:
    from rich.console import Console


def draw(document: Restart | Serve, console: Console) -> None:
    """Print the tables of a document and what must be known about them."""
    if isinstance(document, Serve):
        _draw_grid(serve_grid(document), console, header=False)
        for line in error_lines(document.result):
            _say(f"- {line}", console)
        return
    for line in headline(document):
        _say(line, console)
    for grid in run_grids(document):
        console.print()
        _draw_grid(grid, console, header=True)
    for note in footnotes(document):
        _say(f"- {note}", console)


def _draw_grid(grid: Grid, console: Console, *, header: bool) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=grid.title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 0, 0, 1),
        show_header=header,
    )
    for number, column in enumerate(grid.columns):
        table.add_column(
            column,
            justify="right" if number else "left",
            no_wrap=not number,
            # Where a terminal is too narrow, figures fold: a digit is never cut off.
            overflow="fold",
            min_width=max(map(len, column.split()), default=0),
        )
    for section in grid.sections:
        for cells in section:
            table.add_row(
                *(Text(cell.text, style=_style(cell.good)) for cell in cells),
            )
        table.add_section()
    console.print(table)


def _style(good: bool | None) -> str:
    return "" if good is None else ("green" if good else "red")


def _say(line: str, console: Console) -> None:
    # An error's text may hold anything, also what looks like markup.
    console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)
