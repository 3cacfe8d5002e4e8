"""The events of many runs as one Parquet file: by run, writer and number, in the log's own encodings."""

from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from thermograd.store.events import arrow_schema
from thermograd.store.files import is_plain_file, open_segments, sealed_segments
from thermograd.store.log.present.one_file import conform, read_segment
from thermograd.store.log.present.snapshots import apart
from thermograd.store.log.segments import parquet_options

GROUPS = "thermograd.groups"  # of a file's metadata: the runs of each row group, as JSON
_GROUP_ROWS = 65_536
_MOST_GROUP_ROWS = 122_880


Events = dict[str, list[tuple[str, pa.Table]]]  # by kind: each file's writer and rows


def whole_events(run_dir: Path) -> Events | None:
    """Read all events of a run; None where not all of it is sealed, whole and each event in one file."""
    segments = sealed_segments(run_dir)
    if any(open_segments(run_dir, suffix) for suffix in ("tail", "arrows")) or apart(segments)[1]:
        return None
    events: Events = {}
    for segment in segments:
        table, damage = read_segment(segment) if is_plain_file(segment.path) else (None, None)
        if table is None or damage is not None:
            return None
        events.setdefault(segment.kind, []).append((segment.writer, conform(table, segment.kind)))
    return events


def size_of(events: Events) -> int:
    """Return how many bytes of memory events take."""
    return sum(table.nbytes for parts in events.values() for _, table in parts)


def folded_events(runs: Mapping[str, Events], kind: str) -> bytes:
    """Return a file with the events of a kind of some runs, by their ids.

    A row group holds whole runs, or a part of one run; the file's metadata tell which.
    """
    schema = folded_schema(kind)
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    file, groups = BytesIO(), []
    with pq.ParquetWriter(file, schema, **parquet_options(schema, texts)) as writer:
        for ids, table in _groups(runs, kind, schema):
            for start in range(0, len(table), _MOST_GROUP_ROWS):
                writer.write_table(table.slice(start, _MOST_GROUP_ROWS), row_group_size=_MOST_GROUP_ROWS)
                groups.append(ids)
        writer.add_key_value_metadata({GROUPS: msgspec.json.encode(groups).decode()})
    return file.getvalue()


def folded_schema(kind: str) -> pa.Schema:
    """Return the schema of folded events: run and writer before the kind's own columns."""
    identity = [pa.field("run_id", pa.string()), pa.field("writer", pa.string())]
    return pa.schema([*identity, *arrow_schema(kind).remove_metadata()])


def _groups(runs: Mapping[str, Events], kind: str, schema: pa.Schema) -> Iterator[tuple[list[str], pa.Table]]:
    ids: list[str] = []
    tables: list[pa.Table] = []
    rows = 0
    for run_id, events in sorted(runs.items()):
        of_run = [_with_identity(run_id, *part, schema) for part in events.get(kind, ())]
        rows_of_run = sum(map(len, of_run))
        if not rows_of_run:
            continue
        if tables and rows + rows_of_run > _GROUP_ROWS:
            yield ids, pa.concat_tables(tables)
            ids, tables, rows = [], [], 0
        ids.append(run_id)
        tables += of_run
        rows += rows_of_run
    if tables:
        yield ids, pa.concat_tables(tables)


def _with_identity(run_id: str, writer: str, table: pa.Table, schema: pa.Schema) -> pa.Table:
    identity = [pa.repeat(pa.scalar(text), len(table)) for text in (run_id, writer)]
    return pa.table([*identity, *table.columns], schema=schema)
