"""An answer as the page shows it: bounded rows and cells, in what a browser can hold exactly."""

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
from thermograd.store.errors import TooLargeError
from thermograd.store.query.result_formats import distinct
from thermograd.store.query.sandbox import FOR_STRANGERS, Stop, answer
from thermograd.store.query.values import values_of

_SHOWN_ROWS = 2000
_SHOWN = replace(FOR_STRANGERS, answer_bytes=32 << 20, rows=_SHOWN_ROWS, values=2_000_000)
_SHOWN_CHARACTERS = 8 << 20
_CELL_CHARACTERS = 2000
_EXACT = 2**53  # beyond it a browser's numbers have holes: such a one goes as text


def shown_answer(sql: str, runs: Any, stop: Stop) -> bytes:
    """Return an answer as the page shows it, in JSON; of a large one its beginning, which says so."""
    parts: list[bytes] = []
    cut = ""
    try:
        for part in answer(sql, runs, "arrow", _SHOWN, stop=stop):
            parts.append(part)
    except TooLargeError as error:
        if not parts:
            raise
        cut = str(error)
    return _as_json(parts, cut)


def _as_json(parts: list[bytes], cut: str) -> bytes:
    with pa.ipc.open_stream(b"".join(parts)) as reader:
        schema = reader.schema
        rows: list[list[Any]] = []
        size = 0
        for batch in _whole(reader):
            for row in _cells(batch):
                size += sum(len(cell) if isinstance(cell, str) else 8 for cell in row)
                if size > _SHOWN_CHARACTERS:
                    cut = cut or "the answer is too large to be shown whole; the download has all of it"
                    break
                rows.append(row)
    return msgspec.json.encode(
        {
            "columns": distinct(schema.names),
            "types": [str(field.type) for field in schema],
            "kinds": [_kind(field.type) for field in schema],
            "rows": rows,
            "truncated": bool(cut),
            "why": cut,
        }
    )


def _whole(reader: Any) -> Iterator[pa.RecordBatch]:
    """Yield batches; one that was cut off in its middle is none."""
    with suppress(pa.ArrowInvalid, OSError, StopIteration):
        while True:
            yield reader.read_next_batch()


def _cells(batch: pa.RecordBatch) -> Iterator[list[Any]]:
    columns = [
        [_cell(value) for value in values_of(column, field, "json")]
        for column, field in zip(batch.columns, batch.schema, strict=True)
    ]
    yield from map(list, zip(*columns, strict=True))


def _cell(value: Any) -> Any:
    """Return a value as the page shows it: null, a truth, an exact number, or a text of bounded length."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= _EXACT:
        return value
    if isinstance(value, Decimal) and abs(value) <= _EXACT:
        return float(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    if hasattr(value, "isoformat"):
        value = value.isoformat()
    text = value if isinstance(value, str | int | float | Decimal) else json.dumps(value, default=str)
    text = str(text).encode("utf-8", "replace").decode()
    return text if len(text) <= _CELL_CHARACTERS else f"{text[:_CELL_CHARACTERS]}..."


def _kind(kind: pa.DataType) -> str:
    """Return what a column is to a chart."""
    types = pa.types
    if types.is_temporal(kind) and not types.is_duration(kind) and not types.is_interval(kind):
        return "time" if not types.is_time(kind) else "text"
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return "number" if is_number else "text"
