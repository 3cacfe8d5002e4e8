"""Rows of a Parquet file, batch by batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from thermograd.ingest.importers.recording import Head
from thermograd.ingest.importers.tables.row import SEPARATOR, TableRow
from thermograd.ingest.importers.timezones import UNITS_NS, Moment
from thermograd.store.errors import ImportFormatError

_BATCH_ROWS = 8192
_VALUES: tuple[Callable[[pa.DataType], bool], ...] = (
    *(pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean),
    *(pa.types.is_date, pa.types.is_duration),
    *(pa.types.is_timestamp, pa.types.is_string, pa.types.is_large_string),
)


def parquet_rows(path: Path) -> Iterator[TableRow]:
    """Yield the rows of a file; times are moments, what is nested has its path as name: ``train/loss``."""
    number = 0
    with _whole(path), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH_ROWS):
            columns = {name: _plain(column) for name, column in _flat(batch) if _is_value(column.type)}
            for place in range(len(batch)):
                number += 1
                values = {n: v for n, column in columns.items() if (v := column[place]) is not None}
                yield TableRow(number, {n: _shown(v) for n, v in values.items()}, values)


def schema_in(head: Head) -> pa.Schema | None:
    """Return the schema of a Parquet file; None of any other file, or a damaged one."""
    if not head.data.startswith(b"PAR1") or head.path is None:
        return None
    try:
        return pq.read_schema(head.path)
    except (pa.ArrowException, OSError, ValueError):
        return None


def names_of_schema(schema: pa.Schema | pa.StructType) -> list[str]:
    """Return the names of the columns as they are those of the rows."""
    names = []
    for part in schema:
        nested = names_of_schema(part.type) if pa.types.is_struct(part.type) else None
        names += [part.name] if nested is None else [f"{part.name}{SEPARATOR}{name}" for name in nested]
    return names


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: text that is not UTF-8
        told = str(error).split("\n")[0]
        raise ImportFormatError(f"{path}: a damaged Parquet file ({told}); allowed is a whole one") from error


def _flat(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.Array]]:
    """Yield the columns, those of structs by their path."""
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if not pa.types.is_struct(field.type):
            yield field.name, column
            continue
        parts = pa.RecordBatch.from_arrays(column.flatten(), [part.name for part in field.type])
        for name, part in _flat(parts):
            yield f"{field.name}{SEPARATOR}{name}", part


def _is_value(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(is_it(kind) for is_it in _VALUES)


def _plain(column: pa.Array) -> list[Any]:
    """Return a column's values: numbers, texts, moments; null as None."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    if pa.types.is_duration(column.type):  # in seconds
        over = 10**9 / UNITS_NS[column.type.unit]
        return [None if v is None else v / over for v in column.cast(pa.int64()).to_pylist()]
    if not pa.types.is_timestamp(column.type):
        return [float(v) if isinstance(v, Decimal) else v for v in column.to_pylist()]
    factor, naive = UNITS_NS[column.type.unit], column.type.tz is None
    numbers = column.cast(pa.int64()).to_pylist()
    return [None if number is None else Moment(number * factor, naive) for number in numbers]


def _shown(value: object) -> object:
    return value.ns if isinstance(value, Moment) else value
