"""A list on the terminal, or for whatever else reads it.

Rule 1: on a terminal a table fits the window; where something else reads along, each row is one line, however long.
Rule 2: what came from elsewhere (a model's name, a key's label) cannot move the cursor.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

_UNBOUNDED = 100_000
"""Columns of a «window» in which nothing is wrapped."""


@dataclass(frozen=True, slots=True)
class TableColumn:
    """`whole`: for short texts, which are never broken into several lines."""

    name: str
    right: bool = False
    whole: bool = True


def show(
    columns: Sequence[TableColumn],
    rows: Iterable[Sequence[object]],
    out: TextIO | None = None,
    *,
    width: int | None = None,
) -> None:
    """Print `rows` below the columns' names to `out` (standard output). None is an empty cell.

    `width`: the window's, in characters; of itself it is found out, and where `out` is no terminal there is none.
    """
    out = sys.stdout if out is None else out
    window = out.isatty() or width is not None
    console = Console(file=out, width=width if window else _UNBOUNDED, highlight=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column.name,
            justify="right" if column.right else "left",
            no_wrap=column.whole or not window,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(_plain(cell)) for cell in row))
    if window:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip(), file=out)


def _plain(cell: object) -> str:
    text = "" if cell is None else str(cell)
    return text if text.isprintable() else "".join(one if one.isprintable() else " " for one in text)
