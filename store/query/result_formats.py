"""A query's answer in each of the formats of ``query --format``, part by part in bounded memory.

An answer comes as Arrow batches. `bounded` cuts them into pieces that are small whatever is in them (a list
of a million nulls takes no memory as Arrow has it) and ends an answer that is too large; `rendered` turns
the pieces into bytes. What is not shown is not converted.
"""

import contextlib
import io
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa
from thermograd.store.errors import QueryError, TooLargeError
from thermograd.store.query.values import (
    beginning,
    is_small,
    json_value,
    names_weight,
    text_of,
    values_of,
    weight,
)
from thermograd.store.text import printable_lines, table_text

_PYTHON_VALUES = 1 << 16  # values, or eight bytes of a long one, that are converted at once by Python,
_ARROW_VALUES = 1 << 19  # and by Arrow
_MOST_ROWS = 1000  # that a terminal is shown,
_MOST_COLUMNS = 1000
_MOST_CELLS = 200_000  # and at most so many rows that wide a table has
_MOST_COUNTED = 1_000_000  # rows that are counted, not shown
_GROUP_VALUES = 1 << 22  # of a row group of Parquet
_PLAN = ["explain_key", "explain_value"]  # the columns of EXPLAIN's answer

Batches = Iterator[pa.RecordBatch]


def bounded(
    batches: Iterable[pa.RecordBatch],
    piece_values: int,
    rows: int | None = None,
    values: int | None = None,
) -> Batches:
    """Yield an answer's batches in small pieces; raise TooLargeError where it has more rows or values.

    Every value counts that is to be written, also inside lists, structs and maps.
    """
    rows_given = values_given = 0
    scale: _Scale | None = None
    for batch in batches:
        scale = scale or _Scale(batch.schema, piece_values)
        for piece, size in scale.pieces(batch):
            rows_given += len(piece)
            values_given += size
            if rows is not None and rows_given > rows:
                yield piece.slice(0, len(piece) - (rows_given - rows))
                raise TooLargeError(f"the answer was cut after {rows:,} rows; add a LIMIT, or aggregate")
            if values is not None and values_given > values:
                raise TooLargeError(f"the answer was cut after {values:,} values; add a LIMIT, or aggregate")
            yield piece


