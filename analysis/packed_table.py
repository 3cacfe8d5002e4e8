"""Events of one kind held as Parquet, in a file without a name: of a long run little stays in memory."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from thermograd.analysis.spool import Kept, Spool

_MANY_ROWS = 500_000  # fewer are held as they are


class PackedTable:
    """Rows that are held packed; a column is unpacked each time it is asked for.

    It has those of the names of `pyarrow.Table` that tell of columns one by one.
    """

    def __init__(self, parts: Sequence[Kept], schema: pa.Schema, nulls: dict[str, int], rows: int) -> None:
        self._parts, self.schema, self._nulls, self.num_rows = parts, schema, nulls, rows

    def __len__(self) -> int:
        return self.num_rows

    @property
    def column_names(self) -> list[str]:
        """Names of the columns."""
        return list(self.schema.names)

    def null_count(self, name: str) -> int:
        """Return how many values of a column are null, without unpacking it."""
        return self._nulls[name]

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column, in the type that it has in any part."""
        kind = self.schema.field(name).type
        chunks = []
        for part in self._parts:
            file = pq.ParquetFile(part.opened())
            if name in file.schema_arrow.names:
                read = file.read(columns=[name], use_threads=False).column(name)
                chunks += read.chunks if read.type == kind else read.cast(kind).chunks
            else:
                chunks.append(pa.nulls(file.metadata.num_rows, kind))
        return pa.chunked_array(chunks, kind)

    def unpacked(self) -> pa.Table:
        """Return all columns."""
        return pa.table({name: self.column(name) for name in self.column_names})


class Collected:
    """Tables that arrive one after the other; once they are many they are packed."""

    def __init__(self, spool: Spool | None = None) -> None:
        self._spool = spool or Spool()
        self._plain: list[pa.Table] = []
        self._packed: list[Kept] = []
        self._schemas: list[pa.Schema] = []
        self._nulls: dict[str, int] = {}
        self._rows = 0

    def add(self, table: pa.Table) -> None:
        """Take one more table; its columns may lack what others have."""
        self._plain.append(table)
        if sum(map(len, self._plain)) > (0 if self._packed else _MANY_ROWS):
            for each in self._plain:
                self._pack(each)
            self._plain.clear()

    def whole(self) -> "pa.Table | PackedTable":
        """Return everything that was given, in the order in which it was."""
        if not self._packed:
            return pa.concat_tables(self._plain, promote_options="default")
        schema = pa.unify_schemas(self._schemas, promote_options="default")
        nulls = {name: self._nulls.get(name, self._rows) for name in schema.names}
        return PackedTable(self._packed, schema, nulls, self._rows)

    def _pack(self, table: pa.Table) -> None:
        before = set(self._nulls)
        for name, column in zip(table.column_names, table.columns, strict=True):
            self._nulls[name] = self._nulls.get(name, self._rows) + column.null_count
        for name in before - set(table.column_names):
            self._nulls[name] += len(table)
        self._rows += len(table)
        self._schemas.append(table.schema.remove_metadata())
        encodings = {field.name: encoding for field in table.schema if (encoding := _encoding(field.type))}
        sink = pa.BufferOutputStream()
        pq.write_table(
            table,
            sink,
            compression="zstd",
            use_dictionary=[name for name in table.column_names if name not in encodings],
            column_encoding=encodings,
            write_statistics=False,
        )
        self._packed.append(self._spool.keep(sink.getvalue()))


def in_time_order(table: pa.Table | PackedTable) -> pa.Table | PackedTable:
    """Sort by time, then `seq`; of a long run, which mostly is in order, no second copy is made."""
    time_ns, seq = np.asarray(table.column("time_ns")), np.asarray(table.column("seq"))
    ahead, equal = np.diff(time_ns) > 0, np.diff(time_ns) == 0
    if (ahead | (equal & (np.diff(seq) > 0))).all():
        return table
    whole = table.unpacked() if isinstance(table, PackedTable) else table
    return whole.sort_by([("time_ns", "ascending"), ("seq", "ascending")])


def _encoding(kind: pa.DataType) -> str | None:
    if pa.types.is_floating(kind):
        return "BYTE_STREAM_SPLIT"
    return "DELTA_BINARY_PACKED" if pa.types.is_integer(kind) else None
