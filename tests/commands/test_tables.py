"""Lists of the commands: folded into a window, a line a row where something else reads along."""

from __future__ import annotations

import io

from app.commands.tables import TableColumn, show

COLUMNS = (
    TableColumn("NAME", whole=False),
    TableColumn("SIZE", right=True),
    TableColumn("SAID", whole=False),
)
ROWS = [("llama3.1:8b", "4.9 GB", "It fits into the GPU's memory " * 9), ("tiny", "12.3 GB", None)]


def shown(rows: list[tuple[object, ...]], width: int | None = None) -> list[str]:
    out = io.StringIO()
    show(COLUMNS, rows, out, width=width)
    return out.getvalue().splitlines()


def test_a_pipe_gets_a_line_a_row_however_long_and_nothing_of_a_terminal() -> None:
    lines = shown(ROWS)
    assert lines[0].split() == ["NAME", "SIZE", "SAID"]
    assert lines[1] == f"llama3.1:8b   4.9 GB  {ROWS[0][2]}".rstrip()
    assert lines[2] == "tiny         12.3 GB"
    assert len(lines) == 3


def test_a_window_holds_every_line_and_loses_nothing() -> None:
    lines = shown(ROWS, width=60)
    assert len(lines) > 3
    assert all(len(line) <= 60 for line in lines)
    assert " ".join(" ".join(lines).split()).count("fits") == 9


def test_a_name_that_is_longer_than_the_window_is_folded_and_not_cut() -> None:
    name = "a" * 90
    assert "".join(shown([(name, "1 GB", "")], width=40)).count("a") >= 90


def test_a_name_from_elsewhere_cannot_move_the_cursor_or_be_markup() -> None:
    lines = shown([("\x1b[2J[bold]x[/bold]\r\n", "1 GB", ":smile:")])
    assert lines[1].split() == ["[2J[bold]x[/bold]", "1", "GB", ":smile:"]