class _Scale:
    """Weighs batches of a schema, and cuts them into pieces."""

    def __init__(self, schema: pa.Schema, piece_values: int) -> None:
        self._piece_values = piece_values
        self._weighed = [i for i, field in enumerate(schema) if not is_small(field.type)]
        self._of_a_row = len(schema) - len(self._weighed) + names_weight(schema.names)

    def pieces(self, batch: pa.RecordBatch) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Yield pieces and their weights; half by half, as one row may weigh as much as all others."""
        size = len(batch) * self._of_a_row + sum(weight(batch.column(i)) for i in self._weighed)
        if size <= self._piece_values or len(batch) == 1:
            yield batch, size
        elif len(batch):
            half = len(batch) // 2
            yield from self.pieces(batch.slice(0, half))
            yield from self.pieces(batch.slice(half))


def rendered(
    reader: pa.RecordBatchReader,
    output_format: str,
    rows: int | None = None,
    values: int | None = None,
) -> Iterator[bytes]:
    """Yield a query's answer in one of the formats of ``query --format``, with so many rows and values.

    A table for the terminal shows the columns' names as they are; every other format tells equal names
    apart: ``time``, ``time_1``. JSON has null where a number is not finite. CSV has lists, structs and
    maps as JSON; CSV and Parquet have as text what else they cannot hold. Raises QueryError if a column has
    values that the format cannot hold at all.
    """
    at_once = _PYTHON_VALUES if output_format in ("table", "json") else _ARROW_VALUES
    batches = bounded(reader, at_once, rows, values)
    if output_format == "table":
        return _plan(batches) if reader.schema.names == _PLAN else _table(reader.schema, batches)
    names = distinct(reader.schema.names)
    schema = pa.schema([field.with_name(name) for field, name in zip(reader.schema, names, strict=True)])
    batches = (batch.rename_columns(names) for batch in batches)
    return _json(batches) if output_format == "json" else _written(schema, batches, output_format)


def distinct(names: list[str]) -> list[str]:
    """Return names that differ: a number is added to those that have been there before."""
    taken: dict[str, None] = {}
    all_names, numbers = set(names), dict.fromkeys(names, 0)
    for name in names:
        number, new = numbers[name], name
        while new in taken or (number and new in all_names):
            number += 1
            new = f"{name}_{number}"
        numbers[name] = number
        taken[new] = None
    return list(taken)


# -- for people, and JSON ------------------------------------------------------------------------------


def _plan(batches: Batches) -> Iterator[bytes]:
    """Yield a drawing of several lines."""
    for batch in batches:
        for text in batch.column("explain_value").to_pylist():
            yield f"{printable_lines(text)}\n".encode()


def _table(schema: pa.Schema, batches: Batches) -> Iterator[bytes]:
    names = schema.names[:_MOST_COLUMNS]
    most = max(1, min(_MOST_ROWS, _MOST_CELLS // max(1, len(names))))
    rows: list[tuple[Any, ...]] = []
    counted = 0
    for batch in batches:
        if len(rows) < most:
            rows += _beginnings(batch.slice(0, most - len(rows)), len(names))
        counted += len(batch)
        if counted > _MOST_COUNTED:
            break
    yield f"{table_text(names, rows)}\n".encode()
    if more := counted - len(rows):
        many = f"over {_MOST_COUNTED - len(rows):,}" if counted > _MOST_COUNTED else more
        yield f"... {many} more rows\n".encode()
    if more := len(schema) - len(names):
        yield f"... {more} more columns\n".encode()


def _beginnings(batch: pa.RecordBatch, columns: int) -> list[tuple[Any, ...]]:
    shown = [[beginning(scalar, batch.field(i)) for scalar in batch.column(i)] for i in range(columns)]
    return list(zip(*shown, strict=True))


def _json(batches: Batches) -> Iterator[bytes]:
    opening = "[\n"
    for batch in batches:
        if len(batch):
            columns = [
                [_json_text(json_value(value, field.type)) for value in values_of(column, field, "JSON")]
                for column, field in zip(batch.columns, batch.schema, strict=True)
            ]
            names = [_flat(name).replace("%", "%%") for name in batch.schema.names]
            row = "  {\n" + ",\n".join(f"    {name}: %s" for name in names) + "\n  }"
            yield (opening + ",\n".join(map(row.__mod__, zip(*columns, strict=True)))).encode()
            opening = ",\n"
    yield b"[]\n" if opening == "[\n" else b"\n]\n"


_flat = json.JSONEncoder(allow_nan=False).encode  # in C, which indenting is not
_indented = json.JSONEncoder(allow_nan=False, indent=2).encode


def _json_text(value: Any) -> str:
    return _indented(value).replace("\n", "\n    ") if isinstance(value, dict | list) else _flat(value)


# -- for programs --------------------------------------------------------------------------------------


class _Sink(io.RawIOBase):
    """Takes what a writer of Arrow's writes until it is fetched."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._position += len(part)
        return len(part)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _written(schema: pa.Schema, batches: Batches, output_format: str) -> Iterator[bytes]:
    as_text = {i for i, field in enumerate(schema) if not _holds(field, output_format)}
    for i in as_text:
        schema = schema.set(i, pa.field(schema.field(i).name, pa.string()))
    sink = _Sink()
    with _refusing(output_format):
        writer = _WRITERS[output_format](sink, schema)
    for batch in _groups(batches) if output_format == "parquet" else batches:
        with _refusing(output_format):
            writer.write(_with_text(batch, as_text, schema, output_format))
        yield sink.take()
    with _refusing(output_format):
        writer.close()
    yield sink.take()


@contextlib.contextmanager
def _refusing(output_format: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise QueryError(f"the result cannot be written as {output_format}: {error}") from error


def _with_text(batch: pa.RecordBatch, columns: set[int], schema: pa.Schema, output: str) -> pa.RecordBatch:
    arrays = [
        pa.array([text_of(v, field.type) for v in values_of(column, field, output)], pa.string())
        if i in columns
        else column
        for i, (column, field) in enumerate(zip(batch.columns, batch.schema, strict=True))
    ]
    return pa.record_batch(arrays, schema=schema)


def _groups(batches: Batches) -> Batches:
    """Yield batches put together to what is worth a row group."""
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += max(len(batch) * batch.num_columns, batch.nbytes // 8)
        if size > _GROUP_VALUES:
            yield pa.concat_batches(held)
            held, size = [], 0
    if held:
        yield pa.concat_batches(held)


def _csv_writer(sink: _Sink, schema: pa.Schema) -> Any:
    import pyarrow.csv

    return pyarrow.csv.CSVWriter(sink, schema)


def _parquet_writer(sink: _Sink, schema: pa.Schema) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.ParquetWriter(sink, schema)


_WRITERS: dict[str, Callable[[_Sink, pa.Schema], Any]] = {
    "csv": _csv_writer,
    "parquet": _parquet_writer,
    "arrow": pa.ipc.new_stream,
}


def _holds(field: pa.Field, output_format: str) -> bool:
    """Return whether a format has the type of a column; only its own writer knows."""
    if output_format == "csv" and (pa.types.is_interval(field.type) or pa.types.is_binary(field.type)):
        return False  # an interval is refused only where there are rows
    schema = pa.schema([field])
    try:
        with _WRITERS[output_format](_Sink(), schema) as writer:
            writer.write(schema.empty_table())
    except pa.ArrowException:
        return output_format == "arrow"
    return True
