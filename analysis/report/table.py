"""Tables: aligned columns for a terminal, and a query's answer in each of its formats."""

import contextlib
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thermograd.store.errors import QueryError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["cell_text", "encoded_table", "runs_table", "table_text", "write_result"]

_PART_BYTES = 16 << 20  # written at once, between two looks for Ctrl-C


def table_text(header: Sequence[str], rows: Iterable[Sequence[Any]], right: Sequence[str] = ()) -> str:
    """Lay rows out in aligned columns, numbers to the right."""
    cells = [[cell_text(value) for value in row] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in cells), 0) for i, name in enumerate(header)]
    numeric = [
        name in right or (bool(cells) and all(_looks_numeric(row[i]) for row in cells))
        for i, name in enumerate(header)
    ]

    def line(values: Sequence[str]) -> str:
        parts = [v.rjust(w) if n else v.ljust(w) for v, w, n in zip(values, widths, numeric, strict=True)]
        return "  ".join(parts).rstrip()

    return "\n".join([line(header), line(["-" * w for w in widths]), *map(line, cells)])


def cell_text(value: Any) -> str:
    """Return a value as one line that a terminal can show; None is a dash."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    text = value.isoformat(sep=" ") if hasattr(value, "isoformat") else str(value)
    return text.replace("\n", " ").replace("\x1b", "?")


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


def write_result(data: bytes, output_format: str, output: Path | None = None) -> None:
    """Write a query's encoded result to stdout or, whole or not at all, to a file.

    Raises
    ------
    QueryError
        If a binary format is to go to a terminal, or the file cannot be written.
    """
    if output is None:
        if output_format in ("parquet", "arrow") and sys.stdout.isatty():
            raise QueryError(f"{output_format} is binary; give a file with -o")
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    temporary = output.with_name(f".{output.name}.tmp")
    try:
        with temporary.open("wb") as file:
            for start in range(0, len(data), _PART_BYTES):
                file.write(data[start : start + _PART_BYTES])
        temporary.replace(output)
    except BaseException as error:  # also Ctrl-C: nothing half-written stays behind
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise QueryError(f"cannot write {output}: {error.strerror or error}") from error
        raise


def encoded_table(table: "pa.Table", output_format: str) -> bytes:
    """Return a query's result in one of the formats of ``query --format``."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    if output_format == "table":
        rows = table.slice(0, 1000).to_pylist()
        text = table_text(table.column_names, [list(row.values()) for row in rows])
        more = f"\n... {len(table) - 1000} more rows" if len(table) > 1000 else ""
        return f"{text}{more}\n".encode()
    if output_format == "json":
        return (json.dumps(table.to_pylist(), indent=2, default=_json_value) + "\n").encode()
    sink = pa.BufferOutputStream()
    if output_format == "csv":
        pyarrow.csv.write_csv(_flat(table), sink)
    elif output_format == "parquet":
        pyarrow.parquet.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return bytes(sink.getvalue())


def _flat(table: "pa.Table") -> "pa.Table":
    """Turn list columns into text: CSV has no lists."""
    import pyarrow as pa

    for i, column in enumerate(table.schema):
        if pa.types.is_nested(column.type):
            text = [None if value is None else ", ".join(map(str, value)) for value in table[i].to_pylist()]
            table = table.set_column(i, column.name, pa.array(text, pa.string()))
    return table


def _json_value(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
