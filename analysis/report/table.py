"""Tables: aligned columns for a terminal."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from thermograd.store.text import printable

_LONGEST_CELL = 128  # a run id is never cut


def table_text(header: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[str] = ()) -> str:
    """Lay rows out in aligned columns, numbers to the right."""
    names = [printable(name, _LONGEST_CELL) for name in header]
    cells = [[printable(cell_text(value), _LONGEST_CELL) for value in row] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in cells), 0) for i, name in enumerate(names)]
    numeric = [
        name in right or (bool(cells) and all(_looks_numeric(row[i]) for row in cells))
        for i, name in enumerate(header)
    ]

    def line(values: Sequence[str]) -> str:
        parts = [v.rjust(w) if n else v.ljust(w) for v, w, n in zip(values, widths, numeric, strict=True)]
        return "  ".join(parts).rstrip()

    return "\n".join([line(names), line(["-" * w for w in widths]), *map(line, cells)])


def cell_text(value: Any) -> str:
    """Return a value as one line that a terminal can show, not too long; None is a dash."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return printable(", ".join(map(str, value)))
    return printable(value.isoformat(sep=" ") if isinstance(value, datetime) else value)


def _looks_numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == "-"
    return True


def runs_table(rows: list[dict[str, Any]]) -> str:
    """Return the list of runs as a table."""
    columns = ("run_id", "state", "started", "steps", "samples", "alerts", "devices")
    return table_text(columns, [[row[name] for name in columns] for row in rows])
