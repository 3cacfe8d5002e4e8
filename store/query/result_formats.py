"""A query's answer in each of the formats of ``query --format``, whole or not at all."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from thermograd.store.errors import QueryError, os_errors_as
from thermograd.store.files import whole_file
from thermograd.store.text import printable_lines, table_text

_PART_BYTES = 16 << 20  # written at once, between two looks for Ctrl-C
_MOST_ROWS = 1000  # that a terminal is shown
_PLAN = ["explain_key", "explain_value"]  # the columns of EXPLAIN's answer


def write_result(data: bytes, output_format: str, output: Path | None = None) -> None:
    """Write a query's encoded result to stdout or, whole or not at all, to a file.

    Raises QueryError if a binary format is to go to a terminal, or the file cannot be written.
    """
    if output is None:
        if output_format in ("parquet", "arrow") and sys.stdout.isatty():
            raise QueryError(f"{output_format} is binary; give a file with -o")
        if output_format == "csv" and sys.stdout.isatty():
            data = printable_lines(data.decode()).encode()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    with os_errors_as(QueryError, f"cannot write {output}"), whole_file(output) as file:
        for start in range(0, len(data), _PART_BYTES):
            file.write(data[start : start + _PART_BYTES])


def encoded_table(table: pa.Table, output_format: str) -> bytes:
    """Return a query's result in one of the formats of ``query --format``.

    A table for the terminal shows the columns' names as they are; every other format tells equal names
    apart: ``time``, ``time_1``. JSON has null where a number is not finite. CSV has lists, structs and
    maps as JSON; CSV and Parquet have as text what else they cannot hold. Raises QueryError if a column has
    values that the format cannot hold at all.
    """
    if output_format == "table":
        return _as_text(table).encode()
    table = table.rename_columns(_distinct(table.column_names))
    if output_format == "json":
        return _as_json(table).encode()
    return as_stream(table) if output_format == "arrow" else _written(table, output_format)


def _distinct(names: list[str]) -> list[str]:
    """Return names that differ: a number is added to those that have been there before."""
    taken: dict[str, None] = {}
    for name in names:
        number, new = 0, name
        while new in taken or (number and new in names):
            number += 1
            new = f"{name}_{number}"
        taken[new] = None
    return list(taken)


# -- for people, and JSON ------------------------------------------------------------------------------


def _as_text(table: pa.Table) -> str:
    shown = table.slice(0, _MOST_ROWS)
    if table.column_names == _PLAN:  # a drawing of several lines
        return printable_lines("\n".join(shown["explain_value"].to_pylist())) + "\n"
    columns = [_values(column, field, "a table") for column, field in _columns(shown)]
    rows = list(zip(*columns, strict=True))
    more = f"\n... {len(table) - _MOST_ROWS} more rows" if len(table) > _MOST_ROWS else ""
    return f"{table_text(table.column_names, rows)}{more}\n"


def _as_json(table: pa.Table) -> str:
    columns = [
        [_json_value(value, field.type) for value in _values(column, field, "JSON")]
        for column, field in _columns(table)
    ]
    rows = [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]
    return json.dumps(rows, indent=2, allow_nan=False) + "\n"


def _columns(table: pa.Table) -> list[tuple[pa.ChunkedArray, pa.Field]]:
    return list(zip(table.columns, table.schema, strict=True))


def _values(column: pa.ChunkedArray, field: pa.Field, output: str) -> list[Any]:
    """Return a column's values as Python has them; those that it cannot have, as text."""
    try:
        values = column.to_pylist()
    except (OverflowError, ValueError, pa.ArrowException):  # a year beyond 9999, an infinite date
        try:
            return list(column.cast(pa.string()).to_pylist())
        except pa.ArrowException as error:
            raise QueryError(
                f"column {field.name!r} has values of {field.type} that {output} cannot hold; "
                f"select them as text with CAST(... AS VARCHAR)"
            ) from error
    if pa.types.is_interval(field.type) or pa.types.is_binary(field.type):
        return [_json_value(value, field.type) for value in values]
    return list(values)


def _json_value(value: Any, kind: pa.DataType) -> Any:
    """Return a value as strict JSON has it; what JSON has no type for, as text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, bytes):
        return _blob_text(value)
    if pa.types.is_interval(kind):
        return _interval_text(*value)
    if pa.types.is_map(kind):
        return {str(_json_value(k, kind.key_type)): _json_value(v, kind.item_type) for k, v in value}
    if pa.types.is_struct(kind):
        return {name: _json_value(item, kind.field(name).type) for name, item in value.items()}
    if isinstance(value, list):
        return [_json_value(item, kind.value_type) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _blob_text(value: bytes) -> str:
    r"""Return bytes as DuckDB shows them: ASCII, and ``\xFF`` for all else."""
    return "".join(chr(b) if 32 <= b < 127 and b != 92 else f"\\x{b:02X}" for b in value)


def _interval_text(months: int, days: int, nanoseconds: int) -> str:
    """Return an interval as DuckDB reads it.

    Examples
    --------
    >>> _interval_text(14, 1, 90_000_000_000), _interval_text(0, 0, -1_500_000_000)
    ('14 months 1 day 00:01:30', '-00:00:01.5')
    """
    parts = [f"{n} {name}{'s' * (abs(n) != 1)}" for n, name in ((months, "month"), (days, "day")) if n]
    if nanoseconds or not parts:
        seconds, rest = divmod(abs(nanoseconds), 1_000_000_000)
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        fraction = f".{rest:09}".rstrip("0") if rest else ""
        parts.append(f"{'-' * (nanoseconds < 0)}{clock}{fraction}")
    return " ".join(parts)


# -- for programs --------------------------------------------------------------------------------------


def _written(table: pa.Table, output_format: str) -> bytes:
    import pyarrow.csv
    import pyarrow.parquet

    write = pyarrow.csv.write_csv if output_format == "csv" else pyarrow.parquet.write_table
    for i, (column, field) in enumerate(_columns(table)):
        if not _holds(field, write) or (output_format == "csv" and pa.types.is_binary(field.type)):
            text = [_text(value, field.type) for value in _values(column, field, output_format)]
            table = table.set_column(i, field.name, pa.array(text, pa.string()))
    sink = io.BytesIO()
    try:
        write(table, sink)
    except (pa.ArrowException, ValueError) as error:
        raise QueryError(f"the result cannot be written as {output_format}: {error}") from error
    return sink.getvalue()


def _holds(field: pa.Field, write: Callable[[pa.Table, io.BytesIO], None]) -> bool:
    """Return whether a format has the type of a column; only its own writer knows."""
    if pa.types.is_interval(field.type):  # refused by the CSV writer only where there are rows
        return False
    try:
        write(pa.schema([field]).empty_table(), io.BytesIO())
    except pa.ArrowException:
        return False
    return True


def _text(value: Any, kind: pa.DataType) -> str | None:
    shown = _json_value(value, kind)
    return shown if shown is None or isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)


def as_stream(table: pa.Table) -> bytes:
    """Return a table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
