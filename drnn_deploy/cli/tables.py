"""Tables that show every digit: where the terminal is narrow, titles break, then columns go, and never a figure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_NO_LIMIT = 10_000  # characters


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its title.
        rank: 0 for one that always stays; of the others, the largest goes first.
        kind: `figure`: never broken. `name`: broken where nothing else helps. `prose`: sentences, which fold.
    """

    title: str
    rank: int = 0
    kind: str = "figure"


def print_table(
    console: Console,
    columns: Sequence[Column],
    rows: Sequence[Sequence[object]],
    *,
    styles: Sequence[str] = (),
    title: str = "",
) -> None:
    """Print a table as wide as the terminal allows, and a line on the columns that had no room.

    Args:
        console: Where it goes. A log has no width: nothing is left out there.
        columns: Its columns.
        rows: The cells, by column: strings, or texts of rich.
        styles: A style of rich for each row.
        title: What stands above it.
    """
    if not rows:
        return
    kept, broken = list(columns), False
    room = _NO_LIMIT if getattr(console, "is_log", False) else console.width

    def made() -> Table:
        places = [columns.index(column) for column in kept]
        cells = [[row[place] for place in places] for row in rows]
        return _table(kept, cells, styles, title, broken)

    while (wide := _width(console, made())) > room:
        droppable = [column for column in kept if column.rank]
        if not broken:
            broken = True
        elif droppable:
            kept.remove(max(droppable, key=lambda column: column.rank))
        else:
            break
    usual = console.width
    if any(column.kind == "prose" for column in kept):
        wide = min(wide, usual)
    console.width = max(usual, wide) if room == _NO_LIMIT else usual
    console.print(made())
    console.width = usual
    if dropped := [column.title for column in columns if column not in kept]:
        console.print(f"no room for: {', '.join(dropped)} (a wider terminal or --json FILE shows them)")


def _table(
    columns: Sequence[Column], rows: Sequence[Sequence[Any]], styles: Sequence[str], title: str, broken: bool
) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        figure = column.kind == "figure"
        shown = _broken(column.title) if broken else column.title
        justify = "right" if figure else "left"
        table.add_column(shown, justify=justify, no_wrap=figure, overflow="fold")  # type: ignore[arg-type]
    for number, row in enumerate(rows):
        table.add_row(*row, style=styles[number] if styles else "")
    return table


def _broken(title: str) -> str:
    """A title in two lines or more."""
    what, comma, unit = title.partition(", ")
    return f"{what},\n{unit}" if comma else title.replace(" ", "\n")


def _width(console: Console, table: Table) -> int:
    """How wide the table is where nothing has to fold but prose."""
    from rich.measure import Measurement

    return Measurement.get(console, console.options.update(max_width=_NO_LIMIT), table).maximum
