"""A table of runs in a terminal of any width: what there is no room for is left out, no column is cut."""

from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text
from thermograd.store.text import printable

Row = Mapping[str, Any]
_LEAST_NAME = 6  # cells of a run's name, below which a column is left out
_STYLES = {"silent": "bold yellow", "live": "green", "crashed": "bold red", "failed": "bold red"}


class Column(NamedTuple):
    """One column: its title, the least width of a screen that has it, and what it shows of a row."""

    title: str
    least_width: int
    show: Callable[[Row], str]
    style: Callable[[Row], str] = lambda row: ""


def table_lines(rows: Sequence[Row], columns: Sequence[Column], width: int) -> list[Text]:
    """Return rows with a ``name`` and a ``state`` as lines, each at most `width` cells wide."""
    fitting, for_name = _fitting(rows, columns, width)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("run", no_wrap=True, overflow="ellipsis", max_width=for_name)
    table.add_column("state", no_wrap=True)
    for column in fitting:
        table.add_column(column.title, justify="right", no_wrap=True)
    for row in rows:
        state = Text(row["state"], style=_STYLES.get(row["state"], "dim"))
        cells = (Text(column.show(row), style=column.style(row)) for column in fitting)
        table.add_row(printable(row["name"]), state, *cells)
    return rendered(table, width)


def rendered(table: Table, width: int) -> list[Text]:
    """Return a table as lines."""
    lines = Console(width=width, file=StringIO()).render_lines(table, pad=False)
    return [Text.assemble(*((each.text, each.style or "") for each in line)) for line in lines]


def _fitting(rows: Sequence[Row], columns: Sequence[Column], width: int) -> tuple[list[Column], int]:
    """Return the columns that there is room for, none of them cut, and the room left for a name."""
    fitting = [column for column in columns if width >= column.least_width]
    while True:
        taken = 2 + max(len(row["state"]) for row in rows) + 2
        taken += sum(
            2 + max(len(title), *(cell_len(show(row)) for row in rows)) for title, _, show, _ in fitting
        )
        if width - taken >= _LEAST_NAME or not fitting:
            return fitting, max(min(width - taken, max(width // 3, 12)), 1)
        fitting.remove(max(reversed(fitting), key=lambda column: column.least_width))


def number(value: float | None, digits: int = 4, fixed: bool = False) -> str:
    """Return a number for a cell, a dash where it is not known."""
    if value is None:
        return "–"
    return f"{value:.{digits}f}" if fixed else f"{value:.{digits}g}"


def count(many: int) -> str:
    """Return a count for a cell, a dash for none."""
    return f"{many:,}" if many else "–"
