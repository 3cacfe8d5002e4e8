"""Views whose rows are computed when a query asks for them: of its runs and its columns only."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from thermograd.store.query.data.sources import may_hold

Compute = Callable[["Wanted", str], Iterable[pa.Table]]


class Wanted:
    """What a query asks of a view: columns, and a condition on them.

    Attributes
    ----------
    columns
        Names of all columns that are needed, a few more maybe.
    """

    def __init__(self, schema: pa.Schema, columns: list[str] | None, condition: ds.Expression | None) -> None:
        self._schema, self._given, self._condition = schema, columns, condition
        text = "" if condition is None else str(condition)  # pyarrow tells a condition's columns only so
        self.columns = [name for name in schema.names if columns is None or name in columns or name in text]

    def may_hold(self, **known: str) -> bool:
        """Return whether rows of known values may be asked for."""
        return may_hold(self._schema, self._condition, **known)

    def schema(self) -> pa.Schema:
        """Return the schema of the answer."""
        names = self._schema.names if self._given is None else self._given
        return pa.schema([self._schema.field(name) for name in names])

    def of(self, rows: pa.Table) -> pa.Table:
        """Return the rows that meet the condition, in the columns of the answer."""
        kept = rows if self._condition is None else rows.filter(self._condition)
        return kept.select(self.schema().names)


class Computed(ds.InMemoryDataset):  # type: ignore[misc] # pyarrow has no types
    """Rows of runs, computed run by run; DuckDB hands its filter and its columns to `scanner`."""

    def __init__(self, schema: pa.Schema, run_ids: Iterable[str], compute: Compute) -> None:
        super().__init__(schema.empty_table())
        self._run_ids, self._compute = list(run_ids), compute

    def scanner(
        self, columns: list[str] | None = None, filter: ds.Expression | None = None, **_options: Any
    ) -> "_Scan":
        """Return what DuckDB reads."""
        return _Scan(self._run_ids, self._compute, Wanted(self.schema, columns, filter))


class _Scan:
    def __init__(self, run_ids: list[str], compute: Compute, wanted: Wanted) -> None:
        self._run_ids, self._compute, self._wanted = run_ids, compute, wanted
        self.projected_schema = wanted.schema()

    def to_reader(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(self.projected_schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for run_id in self._run_ids:
            if self._wanted.may_hold(run_id=run_id):
                for rows in self._compute(self._wanted, run_id):
                    yield from self._wanted.of(rows).to_batches()


class LazyTable:
    """Arrow data that are computed when a query scans them."""

    def __init__(self, schema: pa.Schema, compute: Callable[[], pa.Table]) -> None:
        self._schema, self._compute = schema, compute

    def __arrow_c_schema__(self) -> object:
        return self._schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._compute().__arrow_c_stream__(requested_schema)
