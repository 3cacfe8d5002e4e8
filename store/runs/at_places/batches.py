"""The events of many runs as one Parquet file: by run, writer and number, in the log's own encodings."""

from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from thermograd.store.events import arrow_schema
from thermograd.store.files import is_plain_file, open_segments, sealed_segments
from thermograd.store.log.one_file import conform, read_segment
from thermograd.store.log.reader import apart
from thermograd.store.log.segments import parquet_options

GROUPS = "thermograd.groups"  # of a file's metadata: the runs of each row group, as JSON
_GROUP_ROWS = 65_536
_MOST_GROUP_ROWS = 122_880


def foldable(run_dir: Path) -> int | None:
    """Return the bytes of a run's sealed files; None where not all of it is sealed, whole and apart."""
    segments = sealed_segments(run_dir)
    if any(open_segments(run_dir, suffix) for suffix in ("tail", "arrows")) or apart(segments)[1]:
        return None
    if not all(is_plain_file(segment.path) for segment in segments):
        return None
    if any(read_segment(segment)[1] is not None for segment in segments):
        return None
    return sum(segment.path.stat().st_size for segment in segments)


def folded_events(runs: Iterable[tuple[str, Path]], kind: str) -> bytes:
    """Return a file with the events of a kind of some runs, which are `foldable`.

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


def _groups(
    runs: Iterable[tuple[str, Path]], kind: str, schema: pa.Schema
) -> Iterator[tuple[list[str], pa.Table]]:
    ids: list[str] = []
    tables: list[pa.Table] = []
    rows = 0
    for run_id, path in sorted(runs):
        of_run = [_with_identity(run_id, *part, schema) for part in _parts(path, kind)]
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


def _parts(run_dir: Path, kind: str) -> Iterator[tuple[str, pa.Table]]:
    for segment in sealed_segments(run_dir, kind):
        yield segment.writer, conform(read_segment(segment)[0], kind)


def _with_identity(run_id: str, writer: str, table: pa.Table, schema: pa.Schema) -> pa.Table:
    identity = [pa.repeat(pa.scalar(text), len(table)) for text in (run_id, writer)]
    return pa.table([*identity, *table.columns], schema=schema)
