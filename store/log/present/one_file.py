"""Reading one file of the log, of whatever form: what is whole of it, in the current columns, by number."""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
from thermograd.store.errors import LogError
from thermograd.store.events import arrow_schema, column_names
from thermograd.store.files import UNFINISHED, Segment, read_file, read_json, writer_file
from thermograd.store.log.reading.damage import Damage
from thermograd.store.log.reading.numbering import in_order
from thermograd.store.log.segments import (
    TailRows,
    read_sealed,
    read_stream,
    rows_to_batch,
    tail_rows,
    with_wrong_numbers,
)
from thermograd.store.log.tail_codec import MOST_TAIL_BYTES, Scan, codec_of_tail, kind_codec

CHUNK_ROWS = 8192  # that are Python's objects at a time


def conform(table: pa.Table, kind: str) -> pa.Table:
    """Bring a table of an older or newer schema to the current columns: missing ones become null."""
    schema = arrow_schema(kind)
    if table.schema.equals(schema):
        return table.replace_schema_metadata(schema.metadata)
    columns = [
        table.column(field.name).cast(field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def read_tail(segment: Segment) -> tuple[pa.Table, Damage | None]:
    """Read every whole record of a tail; the rest, if any, is reported as damage.

    Raises FileNotFoundError if the writer has moved the tail's events on.
    """
    nothing = arrow_schema(segment.kind).empty_table()
    try:
        data = read_file(segment.path, MOST_TAIL_BYTES)
    except FileNotFoundError:
        raise
    except OSError as error:
        return nothing, Damage(segment.path, 0, error.strerror or str(error))
    current = kind_codec(segment.kind)
    if current.header.startswith(data):  # killed before anything was acknowledged here
        return nothing, None
    try:
        codec, offset = codec_of_tail(data)
        if codec.kind != segment.kind:
            raise LogError(f"the file is of kind {codec.kind!r}")
    except LogError as error:
        return nothing, Damage(segment.path, 0, str(error))
    found: TailRows | Scan
    if codec is current:
        found = tail_rows(codec, data, offset, segment.first)
        batches = [found.batch]
    else:
        found = scan = codec.scan(data, offset, segment.first)
        batches = _batches(segment.kind, codec.names, scan.rows)
    torn = found.skipped + (0 if found.ended else len(data) - found.end)
    is_whole_at_end = found.ended or found.end == len(data) or codec.is_cut(data, found.end)
    is_cut = is_whole_at_end and (not found.skipped or found.is_torn)
    damage = Damage(segment.path, len(data) - torn, f"torn record of {torn} bytes", is_cut) if torn else None
    return pa.Table.from_batches(batches or nothing.to_batches(), nothing.schema), damage


def _batches(kind: str, names: Sequence[str], rows: list[tuple[Any, ...]]) -> list[pa.RecordBatch]:
    """Return rows of other columns in the current ones."""
    return [
        rows_to_batch(
            kind,
            [
                tuple(map(dict(zip(names, row, strict=True)).get, column_names(kind)))
                for row in rows[start : start + CHUNK_ROWS]
            ],
        )
        for start in range(0, len(rows), CHUNK_ROWS)
    ]


def is_left_by_a_kill(
    segment: Segment, table: pa.Table, damage: Damage | None, live: Iterable[Segment]
) -> bool:
    """Return whether a live file only lacks the end of what a killed process was writing: nothing is lost.

    Of a tail that is a record, whose event was never acknowledged; so is what a full disk has torn, which its
    writer counted as lost. Of a stream it is a batch that is still in one of the `live` files, a tail: that
    is removed when the batch is whole. A reader may see the same of a
    process that is writing; one that has closed its log leaves nothing of the kind.
    """
    if damage is None or not damage.is_cut:
        return False
    run_dir = segment.path.parents[2]
    facts = read_json(writer_file(run_dir, segment.writer))
    if "closed_time_ns" in facts and not facts.get(UNFINISHED):
        return False
    next_seq = table["seq"][-1].as_py() + 1 if len(table) else segment.first
    tails = (s for s in live if s.path.suffix == ".tail" and s[:2] == segment[:2])
    return segment.path.suffix == ".tail" or any(tail.first <= next_seq for tail in tails)


def read_segment(segment: Segment) -> tuple[pa.Table, Damage | None]:
    """Read what is whole of a file, in the order of `seq`, and its damage, in the current columns.

    Raises FileNotFoundError if the events of a live file have just moved on to the next place.
    """
    if segment.path.suffix == ".parquet":
        sealed = read_sealed(segment.path, segment.kind)
        return conform(sealed.table, segment.kind), sealed.damage
    if segment.path.suffix == ".tail":
        table, damage = read_tail(segment)
    else:
        table, damage = _read_arrows(segment)
    table, wrong = in_order(table)
    return table, with_wrong_numbers(damage, segment.path, wrong)


def _read_arrows(segment: Segment) -> tuple[pa.Table, Damage | None]:
    try:
        batches, damage = read_stream(segment.path)
    except FileNotFoundError:
        raise
    except OSError as error:
        batches, damage = [], Damage(segment.path, 0, error.strerror or str(error))
    tables = [conform(pa.Table.from_batches([batch]), segment.kind) for batch in batches]
    return pa.concat_tables(tables or [arrow_schema(segment.kind).empty_table()]), damage
