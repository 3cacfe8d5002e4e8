"""A sealed file that is read a row group at a time, each looked at before it is decoded."""

import base64
from collections.abc import Collection
from errno import EINVAL
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from thermograd.store.events import COMMON, column_names, columns
from thermograd.store.files import is_plain_file
from thermograd.store.log.reading.framing import check_columns, check_owner
from thermograd.store.log.reading.parquet_layout import MOST_GROUP_BYTES, check_group, row_groups

_FEW_ROWS = 4096  # that take longer to be shared among threads than to be read


class SealedFile:
    """A Parquet file of a run, open.

    Raises FileNotFoundError where it is gone; OSError, ValueError or Arrow's own errors where it is none of
    ours, or would not fit into bounded memory.
    """

    def __init__(self, path: Path, kind: str) -> None:
        if not is_plain_file(path):
            path.lstat()
            raise OSError(EINVAL, "not a plain file", str(path))
        self._names = column_names(kind)
        self._texts = [column.name for column in columns(kind) if column.type == "string"]
        with pa.memory_map(str(path)) as source:
            self._data = source.read_buffer()
        self._groups = row_groups(self._data)
        self._file = pq.ParquetFile(
            pa.BufferReader(self._data), page_checksum_verification=True, read_dictionary=self._texts
        )
        self._check_schema(kind, path.name.rsplit("-", 2)[0])

    def _check_schema(self, kind: str, writer: str) -> None:
        schema = self._file.schema_arrow
        for number, field in enumerate(schema):
            if field.name in self._texts and pa.types.is_dictionary(field.type):
                schema = schema.set(number, pa.field(field.name, field.type.value_type))
        check_columns(schema, kind)
        written = (self._file.metadata.metadata or {}).get(b"ARROW:schema")
        names = written and pa.ipc.read_schema(pa.py_buffer(base64.b64decode(written))).names
        if names != schema.names:  # the footer has no checksum
            raise ValueError("the footer names other columns than were written")
        check_owner(schema.metadata, kind, writer)

    def __enter__(self) -> "SealedFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def groups(self) -> int:
        """How many row groups there are."""
        return len(self._groups)

    def offset(self, number: int) -> int:
        """Return where a row group begins."""
        return min((chunk.start for chunk in self._groups[number].chunks), default=0)

    def read(self, number: int, filled: bool = False, names: Collection[str] | None = None) -> pa.Table:
        """Read a row group; with `filled` only columns that hold a value, as far as its statistics tell.

        `names`: only these columns, and of them those that are in the file.
        """
        group = self._groups[number]
        check_group(self._data, group)
        stored = [chunk.name.decode() for chunk in group.chunks]
        if stored != self._file.schema_arrow.names:
            raise ValueError("a row group of other columns")
        empty = {chunk.name.decode() for chunk in group.chunks if filled and chunk.nulls == group.rows}
        if any(column.name in empty for column in COMMON):
            raise ValueError("an event has no number or no time")
        wanted = set(self._names if names is None else names) & set(stored) - empty
        table = self._file.read_row_group(
            number, [name for name in self._names if name in wanted], use_threads=group.rows > _FEW_ROWS
        )
        table.validate(full=True)
        return self._with_plain_texts(table)

    def _with_plain_texts(self, table: pa.Table) -> pa.Table:
        for number, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
            if pa.types.is_dictionary(column.type):
                if sum(map(_text_bytes, column.chunks)) > MOST_GROUP_BYTES:
                    raise ValueError(f"{name} repeats its texts until they fill the memory")
                table = table.set_column(number, name, column.cast(pa.string()))
        return table


def _text_bytes(chunk: pa.DictionaryArray) -> int:
    """Return how much memory texts that are stored once take when they are written where they stand."""
    from pyarrow.compute import binary_length  # a third of what importing pyarrow takes

    lengths = binary_length(chunk.dictionary).fill_null(0).to_numpy(zero_copy_only=False)
    return int(lengths.astype(np.int64)[chunk.indices.drop_null().to_numpy()].sum())
